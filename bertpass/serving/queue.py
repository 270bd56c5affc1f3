"""Rows that wait for an engine, taken in batches by tokens; one event loop's, no threads.

Order is that of start-time fair queueing (Goyal, Vin, Cheng 1996, equations 1 to 3, all weights 1): a job's row is
tagged with the tokens of the job's rows before it, counted from the queue's virtual time when the job came, and the
smallest tag goes first. So a small request overtakes the later rows of a large one, and no row waits for ever.

Where instances differ in size, rows stand in lanes by their length, and a small instance takes from the lanes of short
rows only: those never wait behind long ones.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bertpass.serving.failures import Overloaded
from bertpass.serving.worker import Row

#: rows that do not fit a batch and are passed over while it is filled
PASSED_OVER = 256
#: places of a batch, rows times the longest of them, for each token of the budget: what its outputs may take
PLACES = 2


@dataclass(eq=False)
class Job:
    """Rows of one model that a request waits for; ``future`` gets their outputs in their order.

    ``queued`` and ``computing`` are seconds: until its last row was taken, and from then to the last output.
    """

    model: int
    rows: Sequence[Row]
    future: asyncio.Future[list[np.ndarray]]
    came: float = field(default_factory=time.monotonic)
    waiting: int = 0
    queued: float = 0.0
    computing: float = 0.0

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
    """The waiting rows of up to ``most`` tokens that fit no shorter lane, as a heap; ``rows`` and ``tokens`` of them
    still have somebody who waits for them."""

    most: float
    heap: list[Item] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0

    def count(self, item: Item, sign: int) -> None:
        """A row came, 1, or went, -1."""
        self.rows += sign
        self.tokens += sign * item.tokens

    def forget(self, job: Job) -> None:
        """Take out the rows of a job."""
        for item in self.heap:
            if item.job is job:
                self.count(item, -1)
        self.heap = [item for item in self.heap if item.job is not job]
        heapq.heapify(self.heap)


def any_length() -> float:
    """The limit of an instance that takes every row."""
    return math.inf


class TokenQueue:
    """The queue.

    Parameters
    ----------
    max_batch_tokens
        Tokens of a batch; a single longer row is a batch of its own.
    timeout
        Seconds after which a job fails of which a row still waits.
    max_wait
        Seconds that :meth:`take` waits for a batch to fill.
    limits
        Tokens of the longest row that an instance takes, of every instance that has such a limit.
    """

    def __init__(self, max_batch_tokens: int, timeout: float, max_wait: float = 0.0, limits: Iterable[float] = (),
                 ) -> None:
        self._budget, self._timeout, self._max_wait = max_batch_tokens, timeout, max_wait
        self._lanes = [Lane(most) for most in sorted({*limits, math.inf})]
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._changed = asyncio.Event()

    @property
    def waiting_rows(self) -> int:
        return sum(lane.rows for lane in self._lanes)

    @property
    def waiting_tokens(self) -> int:
        return sum(lane.tokens for lane in self._lanes)

    def submit(self, model: int, rows: Sequence[Row]) -> Job:
        """Put rows into the queue; cancelling the job's future takes those out that still wait."""
        loop = asyncio.get_running_loop()
        job = Job(model, rows, loop.create_future())
        if not rows:
            job.future.set_result([])
            return job
        tag = self._virtual
        for at, (ids, _) in enumerate(rows):
            self._put(Item(tag, next(self._numbers), job, at))
            tag += len(ids)
        timer = loop.call_later(self._timeout, self._expire, job)
        job.future.add_done_callback(lambda _: self._forget(job, timer))
        return job

    def put_back(self, batch: Sequence[Item]) -> None:
        """Rows whose instance ended; they keep their places in the order."""
        for item in batch:
            if not item.job.future.done():
                item.lost = True
                item.job.waiting += 1
                self._put(item)

    async def take(self, limit: Callable[[], float] = any_length) -> list[Item]:
        """Rows of one model, none longer than the limit, as soon as there are some.

        The limit is asked for again whenever a row came or :meth:`wake` was called. A row that was lost once comes
        alone, so that it can take no others with it.
        """
        while True:
            while not any(lane.rows for lane in self._within(limit)):
                await self._change()
            if self._max_wait:
                await self._fill(limit)
            if batch := self._batch(self._within(limit)):
                return batch

    def wake(self) -> None:
        """Let those who wait look again at what they may take."""
        self._changed.set()

    def _within(self, limit: Callable[[], float]) -> list[Lane]:
        most = limit()
        return [lane for lane in self._lanes if lane.most <= most]

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _fill(self, limit: Callable[[], float]) -> None:
        """Wait for a full batch, but not longer than is allowed."""
        end = asyncio.get_running_loop().time() + self._max_wait
        while sum(lane.tokens for lane in self._within(limit)) < self._budget:
            try:
                async with asyncio.timeout_at(end):
                    await self._change()
            except TimeoutError:
                return

    def _batch(self, lanes: Sequence[Lane]) -> list[Item]:
        batch: list[Item] = []
        aside: list[Item] = []
        tokens = longest = 0
        while tokens < self._budget and len(aside) < PASSED_OVER:
            lane = min((lane for lane in lanes if lane.heap), key=lambda lane: lane.heap[0], default=None)
            if lane is None:
                break
            item = heapq.heappop(lane.heap)
            if item.job.future.done():  # expired, or its client went away
                lane.count(item, -1)
                continue
            if not batch:
                self._virtual = max(self._virtual, item.tag)
            fits = not batch or not (
                item.lost or item.job.model != batch[0].job.model or tokens + item.tokens > self._budget
                or (len(batch) + 1) * max(longest, item.tokens) > PLACES * self._budget)
            if not fits:
                aside.append(item)
                continue
            batch.append(item)
            tokens, longest = tokens + item.tokens, max(longest, item.tokens)
            if item.lost:
                break
        for item in aside:
            heapq.heappush(self._lane(item).heap, item)
        now = time.monotonic()
        for item in batch:
            self._lane(item).count(item, -1)
            item.job.waiting -= 1
            item.job.queued = now - item.job.came
        return batch

    def _lane(self, item: Item) -> Lane:
        return next(lane for lane in self._lanes if item.tokens <= lane.most)

    def _put(self, item: Item) -> None:
        lane = self._lane(item)
        heapq.heappush(lane.heap, item)
        lane.count(item, 1)
        self._changed.set()

    def _expire(self, job: Job) -> None:
        if job.waiting:
            job.fail(Overloaded(f"the request waited longer than {self._timeout:g} seconds; try again later."))

    def _forget(self, job: Job, timer: asyncio.TimerHandle) -> None:
        """Drop what is left of an answered job."""
        timer.cancel()
        if job.waiting:
            for lane in self._lanes:
                lane.forget(job)
