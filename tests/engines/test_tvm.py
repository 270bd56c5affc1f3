"""The TVM engine against float64 in NumPy: every family, head and activation, at shapes that are no multiples."""

import numpy as np
import pytest

from bertpass.engines.tvm import engine as tvm_engine
from bertpass.errors import MissingDependencyError, UsageError
from bertpass.model.config import ACTIVATIONS
from tests.helpers import reference

pytest.importorskip("tvm", reason="pip install '.[tvm]' to test this engine")

SIZES = {"units": 64, "num_heads": 2, "hidden_size": 96}
LENGTHS = [9, 1, 20]


def make(family="bert", head="none", **fields):
    checkpoint = reference.tiny(family, head, **{**SIZES, **fields})
    return checkpoint, tvm_engine.from_checkpoint(checkpoint, threads=1)


def agrees(checkpoint, engine, lengths=LENGTHS, padded=None):
    batch = reference.batch(checkpoint.config, lengths, padded)
    found, expected = engine.forward(*batch), reference.outputs(checkpoint, *batch)
    assert [a.shape for a in found] == [a.shape for a in expected]
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == np.float32 and np.allclose(got, wanted, rtol=1e-3, atol=1e-3)  # the published check
        assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize(("family", "heads"), [
    ("bert", ("pooled", "qa", "tokens", "classification", "mean_norm", "cls_norm")),
    ("distilbert", ("none", "classification")), ("roberta", ("none", "regression", "mean")),
    ("xlm-roberta", ("classification",)), ("camembert", ("tokens",))])
def test_parity(family, heads):
    for head in heads:
        agrees(*make(family, head))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    agrees(*make(activation=activation))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_head_sizes(size):
    agrees(*make(num_heads=64 // size))


def test_vectors_of_eight(monkeypatch):
    monkeypatch.setattr("bertpass.machine.describe", lambda: {"instruction_sets": ["avx2", "fma"], "cpu": "x"})
    for head in ("tokens", "classification"):
        agrees(*make(head=head, num_heads=8))


def test_every_shape_is_compiled_once():
    checkpoint, engine = make()
    for lengths, padded in (([1], 1), ([40], 40), ([3, 16], None), ([2, 7], 16)):
        agrees(checkpoint, engine, lengths, padded)
    assert engine.describe()["shapes"] == [[1, 1], [1, 40], [2, 16]]
    engine.close()
    assert engine.describe()["shapes"] == []


def test_what_would_read_past_a_table_is_refused():
    checkpoint, engine = make()
    ids, types, lengths = reference.batch(checkpoint.config, [4, 2])
    for wrong, words in (((ids + 60, types, lengths), "token ids must be from 0 to 60"),
                         ((ids - 61, types, lengths), "token ids"), ((ids, types + 2, lengths), "token types"),
                         ((ids, types, lengths * 0), "valid lengths must be from 1 to 4"),
                         ((ids, types, lengths + 1), "valid lengths")):
        with pytest.raises(UsageError, match=words):
            engine.forward(*wrong)
    with pytest.raises(UsageError, match="41 tokens are more than the model's 40 positions"):
        engine.forward(*reference.batch(checkpoint.config, [41]))


def test_widths_that_the_kernels_do_not_take():
    for fields in ({"units": 36, "num_heads": 3}, {"hidden_size": 50}, {"num_heads": 16}):  # 8 or 16 lanes
        with pytest.raises(UsageError, match="is a multiple of"):
            make(**fields)


def test_the_compiler_of_a_file_may_have_arguments(tmp_path, monkeypatch):
    """CXX is as everywhere: "ccache g++", here env; one that is not there is named."""
    checkpoint = reference.tiny("bert", "none", **SIZES)
    monkeypatch.setenv("CXX", "env g++ -O1")
    (path,) = tvm_engine.save(tmp_path / "model.so", checkpoint, 1, 9)
    assert path.read_bytes()[:4] == b"\x7fELF"
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingDependencyError, match="no-such-compiler"):
        tvm_engine.save(tmp_path / "other.so", checkpoint, 1, 9)
