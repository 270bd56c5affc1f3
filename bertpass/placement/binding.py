"""Bind this thread to processors and memory for a moment; what it starts meanwhile inherits both.

Both are properties of a thread that fork and exec hand on (Linux manual, sched_setaffinity(2), set_mempolicy(2)), so a
parent takes a place, starts a child there and goes back: nothing has to run in the child. set_mempolicy has no wrapper
in the C library and is called by its number.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import platform
from collections.abc import Iterator, Sequence

from bertpass.placement.topology import Topology

_BIND = 2  # MPOL_BIND of linux/mempolicy.h: from these nodes and no others
_BITS = 1024  # the most nodes that a kernel can have
_LONG = 8 * ctypes.sizeof(ctypes.c_ulong)
_Mask = ctypes.c_ulong * (_BITS // _LONG)

#: machine -> numbers of get_mempolicy and set_mempolicy (asm/unistd.h of each)
_CALLS = {"x86_64": (239, 238), "aarch64": (236, 237)}


def bindable(topology: Topology) -> tuple[Topology, str]:
    """The topology, without nodes to bind memory to where the system does not let that be, and then why."""
    reason = why_not(topology.memory) if topology.memory else ""
    return (dataclasses.replace(topology, memory=()) if reason else topology), reason


def why_not(memory: Sequence[int]) -> str:
    """Why memory cannot be bound to these nodes here; empty where it can."""
    try:
        with placed(sorted(os.sched_getaffinity(0)), memory):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _call(which: int, *arguments: object) -> None:
    numbers = _CALLS.get(platform.machine())
    if numbers is None:
        raise OSError(f"memory policies of {platform.machine()} are not known here")
    if ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(numbers[which]), *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _policy() -> tuple[int, ctypes.Array[ctypes.c_ulong]]:
    """Mode and nodes of this thread's memory policy."""
    mode, mask = ctypes.c_int(), _Mask()
    _call(0, ctypes.byref(mode), mask, ctypes.c_ulong(_BITS), ctypes.c_void_p(), ctypes.c_ulong(0))
    return mode.value, mask


def _set_policy(mode: int, mask: ctypes.Array[ctypes.c_ulong]) -> None:
    # the kernel looks at one bit less than it is told, and wants no mask where no bit is set
    given = mask if any(mask) else ctypes.c_void_p()
    _call(1, ctypes.c_int(mode), given, ctypes.c_ulong(_BITS + 1 if any(mask) else 0))


@contextlib.contextmanager
def placed(cpus: Sequence[int] = (), memory: Sequence[int] = ()) -> Iterator[None]:
    """Be on these processors, and allocate from these NUMA nodes only, for the length of the block; none are all.

    Raises
    ------
    OSError
        The system refuses one of them; then nothing has changed.
    """
    before, policy = os.sched_getaffinity(0), _policy() if memory else None
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        if memory:
            mask = _Mask()
            for node in memory:
                mask[node // _LONG] |= 1 << node % _LONG
            _set_policy(_BIND, mask)
        try:
            yield
        finally:
            if policy is not None:
                _set_policy(*policy)
    finally:
        if cpus:
            os.sched_setaffinity(0, before)
