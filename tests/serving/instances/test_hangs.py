"""Engines that hang or are late: found soon, told by /ready, their rows computed elsewhere; slow ones are let work."""

import asyncio
import logging
import math
import os
import signal
import threading
import time

import pytest

from bertpass.serving.failures import Overloaded
from bertpass.serving.instances.instance import InstanceLost
from bertpass.serving.queueing.admission import Admission
from bertpass.serving.queueing.pace import Pace
from bertpass.serving.queueing.pool import FIRST, LOOKS, Pool
from bertpass.serving.queueing.queue import TokenQueue
from tests.helpers.served import pids, until

#: --queue_timeout by which a process that does nothing for 1 second hangs
QUEUE = 5


def embed(client, text="abc"):
    return client.post("/embed", json={"inputs": text})


def test_a_stopped_engine_is_found_and_its_requests_are_answered(serve, caplog):
    async def job(client):
        expected = (await embed(client)).json()
        (hung,) = pids(client)
        os.kill(hung, signal.SIGSTOP)
        replies = asyncio.gather(*(embed(client) for _ in range(20)))
        seen = set()
        while pids(client)[0] in (hung, None) or not client.state.ready:
            seen.add((await client.get("/ready")).status_code)
            await asyncio.sleep(0.01)
        assert 503 in seen  # nothing was computed meanwhile, and /ready said so
        assert [(reply.status_code, reply.json() == expected) for reply in await replies] == [(200, True)] * 20
        assert any("did nothing for 1 s" in message for message in caplog.messages)
    with caplog.at_level(logging.WARNING, logger="bertpass.serving"):
        serve(job, "embedding", queue_timeout=QUEUE, instances=1)


def test_the_rows_of_a_stopped_engine_are_computed_by_another(serve, two_cores):
    async def job(client):
        await until(lambda: client.state.pool.up == 2, "both instances")
        expected = (await embed(client)).json()
        hung, other = pids(client)
        os.kill(hung, signal.SIGSTOP)
        replies = await asyncio.gather(*(embed(client) for _ in range(40)))
        assert {reply.status_code for reply in replies} == {200} and all(r.json() == expected for r in replies)
        await until(lambda: pids(client)[0] not in (hung, None), "another process")
        assert pids(client)[1] == other
    serve(job, "embedding", queue_timeout=QUEUE, instances=2, max_batch_tokens=20, health_interval=0.2)


def test_a_stopped_engine_without_work_is_found_by_the_health_check(serve):
    async def job(client):
        (hung,) = pids(client)
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: pids(client)[0] not in (hung, None) and client.state.ready, "another process")
    serve(job, "embedding", queue_timeout=QUEUE, health_interval=0.2)


def test_a_slow_engine_is_not_taken_for_a_hung_one(serve):
    """Five tokens at two a second: longer than a hung process is given, and later than the first was expected."""
    async def job(client):
        before = pids(client)
        assert (await embed(client)).status_code == 200
        assert (await embed(client)).status_code == 200
        assert pids(client) == before
    serve(job, "embedding@2", queue_timeout=QUEUE)


class Process:
    """In the place of an instance: its call ends when it is killed; ``steps`` is what its process is seen to have
    done."""

    def __init__(self, steps):
        self._steps, self._ended = iter(steps), threading.Event()
        self.place = type("Place", (), {"number": 0, "longest": None, "cpus": (0,)})()
        self.killed_after = None
        self._start = time.monotonic()

    def progress(self):
        return next(self._steps)

    def kill(self):
        self.killed_after = time.monotonic() - self._start
        self._ended.set()

    def compute(self):
        self._ended.wait(60)
        raise InstanceLost("it ended")


@pytest.mark.parametrize(("steps", "seconds", "why"), [
    (["same"] * 100, 50, "did nothing"),  # stopped, or in a deadlock
    (map(str, range(10 ** 9)), 1.5, "did not answer within 1.5 s"),  # in a loop without an end
    ([None] * 100, 1.5, "did not answer within 1.5 s"),  # where the system does not tell
    (["a", "a", "b", *["b"] * 100], 50, "did nothing"),
])
def test_what_is_ended(steps, seconds, why, caplog):
    async def job():
        process = Process(steps)
        queue = TokenQueue(100, QUEUE)
        pool = Pool([process], queue, Pace([1]), None, 60, lambda *_: None, lambda: None)
        with pytest.raises(InstanceLost):
            await pool.within(seconds, process, process.compute)
        assert process.killed_after >= min(seconds, 1.0) * (LOOKS - 1) / LOOKS and why in caplog.text
        assert process.killed_after < 40  # and not after the 50 s that an answer may take
    asyncio.run(job())


def test_how_long_a_batch_may_take():
    async def job():
        def most(timeout, expected, queue_timeout=10):
            return Pool([Process([])], TokenQueue(100, queue_timeout), Pace([1]), timeout, 60, lambda *_: None,
                        lambda: None).most(expected)
        assert most(None, None) == FIRST  # nothing is known yet
        assert most(None, 0.5) == 10 and most(None, 0.5, 1) == 5 and most(None, 0.5, 100) == 100
        assert most(None, 20.0) == 100  # one long row of a large model
        assert most(0.3, None) == most(0.3, 20.0) == 0.3  # as it was asked for
    asyncio.run(job())


def test_a_late_batch_counts_as_a_wait():
    class Instances:
        def able(self, tokens):
            return [0]

    async def job():
        now = [0.0]
        pace = Pace([1], lambda: now[0])
        admission = Admission(TokenQueue(100, 10), Instances(), pace)
        pace.begin(0, 0, 100)
        now[0] = 1.0
        pace.end(0, True)  # 100 tokens a second
        pace.begin(0, 0, 100)
        assert admission.expected() == pytest.approx(1.0)
        now[0] += 1.5
        assert admission.expected() == pytest.approx(0.5)
        admission.check()
        now[0] += 5
        with pytest.raises(Overloaded):
            admission.check()
        pace.end(0, False)
        assert admission.expected() == 0.0 and math.isfinite(pace.rate(0))
    asyncio.run(job())
