"""Each kernel against NumPy in float64: as its twin everywhere, and on the GPU where there is one.

The twins run the kernels' own source, each CUDA thread as a fiber (bertpass/csrc/cuda/twin); outputs begin as NaN.
Bounds are a few roundings of the type: UNIT is half of the distance of numbers near one.
"""

import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.lab import DTYPES, UNIT, rounded

LENGTHS = np.array([3, 1, 70, 17], np.int32)


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def either_order(lab, on_gpu, request):
    """The twin's threads in the order of their numbers, and the other way round: a missing barrier shows."""
    reverse = (lambda on: None) if on_gpu else lab.library.bertpass_cuda_twin_reverse
    reverse(int(request.param))
    yield lab
    reverse(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(found, wanted, dtype, roundings):
    assert np.isfinite(found).all()
    size = np.maximum(np.abs(wanted), 1)
    assert (np.abs(found - wanted) <= roundings * max(UNIT[dtype], 2.0 ** -20) * size).all()


def attention(qkv, lengths, bias=None, window=0):
    """(tokens, heads, 3, size) -> (tokens, heads, size), float64; bias: (heads, distances), 0 in their middle."""
    rows = []
    for part in np.split(qkv, np.cumsum(lengths)[:-1]):
        q, k, v = part.transpose(2, 1, 0, 3)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        distance = np.arange(len(part))[None] - np.arange(len(part))[:, None]
        if bias is not None:
            scores = scores + bias.astype(float)[:, distance + bias.shape[1] // 2]
        if window:
            scores = np.where(np.abs(distance) <= window, scores, -np.inf)
        rows.append((reference.softmax(scores) @ v).transpose(1, 0, 2))
    return np.concatenate(rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [32, 64, 96, 128])
def test_attention(either_order, dtype, size):
    qkv = normal(size, LENGTHS.sum(), 2, 3, size)
    close(either_order.attend(dtype, qkv, LENGTHS), attention(rounded(qkv, dtype), LENGTHS), dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 64, 65, 512])
def test_attention_of_any_length(lab, dtype, length):
    lengths = np.array([length], np.int32)
    qkv = 3 * normal(length, length, 1, 3, 32)  # far from uniform
    bound = 64 if dtype == "float32" else 16  # scores of some tens, whose rounding is that of their size
    close(lab.attend(dtype, qkv, lengths), attention(rounded(qkv, dtype), lengths), dtype, bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "window", "biased"), [(64, 0, True), (96, 0, True), (32, 5, False), (128, 40, True)])
def test_attention_by_distance(either_order, dtype, size, window, biased):
    """Rows of several tiles: whole tiles of keys are outside of a query's window, and others of its tile's."""
    lengths = np.array([3, 150, 1], np.int32)
    qkv, bias = normal(size, lengths.sum(), 2, 3, size), normal(7, 2, 2 * 160 - 1) if biased else None
    wanted = attention(rounded(qkv, dtype), lengths, bias, window)
    close(either_order.attend(dtype, qkv, lengths, bias, window), wanted, dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [32, 96])
def test_rotary_positions(lab, dtype, size):
    qkv, angle = normal(size, LENGTHS.sum(), 3, 3, size), 3 * normal(1, 80, size // 2).astype(np.float64)
    found = lab.rotate(dtype, qkv, LENGTHS, np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32))
    exact = rounded(qkv, dtype)
    points = exact[..., :size // 2] + 1j * exact[..., size // 2:]
    places = np.concatenate([np.arange(length) for length in LENGTHS])
    points[:, :, :2] *= np.exp(1j * angle)[places][:, None, None]
    close(found, np.concatenate([points.real, points.imag], axis=-1), dtype, 4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_with_scores_that_would_overflow(lab, dtype):
    qkv = 40 * normal(1, 20, 1, 3, 64)  # scores of tens of thousands: a sum without its maximum would be infinite
    found = lab.attend(dtype, qkv, np.array([20], np.int32))
    close(found / 40, attention(rounded(qkv, dtype), [20]) / 40, dtype, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [8, 96, 384, 768, 1024, 2048])
def test_layer_norm(lab, dtype, units):
    x, gamma, beta = 2 * normal(1, 5, units) + 3, normal(2, units), normal(3, units)
    wanted = reference.layer_norm(rounded(x, dtype), gamma.astype(float), beta.astype(float), 1e-12)
    close(lab.norm(dtype, x, gamma, beta, 1e-12), wanted, dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kinds", [0, 1, 2])
def test_embedding(either_order, dtype, kinds):
    units, length = 96, 75
    tables = normal(1, 61, units), normal(2, 80, units), normal(3, kinds, units) if kinds else None
    gamma, beta = normal(4, units), normal(5, units)
    source = np.random.default_rng(6)
    ids = source.integers(0, 61, (4, length)).astype(np.int32)
    types = source.integers(0, 2, ids.shape).astype(np.int32) if kinds == 2 else None
    found = either_order.embed(dtype, ids, types, LENGTHS, tables, gamma, beta, 1e-5)
    words, positions, type_table = (None if t is None else rounded(t, dtype) for t in tables)
    rows = []
    for row, valid in enumerate(LENGTHS):
        x = words[ids[row, :valid]] + positions[:valid]
        if kinds:
            x = x + type_table[types[row, :valid] if types is not None else np.zeros(valid, int)]
        rows.append(reference.layer_norm(x, gamma.astype(float), beta.astype(float), 1e-5))
    close(found, np.concatenate(rows), dtype, 4)


def test_embedding_takes_the_nearest_row_for_an_id_outside(lab):
    tables, ones = (normal(1, 5, 32), normal(2, 3, 32), normal(3, 2, 32)), np.ones(32, np.float32)

    def embed(ids, types):
        arrays = (np.array([a], np.int32) for a in (ids, types))
        return lab.embed("float32", *arrays, np.array([3], np.int32), tables, ones, ones, 1e-5)

    assert (embed([-7, 5, 2 ** 30], [-1, 2, 9]) == embed([0, 4, 4], [0, 1, 1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
def test_activation(lab, dtype, activation):
    x = 3 * normal(1, 37, 208)
    wanted = reference.ACTIVATIONS[activation](rounded(x, dtype))
    close(lab.activate(dtype, activation, x), wanted, dtype, 2)
    first, second = np.split(rounded(x, dtype), 2, axis=1)
    wanted = reference.ACTIVATIONS[activation](first) * second
    close(lab.activate_gated(dtype, activation, x), wanted, dtype, 2 * np.abs(second).max())


@pytest.mark.parametrize(("dtype", "epilogue", "residual"), [
    *((dtype, *case) for dtype in DTYPES for case in (("none", False), ("none", True), ("relu", False))),
    ("float16", "gelu_tanh", False), ("bfloat16", "gelu_tanh", False)])
def test_product(lab, dtype, epilogue, residual):
    x, weight, bias = normal(1, 19, 64), normal(2, 48, 64) / 8, normal(3, 48)
    added = normal(4, 19, 48) if residual else None
    wanted = rounded(x, dtype) @ rounded(weight, dtype).T + rounded(bias, dtype)
    wanted = reference.ACTIVATIONS[epilogue](wanted + rounded(added, dtype) if residual else wanted)
    close(lab.product(dtype, epilogue, x, weight, bias, added), wanted, dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [32, 384])
def test_heads(lab, dtype, units):
    states, length = normal(1, LENGTHS.sum(), units), 71
    exact = rounded(states, dtype)
    parts = np.split(exact, np.cumsum(LENGTHS)[:-1])
    padded = np.stack([np.pad(part, ((0, length - len(part)), (0, 0))) for part in parts])
    assert (lab.unpack(dtype, states, LENGTHS, length) == padded.astype(np.float32)).all()
    weight, bias = normal(2, 5, units) / 8, normal(3, 5)
    found = lab.token_logits(dtype, states, LENGTHS, length, weight, bias)
    close(found, padded @ weight.T.astype(float) + bias, "float32", 64)
    for pooling, vectors in (("cls", np.stack([p[0] for p in parts])), ("mean", np.stack([p.mean(0) for p in parts]))):
        close(lab.pool(dtype, states, LENGTHS, pooling, False), vectors, "float32", 16)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        close(lab.pool(dtype, states, LENGTHS, pooling, True), vectors / lengths, "float32", 16)


@pytest.mark.parametrize("activation", ["none", "tanh", "relu", "gelu"])
def test_dense(lab, activation):
    x, weight, bias = normal(1, 11, 100), normal(2, 7, 100), normal(3, 7)
    wanted = reference.ACTIVATIONS[activation](x.astype(float) @ weight.T.astype(float) + bias)
    close(lab.dense(x, weight, bias, activation), wanted, "float32", 64)


def test_a_batch_is_refused_where_heads_do_not_fit(lab):
    with pytest.raises(RuntimeError, match="heads have 32, 64, 96 or 128 columns"):
        lab.attend("float16", normal(1, 4, 1, 3, 40), np.array([4], np.int32))
