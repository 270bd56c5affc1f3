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

from bertpass.base.timeouts import timeout_at
from bertpass.serving.failures import Overloaded
from bertpass.serving.instances.worker import Row
from bertpass.serving.queueing.waiting import Item, Job, Lane

#: rows that do not fit a batch and are passed over while it is filled
PASSED_OVER = 256


def any_length() -> float:
    """The limit of an instance that takes every row."""
    return math.inf


def any_tokens(model: int) -> float:
    """The limit of batches whose time does not matter."""
    return math.inf


class TokenQueue:
    """The queue.

    Parameters
    ----------
    max_batch_tokens
        Tokens of a batch; a single longer row is a batch of its own.
    timeout
        Seconds after a request's arrival at which its job fails if a row of it still waits.
    max_wait
        Seconds that :meth:`take` waits for a batch to fill.
    limits
        Tokens of the longest row that an instance takes, of every instance that has such a limit.
    """

    def __init__(self, max_batch_tokens: int, timeout: float, max_wait: float = 0.0, limits: Iterable[float] = (),
                 ) -> None:
        self.timeout = timeout
        self._budget, self._max_wait = max_batch_tokens, max_wait
        self._lanes = [Lane(number, most) for number, most in enumerate(sorted({*limits, math.inf}))]
        self._several: set[Job] = set()  # jobs of more than one row
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._changed = asyncio.Event()

    @property
    def waiting_rows(self) -> int:
        return sum(lane.rows for lane in self._lanes)

    @property
    def waiting_tokens(self) -> int:
        return sum(lane.tokens.total() for lane in self._lanes)

    @property
    def limits(self) -> list[float]:
        """Tokens of the longest row of each lane, the shortest first."""
        return [lane.most for lane in self._lanes]

    def by_lane(self, rows: Sequence[Row]) -> list[int]:
        """The tokens of rows by the lanes in which they would wait."""
        found = [0] * len(self._lanes)
        for ids, _ in rows:
            found[self._lane(len(ids)).number] += len(ids)
        return found

    def before(self, rows: Sequence[Row], work: Callable[[int, float], float]) -> list[float]:
        """How much would go before the last of these rows if they came now, by lanes; ``work(model, tokens)`` says how
        much tokens are. Of a large job that waits it is only what this order puts before them.
        """
        found = [sum(work(model, tokens) for model, tokens in lane.tokens.items()) for lane in self._lanes]
        tag = self._virtual + sum(len(ids) for ids, _ in rows[:-1])
        for job in self._several:
            later = 1.0 - job.share_before(tag)
            for number, tokens in job.left.items():
                found[number] -= work(job.model, later * tokens)
        return found

    def submit(self, model: int, rows: Sequence[Row], arrived: float | None = None) -> Job:
        """Put rows into the queue; cancelling the job's future takes those out that still wait.

        ``arrived`` is when their request came, of ``time.monotonic``; default: now.
        """
        loop = asyncio.get_running_loop()
        job = Job(model, rows, loop.create_future())
        if not rows:
            job.future.set_result([])
            return job
        tag = self._virtual
        for at, (ids, _) in enumerate(rows):
            self._put(Item(tag, next(self._numbers), job, at))
            tag += len(ids)
        job.end = tag
        if len(rows) > 1:
            self._several.add(job)
        late = 0.0 if arrived is None else job.came - arrived
        timer = loop.call_later(max(0.0, self.timeout - late), self._expire, job)
        job.future.add_done_callback(lambda _: self._forget(job, timer))
        return job

    def put_back(self, batch: Sequence[Item]) -> None:
        """Rows whose instance ended; they keep their places in the order."""
        for item in batch:
            if not item.job.future.done():
                item.lost = True
                item.job.waiting += 1
                self._put(item)

    async def take(self, limit: Callable[[], float] = any_length, most: Callable[[int], float] = any_tokens,
                   ) -> list[Item]:
        """Rows of one model, none longer than the limit and together of no more tokens than ``most`` of that model, as
        soon as there are some.

        The limit is asked for again whenever a row came or :meth:`wake` was called. A row that was lost once comes
        alone, so that it can take no others with it.
        """
        while True:
            while not any(lane.rows for lane in self._within(limit)):
                await self._change()
            if self._max_wait:
                await self._fill(limit)
            if batch := self._batch(self._within(limit), most):
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
        while sum(lane.tokens.total() for lane in self._within(limit)) < self._budget:
            try:
                async with timeout_at(end):
                    await self._change()
            except asyncio.TimeoutError:
                return

    def _batch(self, lanes: Sequence[Lane], most: Callable[[int], float]) -> list[Item]:
        batch: list[Item] = []
        aside: list[Item] = []
        tokens, budget = 0, float(self._budget)
        while tokens < budget and len(aside) < PASSED_OVER:
            lane = min((lane for lane in lanes if lane.heap), key=lambda lane: lane.heap[0], default=None)
            if lane is None:
                break
            item = heapq.heappop(lane.heap)
            if item.job.future.done():  # expired, or its client went away
                lane.count(item, -1)
                continue
            if not batch:
                self._virtual = max(self._virtual, item.tag)
                budget = min(budget, most(item.job.model))
            fits = not batch or not (
                item.lost or item.job.model != batch[0].job.model or tokens + item.tokens > budget)
            if not fits:
                aside.append(item)
                continue
            batch.append(item)
            tokens += item.tokens
            if item.lost:
                break
        for item in aside:
            heapq.heappush(self._lane(item.tokens).heap, item)
        now = time.monotonic()
        for item in batch:
            self._lane(item.tokens).count(item, -1)
            item.job.waiting -= 1
            item.job.queued = now - item.job.came
        return batch

    def _lane(self, tokens: int) -> Lane:
        return next(lane for lane in self._lanes if tokens <= lane.most)

    def _put(self, item: Item) -> None:
        lane = self._lane(item.tokens)
        heapq.heappush(lane.heap, item)
        lane.count(item, 1)
        self._changed.set()

    def _expire(self, job: Job) -> None:
        if job.waiting:
            job.fail(Overloaded(f"the request waited longer than {self.timeout:g} seconds; try again later."))

    def _forget(self, job: Job, timer: asyncio.TimerHandle) -> None:
        """Drop what is left of an answered job."""
        timer.cancel()
        self._several.discard(job)
        if job.waiting:
            for lane in self._lanes:
                lane.forget(job)
