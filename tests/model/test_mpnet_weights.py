"""The real weights of all-mpnet-base-v2, beside sentence-transformers."""

import hashlib
import os

import numpy as np
import pytest

import bertpass
from bertpass.engines.native import NativeEngine
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.hub import packages
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import write_folder

pytestmark = pytest.mark.skipif(
    os.environ.get("BERTPASS_MPNET_WEIGHTS") != "1",
    reason="set BERTPASS_MPNET_WEIGHTS=1, after bertpass download mpnet (405 MB), to test the real weights")

TEXTS = ["A girl is styling her hair.", "É à la carte, <mask> 猫!", "a", " ".join(["the cat sat on the mat"] * 80)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    library = pytest.importorskip("sentence_transformers", reason="pip install '.[reference]' to compare with it")
    folder = tmp_path_factory.mktemp("mpnet")
    write_folder(folder / "model", load_checkpoint("mpnet"))
    return library.SentenceTransformer(str(folder / "model"), device="cpu")


def test_the_published_weights():
    folder, source = packages.folder("mpnet")
    assert source == "all-mpnet-base-v2"
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == (
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658")


def test_vectors(reference):
    """The last text is cut at 384 tokens by both: far ranges of distances count in it."""
    wanted = reference.encode(TEXTS)
    for dtype, bound in (("float32", 1e-5), ("bfloat16", 2e-2), ("int8", 1e-1)):
        with bertpass.load("mpnet", dtype=dtype) as model:
            found = model.encode(TEXTS)
            assert model.max_length == 384 and model.config == load_checkpoint("mpnet").config
        assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted), dtype


def test_a_packed_file_has_the_same_bits(tmp_path):
    checkpoint = load_checkpoint("mpnet")
    packed.write(tmp_path / "mpnet.safetensors", checkpoint, "float32", threads=2)
    ids = np.arange(3000, 3400, dtype=np.int32)
    batch = ids, np.zeros_like(ids), np.array([0, 1, 20, 400], np.int64)
    found = NativeEngine(packed.read(tmp_path / "mpnet.safetensors"), threads=2).rows(*batch)
    assert np.array_equal(found[0].values, NativeEngine(checkpoint, threads=2).rows(*batch)[0].values)
