"""The queue alone: order, budget, expiry, work that nobody waits for."""

import asyncio

import numpy as np
import pytest

from bertpass.serving.failures import Overloaded
from bertpass.serving.queueing.queue import TokenQueue


def rows(*lengths):
    return [(np.full(n, n, np.int32), np.zeros(n, np.int32)) for n in lengths]


def run(job):
    return asyncio.run(job())


def answer(batch):
    for item in batch:
        item.job.deliver(item.at, np.array([item.tokens]))


def lengths(batch):
    return [item.tokens for item in batch]


def test_a_batch_holds_no_more_than_the_budget_and_fills_gaps():
    async def job():
        queue = TokenQueue(10, 60)
        for n in (6, 8, 4, 11):
            queue.submit(0, rows(n))
        taken = [lengths(await queue.take()) for _ in range(3)]
        assert taken == [[6, 4], [8], [11]]
        assert queue.waiting_rows == queue.waiting_tokens == 0
    run(job)


def test_only_tokens_count():
    """A long row stands next to as many short ones as there is room for: nothing is padded."""
    async def job():
        queue = TokenQueue(100, 60)
        queue.submit(0, rows(80))
        queue.submit(0, rows(*[1] * 25))
        assert sorted(lengths(await queue.take())) == [1] * 20 + [80]
        assert lengths(await queue.take()) == [1] * 5
    run(job)


def test_models_are_not_mixed():
    async def job():
        queue = TokenQueue(100, 60)
        for model in (0, 1, 0):
            queue.submit(model, rows(5))
        assert [item.job.model for item in await queue.take()] == [0, 0]
        assert [item.job.model for item in await queue.take()] == [1]
    run(job)


def test_a_small_request_overtakes_a_large_one_which_still_gets_on():
    async def job():
        queue = TokenQueue(10, 60)
        large = queue.submit(0, rows(*[10] * 50))
        answer(await queue.take())
        small = [queue.submit(0, rows(10)) for _ in range(2)]
        for _ in range(4):
            answer(await queue.take())
        assert all(job.future.done() for job in small)
        assert large.waiting == 47
        for _ in range(47):  # one small request comes for each batch, and the large one ends all the same
            queue.submit(0, rows(10))
            answer(await queue.take())
            answer(await queue.take())
        assert large.future.done()
    run(job)


def test_results_are_in_the_order_of_the_rows():
    async def job():
        queue = TokenQueue(6, 60)
        waiting = queue.submit(0, rows(5, 1, 3, 2, 4))
        while not waiting.future.done():
            answer(reversed(await queue.take()))
        assert [int(out[0]) for out in await waiting.future] == [5, 1, 3, 2, 4]
    run(job)


def test_what_waits_too_long_expires_and_what_is_computed_does_not():
    async def job():
        queue = TokenQueue(5, 0.05)
        first, second = queue.submit(0, rows(5)), queue.submit(0, rows(5))
        batch = await queue.take()
        with pytest.raises(Overloaded, match=r"0\.05 seconds"):
            await second.future
        assert queue.waiting_rows == 0
        answer(batch)
        assert len(await first.future) == 1
    run(job)


def test_cancelled_work_is_not_taken():
    async def job():
        queue = TokenQueue(100, 60)
        gone, there = queue.submit(0, rows(3, 4)), queue.submit(0, rows(5))
        gone.future.cancel()
        assert lengths(await queue.take()) == [5]
        assert queue.waiting_tokens == 0 and not there.future.done()
    run(job)


def test_lost_rows_come_back_each_alone():
    async def job():
        queue = TokenQueue(100, 60)
        queue.submit(0, rows(3, 4))
        queue.put_back(await queue.take())
        queue.submit(0, rows(5))
        assert [lengths(await queue.take()) for _ in range(3)] == [[3], [5], [4]]
    run(job)


def test_an_idle_instance_waits_for_a_batch_to_fill():
    async def job():
        queue = TokenQueue(10, 60, max_wait=30.0)
        queue.submit(0, rows(4))
        taking = asyncio.create_task(queue.take())
        await asyncio.sleep(0.02)
        assert not taking.done()
        queue.submit(0, rows(6))
        assert lengths(await asyncio.wait_for(taking, 5)) == [4, 6]
        queue = TokenQueue(10, 60, max_wait=0.01)
        queue.submit(0, rows(4))
        assert lengths(await asyncio.wait_for(queue.take(), 5)) == [4]
    run(job)
