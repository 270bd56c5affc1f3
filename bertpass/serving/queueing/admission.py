"""Which requests are taken: those that are expected to be answered in time, by how fast the engines have been so far.

The promise is an answer within --queue_timeout of the request's arrival. A request is expected to wait for the batches
in progress and for what goes before it in the queue, all of it divided among the cores that take such rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bertpass.serving.failures import Overloaded
from bertpass.serving.instances.worker import Row
from bertpass.serving.queueing.pace import SHARE, Pace
from bertpass.serving.queueing.pool import Pool
from bertpass.serving.queueing.queue import TokenQueue


class Admission:
    """Takes and refuses requests."""

    def __init__(self, queue: TokenQueue, pool: Pool, pace: Pace) -> None:
        self._queue, self._pool, self._pace = queue, pool, pace

    def expected(self, model: int = 0, rows: Sequence[Row] = ()) -> float:
        """Seconds until rows that come now are computed; 0 where nothing is before them.

        No rows are a row without tokens. Instances of which each takes all rows that a smaller one takes need at least
        the time of what only the largest take, of that and what the next smaller take as well, and so on: the largest
        of these is the answer.
        """
        before = self._queue.before(rows, self._pace.work)
        own = [self._pace.work(model, tokens) for tokens in self._queue.by_lane(rows)]
        longest = 0.0
        for lane, limit in enumerate(self._queue.limits):
            if lane and not any(own[lane:]):
                break
            able = self._pool.able(limit)
            work = sum(before[lane:]) + sum(map(self._pace.in_progress, able))
            if work > 0.0:
                longest = max(longest, (work + sum(own[lane:])) / sum(self._pace.cores[each] for each in able))
        return longest

    def check(self, model: int = 0, rows: Sequence[Row] = ()) -> None:
        """Overloaded where these rows, or without rows even the smallest, would not be computed in time."""
        seconds, bound = self.expected(model, rows), SHARE * self._queue.timeout
        if seconds > bound:
            raise Overloaded(f"the answer is expected to take {seconds:.3g} seconds, and the server takes what takes "
                             f"{bound:.3g}; try again later, or send fewer texts at a time.",
                             math.ceil(seconds - bound))
