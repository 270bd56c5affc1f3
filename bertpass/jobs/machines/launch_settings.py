"""What an instance of a program gets besides its place: threads, OpenMP runtime, allocator, huge pages.

All of it is environment variables, so that it works for every program. Sources: OpenMP 5.2, chapter 21; Intel's OpenMP
runtime, "Supported environment variables"; GNU C library manual, "Memory Allocation Tunables"; jemalloc(3), "TUNING".
"""

from __future__ import annotations

import platform
import shlex
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bertpass.errors import DeviceError, MissingDependencyError, UsageError
from bertpass.placement import Instance
from bertpass.placement.topology import format_list

#: library -> file names by preference, what installs it
LIBRARIES = {
    "tcmalloc": (("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"), "apt-get install libtcmalloc-minimal4"),
    "jemalloc": (("libjemalloc.so.2",), "apt-get install libjemalloc2"),
    "libiomp5": (("libiomp5.so",), "pip install intel-openmp"),
}
ALLOCATORS = ("default", "tcmalloc", "jemalloc")
WAITS = ("default", "active", "passive")

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLE_SINCE = (2, 35)  # glibc.malloc.hugetlb


@dataclass(frozen=True)
class Settings:
    """Wishes of a person.

    ``allocator`` is one of :data:`ALLOCATORS`; ``huge_pages`` asks for transparent huge pages for what is allocated;
    ``iomp`` loads Intel's OpenMP runtime instead of the program's own; ``wait`` (:data:`WAITS`) is what threads do
    between two parallel regions; ``bind_threads`` pins each OpenMP thread to one core.
    """

    allocator: str = "default"
    huge_pages: bool = False
    iomp: bool = False
    wait: str = "default"
    bind_threads: bool = False


def folders(environment: Mapping[str, str]) -> list[Path]:
    """Where shared libraries usually are, a person's own places first."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    own = [Path(part) for part in environment.get("LD_LIBRARY_PATH", "").split(":") if part]
    if "CONDA_PREFIX" in environment:
        own.append(Path(environment["CONDA_PREFIX"]) / "lib")
    system = ("/usr/local/lib", f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/lib64", "/usr/lib")
    return [*own, Path(sys.prefix) / "lib", *map(Path, system)]


def library(name: str, places: Iterable[Path]) -> Path:
    """The file of a library of :data:`LIBRARIES`; MissingDependencyError says what installs it."""
    names, install = LIBRARIES[name]
    for place in places:
        for file in names:
            if (place / file).is_file():
                return place / file
    raise MissingDependencyError(f"{name} is not installed (looked for {' and '.join(names)}); install it with: "
                                 f"{install}.")


def variables(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the same for all instances, complete values.

    Parameters
    ----------
    environment : of this process; what a person set there for KMP_* and OMP_WAIT_POLICY stays

    Raises
    ------
    MissingDependencyError
        A library that is asked for is not there.
    UsageError, DeviceError
        Huge pages are asked for that this allocator or this system does not give.
    """
    found: dict[str, str] = {}
    preload = [name for name, wanted in (("libiomp5", settings.iomp),
                                         (settings.allocator, settings.allocator != "default")) if wanted]
    if preload:
        files = [str(library(name, folders(environment))) for name in preload]
        found["LD_PRELOAD"] = ":".join([*files, *filter(None, [environment.get("LD_PRELOAD")])])
    if settings.huge_pages:
        name, value = huge_pages_of(settings.allocator)
        separator = "," if name == "MALLOC_CONF" else ":"
        found[name] = separator.join([*filter(None, [environment.get(name)]), value])
    wished: dict[str, str] = {}
    if settings.wait != "default":
        wished["OMP_WAIT_POLICY"] = settings.wait
    if settings.iomp:
        wished["KMP_BLOCKTIME"] = {"active": "infinite", "passive": "0"}.get(settings.wait, "1")
        if settings.bind_threads:
            wished["KMP_AFFINITY"] = "granularity=fine,compact,1,0"
    elif settings.bind_threads:
        wished |= {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}
    return {**found, **{name: value for name, value in wished.items() if name not in environment}}


def for_instance(instance: Instance, common: Mapping[str, str]) -> dict[str, str]:
    """The variables of one instance: ``common`` and its number of threads."""
    threads = str(len(instance.cpus))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **common}


def huge_pages_of(allocator: str) -> tuple[str, str]:
    """Variable and value that ask an allocator for transparent huge pages."""
    if allocator == "tcmalloc":
        raise UsageError("--huge_pages: tcmalloc has no switch for them; take --allocator default or jemalloc.")
    try:
        allowed = "[never]" not in HUGE_PAGES.read_text()
    except OSError:
        allowed = False
    if not allowed:
        raise DeviceError(f"--huge_pages: the system gives none; as root: echo madvise > {HUGE_PAGES}.")
    if allocator == "jemalloc":
        return "MALLOC_CONF", "thp:always"
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _TUNABLE_SINCE:
        raise DeviceError(f"--huge_pages: the C library ({name or 'not glibc'} {version}) has no switch for them; take "
                          "--allocator jemalloc.")
    return "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def shell(instance: Instance, words: Iterable[str], changed: Mapping[str, str]) -> str:
    """One instance as a command line for a shell, placed by numactl (taskset where there are no NUMA nodes)."""
    return shlex.join([*instance.placement(), "env", *(f"{k}={v}" for k, v in changed.items()), *words])


def filled(words: Iterable[str], instance: Instance, instances: int) -> list[str]:
    """A command with its placeholders replaced: {instance}, {instances}, {threads}, {cpus}, {longest}."""
    values = {"{instance}": str(instance.number), "{instances}": str(instances), "{threads}": str(len(instance.cpus)),
              "{cpus}": format_list(instance.cpus)}
    if instance.longest is not None:
        values["{longest}"] = str(instance.longest)
    made = []
    for word in words:
        for name, value in values.items():
            word = word.replace(name, value)
        made.append(word)
    return made
