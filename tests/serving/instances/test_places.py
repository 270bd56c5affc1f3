"""Instances of different sizes: what each takes, in the queue alone and with processes."""

import asyncio
import math
import os
import signal
import tempfile

import numpy as np
import pytest

from bertpass import machine, placement
from bertpass.errors import UsageError
from bertpass.placement import Core, Topology
from bertpass.serving.instances import instance
from bertpass.serving.instances.places import chosen, places, row_limits
from bertpass.serving.queueing.queue import TokenQueue
from tests.helpers.served import ServeOptions, pids, until

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
    real, seen = instance.Instance.begin, []

    def watched(self, model, rows):
        seen.extend((self.place.number, len(ids)) for ids, _ in rows if len(ids) > 2)  # 2: the warm-up
        real(self, model, rows)

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

    monkeypatch.setattr(instance.Instance, "begin", watched)
    monkeypatch.setattr(placement, "here", lambda: FOUR)

    async def alone(client):
        await until(lambda: client.state.pool.up == 2, "both instances")
        large = pids(client)[1]

        def never(one):
            raise OSError("no process for now")
        monkeypatch.setattr(instance.Instance, "start", never)
        os.kill(large, signal.SIGKILL)
        await until(lambda: client.state.pool.up == 1, "the large one is away")
        seen.clear()
        reply = await client.post("/embed", json={"inputs": "a " * 40})
        assert reply.status_code == 200 and seen == [(0, 42)]

    serve(job, "embedding", instance_cores="1,3", max_batch_tokens=100)
    serve(alone, "embedding", instance_cores="1,3", health_interval=0.1)


def cores(count, quota=math.inf, threads=1):
    return Topology(tuple(Core(tuple(range(n * threads, (n + 1) * threads)), l3=0) for n in range(count)), (0,), quota)


@pytest.fixture
def locks(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def taken(topology, **options):
    return chosen(topology, ServeOptions(**options), 512)


@pytest.mark.parametrize(("topology", "threads"), [
    (cores(64, 1.0), [1]), (cores(64, 1.5), [2]), (cores(64, 63.0), [63]), (cores(4, 6.0, threads=2), [4]),
    (cores(64, 0.5), [1])])
def test_a_share_of_processors_is_pinned_to_none_of_them(locks, topology, threads):
    """Every container of a node would sit on the first ones."""
    found, claim = taken(topology)
    assert claim is None and [len(place.cpus) for place in found] == threads
    assert not any(place.pinned or place.memory for place in found)


@pytest.mark.parametrize("options", [{"instances": 2}, {"instances": 1, "cores_per_instance": 1},
                                     {"instance_cores": "1,2"}])
def test_nor_are_several_instances(locks, options):
    found, claim = taken(cores(64, 3.0), **options)
    assert claim is None and not any(place.pinned for place in found)


def test_all_cores_are_pinned_without_a_claim(locks):
    for topology in (cores(4), cores(4, 4.0), cores(4, 100.0)):
        for options in ({}, {"instances": 2}, {"instance_cores": "1,3"}):
            found, claim = taken(topology, **options)
            assert claim is None and all(place.pinned for place in found)
            assert sorted(cpu for place in found for cpu in place.cpus) == [0, 1, 2, 3]
    assert not any(place.pinned for place in taken(cores(4), pin=False)[0])


def test_servers_that_take_a_part_take_different_ones(locks, caplog):
    first, one = taken(cores(4), instances=1, cores_per_instance=1)
    second, two = taken(cores(4), instances=2, cores_per_instance=1)
    assert all(place.pinned for place in (*first, *second))
    assert len({cpu for place in (*first, *second) for cpu in place.cpus}) == 3
    third, three = taken(cores(4), instances=1, cores_per_instance=2)  # one is left
    assert three is None and not third[0].pinned and len(third[0].cpus) == 2
    assert "other servers have the cores" in caplog.text
    one.release()
    fourth, four = taken(cores(4), instances=1, cores_per_instance=2)
    assert fourth[0].pinned and not {*fourth[0].cpus} & {cpu for place in second for cpu in place.cpus}
    for claim in (two, four):
        claim.release()


def test_without_a_folder_for_locks_nothing_is_pinned(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    found, claim = taken(cores(4), instances=1, cores_per_instance=1)
    assert claim is None and not found[0].pinned


def test_performance_cores_are_all_that_there_are_of_them(locks):
    mixed = Topology((*cores(2).cores, Core((8,), kind="efficiency"), Core((9,), kind="efficiency")))
    found, claim = taken(mixed)
    assert claim is None and found[0].pinned and found[0].cpus == (0, 1)


@pytest.mark.parametrize("quota", [1.0, math.inf])
def test_an_engine_process_under_a_quota_may_run_anywhere(serve, two_cores, monkeypatch, quota):
    monkeypatch.setattr(machine, "cgroup_quota", lambda: quota)
    mask = os.sched_getaffinity(0)

    async def job(client):
        (told,) = (await client.get("/info")).json()["instances"]
        assert os.sched_getaffinity(told["pid"]) == mask == set(told["cpus"])
        assert told["pinned"] == (quota == math.inf) and told["threads"] == (1 if quota == 1.0 else len(mask))
    serve(job, "embedding")
