"""Instances of a program on disjoint cores.

No two instances share a core, its hardware threads included; by default an instance takes one thread of each of its
cores. An instance stays within a group of cores with a common L3, a NUMA node or a socket where it fits, and binds its
memory to the nodes of its cores.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.errors import UsageError
from bertpass.placement.topology import EFFICIENCY, PERFORMANCE, Core, Topology, format_list

#: which cores to take: "auto" is the performance cores where there are such
KINDS = ("auto", PERFORMANCE, EFFICIENCY, "all")

#: what a core belongs to, from far to near
_LEVELS: tuple[Callable[[Core], Any], ...] = (
    lambda core: core.socket, lambda core: (core.socket, core.node), lambda core: (core.socket, core.node, core.l3))
_NODE, _L3 = 1, 2

#: cores from which on a group with a common L3 is worth an instance of its own
TEAM = 4


@dataclass(frozen=True)
class Instance:
    """One of the processes: ``number`` from 0, its cores, the processors of these that it uses, NUMA nodes of its
    memory (none: not bound), and the longest sequence in tokens that is meant for it (None: any). ``pinned`` says
    whether it is kept on ``cpus``; else these are only as many as it may keep busy."""

    number: int
    cores: tuple[Core, ...]
    cpus: tuple[int, ...]
    memory: tuple[int, ...]
    longest: int | None = None
    pinned: bool = True

    @property
    def sockets(self) -> tuple[int, ...]:
        return tuple(sorted({core.socket for core in self.cores}))

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(sorted({core.node for core in self.cores}))

    def placement(self) -> list[str]:
        """The words that place a command so in a shell."""
        if not self.memory:
            return ["taskset", "-c", format_list(self.cpus)]
        return ["numactl", "-C", format_list(self.cpus), "-m", ",".join(map(str, self.memory))]


def plan(topology: Topology, instances: int | None = None, cores_per_instance: int | None = None,
         sizes: Sequence[int] = (), longest: Sequence[int] = (), threads_per_core: int = 1, kind: str = "auto",
         ) -> list[Instance]:
    """Place instances on the cores of a machine.

    Parameters
    ----------
    instances
        How many; alone, all cores are divided among them: over sockets and NUMA nodes first, so that no instance
        crosses one where there are enough instances, then as evenly as that allows.
    cores_per_instance
        Equal sizes; without ``instances`` as many as fit without crossing a node.
    sizes
        Cores of each instance, instead of both.
    longest
        For each instance the longest sequence in tokens that will be sent to it, rising.
    threads_per_core
        Hardware threads that an instance takes of each of its cores.
    kind
        One of :data:`KINDS`.

    Raises
    ------
    UsageError
        More is asked for than there is, or the wishes contradict each other.
    """
    cores = _usable(topology, threads_per_core, kind)
    if sizes and cores_per_instance is not None:
        raise UsageError("--sizes and --cores_per_instance exclude each other.")
    if sizes and instances not in (None, len(sizes)):
        raise UsageError(f"--instances {instances}: --sizes names {len(sizes)}.")
    if not sizes and cores_per_instance is not None:
        sizes = [cores_per_instance] * (instances or _most(cores, cores_per_instance))
    if any(size < 1 for size in sizes):
        raise UsageError(f"--sizes {' '.join(map(str, sizes))}: an instance needs at least one core.")
    wanted = sum(sizes) or instances or 1
    if wanted > len(cores):
        what = f"{len(sizes)} instances of {'+'.join(map(str, sizes)) if len(set(sizes)) > 1 else sizes[0]} cores" \
            if sizes else f"{wanted} instances"
        raise UsageError(f"{what} need {wanted} cores, and {len(cores)} may be taken; the machine has {topology}.")
    parts = _placed(cores, sizes) if sizes else _divided(cores, wanted)
    if longest and (len(longest) != len(parts) or list(longest) != sorted(set(longest))):
        raise UsageError(f"--lengths {' '.join(map(str, longest))}: give {len(parts)} rising lengths, one for each "
                         "instance; the last is the model's longest.")
    made = []
    for number, part in enumerate(parts):
        nodes = {core.node for core in part}
        cpus = tuple(sorted(cpu for core in part for cpu in core.cpus[:threads_per_core]))
        memory = tuple(node for node in topology.memory if node in nodes)
        made.append(Instance(number, tuple(part), cpus, memory, longest[number] if longest else None))
    return made


def automatic(topology: Topology, kind: str = "auto") -> int:
    """How many instances leave no memory and no cache shared: one for each group of cores with a common L3 where each
    such group has at least :data:`TEAM` cores that may be taken, else one for each NUMA node."""
    cores = _usable(topology, 1, kind)
    groups = _groups(cores, _L3)
    return len(groups if min(map(len, groups)) >= TEAM else _groups(cores, _NODE))


def _usable(topology: Topology, threads_per_core: int, kind: str) -> list[Core]:
    """The cores of a kind with enough hardware threads, as many as the quota allows, near each other."""
    kinds = {core.kind for core in topology.cores}
    if kind == "auto":
        kind = PERFORMANCE if PERFORMANCE in kinds else EFFICIENCY
    cores = [core for core in topology.cores if kind in (core.kind, "all") and len(core.cpus) >= threads_per_core]
    if not cores:
        what = f"{kind} core" if kind != "all" else "core"
        raise UsageError(f"no {what} has {threads_per_core} hardware thread{'s' * (threads_per_core > 1)} to take; the "
                         f"machine has {topology}.")
    if topology.quota == math.inf:
        return cores
    most = math.ceil(topology.quota) // threads_per_core  # rounded up as machine.usable_cpus does
    if most < 1:
        raise UsageError(f"--threads_per_core {threads_per_core}: the cgroup quota is {topology.quota:g} processors.")
    return _nearest(cores, most)


def _groups(cores: Sequence[Core], level: int) -> list[list[Core]]:
    found: dict[Any, list[Core]] = {}
    for core in cores:
        found.setdefault(_LEVELS[level](core), []).append(core)
    return list(found.values())


def _most(cores: Sequence[Core], size: int) -> int:
    """Instances of that size that fit without crossing a NUMA node, or at all where none fits so."""
    if size < 1:
        return 1  # refused by the caller
    return sum(len(group) // size for group in _groups(cores, _NODE)) or max(1, len(cores) // size)


def _divided(cores: Sequence[Core], parts: int, level: int = 0) -> list[list[Core]]:
    """All cores as ``parts`` parts, by the groups of this level and then by the nearer ones."""
    if parts == 1:
        return [list(cores)]
    groups = _groups(cores, level) if level < len(_LEVELS) else []
    uneven = parts % max(1, len(groups)) and len(groups) % parts
    if not groups or (level == _L3 and uneven):  # equal sizes are worth more than whole L3 groups
        return _runs(list(cores), parts)
    if parts < len(groups):
        return [[core for group in run for core in group] for run in _runs(groups, parts)]
    shares = [1] * len(groups)
    for _ in range(parts - len(groups)):
        widest = max(range(len(groups)), key=lambda n: len(groups[n]) / (shares[n] + 1))
        shares[widest] += 1
    return [part for group, share in zip(groups, shares, strict=True) for part in _divided(group, share, level + 1)]


def _runs(items: list[Any], parts: int) -> list[list[Any]]:
    """Neighbours together, the sizes differing by at most one."""
    each, more = divmod(len(items), parts)
    ends = [n * each + min(n, more) for n in range(parts + 1)]
    return [items[a:b] for a, b in itertools.pairwise(ends)]


def _placed(cores: Sequence[Core], sizes: Sequence[int]) -> list[list[Core]]:
    """Each size in the fullest group where it fits: in the order of the sizes, or the largest first where that lets
    instances cross fewer nodes."""
    best: list[list[Core]] = []
    for order in (range(len(sizes)), sorted(range(len(sizes)), key=lambda n: -sizes[n])):
        free, found = list(cores), {}
        for number in order:
            found[number] = _fitted(free, sizes[number])
            free = [core for core in free if core not in found[number]]
        parts = [found[number] for number in range(len(sizes))]
        if not best or _crossings(parts) < _crossings(best):
            best = parts
    return best


def _crossings(parts: list[list[Core]]) -> int:
    return sum(len(_groups(part, _NODE)) for part in parts)


def _fitted(free: list[Core], size: int) -> list[Core]:
    for level in reversed(range(len(_LEVELS))):
        fitting = [group for group in _groups(free, level) if len(group) >= size]
        if fitting:
            return _nearest(min(fitting, key=len), size)
    return _nearest(free, size)


def _nearest(cores: Sequence[Core], size: int) -> list[Core]:
    """``size`` of the cores that span as few groups as possible: those of the largest groups first."""
    counts = [Counter(map(key, cores)) for key in _LEVELS]
    order = sorted(range(len(cores)), key=lambda n: [(-count[key(cores[n])], key(cores[n]))
                                                     for count, key in zip(counts, _LEVELS, strict=True)] + [(n,)])
    return [cores[n] for n in sorted(order[:size])]
