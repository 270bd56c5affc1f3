"""Losses of the heads in PyTorch: (network output, labels, valid length) -> one value per sequence.

The same as :mod:`bertpass.jobs.training.mxnet.losses`, which says what each is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bertpass.errors import ModelError
from bertpass.model.config import HeadConfig

Loss = Callable[[Any, Any, Any], Any]


def losses(torch: Any) -> dict[str, Loss]:
    """Kind of head -> its loss; outputs are float32, labels as in a batch, lengths int64."""
    f = torch.nn.functional

    def entropy(logits: Any, labels: Any, **how: Any) -> Any:
        return f.cross_entropy(logits, labels.long(), reduction="none", **how)

    def classification(outputs: Any, labels: Any, lengths: Any) -> Any:
        return entropy(outputs, labels)

    def regression(outputs: Any, labels: Any, lengths: Any) -> Any:
        return 0.5 * (outputs - labels.float().reshape(outputs.shape)).square().mean(1)

    def binary(outputs: Any, labels: Any, lengths: Any) -> Any:
        labels = labels.float().reshape(outputs.shape)
        return f.binary_cross_entropy_with_logits(outputs, labels, reduction="none").mean(1)

    def tags(outputs: Any, labels: Any, lengths: Any) -> Any:
        return entropy(outputs.transpose(1, 2), labels[:, :outputs.shape[1]], ignore_index=-1).sum(1)

    def span(outputs: Any, labels: Any, lengths: Any) -> Any:
        inside = torch.arange(outputs.shape[1], device=outputs.device) < lengths[:, None]
        start, end = torch.where(inside[:, :, None], outputs, -1e9).unbind(2)
        return 0.5 * (entropy(start, labels[:, 0]) + entropy(end, labels[:, 1]))

    return {"classification": classification, "regression": regression, "multilabel": binary, "ranking": binary,
            "tokens": tags, "qa": span}


def loss_for(torch: Any, head: HeadConfig) -> Loss:
    """The loss that trains ``head``; ModelError where there is nothing to train."""
    found = losses(torch)
    if head.kind not in found:
        raise ModelError(f"a head of kind '{head.kind}' has no loss: choose a task with labels.")
    return found[head.kind]
