"""Instances at work: each takes batches from the queue; one that ends or hangs is started again."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bertpass.base.timeouts import timeout
from bertpass.errors import BertpassError, ModelError
from bertpass.serving.failures import EngineFailure
from bertpass.serving.instances.instance import Instance, InstanceLost
from bertpass.serving.queueing.pace import BATCH, Pace
from bertpass.serving.queueing.queue import TokenQueue
from bertpass.serving.queueing.waiting import Item

log = logging.getLogger("bertpass.serving")
T = TypeVar("T")

#: seconds that loading and warming up may take
LOADING = 900.0
#: seconds that the first batch of a model may take, of which nothing is known, and the least that others may take
FIRST, LEAST = 60.0, 5.0
#: times what a batch is expected to take that it may take
ROOM = 5
#: share of the queue's time-out, and seconds, after which a process that does nothing at all hangs; that it does
#: something is looked for so many times meanwhile
STALL, STALL_LEAST, LOOKS = 0.2, 1.0, 4
#: tokens of a batch that is sent from the event loop (8 bytes each: any socket takes them without its other end), and
#: seconds in which its answer is waited for there; then a thread waits, and the process is looked at
SMALL, QUICK = 512, 0.05
#: seconds before an instance that was lost is started again; doubled with every start that fails, up to the second
PAUSES = 0.1, 10.0


class Pool:
    """All instances of a server.

    Parameters
    ----------
    instances
        Not started yet.
    pace
        Is told of every batch.
    timeout
        Seconds that a batch may take before its instance is replaced; None is by what it is expected to take.
    health_interval
        Seconds without work after which an instance is asked for a forward.
    on_batch
        Called with (rows, tokens) of every batch.
    on_restart
        Called before an instance is started once one has been up.
    """

    def __init__(self, instances: Sequence[Instance], queue: TokenQueue, pace: Pace, timeout: float | None,
                 health_interval: float, on_batch: Callable[[int, int], None], on_restart: Callable[[], None]) -> None:
        self._instances, self._queue, self._pace = list(instances), queue, pace
        self._on_batch, self._on_restart = on_batch, on_restart
        self._timeout, self._health_interval = timeout, health_interval
        self._stall = max(STALL_LEAST, STALL * queue.timeout)
        self._threads = ThreadPoolExecutor(len(self._instances), "bertpass-instance")
        self._limits = [math.inf if each.place.longest is None else each.place.longest for each in self._instances]
        self._up: set[int] = set()
        #: whether an instance has been up: from then on the queue is worked off, if only once one is up again
        self.started = False
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[BertpassError] = asyncio.get_running_loop().create_future()

    @property
    def up(self) -> int:
        """Instances that are loaded, warm, and answered their last forward."""
        return len(self._up)

    @property
    def computing(self) -> int:
        """Those of :attr:`up` that are not late with a batch."""
        return sum(not self._pace.overdue(number, self._stall) for number in self._up)

    def able(self, tokens: float) -> list[int]:
        """Instances that take rows of so many tokens: of those that are up, or of all while none is."""
        return [number for number in self._up or range(len(self._instances)) if self._limit(number) >= tokens]

    def describe(self) -> list[dict[str, Any]]:
        """Each instance's place and engines."""
        return [{"instance": instance.place.number, "pid": instance.pid, "pinned": instance.place.pinned,
                 "threads": len(instance.place.cpus),
                 "cpus": list(instance.place.cpus) if instance.place.pinned else sorted(os.sched_getaffinity(0)),
                 "memory_nodes": list(instance.place.memory), "longest": instance.place.longest,
                 "up": number in self._up, "engines": instance.about}
                for number, instance in enumerate(self._instances)]

    def start(self) -> None:
        """Start all instances; ``failed`` gets the error where a model cannot be loaded at all."""
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(len(self._instances))]

    async def close(self) -> None:
        """End all instances."""
        for task in self._tasks:
            task.cancel()
        for instance in self._instances:
            instance.retire()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()
        for instance in self._instances:
            instance.close()

    async def _run(self, number: int) -> None:
        instance, pause = self._instances[number], PAUSES[0]
        while True:
            try:
                start = time.monotonic()
                if self.started:
                    self._on_restart()
                await self.within(LOADING, instance, instance.start, look=False)
                log.info("instance %d is ready after %.1f s (process %s).", number, time.monotonic() - start,
                         instance.pid)
                self._set_up(number, True)
                pause = PAUSES[0]
                await self._work(number)
            except ModelError as error:
                if not self.started:  # a model that never could be served; later the other instances go on
                    if not self.failed.done():
                        self.failed.set_result(error)
                    return
                log.error("instance %d cannot load a model (%s); it is tried again in %g s.", number, error, pause)
            except InstanceLost as error:
                log.warning("%s; it is started again in %g s.", error, pause)
            except OSError as error:  # the system starts no process, or not on these processors
                log.warning("instance %d does not start (%s); it is tried again in %g s.", number, error, pause)
            finally:
                self._set_up(number, False)
            await asyncio.get_running_loop().run_in_executor(self._threads, instance.close)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSES[1])

    def _set_up(self, number: int, up: bool) -> None:
        (self._up.add if up else self._up.discard)(number)
        self.started |= up
        self._queue.wake()  # limits may have changed

    def _limit(self, number: int) -> float:
        """Tokens of the longest row that an instance takes: its own limit, or none while all with a higher one are
        away, for then nobody else would compute long rows."""
        own = self._limits[number]
        return own if any(self._limits[other] > own for other in self._up) else math.inf

    async def _work(self, number: int) -> None:
        """Compute until the instance is lost."""
        instance, longest = self._instances[number], BATCH * self._queue.timeout
        while True:
            try:
                async with timeout(self._health_interval):
                    batch = await self._queue.take(lambda: self._limit(number),
                                                   lambda model: self._pace.batch(number, model, longest))
            except asyncio.TimeoutError:
                try:
                    await self.within(self.most(0.0), instance, instance.probe)
                except EngineFailure as error:  # it answers, but cannot compute any more
                    raise InstanceLost(f"instance {instance.place.number} fails: {error}") from error
                continue
            await self._compute(number, batch)

    async def _compute(self, number: int, batch: list[Item]) -> None:
        instance, model, tokens = self._instances[number], batch[0].job.model, sum(item.tokens for item in batch)
        self._on_batch(len(batch), tokens)
        rows = [item.job.rows[item.at] for item in batch]
        computed = False
        self._pace.begin(number, model, tokens)
        try:
            most = self.most(self._pace.expected(number, model, tokens))
            if tokens > SMALL:
                outputs = await self.within(most, instance, lambda: instance.compute(model, rows))
            else:
                instance.begin(model, rows)
                quick = min(QUICK, most)
                if await _answered(instance, quick):
                    outputs = instance.finish()
                else:
                    outputs = await self.within(most, instance, instance.finish, spent=quick)
            computed = True
        except EngineFailure as error:
            for item in batch:
                item.job.fail(error)
            return
        except InstanceLost:
            for item in batch:
                if item.lost:
                    item.job.fail(EngineFailure("the engine ended twice while it computed this request."))
            self._queue.put_back([item for item in batch if not item.lost])
            raise
        finally:
            self._pace.end(number, computed)
        for item, output in zip(batch, outputs, strict=True):
            item.job.deliver(item.at, output)

    def most(self, expected: float | None) -> float:
        """Seconds that a batch may take which is expected to take so many."""
        if self._timeout is not None:
            return self._timeout
        return FIRST if expected is None else max(LEAST, self._queue.timeout, ROOM * expected)

    async def within(self, seconds: float, instance: Instance, call: Callable[[], T], look: bool = True,
                     spent: float = 0.0) -> T:
        """The call in a thread. Its instance's process is ended where it takes longer, or does nothing for too long:
        then it is stopped, or waits for what never comes. ``spent`` are seconds that it has taken already."""
        loop = asyncio.get_running_loop()
        work, end = loop.run_in_executor(self._threads, call), loop.time() + seconds - spent
        seen, same = instance.progress() if look else None, 0
        try:
            while not (await asyncio.wait({work}, timeout=min(self._stall / LOOKS, max(0.0, end - loop.time()))))[0]:
                now = instance.progress() if look else None
                same = same + 1 if now is not None and now == seen else 0
                seen = now
                if same >= LOOKS or loop.time() >= end:
                    log.warning("instance %d %s; its process is ended.", instance.place.number,
                                f"did nothing for {self._stall:g} s" if same >= LOOKS
                                else f"did not answer within {seconds:g} s")
                    instance.kill()
                    break
            return await work
        finally:
            work.cancel()


async def _answered(instance: Instance, seconds: float) -> bool:
    """Whether the whole answer to a batch comes within so many seconds; False too as soon as a part of a long one is
    there."""
    loop = asyncio.get_running_loop()
    there: asyncio.Future[bool] = loop.create_future()

    def settle(found: bool) -> None:
        if not there.done():
            there.set_result(found)

    number, timer = instance.fileno(), loop.call_later(seconds, settle, False)
    loop.add_reader(number, lambda: settle(instance.answered()))
    try:
        return await there
    finally:
        timer.cancel()
        loop.remove_reader(number)
