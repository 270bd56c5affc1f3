"""The library under test: the twin, built here once for all tests, or with BERTPASS_CUDA_TEST=gpu the GPU's own."""

import os

import build_cuda
import pytest

from bertpass.engines.cuda import library
from tests.helpers.lab import Lab
from tests.helpers.twin import twin_library


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
