"""The twin of the CUDA engine: its kernels built for the CPU, once for all tests."""

import fcntl
from pathlib import Path

import build_cuda

from tests.helpers import ROOT

TWIN = ROOT / "build" / "cuda_twin" / "libbertpass_cuda_twin.so"


def twin_library() -> Path:
    """The twin's library, built where it is missing or older than a source; several test processes take turns."""
    TWIN.parent.mkdir(parents=True, exist_ok=True)
    with open(TWIN.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = [*(ROOT / "bertpass" / "csrc").rglob("*.*"), ROOT / "bertpass" / "include" / "bertpass_cuda.h",
                 Path(build_cuda.__file__)]
        if not TWIN.exists() or TWIN.stat().st_mtime < max(file.stat().st_mtime for file in files):
            build_cuda.build(TWIN, twin=True)
    return TWIN
