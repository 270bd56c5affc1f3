"""The machine around a measurement: which processors to take, and how busy others keep it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from bertpass.errors import DeviceError
from bertpass.placement import topology

#: load of others, in processors, above which a run counts as noisy
MOST_LOAD = 0.1
#: seconds without work after which the threads of a process count as asleep
REST = 0.01

_STAT = Path("/proc/stat")


def pick(threads: int, allowed: Collection[int] | None = None, root: Path = Path("/sys")) -> list[int]:
    """Processors for ``threads`` threads out of those that this process may use: each core once, then its siblings."""
    cores = topology.read(root, os.sched_getaffinity(0) if allowed is None else allowed).cores
    first = sorted(core.cpus[0] for core in cores)
    second = sorted(cpu for core in cores for cpu in core.cpus[1:])
    return sorted((first + second)[:threads])


def busy_seconds(stat: Path = _STAT) -> float:
    """Processor seconds spent by all processes since the machine started, waiting not counted; 0 without /proc."""
    try:
        fields = [int(value) for value in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def demand(seconds: float = 1.0) -> None:
    """DeviceError where other processes keep more than :data:`MOST_LOAD` processors busy in the next ``seconds``."""
    others = Others()
    others.pause(seconds)
    if others.load > MOST_LOAD:
        raise DeviceError(f"--strict: other processes keep {others.load:.1f} processors busy; measure when the machine "
                          "is quiet, or leave --strict out.")


def rest(most: float = 1.0) -> None:
    """Wait until the threads of this process sleep, ``most`` seconds at most.

    Pools spin for a while after a call, in case another one comes; that would be taken from the engine that is next.
    """
    last = time.monotonic() + most
    while time.monotonic() < last:
        used = time.process_time()
        time.sleep(REST)
        if time.process_time() - used < REST / 4:
            return


class Others:
    """Adds up what others use while none of our workers runs."""

    def __init__(self) -> None:
        self._busy = self._waited = 0.0

    def pause(self, seconds: float) -> None:
        """Sleep, and count what the processors did after the first third: threads spin for a while after their work."""
        time.sleep(seconds / 3)
        start, busy = time.monotonic(), busy_seconds()
        time.sleep(seconds * 2 / 3)
        self._waited += time.monotonic() - start
        self._busy += busy_seconds() - busy

    @property
    def load(self) -> float:
        """Processors that others kept busy, on average over the pauses so far; 0 before the first."""
        return self._busy / self._waited if self._waited else 0.0
