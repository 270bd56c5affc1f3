"""The kernels of each instruction set against NumPy in float64, on sizes around those of tiles and panels."""

import numpy as np
import pytest

from bertpass import _native
from tests.helpers import reference

SETS = reference.instruction_sets()
#: rows, columns, depth: one, around the tiles (6, 12), panels (16, 32) and vectors (8, 16), odd depths
SHAPES = [(1, 1, 1), (1, 33, 7), (5, 15, 16), (6, 16, 5), (7, 31, 33), (12, 32, 64), (13, 50, 36), (25, 70, 129),
          (200, 40, 17), (50, 64, 200), (33, 96, 128),
          # around what tiles take at once: rows that are moved up, blocks of the depth (8 and 12 steps), bands of rows
          (16, 32, 64), (17, 32, 32), (47, 64, 800), (150, 70, 1000), (560, 40, 70)]


DTYPES = ["float32", "bfloat16", "int8"]


def bytes_of(a):
    """Rows of whole multiples of 1/16 that have 0 and 255/16 among their values, less their middle, where they can."""
    levels = np.random.default_rng(9).integers(0, 256, a.shape)
    levels[:, 0], levels[:, -1] = 255, 0
    return ((levels - 100) / 16).astype(np.float32)


def whole_levels(weight):
    """Rows of whole multiples of 1/512, at most 127 of them in each element and each pair, the first element's number.

    So their scale is 1/512, and rounding leaves them as they are.
    """
    levels = np.round(weight * 126 / (127 * reference.weight_scales(weight)))
    levels[:, :2] = 0
    levels[:, 0] = 127
    return (levels / 512).astype(np.float32)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linear(isa, dtype, shape):
    rows, columns, depth = shape
    a, weight = values(rows, depth), values(columns, depth, seed=1) / np.float32(np.sqrt(depth))
    bias, residual = values(columns, seed=2), values(rows, columns, seed=3)
    if dtype == "bfloat16":
        a, weight = reference.to_bfloat16(a), reference.to_bfloat16(weight)
    if dtype == "int8":  # on the levels already: rounding has nothing left to decide
        a, weight = bytes_of(a), whole_levels(weight)
    # Sums of bytes are exact, and their values about ten times as large. The others round once per element of the
    # depth, so that errors grow as a random walk.
    bound = 3e-5 if dtype == "int8" else 3e-6 * max(1, np.sqrt(depth / 200))
    sums = a.astype(np.float64) @ weight.T.astype(np.float64) + bias
    for activation, function in reference.ACTIVATIONS.items():
        found = _native.linear(a, weight, bias, residual, activation=activation, dtype=dtype, isa=isa)
        assert np.abs(found - function(sums) - residual).max() <= bound
    plain = _native.linear(a, weight, bias, dtype=dtype, isa=isa)
    assert np.abs(plain - sums).max() <= bound
    assert np.array_equal(plain, _native.linear(a, weight, bias, dtype=dtype, isa=isa, threads=2))


@pytest.mark.parametrize("isa", SETS)
def test_activations_over_their_whole_range(isa):
    x = np.concatenate([np.linspace(-12, 12, 20001), [-1e30, -300, -89, 89, 300, 1e30, 0, -0.0]]).astype(np.float32)
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    for activation in ("gelu", "gelu_tanh", "relu", "tanh"):
        found = _native.linear(x[:, None], one, zero, activation=activation, isa=isa)[:, 0].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = reference.ACTIVATIONS[activation](x.astype(np.float64))
        wanted[np.abs(x) > 100] = {"tanh": np.sign(x)}.get(activation, np.maximum(x, 0))[np.abs(x) > 100]
        assert np.all(np.abs(found - wanted) <= 1e-6 * np.maximum(1, np.abs(wanted))), activation
        assert np.all(np.isnan(_native.linear(np.full((3, 1), np.nan, np.float32), one, zero, activation=activation,
                                              isa=isa))), activation


@pytest.mark.parametrize("isa", SETS)
def test_coarse_gelu(isa):
    x = np.concatenate([np.linspace(-12, 12, 20001), [-1e30, -300, 300, 1e30, 0, -0.0]]).astype(np.float32)
    found = _native.linear(x[:, None], np.ones((1, 1), np.float32), np.zeros(1, np.float32), activation="gelu_coarse",
                           isa=isa)[:, 0].astype(np.float64)
    assert np.abs(found - reference.gelu_coarse(x.astype(np.float64)))[np.abs(x) < 100].max() <= 1e-5
    exact = np.where(np.abs(x) > 100, np.maximum(x, 0), reference.ACTIVATIONS["gelu"](x.astype(np.float64)))
    assert np.all(np.abs(found - exact) <= 1e-4 * np.maximum(1, np.abs(exact) / 10))
    assert not found[x <= -4.25].any()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("units", [1, 7, 16, 36, 100])
def test_layer_norm(isa, units):
    x, gamma, beta = values(9, units) * 3 + 5, values(units, seed=1), values(units, seed=2)
    wanted = reference.layer_norm(x.astype(np.float64), gamma, beta, 1e-5)
    assert np.abs(_native.layer_norm(x, gamma, beta, 1e-5, isa=isa) - wanted).max() <= 1e-5


def attention(qkv, lengths, heads, low, bias=None):
    """bias: (heads, 2 L - 1), of distance 0 in the middle."""
    units = qkv.shape[1] // 3
    qkv = qkv.astype(np.float64).reshape(len(qkv), heads, 3, -1)
    out, start = [], 0
    for length in lengths:
        q, k, v = (qkv[start:start + length, :, part].transpose(1, 0, 2) for part in range(3))
        scores = q @ k.transpose(0, 2, 1)
        if bias is not None:
            place = np.arange(length)
            scores = scores + bias[:, bias.shape[1] // 2 + place - place[:, None]]
        mixed = reference.softmax(scores, low) @ v
        out.append(mixed.transpose(1, 0, 2).reshape(length, units))
        start += length
    return np.concatenate(out)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize(("lengths", "heads", "size"), [
    ([1], 1, 1), ([5, 1, 0, 17], 3, 12), ([33, 12], 2, 7), ([130], 1, 64), ([24, 25, 23], 2, 33),
    ([15, 1, 33, 0, 16, 97], 2, 32), ([31, 5], 2, 96)])
def test_attention_over_ragged_rows(isa, lengths, heads, size):
    qkv = values(sum(lengths), heads * 3 * size)
    for dtype, low, bound in (("float32", reference.same, 1e-5), ("bfloat16", reference.to_bfloat16, 1e-3)):
        wanted = attention(low(qkv), lengths, heads, low)
        found = _native.attention(qkv, lengths, heads, dtype=dtype, isa=isa)
        assert np.abs(found - wanted).max() <= bound
        assert np.array_equal(found, _native.attention(qkv, lengths, heads, dtype=dtype, isa=isa, threads=2))


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("room", [0, 5])
@pytest.mark.parametrize(("lengths", "heads", "size"), [
    ([1], 2, 1), ([5, 1, 0, 17], 3, 12), ([33, 12], 2, 7), ([130, 64], 3, 64), ([24, 25, 23], 2, 33),
    ([15, 1, 33, 0, 16, 97], 2, 32), ([31, 5], 2, 96), ([300], 2, 32)], ids=str)
def test_attention_with_a_bias_by_distance(isa, room, lengths, heads, size):
    """The heads' biases are not alike, not symmetric, and what stands after the last one counts for nothing."""
    qkv = values(sum(lengths), heads * 3 * size) / np.float32(size ** 0.25)
    bias = values(heads, 2 * (max(lengths) + room) - 1, seed=7) * 2
    for dtype, low, bound in (("float32", reference.same, 1e-5), ("bfloat16", reference.to_bfloat16, 2e-3)):
        wanted = attention(low(qkv), lengths, heads, low, bias.astype(np.float64))
        found = _native.attention(qkv, lengths, heads, bias=bias, dtype=dtype, isa=isa)
        assert np.abs(found - wanted).max() <= bound
        assert np.array_equal(found, _native.attention(qkv, lengths, heads, bias=bias, dtype=dtype, isa=isa, threads=2))
        last = _native.attention(qkv[-lengths[-1]:], lengths[-1:], heads, bias=bias, dtype=dtype, isa=isa)
        assert np.array_equal(last, found[-lengths[-1]:])


@pytest.mark.parametrize("isa", SETS)
def test_attention_with_scores_far_apart(isa):
    """What softmax makes too small for a normal float is exactly zero, and nothing overflows."""
    qkv = np.zeros((3, 3), np.float32)  # one head of size 1: rows of q, k, v
    qkv[:, 0] = 1
    qkv[:, 1] = [0, -95, 200]
    qkv[:, 2] = [1, 3e38, 2]
    assert np.array_equal(_native.attention(qkv, [3], 1, isa=isa)[:, 0], [2, 2, 2])
    assert np.array_equal(_native.attention(qkv[:2], [2], 1, isa=isa)[:, 0], [1, 1])


@pytest.mark.parametrize("isa", SETS)
def test_quantised_products_are_the_same_on_every_processor(isa):
    a, weight, bias = values(25, 129), values(70, 129, seed=1), values(70, seed=2)
    found = _native.linear(a, weight, bias, dtype="int8", isa=isa)
    assert np.abs(found - _native.linear(a, weight, bias, dtype="int8", isa="portable")).max() <= 1e-5
    low = reference.to_bytes(a.astype(np.float64)) @ reference.to_signed_bytes(weight.astype(np.float64)).T + bias
    assert np.linalg.norm(found - low) <= 1e-3 * np.linalg.norm(low)
    rows = np.zeros((3, 129), np.float32)
    rows[1], rows[2] = 7, -3
    level = rows @ reference.to_signed_bytes(weight).T + bias  # rows of one value lose nothing
    assert np.abs(_native.linear(rows, weight, bias, dtype="int8", isa=isa) - level).max() <= 1e-3
    assert np.isnan(_native.linear(np.full((1, 129), np.inf, np.float32), weight, bias, dtype="int8", isa=isa)).all()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it(isa, dtype):
    """One row, the rows of tiles of every size, more rows than a band; a depth of several blocks and a rest."""
    a, weight = values(200, 805), values(70, 805, seed=1) / np.float32(np.sqrt(805))
    bias, residual = values(70, seed=2), values(200, 70, seed=3)

    def rows(first, last):
        return _native.linear(a[first:last], weight, bias, residual[first:last], dtype=dtype, isa=isa)

    together = rows(0, 200)
    for first, last in [(0, 1), (199, 200), (7, 9), (7, 10), (3, 7), (3, 8), (50, 56), (50, 57), (100, 112), (60, 93)]:
        assert np.array_equal(rows(first, last), together[first:last]), (first, last)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("shape", [(1, 16, 4), (5, 33, 36), (6, 31, 510), (7, 70, 517), (13, 40, 1030), (200, 17, 771),
                                   (43, 16, 3075), (6, 16, 16390)], ids=str)
def test_sums_of_bytes_are_exact(isa, shape):
    """Whole numbers of every size, the largest together: no sum of pairs or quads saturates, nothing is left out.

    A pair of weights makes 127 at most, and 128 where both were in the middle between two levels.
    """
    rows, columns, depth = shape
    random = np.random.default_rng(5)
    a = random.choice([0, 1, 127, 128, 254, 255], (rows, depth)).astype(np.int64)
    weight = random.integers(-127, 128, (columns, depth)).astype(np.float32)
    even, odd = weight[:, :depth // 2 * 2:2], weight[:, 1::2]
    np.clip(odd, -127 - even, 127 - even, out=odd)
    a[::3], weight[::4], weight[1::4] = 255, 63.5, -63.5
    a[:, 0], a[:, -1], weight[:, 0], weight[:, 1] = 0, 255, 0, 127  # so that scales are one and zero points zero
    found = _native.linear(a.astype(np.float32), weight, np.zeros(columns, np.float32), dtype="int8", isa=isa)
    levels = np.round(weight).astype(np.int64)
    assert depth == 4 or np.abs(levels[:, ::2][:, :depth // 2] + levels[:, 1::2]).max() == 128
    assert np.array_equal(found, (a @ levels.T).astype(np.float32))


def test_refused_arguments():
    with pytest.raises(ValueError, match="depth"):
        _native.linear(values(2, 3), values(4, 5), values(4))
    with pytest.raises(ValueError, match="residual"):
        _native.linear(values(2, 3), values(4, 3), values(4), values(2, 3))
    with pytest.raises(ValueError, match="sum of lengths"):
        _native.attention(values(3, 6), [2], 1)
    for shape in [(2, 3), (1, 1), (1, 4), (3,)]:
        with pytest.raises(ValueError, match="bias"):
            _native.attention(values(2, 3), [2], 1, bias=values(*shape))
    with pytest.raises(ValueError, match="columns"):
        _native.layer_norm(values(2, 3), values(4), values(3), 1e-5)
