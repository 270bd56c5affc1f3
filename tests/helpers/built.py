"""What tests build with a compiler: once per content of its sources, kept in build/tests for the next run."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.helpers import ROOT

FOLDER = ROOT / "build" / "tests"
NATIVE = ROOT / "bertpass" / "csrc"


def sources() -> list[Path]:
    """All C++ and CUDA sources and public headers."""
    return sorted([*(path for path in NATIVE.rglob("*.*") if path.is_file()), *(ROOT / "bertpass/include").glob("*.h")])


def built(name: str, files: Iterable[Path], words: Iterable[str], make: Callable[[Path], object]) -> Path:
    """The folder that ``make(folder)`` filled.

    It is made where no folder is there for the content of ``files`` and for ``words`` (flags, the compiler's version);
    folders of other contents go. Several test processes take turns.
    """
    content = hashlib.sha256("\0".join(words).encode())
    for file in files:
        content.update(f"\0{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER / f"{name}-{content.hexdigest()[:16]}"
    with open(FOLDER / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            for old in FOLDER.glob(f"{name}-*"):
                shutil.rmtree(old)
            fresh = FOLDER / f"{name}-fresh"
            fresh.mkdir()
            make(fresh)
            fresh.rename(folder)
    return folder
