"""The machine's cores: sockets, NUMA nodes, groups with a common L3, hardware threads, core types.

Sources: Linux kernel documentation, admin-guide/cputopology, ABI/stable/sysfs-devices-node,
ABI/testing/sysfs-devices-system-cpu; the folders ``cpu_core`` and ``cpu_atom`` are those of perf's PMUs on hybrid
processors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bertpass import machine

PERFORMANCE, EFFICIENCY = "performance", "efficiency"

#: share of the fastest core's ``cpu_capacity`` from which a core counts as one of the fast ones
_FAST = 0.75


@dataclass(frozen=True)
class Core:
    """A physical core.

    ``cpus`` are its hardware threads that may be used, by the kernel's numbers; ``l3`` names the group with a common
    L3 by its first processor, -1 where there is none; ``node`` is 0 where the kernel knows no NUMA nodes.
    """

    cpus: tuple[int, ...]
    socket: int = 0
    node: int = 0
    l3: int = -1
    kind: str = PERFORMANCE


@dataclass(frozen=True)
class Topology:
    """Cores that may be used, those that are near each other side by side.

    ``memory`` are the NUMA nodes whose memory may be used, empty where the kernel knows none; ``quota`` is the most
    processors that may be busy at once by the cgroup, ``inf`` without one.
    """

    cores: tuple[Core, ...]
    memory: tuple[int, ...] = ()
    quota: float = math.inf

    @property
    def owned(self) -> bool:
        """Whether no quota shares the processors with others: then they can all be busy at once."""
        return self.quota >= sum(len(core.cpus) for core in self.cores)

    def __str__(self) -> str:
        """What there is, for errors."""
        def count(number: int, what: str) -> str:
            return f"{number} {what}{'' if number == 1 else 's'}"

        kinds = [core.kind for core in self.cores]
        parts = [count(len(self.cores), "core")]
        if EFFICIENCY in kinds and PERFORMANCE in kinds:
            parts[0] += f" ({kinds.count(PERFORMANCE)} performance, {kinds.count(EFFICIENCY)} efficiency)"
        parts += [count(sum(len(core.cpus) for core in self.cores), "hardware thread"),
                  count(len({core.socket for core in self.cores}), "socket"),
                  count(len({core.node for core in self.cores}), "NUMA node")]
        return ", ".join(parts) + ("" if self.quota == math.inf else f", {self.quota:g} processors by the cgroup quota")


def parse_list(text: str) -> list[int]:
    """The numbers of a kernel list such as "0-3,8"; ValueError for anything else."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def format_list(numbers: Iterable[int]) -> str:
    """The kernel list of some numbers: "0-3,8"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _list(file: Path) -> list[int]:
    """The numbers of a file, none where it cannot be read."""
    try:
        return parse_list(file.read_text())
    except (OSError, ValueError):
        return []


def _number(file: Path, default: int) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return default


def _l3(cpu: Path) -> int:
    for index in sorted((cpu / "cache").glob("index*")):
        if _number(index / "level", 0) == 3:
            return min(_list(index / "shared_cpu_list"), default=-1)
    return -1


def _kinds(root: Path, cpus: Iterable[int]) -> dict[int, str]:
    """Core type of each processor: by the PMUs of a hybrid processor, else by capacity."""
    efficient = {n for name in ("cpu_atom", "cpu_lowpower") for n in _list(root / "devices" / name / "cpus")}
    if not efficient:
        capacities = {cpu: _number(root / f"devices/system/cpu/cpu{cpu}/cpu_capacity", 0) for cpu in cpus}
        most = max(capacities.values(), default=0)
        efficient = {cpu for cpu, capacity in capacities.items() if capacity < _FAST * most}
    return {cpu: EFFICIENCY if cpu in efficient else PERFORMANCE for cpu in cpus}


def read(root: Path = Path("/sys"), allowed: Collection[int] | None = None, memory: Collection[int] | None = None,
         quota: float = math.inf) -> Topology:
    """The topology that a sysfs tree describes.

    Parameters
    ----------
    root : where sysfs is mounted, or a copy of its ``devices/cpu_*`` and ``devices/system``
    allowed : processors that may be used (default: all that are online)
    memory : NUMA nodes whose memory may be used (default: all that have some)
    quota : processors that may be busy at once

    A processor of which the tree tells nothing is a core of its own in socket 0.
    """
    folder, nodes = root / "devices/system/cpu", root / "devices/system/node"
    online = _list(folder / "online")
    cpus = sorted(allowed if allowed is not None else online)
    if online:
        cpus = [cpu for cpu in cpus if cpu in online]
    kinds, node_of = _kinds(root, cpus), {}
    known = _list(nodes / "online")
    for node in known:
        node_of.update(dict.fromkeys(_list(nodes / f"node{node}/cpulist"), node))
    cores: dict[int, Core] = {}
    for cpu in cpus:
        topology = folder / f"cpu{cpu}/topology"
        siblings = _list(topology / "core_cpus_list") or _list(topology / "thread_siblings_list") or [cpu]
        first = min(siblings)
        before = cores[first].cpus if first in cores else ()
        cores[first] = Core((*before, cpu), max(0, _number(topology / "physical_package_id", 0)), node_of.get(cpu, 0),
                            _l3(folder / f"cpu{cpu}"), kinds[cpu])
    with_memory = _list(nodes / "has_memory") or known
    return Topology(tuple(sorted(cores.values(), key=lambda c: (c.socket, c.node, c.l3, c.cpus))),
                    tuple(node for node in with_memory if memory is None or node in memory), quota)


def memory_allowed(status: Path = Path("/proc/self/status")) -> list[int] | None:
    """NUMA nodes whose memory the cpuset of this process allows, None where the kernel does not tell."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    return next((parse_list(line.partition(":")[2]) for line in lines if line.startswith("Mems_allowed_list")), None)


def here() -> Topology:
    """The topology of this machine, cut to the affinity, the cpuset and the cgroup quota of this process."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return read(allowed=allowed, memory=memory_allowed(), quota=machine.cgroup_quota())
