"""Instances of different sizes: what each takes, in the queue alone and with processes."""

import asyncio
import math
import os
import signal

import numpy as np
import pytest
from served import ServeOptions, pids, until

from bertpass import placement
from bertpass.errors import UsageError
from bertpass.placement import Core, Topology
from bertpass.serving import instance
from bertpass.serving.places import places, row_limits
from bertpass.serving.queue import TokenQueue

#: four cores by name, on the processors that there are
FOUR = Topology(tuple(Core((cpu,), l3=n) for n, cpu in enumerate((sorted(os.sched_getaffinity(0)) * 4)[:4])))


def row(tokens):
    return np.zeros(tokens, np.int32), np.zeros(tokens, np.int32)


@pytest.mark.parametrize(("sizes", "lengths", "limits"), [
    ([1, 3], [], [128, None]), ([1, 1, 2], [], [256, 256, None]), ([8, 16, 24], [], [85, 256, None]),
    ([2, 2], [], [None, None]), ([1, 1, 2], [40, 80], [40, 80, None]),
])
def test_limits(sizes, lengths, limits):
    assert row_limits(sizes, lengths, 512) == limits


def test_places():
    found = places(FOUR, ServeOptions(instance_cores="1,3"), 512)
    assert [(len(place.cores), place.longest) for place in found] == [(1, 128), (3, None)]
    assert [place.longest for place in places(FOUR, ServeOptions(instances=2), 512)] == [None, None]
    assert len(places(FOUR, ServeOptions(), 512)) == 1


@pytest.mark.parametrize("wishes", [
    {"instance_cores": "1,x"}, {"instance_cores": "0,1"}, {"instance_cores": "1,3", "instances": 2},
    {"instance_cores": "1,3", "instance_lengths": "4,5"}, {"instance_lengths": "4"},
    {"instance_cores": "3,1", "instance_lengths": "4"}, {"instance_cores": "9,9"},
])
def test_wrong_wishes_are_sentences(wishes):
    with pytest.raises(UsageError):
        places(FOUR, ServeOptions(**wishes), 512)


def test_a_small_instance_leaves_long_rows_to_a_large_one():
    async def job():
        queue = TokenQueue(100, 60, limits=[10])
        small = asyncio.create_task(queue.take(lambda: 10))
        queue.submit(0, [row(50)])
        await asyncio.sleep(0)
        assert not small.done()
        queue.submit(0, [row(5), row(11), row(10)])
        assert [item.tokens for item in await small] == [5, 10]
        assert [item.tokens for item in await queue.take()] == [50, 11]
        limit = 10
        waiting = asyncio.create_task(queue.take(lambda: limit))
        queue.submit(0, [row(20)])
        await asyncio.sleep(0)
        assert not waiting.done()
        limit = math.inf  # the large instance is away
        queue.wake()
        assert [item.tokens for item in await waiting] == [20]
        assert queue.waiting_rows == queue.waiting_tokens == 0
    asyncio.run(job())


def test_many_long_rows_hide_no_short_one():
    async def job():
        queue = TokenQueue(100, 60, limits=[10])
        for _ in range(600):
            queue.submit(0, [row(60)])
        queue.submit(0, [row(5)])
        assert [item.tokens for item in await queue.take(lambda: 10)] == [5]
    asyncio.run(job())


def test_requests_go_by_their_length(serve, monkeypatch):
    """Limits hold while both instances are up; without the large one the small one computes everything."""
    real, seen = instance.Instance.compute, []

    def watched(self, model, rows):
        seen.extend((self.place.number, len(ids)) for ids, _ in rows if len(ids) > 2)  # 2: the warm-up
        return real(self, model, rows)

    async def job(client):
        def embed(letters):
            return client.post("/embed", json={"inputs": "a " * letters})

        await until(lambda: client.state.pool.up == 2, "both instances")
        assert [each["longest"] for each in (await client.get("/info")).json()["instances"]] == [16, None]
        seen.clear()
        replies = await asyncio.gather(*(embed(letters) for letters in (3, 14, 15, 40) * 25))
        assert {reply.status_code for reply in replies} == {200} and len(seen) == 100
        assert all(tokens <= 16 for number, tokens in seen if number == 0)
        assert {number for number, tokens in seen if tokens > 16} == {1}
        assert {tokens for number, tokens in seen if number == 0}  # and the small one has work

    monkeypatch.setattr(instance.Instance, "compute", watched)
    monkeypatch.setattr(placement, "here", lambda: FOUR)

    async def alone(client):
        await until(lambda: client.state.pool.up == 2, "both instances")
        large = pids(client)[1]

        def never():
            raise OSError("no process for now")
        monkeypatch.setattr(client.state.pool._instances[1], "start", never)
        os.kill(large, signal.SIGKILL)
        await until(lambda: client.state.pool.up == 1, "the large one is away")
        seen.clear()
        reply = await client.post("/embed", json={"inputs": "a " * 40})
        assert reply.status_code == 200 and seen == [(0, 42)]

    serve(job, "embedding", instance_cores="1,3", max_batch_tokens=100)
    serve(alone, "embedding", instance_cores="1,3", health_interval=0.1)
