"""Plans on recorded machines: published commands, no core twice, NUMA nodes and L3 groups, quotas, core types."""

import functools
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertpass import machine
from bertpass.errors import UsageError
from bertpass.placement import Core, Topology, automatic, here, plan, read
from bertpass.placement.topology import format_list, memory_allowed, parse_list
from tests.helpers.recorded import topology, tree


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Name -> topology, read from the machine's tree, which is written once."""
    return functools.cache(lambda name: topology(name, tmp_path_factory.mktemp(name)))


def commands(instances):
    return [" ".join(instance.placement()) for instance in instances]


@pytest.mark.parametrize(("text", "numbers"), [("0-3,8\n", [0, 1, 2, 3, 8]), ("", []), ("5", [5]), ("1-1", [1])])
def test_lists(text, numbers):
    assert parse_list(text) == numbers
    assert parse_list(format_list(reversed(numbers))) == numbers


@pytest.mark.parametrize(("wishes", "expected"), [
    ({}, ["numactl -C 0-47 -m 0,1"]),
    ({"instances": 2}, ["numactl -C 0-23 -m 0", "numactl -C 24-47 -m 1"]),
    ({"instances": 4}, ["numactl -C 0-11 -m 0", "numactl -C 12-23 -m 0", "numactl -C 24-35 -m 1",
                        "numactl -C 36-47 -m 1"]),
    ({"instances": 4, "cores_per_instance": 12}, ["numactl -C 0-11 -m 0", "numactl -C 12-23 -m 0",
                                                  "numactl -C 24-35 -m 1", "numactl -C 36-47 -m 1"]),
    ({"sizes": [8, 16, 24], "longest": [32, 384, 512]}, ["numactl -C 0-7 -m 0", "numactl -C 8-23 -m 0",
                                                         "numactl -C 24-47 -m 1"]),
])
def test_the_published_commands(recorded, wishes, expected):
    """Hugging Face, "Scaling up BERT-like model inference on modern CPU, part 1": c5.metal."""
    assert commands(plan(recorded("c5.metal"), **wishes)) == expected


@pytest.mark.parametrize(("name", "count"), [
    ("c5.metal", 2),  # one L3 a socket
    ("epyc-7713-nps4", 8),  # 8 groups of 8 cores, in 4 nodes
    ("container", 1),  # 6.5 processors by quota, which one of its two sockets has
    ("no-numa", 2), ("i9-12900k", 1), ("big-little", 1), ("two-cores", 1), ("offline", 1),
])
def test_as_many_instances_as_share_nothing(recorded, name, count):
    topology = recorded(name)
    assert automatic(topology) == count
    instances = plan(topology, count)
    assert all(len(instance.nodes) == 1 for instance in instances)


@pytest.mark.parametrize(("name", "text"), [
    ("c5.metal", "48 cores, 96 hardware threads, 2 sockets, 2 NUMA nodes"),
    ("epyc-7713-nps4", "64 cores, 128 hardware threads, 1 socket, 4 NUMA nodes"),
    ("container", "16 cores, 16 hardware threads, 2 sockets, 2 NUMA nodes, 6.5 processors by the cgroup quota"),
    ("i9-12900k", "16 cores (8 performance, 8 efficiency), 24 hardware threads, 1 socket, 1 NUMA node"),
    ("big-little", "8 cores (4 performance, 4 efficiency), 8 hardware threads, 1 socket, 1 NUMA node"),
    ("two-cores", "2 cores, 2 hardware threads, 1 socket, 1 NUMA node"),
    ("offline", "3 cores, 5 hardware threads, 1 socket, 1 NUMA node"),
    ("no-numa", "8 cores, 8 hardware threads, 2 sockets, 1 NUMA node"),
])
def test_what_is_read(recorded, name, text):
    assert str(recorded(name)) == text


def test_cores_of_a_machine_with_nodes_in_a_socket(recorded):
    found = recorded("epyc-7713-nps4")
    assert found.cores[9] == Core((9, 73), socket=0, node=0, l3=8)
    assert found.cores[63] == Core((63, 127), socket=0, node=3, l3=56)
    assert found.memory == (0, 1, 2, 3) and found.quota == math.inf


@pytest.mark.parametrize(("wishes", "expected"), [
    ({"instances": 8}, [f"numactl -C {n}-{n + 7} -m {n // 16}" for n in range(0, 64, 8)]),  # one an L3
    ({"instances": 2}, ["numactl -C 0-31 -m 0,1", "numactl -C 32-63 -m 2,3"]),
    ({"instances": 3}, ["numactl -C 0-31 -m 0,1", "numactl -C 32-47 -m 2", "numactl -C 48-63 -m 3"]),
    ({"instances": 12}, [f"numactl -C {a}-{b} -m {a // 16}" for n in range(0, 64, 16)  # three a node: even, not by L3
                         for a, b in ((n, n + 5), (n + 6, n + 10), (n + 11, n + 15))]),
    ({"sizes": [12, 4, 8]}, ["numactl -C 0-11 -m 0", "numactl -C 12-15 -m 0", "numactl -C 16-23 -m 1"]),
    ({"sizes": [4, 12, 8]}, ["numactl -C 0-3 -m 0", "numactl -C 4-15 -m 0", "numactl -C 16-23 -m 1"]),
    ({"sizes": [6, 10, 8]}, ["numactl -C 0-5 -m 0", "numactl -C 6-15 -m 0", "numactl -C 16-23 -m 1"]),
    ({"cores_per_instance": 12}, ["numactl -C 0-11 -m 0", "numactl -C 16-27 -m 1", "numactl -C 32-43 -m 2",
                                  "numactl -C 48-59 -m 3"]),  # as many as fit inside nodes
    ({"sizes": [24]}, ["numactl -C 0-23 -m 0,1"]),
])
def test_nodes_and_l3_groups(recorded, wishes, expected):
    assert commands(plan(recorded("epyc-7713-nps4"), **wishes)) == expected


def test_uneven_divisions_stay_inside_nodes(recorded):
    found = plan(recorded("c5.metal"), 5)
    assert [len(i.cores) for i in found] == [8, 8, 8, 12, 12]
    assert all(len(i.nodes) == 1 for i in found)
    assert [len(i.cores) for i in plan(recorded("two-cores"), 2)] == [1, 1]


def test_largest_first_where_the_order_would_cross_nodes(recorded):
    found = plan(recorded("c5.metal"), sizes=[12, 10, 14, 12])
    assert [len(i.cores) for i in found] == [12, 10, 14, 12] and all(len(i.nodes) == 1 for i in found)
    found = plan(recorded("c5.metal"), sizes=[10, 10, 8, 20])  # one has to cross
    assert [len(i.nodes) for i in found] == [1, 1, 1, 2]


def test_threads_of_a_core(recorded):
    first, second = plan(recorded("c5.metal"), 2, threads_per_core=2)
    assert commands([first, second]) == ["numactl -C 0-23,48-71 -m 0", "numactl -C 24-47,72-95 -m 1"]
    assert len(first.cores) == 24 and len(first.cpus) == 48


def test_a_container_takes_its_quota_from_one_node_and_its_memory(recorded):
    (one,) = plan(recorded("container"))
    assert commands([one]) == ["taskset -c 24-30"]  # seven of the twelve cores on socket 1, whose memory it may not use
    two = plan(recorded("container"), sizes=[3, 4])
    assert commands(two) == ["taskset -c 24-26", "taskset -c 27-30"]
    with pytest.raises(UsageError, match=r"8 cores, and 7 may be taken; the machine has 16 cores.*6\.5 processors"):
        plan(recorded("container"), 2, 4)


def test_quota_less_than_a_core():
    small = Topology((Core((0, 1)),), quota=0.5)
    assert plan(small)[0].cpus == (0,)
    with pytest.raises(UsageError, match=r"the cgroup quota is 0\.5 processors"):
        plan(small, threads_per_core=2)


def test_core_types(recorded):
    hybrid = recorded("i9-12900k")
    assert commands(plan(hybrid)) == ["numactl -C 0,2,4,6,8,10,12,14 -m 0"]
    assert commands(plan(hybrid, kind="efficiency")) == ["numactl -C 16-23 -m 0"]
    assert len(plan(hybrid, kind="all")[0].cpus) == 16
    assert len(plan(hybrid, kind="all", threads_per_core=2)[0].cpus) == 16  # only those that have two
    with pytest.raises(UsageError, match="no efficiency core has 2 hardware threads"):
        plan(hybrid, kind="efficiency", threads_per_core=2)


def test_capacities(recorded):
    assert plan(recorded("big-little"))[0].cpus == (4, 5, 6, 7)


def test_only_slow_cores_allowed(tmp_path):
    assert plan(read(tree("i9-12900k", tmp_path), allowed=range(16, 20)))[0].cpus == (16, 17, 18, 19)


def test_offline_processors(recorded):
    found = recorded("offline")
    assert [core.cpus for core in found.cores] == [(0, 4), (1,), (2, 6)]
    assert plan(found)[0].cpus == (0, 1, 2)


def test_without_nodes(recorded):
    assert commands(plan(recorded("no-numa"), 2)) == ["taskset -c 0-3", "taskset -c 4-7"]


def test_siblings_are_never_two_instances(tmp_path):
    """An affinity to both threads of two cores gives two instances, not four."""
    found = read(tree("c5.metal", tmp_path), allowed=[0, 48, 1, 49])
    assert [i.cpus for i in plan(found, 2)] == [(0,), (1,)]
    with pytest.raises(UsageError, match="4 instances need 4 cores, and 2 may be taken"):
        plan(found, 4)


@pytest.mark.parametrize(("wishes", "words"), [
    ({"instances": 49}, "49 instances need 49 cores, and 48 may be taken"),
    ({"instances": 3, "cores_per_instance": 20}, "3 instances of 20 cores need 60 cores"),
    ({"sizes": [24, 30]}, r"2 instances of 24\+30 cores need 54 cores"),
    ({"cores_per_instance": 49}, "1 instances of 49 cores need 49 cores"),
    ({"sizes": [8, 8], "instances": 3}, "--instances 3: --sizes names 2"),
    ({"sizes": [8], "cores_per_instance": 3}, "exclude each other"),
    ({"sizes": [8, 0]}, "at least one core"),
    ({"cores_per_instance": 0}, "at least one core"),
    ({"instances": 2, "longest": [512, 128]}, "--lengths 512 128: give 2 rising lengths"),
    ({"instances": 2, "longest": [128]}, "give 2 rising lengths"),
    ({"threads_per_core": 3}, "no performance core has 3 hardware threads"),
])
def test_what_cannot_be(recorded, wishes, words):
    with pytest.raises(UsageError, match=words):
        plan(recorded("c5.metal"), **wishes)


MACHINES = st.builds(
    lambda sockets, nodes, groups, cores, threads: Topology(tuple(
        Core(tuple(n + t * 1000 for t in range(threads)), n // (nodes * groups * cores), n // (groups * cores),
             n // cores * cores) for n in range(sockets * nodes * groups * cores)), tuple(range(sockets * nodes))),
    st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 2))


@settings(max_examples=150, deadline=None)
@given(MACHINES, st.data())
def test_no_core_is_used_twice_and_all_are_used(some, data):
    cores = len(some.cores)
    found = plan(some, data.draw(st.integers(1, cores)))
    taken = [core for instance in found for core in instance.cores]
    assert sorted(core.cpus for core in taken) == [core.cpus for core in some.cores]
    nodes = len(some.memory)
    assert all(len(i.nodes) == 1 for i in found) or len(found) < nodes
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=6).filter(lambda s: sum(s) <= cores))
    found = plan(some, sizes=sizes)
    taken = [core for instance in found for core in instance.cores]
    assert [len(i.cores) for i in found] == sizes and len(set(taken)) == sum(sizes)


def test_this_machine():
    found = here()
    assert {cpu for core in found.cores for cpu in core.cpus} == os.sched_getaffinity(0)
    assert found.quota == machine.cgroup_quota() and set(found.memory) <= set(memory_allowed() or found.memory)


def test_nothing_told(tmp_path):
    found = read(tmp_path, allowed=[3, 7])
    assert [core.cpus for core in found.cores] == [(3,), (7,)] and found.memory == ()
    assert memory_allowed(tmp_path / "none") is None
