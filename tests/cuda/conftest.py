"""The library under test: the twin, built here once for all tests, and the GPU's library where there is a GPU."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "native")]

import build_cuda  # noqa: E402
from lab import Lab  # noqa: E402

TWIN = ROOT / "build" / "cuda_twin" / "libbertpass_cuda_twin.so"


def twin_library() -> Path:
    """The twin's library, built where it is missing or older than a source; several test processes take turns."""
    import fcntl

    TWIN.parent.mkdir(parents=True, exist_ok=True)
    with open(TWIN.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = [*(ROOT / "bertpass" / "csrc").rglob("*.*"), ROOT / "bertpass" / "include" / "bertpass_cuda.h",
                 Path(build_cuda.__file__)]
        if not TWIN.exists() or TWIN.stat().st_mtime < max(file.stat().st_mtime for file in files):
            build_cuda.build(TWIN, twin=True)
    return TWIN


@pytest.fixture(scope="session")
def twin_path():
    return twin_library()


@pytest.fixture(scope="session")
def twin(twin_path):
    return Lab(twin_path, str(twin_path))
