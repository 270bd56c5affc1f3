"""Which batches are trained on in which order, and when the development set is looked at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bertpass.jobs.tasks.predict import Dataset
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.text.tokens.batching import Batch, Batches, batches


@dataclass(frozen=True)
class Epochs:
    """The training batches in stretches with an evaluation after each: epochs, or ``--evaluate_every`` steps.

    A step, which is one update, takes ``--accumulate`` batches; the last step of an epoch takes those that are left.
    The batches and their order do not depend on how long the stretches are.
    """

    data: Dataset
    options: LoopOptions
    pad_id: int

    @property
    def steps(self) -> int:
        """Updates of an epoch."""
        return -(-len(self.data) // (self.options.batch_size * self.options.accumulate))

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.options.training_steps or self.steps * self.options.epochs

    @property
    def stride(self) -> int:
        """Steps of a stretch."""
        return self.options.evaluate_every or self.steps

    @property
    def stretches(self) -> int:
        return -(-self.total // self.stride)

    def batches(self, epoch: int) -> Batches:
        """Bucketed by length and shuffled; the same for the same seed and epoch."""
        return batches(self.data.encodings, self.options.batch_size, pad_id=self.pad_id, labels=self.data.labels,
                       shuffle=True, seed=self.options.seed, epoch=epoch, round_to=self.options.round_to)

    def stretch(self, number: int) -> Iterator[Sequence[Batch]]:
        """The batches of each step of a stretch, from 0; the last one ends with the training."""
        step, end = number * self.stride, min((number + 1) * self.stride, self.total)
        while step < end:
            epoch, first = divmod(step, self.steps)
            last = min(self.steps, first + end - step)
            yield from itertools.islice(self._groups(epoch), first, last)
            step += last - first

    def _groups(self, epoch: int) -> Iterator[Sequence[Batch]]:
        each = iter(self.batches(epoch))
        while group := list(itertools.islice(each, self.options.accumulate)):
            yield group

    def after(self, number: int) -> float:
        """How many epochs are trained after a stretch; where stretches are epochs, a last one that --training_steps
        cuts counts as whole."""
        if self.options.evaluate_every is None:
            return number + 1
        return round(min((number + 1) * self.stride, self.total) / self.steps, 2)
