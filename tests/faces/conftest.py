"""The twin of the CUDA engine for the operators of other frameworks, and the scripts that build them."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "native")]


@pytest.fixture(scope="session")
def twin():
    """Path of the twin's library, which tests/cuda builds where it has to be."""
    about = importlib.util.spec_from_file_location("cuda_conftest", ROOT / "tests" / "cuda" / "conftest.py")
    module = importlib.util.module_from_spec(about)
    sys.path.insert(0, str(ROOT / "tests" / "cuda"))
    about.loader.exec_module(module)
    return module.twin_library()
