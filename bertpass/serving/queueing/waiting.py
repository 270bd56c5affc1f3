"""What waits for an engine: a request's rows as a job, each row as an item, and the lanes in which items stand."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bertpass.serving.instances.worker import Row


@dataclass(eq=False)
class Job:
    """Rows of one model that a request waits for; ``future`` gets their outputs in their order.

    ``queued`` and ``computing`` are seconds: until its last row was taken, and from then to the last output. ``left``
    are the tokens of its rows that wait, by lane, and ``end`` is the tag that a row after its last would have.
    """

    model: int
    rows: Sequence[Row]
    future: asyncio.Future[list[np.ndarray]]
    came: float = field(default_factory=time.monotonic)
    waiting: int = 0
    queued: float = 0.0
    computing: float = 0.0
    left: Counter[int] = field(default_factory=Counter)
    end: float = 0.0

    def __post_init__(self) -> None:
        self.waiting = self._missing = len(self.rows)
        self._outputs: list[np.ndarray] = [np.empty(0)] * len(self.rows)

    def deliver(self, at: int, output: np.ndarray) -> None:
        """Take the output of one row; of the last row that is missing, answer."""
        self._outputs[at] = output
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.computing = time.monotonic() - self.came - self.queued
            self.future.set_result(self._outputs)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless it is answered or nobody waits any more."""
        if not self.future.done():
            self.future.set_exception(error)

    def share_before(self, tag: float) -> float:
        """How much of what waits goes before a row of that tag, from 0 to 1; rows count as equally long."""
        waiting = self.left.total()
        first = self.end - waiting
        if not waiting or tag < first:
            return 0.0
        return min(1.0, (tag - first + waiting / self.waiting) / waiting)


@dataclass(order=True)
class Item:
    """One row in the queue; ``lost`` says that an instance ended while it computed it."""

    tag: float
    number: int
    job: Job = field(compare=False)
    at: int = field(compare=False)
    lost: bool = field(default=False, compare=False)

    @property
    def tokens(self) -> int:
        return len(self.job.rows[self.at][0])


@dataclass(eq=False)
class Lane:
    """The waiting rows of up to ``most`` tokens that fit no shorter lane, as a heap; ``rows`` of them, with these
    ``tokens`` of each model, still have somebody who waits for them."""

    number: int
    most: float
    heap: list[Item] = field(default_factory=list)
    rows: int = 0
    tokens: Counter[int] = field(default_factory=Counter)

    def count(self, item: Item, sign: int) -> None:
        """A row came, 1, or went, -1."""
        self.rows += sign
        self.tokens[item.job.model] += sign * item.tokens
        item.job.left[self.number] += sign * item.tokens

    def forget(self, job: Job) -> None:
        """Take out the rows of a job."""
        for item in self.heap:
            if item.job is job:
                self.count(item, -1)
        self.heap = [item for item in self.heap if item.job is not job]
        heapq.heapify(self.heap)
