"""The trainer of sentence vectors: the torch engine's network with the losses of sentence-transformers."""

from __future__ import annotations

from typing import Any

from bertpass.extras import require
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.jobs.training.torch.trainer import TorchTrainer
from bertpass.model.record import Checkpoint

EXTRA = "sentence-transformers"


class SentenceTrainer(TorchTrainer):
    """See :class:`~bertpass.jobs.training.torch.trainer.TorchTrainer`; ``loss`` is a class of sentence_transformers.

    A step of several batches (``--accumulate``) is the mean of their losses by their rows: a loss that compares the
    rows of a batch with one another sees one batch at a time.
    """

    def __init__(self, start: Checkpoint, options: LoopOptions, loss: str) -> None:
        super().__init__(start, options)
        outputs, torch = self._outputs, self.torch

        class Vectors(torch.nn.Module):  # type: ignore[name-defined,misc]
            """What the losses take for a model: a batch to its vectors."""

            def forward(self, batch: Any) -> dict[str, Any]:
                return {"sentence_embedding": outputs(batch)[0]}

        self._loss = getattr(require("sentence_transformers.losses", EXTRA), loss)(Vectors())

    def losses(self, batch: Any) -> Any:
        scores = None if batch.scores is None else self._tensor(batch.scores)
        return self._loss(batch.columns, scores) * len(batch)
