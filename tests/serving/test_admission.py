"""What is taken and what is refused: estimates by a clock of the test's own, and a server whose pace is known."""

import asyncio
import math

import numpy as np
import pytest

from bertpass.bench.traffic.client import due_times
from bertpass.serving.failures import Overloaded
from bertpass.serving.queueing.admission import Admission
from bertpass.serving.queueing.pace import BATCH, Pace
from bertpass.serving.queueing.queue import TokenQueue
from tests.helpers.served import until


def rows(*lengths):
    return [(np.zeros(n, np.int32), np.zeros(n, np.int32)) for n in lengths]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Instances:
    """In the place of a pool: ``limits`` are the longest rows of each instance."""

    def __init__(self, *limits):
        self._limits = limits

    def able(self, tokens):
        return [number for number, limit in enumerate(self._limits) if limit >= tokens]


def paced(clock, cores=(1,), model=0, rate=100):
    """A pace that has seen a batch: ``rate`` tokens a second and core."""
    pace = Pace(cores, clock)
    pace.begin(0, model, 10 * rate)
    clock.now += 10 / cores[0]
    pace.end(0, True)
    return pace


def run(job):
    return asyncio.run(job())


def test_the_newest_batches_count_most_and_small_ones_little():
    clock = Clock()
    pace = paced(clock)
    assert pace.rate(0) == pytest.approx(100) and pace.work(0, 50) == pytest.approx(0.5)
    for _ in range(30):
        pace.begin(0, 0, 400)
        clock.now += 2
        pace.end(0, True)
    assert pace.rate(0) == pytest.approx(200, rel=0.01)
    pace.begin(0, 0, 4)
    clock.now += 1
    pace.end(0, True)
    assert pace.rate(0) == pytest.approx(200, rel=0.01)


def test_work_is_of_a_core_and_of_a_model():
    clock = Clock()
    pace = paced(clock, cores=(4,), model=1, rate=25)
    assert pace.work(1, 25) == pytest.approx(1.0) and pace.work(0, 1000) == 0.0  # of which nothing is known yet
    assert pace.batch(0, 1, 2.0) == pytest.approx(200) and pace.batch(0, 0, 2.0) == math.inf


def test_what_was_lost_says_nothing_and_what_is_in_progress_gets_less_and_then_more():
    clock = Clock()
    pace = paced(clock)
    pace.begin(0, 0, 100)
    assert pace.in_progress(0) == pytest.approx(1.0)
    clock.now += 0.75
    assert pace.in_progress(0) == pytest.approx(0.25)
    assert not pace.overdue(0, 0.0) and pace.expected(0, 0, 100) == pytest.approx(1.0)
    clock.now += 2
    assert pace.in_progress(0) == pytest.approx(1.75)  # as late again
    assert not pace.overdue(0, 0.0)
    clock.now += 0.5
    assert pace.overdue(0, 0.0) and not pace.overdue(0, 10.0)
    clock.now += 8
    assert pace.overdue(0, 10.0)
    pace.end(0, False)
    assert pace.rate(0) == pytest.approx(100) and pace.in_progress(0) == 0.0


def test_the_wait_is_what_goes_before():
    async def job():
        clock = Clock()
        queue, pace = TokenQueue(1000, 60), paced(clock)
        admission = Admission(queue, Instances(math.inf), pace)
        assert admission.expected(0, rows(10_000)) == 0.0  # nothing is before it, however much it is
        queue.submit(0, rows(100))
        queue.submit(0, rows(200))
        assert admission.expected() == pytest.approx(3.0)
        assert admission.expected(0, rows(50, 50)) == pytest.approx(4.0)
        pace.begin(0, 0, 100)
        clock.now += 0.5
        assert admission.expected(0, rows(50)) == pytest.approx(4.0)
        await queue.take()
        assert admission.expected(0, rows(50)) == pytest.approx(1.0)
    run(job)


def test_a_small_request_does_not_wait_for_all_of_a_large_one():
    async def job():
        queue = TokenQueue(100, 60)
        admission = Admission(queue, Instances(math.inf), paced(Clock()))
        large = queue.submit(0, rows(*[10] * 500))
        await queue.take()
        assert large.left.total() == 4900
        assert admission.expected(0, rows(10)) == 0.0  # it comes next
        assert admission.expected(0, rows(*[10] * 30)) == pytest.approx(5.0)  # from then on they take turns
        assert admission.expected(0, rows(*[10] * 1000)) == pytest.approx(149.0)
        large.future.cancel()
        await asyncio.sleep(0)
        assert admission.expected(0, rows(10)) == 0.0
    run(job)


def test_models_cost_what_they_cost():
    async def job():
        clock = Clock()
        queue, pace = TokenQueue(100, 60), paced(clock)
        pace.begin(0, 1, 100)
        clock.now += 10  # ten times as long
        pace.end(0, True)
        queue.submit(1, rows(100))
        assert Admission(queue, Instances(math.inf), pace).expected(0, rows(100)) == pytest.approx(11.0)
    run(job)


def test_instances_share_the_work_of_rows_that_they_take():
    async def job():
        queue = TokenQueue(1000, 60, limits=[10])
        pace = paced(Clock(), cores=(1, 3))
        admission = Admission(queue, Instances(10, math.inf), pace)
        for _ in range(40):
            queue.submit(0, rows(10))
        assert admission.expected(0, rows(10)) == pytest.approx(4.1 / 4)
        for _ in range(6):
            queue.submit(0, rows(100))
        assert admission.expected(0, rows(100)) == pytest.approx(11 / 4)
        for _ in range(10):
            queue.submit(0, rows(100))
        assert admission.expected(0, rows(100)) == pytest.approx(max(21 / 4, 17 / 3))
        queue.submit(0, rows(*[100] * 10))
        assert admission.expected(0, rows(*[100] * 10)) == pytest.approx(max(40 / 4, 36 / 3))
    run(job)


def test_what_cannot_be_in_time_is_refused_with_the_time_to_come_again():
    async def job():
        queue = TokenQueue(1000, 10)
        admission = Admission(queue, Instances(math.inf), paced(Clock()))
        queue.submit(0, rows(350))
        admission.check()
        admission.check(0, rows(50))
        with pytest.raises(Overloaded, match="try again later") as refused:
            admission.check(0, rows(650))
        assert refused.value.retry_after == 6  # 10 seconds, of which SHARE is waited for
        queue.submit(0, rows(100))
        with pytest.raises(Overloaded):
            admission.check()  # before its texts are read
    run(job)


def test_a_batch_takes_no_longer_than_its_share():
    async def job():
        queue, pace = TokenQueue(1000, 10), paced(Clock())
        for _ in range(10):
            queue.submit(0, rows(30))
        batch = await queue.take(most=lambda model: pace.batch(0, model, BATCH * queue.timeout))
        assert len(batch) == 3  # of a second in which 100 tokens are computed
        queue.submit(0, rows(900))
        assert len(await queue.take(most=lambda model: 5.0)) == 1  # never nothing
    run(job)


def test_the_time_counts_from_the_arrival():
    async def job():
        queue = TokenQueue(1000, 30)
        late = queue.submit(0, rows(5), arrived=asyncio.get_running_loop().time() - 29.99)
        early = queue.submit(0, rows(5))
        with pytest.raises(Overloaded, match="longer than 30 seconds"):
            await asyncio.wait_for(late.future, 20)
        assert queue.waiting_tokens == 5 and not early.future.done()
    run(job)


def test_an_overload_is_refused_at_once(serve):
    """A server of 600 tokens a second gets 1000: only 200 and 429, refusals at once, and then peace."""
    timeout, rate, tokens = 3.0, 600.0, 12
    due = due_times(1000 / tokens, 4.0).tolist()

    async def job(client):
        loop = asyncio.get_running_loop()
        await client.post("/embed", json={"inputs": "a" * 10})  # from now on the pace is known
        begin = loop.time()

        async def one(at):
            await asyncio.sleep(max(0.0, begin + at - loop.time()))
            start = loop.time()
            reply = await client.post("/embed", json={"inputs": "a b c d e f g h i j"})
            return reply, loop.time() - start

        found = await asyncio.gather(*map(one, due))
        good = [seconds for reply, seconds in found if reply.status_code == 200]
        refused = [(reply, seconds) for reply, seconds in found if reply.status_code == 429]
        assert len(good) + len(refused) == len(due) and len(refused) > 0.1 * len(due)
        assert len(good) * tokens > 0.5 * rate * due[-1]  # it is busy all the time
        assert float(np.median(good)) < timeout  # the p99 is for a machine with nothing else to do: bench serving
        assert float(np.median([seconds for _, seconds in refused])) < 0.5 * timeout  # at once and not after waiting
        assert all(int(reply.headers["retry-after"]) >= 1 for reply, _ in refused)
        await until(lambda: client.state.admission.expected() == 0.0, "the queue is worked off")
        assert (await client.post("/embed", json={"inputs": "a"})).status_code == 200
    serve(job, f"embedding@{rate:g}", queue_timeout=timeout, cores_per_instance=1, instances=1)
