"""Cores for processes that know nothing of each other: whoever comes takes free ones, and gives them back by ending."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bertpass.placement.topology import Core


def folder() -> Path:
    """Where the lock files of this person's processes are."""
    return Path(tempfile.gettempdir()) / f"bertpass-cores-{os.getuid()}"


class Claim:
    """Locks on ``count`` of the cores that no other claim has; held until :meth:`release` or the process's end.

    ``cpus`` are the processors of the claimed cores, rising; empty where too few cores are free.
    """

    def __init__(self, cores: Sequence[Core], count: int) -> None:
        self._locks: list[BinaryIO] = []
        self.cpus: tuple[int, ...] = ()
        folder().mkdir(mode=0o700, exist_ok=True)
        found: list[int] = []
        for core in cores:
            if len(self._locks) == count:
                break
            lock = (folder() / str(core.cpus[0])).open("wb")  # closed, and so unlocked, by release()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._locks.append(lock)
            found += core.cpus
        if len(self._locks) == count:
            self.cpus = tuple(sorted(found))
        else:
            self.release()

    def release(self) -> None:
        """Give the cores back."""
        for lock in self._locks:
            lock.close()
        self._locks, self.cpus = [], ()
