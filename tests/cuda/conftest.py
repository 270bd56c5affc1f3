"""The library under test: the twin, built here once for all tests, or with BERTPASS_CUDA_TEST=gpu the GPU's own."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "native")]

import build_cuda  # noqa: E402
from lab import Lab  # noqa: E402

from bertpass.engines.cuda import library  # noqa: E402

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
def on_gpu():
    return os.environ.get("BERTPASS_CUDA_TEST") == "gpu"


@pytest.fixture(scope="session")
def library_path(on_gpu):
    """Of the library under test."""
    return build_cuda.LIBRARY if on_gpu else twin_library()


@pytest.fixture(scope="session")
def cublaslt(on_gpu, library_path):
    """Where the library under test finds cuBLASLt's functions: the twin has its own."""
    return library.cublaslt() if on_gpu else str(library_path)


@pytest.fixture(scope="session")
def lab(library_path, cublaslt):
    return Lab(library_path, cublaslt)
