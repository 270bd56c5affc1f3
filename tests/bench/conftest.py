"""Tiny models for the benchmark's tests; the NumPy reference is that of the native engine's tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "native"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A Hugging Face folder of a tiny encoder, as a worker loads it."""
    import reference

    from bertpass.model.layouts import huggingface

    path = tmp_path_factory.mktemp("models") / "tiny"
    huggingface.write_folder(path, reference.tiny("bert", "none"))
    return str(path)
