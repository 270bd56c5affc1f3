"""Tiny models for the benchmark's tests."""

import pytest

from bertpass.model.layouts import huggingface
from tests.helpers import reference


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A Hugging Face folder of a tiny encoder, as a worker loads it."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    huggingface.write_folder(path, reference.tiny("bert", "none"))
    return str(path)
