"""What a result's bits may not depend on: neighbours, threads, cache sizes; and that a forward asks for no memory."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bertpass import _native, machine
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.model.layouts import packed
from tests.helpers import reference
from tests.helpers.reference import batch, tiny

SETS = reference.instruction_sets()
PACKAGE = Path(__file__).resolve().parents[2] / "bertpass"
#: bytes of the first and second level: less than anything needs, those of known processors, more than anything needs
CACHES = [(1, 1), (32 * 2**10, 512 * 2**10), (48 * 2**10, 2 * 2**20), (2**20, 64 * 2**20)]
#: rows, columns, depth: one row and fewer than a tile; rows that are moved up; whole panels and not; a depth that
#: neither steps (32, 64) nor blocks divide, that is one step and less; more rows than a band
SHAPES = [(1, 64, 800), (3, 33, 1000), (15, 32, 31), (17, 70, 850), (33, 64, 32), (49, 96, 1537), (130, 40, 777),
          (560, 33, 129)]


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product(isa, dtype, shape):
    rows, columns, depth = shape
    a, weight, bias = values(rows, depth), values(columns, depth, seed=1), values(columns, seed=2)
    residual = values(rows, columns, seed=3)

    def product(some, **how):
        return _native.linear(a[some], weight, bias, residual[some], activation="gelu", dtype=dtype, isa=isa, **how)

    together = product(slice(None))
    assert np.isfinite(together).all()
    for row in {0, rows // 2, rows - 1}:
        assert np.array_equal(product(slice(row, row + 1)), together[row:row + 1]), row
    for first, last in ((0, 16), (1, 32), (rows // 3, rows)):
        assert np.array_equal(product(slice(first, last)), together[first:last]), (first, last)
    for threads in (2, 3, 5):
        assert np.array_equal(product(slice(None), threads=threads), together), threads
    for caches in CACHES:
        assert np.array_equal(product(slice(None), caches=caches), together), caches


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("heads", "size"), [(2, 32), (1, 64), (1, 96), (2, 24)])
def test_attention(isa, dtype, heads, size):
    lengths = [1, 2, 15, 16, 17, 31, 32, 33, 0, 48, 63, 97, 130]
    qkv = values(sum(lengths), heads * 3 * size)
    together = _native.attention(qkv, lengths, heads, dtype=dtype, isa=isa)
    assert np.isfinite(together).all()
    for threads in (2, 3, 5):
        assert np.array_equal(_native.attention(qkv, lengths, heads, dtype=dtype, isa=isa, threads=threads), together)
    ends = np.cumsum(lengths)
    for end, length in zip(ends, lengths, strict=True):
        alone = _native.attention(qkv[end - length:end], [length], heads, dtype=dtype, isa=isa)
        assert np.array_equal(alone, together[end - length:end]), length


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [
    {"units": 64, "hidden_size": 96, "num_heads": 2}, {"units": 70, "hidden_size": 101, "num_heads": 5}], ids=str)
def test_a_model(isa, dtype, sizes):
    """Heads of whole panels and not; from 192 tokens a thread on each takes its sequences through all layers."""
    checkpoint = tiny(max_length=128, **sizes)
    ids, types, lengths = batch(checkpoint.config, [128, 70, 1, 99, 2, 128, 40, 17, 16, 15], 128)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa)
    together = engine.forward(ids, types, lengths)[0]
    for threads in (2, 3, 5):
        several = NativeEngine(checkpoint, dtype=dtype, threads=threads, isa=isa)
        assert np.array_equal(several.forward(ids, types, lengths)[0], together), threads
        for i, n in enumerate(lengths):
            alone = several.forward(ids[i:i + 1, :n], types[i:i + 1, :n], lengths[i:i + 1])[0][0]
            assert np.array_equal(alone, together[i, :n]), (threads, i)
    encoder, head = checkpoint.config.to_dict(), checkpoint.head.to_dict()
    for caches in CACHES:
        model = _native.Model(encoder, head, checkpoint.params, dtype=dtype, isa=isa, caches=caches)
        found = np.empty_like(together)
        model.forward(ids, types, lengths, [found])
        assert np.array_equal(found, together), caches


def test_cache_sizes_are_those_of_the_system():
    first, second = _native.caches()
    told = machine.caches()
    if "L1d" in told and "L2" in told:
        assert (first, second) == (told["L1d"], told["L2"])
    assert 2**13 <= first < second <= 2**26
    with pytest.raises(ValueError, match="at least one byte"):
        _native.linear(values(2, 3), values(4, 3), values(4), caches=(0, 1))


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """A program that counts what forwards ask for."""
    program = tmp_path_factory.mktemp("counting") / "allocations"
    source = Path(__file__).parent / "allocations_child.c"
    subprocess.run(["gcc", "-O1", "-rdynamic", f"-I{PACKAGE / 'include'}", "-o", program, source, f"-L{PACKAGE}",
                    "-lbertpass", f"-Wl,-rpath,{PACKAGE}"], check=True)
    return program


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler: apt-get install gcc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""),
                    reason="a sanitizer counts memory itself: run this test without scripts/sanitize.sh")
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_forward_asks_for_no_memory_once_a_larger_one_has_run(counting, tmp_path, dtype, isa):
    file = tmp_path / "model.safetensors"
    packed.write(file, tiny(units=64, hidden_size=96, num_heads=2, max_length=128, head="mean_norm"), dtype)
    source = np.random.default_rng(4)
    # no batch has more sequences, more tokens or a longer sequence than the first
    batches = [[128, *[80] * 8], [80] * 9, [128] * 6, [1], [128], [17, 1, 33], [2] * 9,
               *(source.integers(1, 81, source.integers(1, 10)).tolist() for _ in range(20))]
    words = "".join(f"{len(one)} {max(one)} {' '.join(map(str, one))}\n" for one in batches)
    for threads in (1, 2, 3):
        done = subprocess.run([counting, file, str(threads), isa], input=words, capture_output=True, text=True,
                              check=True)
        asked = list(map(int, done.stdout.split()))
        assert len(asked) == len(batches) and asked[0] > 0
        assert not any(asked[1:]), (threads, asked)
