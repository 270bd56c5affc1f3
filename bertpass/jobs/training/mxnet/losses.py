"""Losses of the heads: (network output, batch) -> one value a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model.config import HeadConfig
from bertpass.mx import mx
from bertpass.text.tokens.batching import Batch


def _cross_entropy(logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label]: (batch, classes), (batch,) -> (batch,)."""
    return -mx.nd.pick(mx.nd.log_softmax(logits, axis=-1), labels, axis=-1)


def classification(outputs: Any, batch: Batch) -> Any:
    """Cross entropy of the label."""
    return _cross_entropy(outputs, mx.nd.array(batch.labels, ctx=outputs.context))


def regression(outputs: Any, batch: Batch) -> Any:
    """Half the squared difference, as in GluonNLP's L2Loss for STS-B; the mean of several outputs."""
    labels = mx.nd.array(batch.labels, ctx=outputs.context, dtype="float32").reshape(outputs.shape)
    return (0.5 * mx.nd.square(outputs - labels)).mean(axis=1)


def binary(outputs: Any, batch: Batch) -> Any:
    """Mean over the outputs of the cross entropy of their sigmoid: (batch, outputs) and labels from 0 to 1."""
    labels = mx.nd.array(batch.labels, ctx=outputs.context, dtype="float32").reshape(outputs.shape)
    # -y log s(x) - (1 - y) log(1 - s(x)) = max(x, 0) - x y + log(1 + exp(-|x|)), which does not overflow
    soft = mx.nd.Activation(-mx.nd.abs(outputs), act_type="softrelu")
    return (mx.nd.relu(outputs) - outputs * labels + soft).mean(axis=1)


def tags(outputs: Any, batch: Batch) -> Any:
    """Cross entropy of the tagged tokens' labels; labels are (batch, tokens) or wider, -1 where a token has none.

    Summed over a sequence: the mean over a batch is over its tagged tokens, see ``terms`` of the trainer.
    """
    labels = np.asarray(batch.labels)[:, :outputs.shape[1]]
    tagged = labels >= 0
    losses = _cross_entropy(outputs, mx.nd.array(np.where(tagged, labels, 0), ctx=outputs.context))
    return (losses * mx.nd.array(tagged, ctx=outputs.context, dtype="float32")).sum(axis=1)


def span(outputs: Any, batch: Batch) -> Any:
    """Mean of the cross entropies of start and end; labels are (batch, 2) positions (Devlin et al. 2018, section 4.2).

    Positions are compared over the whole padded row, and pad rows have the same logit everywhere: they are masked out
    so that padding never takes probability.
    """
    positions = mx.nd.array(batch.labels, ctx=outputs.context)
    valid = mx.nd.array(batch.valid_length, ctx=outputs.context)
    rows = mx.nd.SequenceMask(outputs.transpose((1, 0, 2)), sequence_length=valid, use_sequence_length=True, value=-1e9)
    start, end = rows.transpose((2, 1, 0))  # each (batch, sequence)
    return 0.5 * (_cross_entropy(start, positions[:, 0]) + _cross_entropy(end, positions[:, 1]))


LOSSES = {"classification": classification, "regression": regression, "multilabel": binary, "ranking": binary,
          "tokens": tags, "qa": span}


def loss_for(head: HeadConfig) -> Any:
    """The loss that trains ``head``; ModelError where there is nothing to train."""
    if head.kind not in LOSSES:
        raise ModelError(f"a head of kind '{head.kind}' has no loss: choose a task with labels.")
    return LOSSES[head.kind]
