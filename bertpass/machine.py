"""What this machine gives to a process: processors by affinity and cgroup quota, and a description for reports.

No dependency on any framework: the thread count has to be known before MXNet is imported.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

_CGROUP = Path("/sys/fs/cgroup")


def _quota_v2(root: Path, group: str) -> float:
    """Smallest quota, in processors, from a cgroup v2 group up to the root (infinite without one)."""
    best = math.inf
    folder = root / group.lstrip("/")
    while True:
        try:
            quota, period = (folder / "cpu.max").read_text().split()[:2]
            if quota != "max":
                best = min(best, int(quota) / int(period))
        except (OSError, ValueError):
            pass
        if folder == root or root not in folder.parents:
            return best
        folder = folder.parent


def cgroup_quota(root: Path = _CGROUP, membership: Path = Path("/proc/self/cgroup")) -> float:
    """Processors that the cgroup quota allows this process, ``inf`` where there is no quota.

    Source: Linux kernel documentation, cgroup-v2 (``cpu.max``) and sched-bwc (``cpu.cfs_quota_us``).
    """
    best = _quota_v2(root, "/")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = (line.split(":", 2) + ["", ""])[:3]
        if controllers == "":
            best = min(best, _quota_v2(root, group))
        elif "cpu" in controllers.split(","):
            for folder in (root / "cpu" / group.lstrip("/"), root / "cpu"):
                try:
                    quota = int((folder / "cpu.cfs_quota_us").read_text())
                    period = int((folder / "cpu.cfs_period_us").read_text())
                except (OSError, ValueError):
                    continue
                if quota > 0 and period > 0:
                    best = min(best, quota / period)
                break
    return best


def usable_cpus() -> int:
    """Processors this process may use: the affinity mask, cut by the cgroup quota (rounded up), at least 1."""
    cpus, quota = affinity(), cgroup_quota()
    return max(1, min(cpus, math.ceil(quota)) if quota != math.inf else cpus)


def threads() -> int:
    """Threads for compute: OMP_NUM_THREADS where a person set it, else :func:`usable_cpus`."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(first) if first.isdigit() and int(first) > 0 else usable_cpus()


def affinity() -> int:
    """Processors on which this process may be placed."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Bytes of the first processor's caches by name (L1d, L1i, L2, L3); empty where the system does not tell.

    Source: Linux kernel documentation, ABI/testing/sysfs-devices-system-cpu.
    """
    found = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            count = int(size[:-1]) * {"K": 2**10, "M": 2**20}[size[-1:]]
        except (OSError, ValueError, KeyError):
            continue
        found[f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '')}"] = count
    return found


@functools.lru_cache(maxsize=1)
def has_nvidia_driver() -> bool:
    """Whether the driver's library is here, without which no CUDA program finds a GPU."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def vendor() -> str:
    """The maker of the processor as it names itself, "GenuineIntel" or "AuthenticAMD"; empty where nothing tells."""
    return _cpuinfo().get("vendor_id", "")


def _cpuinfo() -> dict[str, str]:
    out: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            out.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    return out


#: vendor, as the processor names itself -> the word for it in :func:`kind`
VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon"}
#: what of a processor's features decides an encoder's speed, the most first -> the word for it in :func:`kind`
LEVELS = (("amx_tile", "amx"), ("avx512_bf16", "avx512-bf16"), ("avx512_vnni", "avx512-vnni"), ("avx512f", "avx512"),
          ("avx_vnni", "avx2-vnni"), ("avx2", "avx2"))


def kind(info: dict[str, str] | None = None) -> str:
    """The kind of host in a word that file names can bear, such as "amd-avx2", "amd-avx512-bf16" or "intel-amx".

    Vendor and the widest feature that matters to an encoder, from ``info``, the fields of ``/proc/cpuinfo`` (default:
    this machine's). Figures of different kinds are never compared. Outside x86 the second word is the architecture's.
    """
    info = _cpuinfo() if info is None else info
    flags = set(info.get("flags", "").split())
    vendor = VENDORS.get(info.get("vendor_id", ""), "other")
    return f"{vendor}-{next((word for flag, word in LEVELS if flag in flags), platform.machine().lower() or 'unknown')}"


def describe() -> dict[str, Any]:
    """Kind, name, processors, caches (bytes), instruction sets and memory of this machine, for result files."""
    info = _cpuinfo()
    flags = set(info.get("flags", "").split())
    sets = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
            "amx_int8")
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        memory = 0.0
    quota = cgroup_quota()
    return {
        "kind": kind(info),
        "cpu": info.get("model name", platform.processor() or "unknown"),
        "cpus_online": os.cpu_count(),
        "cpus_by_affinity": affinity(),
        "cpus_by_quota": None if quota == math.inf else quota,
        "cpus_usable": usable_cpus(),
        "caches": caches(),
        "instruction_sets": [s for s in sets if s in flags],
        "memory_gib": round(memory, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Installed versions of what decides speed and results, for result files."""
    names = ("bertpass", "mxnet", "mxnet-cu102", "mxnet-cu112", "mxnet-cu117", "gluonnlp", "numpy", "tokenizers")
    found = {name: version(name) for name in names}
    return {name: text for name, text in found.items() if text}


def version(package: str) -> str | None:
    """The installed version of a package, without importing it; None where it is not there."""
    import importlib.metadata  # here, because it takes longer to import than the rest of this module

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command() -> str:
    """The command line of this process, to be typed again: without the folders above the current one."""
    program = Path(sys.argv[0])
    if program.name == "bertpass" or program.parts[-2:] == ("bertpass", "__main__.py"):
        words = "bertpass"
    else:
        words = shlex.quote(str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program))
    return " ".join([words, *map(shlex.quote, sys.argv[1:])])
