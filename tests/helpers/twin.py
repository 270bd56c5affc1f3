"""The twin of the CUDA engine: its kernels built for the CPU, once for all tests."""

from pathlib import Path

import build_cuda

from tests.helpers.built import built, sources

NAME = "libbertpass_cuda_twin.so"


def twin_library() -> Path:
    """The twin's library, built where it is missing or of other sources."""
    return built("cuda_twin", [*sources(), Path(build_cuda.__file__)], [build_cuda.run(["g++", "--version"])],
                 lambda folder: build_cuda.build(folder / NAME, twin=True)) / NAME
