"""Files as memory: mapped, not read."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable

import numpy as np


def view(path: str | os.PathLike[str]) -> memoryview:
    """The bytes of a file, read-only; its pages are read when they are used and shared between processes.

    The view, and every array made of it, keeps the mapping open. OSError where the file cannot be read.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def release(arrays: Iterable[np.ndarray]) -> None:
    """Take the pages of mapped files under these arrays out of this process's memory.

    The arrays stay usable: what is used again comes back from the system's cache or from the file. To be called when
    most of a file has been read for the last time.
    """
    maps: dict[int, mmap.mmap] = {}
    for array in arrays:
        under = array
        while isinstance(under.base, np.ndarray):
            under = under.base
        owner = under.base.obj if isinstance(under.base, memoryview) else under.base
        if isinstance(owner, mmap.mmap):
            maps[id(owner)] = owner
    for owner in maps.values():
        owner.madvise(mmap.MADV_DONTNEED)
