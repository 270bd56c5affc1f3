"""Calibrated int8: weights that are rounded for real inputs, and packing that keeps them as they are.

Relative error of MiniLM's token states, see the table in docs/precision.md.
"""

import numpy as np
import pytest

from bertpass import _native
from bertpass.engines.native import NativeEngine
from bertpass.model.low_precision import calibration, numpy_encoder
from tests.helpers import reference
from tests.helpers.reference import NETWORKS, batch, tiny


def rows_of(checkpoint, count=24, seed=1):
    """ids and token types of random sequences."""
    ids, types, lengths = batch(checkpoint.config, np.random.default_rng(seed).integers(3, 40, count), seed=seed)
    return [(ids[i, :n], types[i, :n]) for i, n in enumerate(lengths)]


def correlated(tokens, depth, seed=0):
    """Inputs in which a few directions have most of the energy, of mean zero."""
    source = np.random.default_rng(seed)
    x = source.standard_normal((tokens, 4)) @ source.standard_normal((4, depth)) + \
        0.1 * source.standard_normal((tokens, depth))
    return (x - x.mean(0)).astype(np.float32)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("family", NETWORKS)
def test_the_encoder_in_numpy(family, activation):
    checkpoint = tiny(family, activation=activation)
    rows = rows_of(checkpoint, 5)
    wanted = np.concatenate([reference.token_states(checkpoint, *row) for row in rows])
    assert np.abs(numpy_encoder.states(checkpoint.config, checkpoint.params, rows) - wanted).max() <= 1e-5


@pytest.mark.parametrize(("depth", "bound"), [(1, 1 + 1e-6), (7, 0.8), (130, 0.1), (300, 0.1)])
def test_rounded_weights_are_better_on_their_inputs(depth, bound):
    """Five matrices together: of 20 rows of 7 weights one may be as much as 0.84 by chance."""
    x = correlated(400, depth)
    unseen = correlated(400, depth)[::-1] * 1.5
    errors = np.zeros(2)
    for seed in range(1, 6):
        weight = np.random.default_rng(seed).standard_normal((20, depth)).astype(np.float32)
        rounded, nearest = calibration.round_weights(weight, x), reference.to_signed_bytes(weight)
        errors += [np.linalg.norm(x @ (low - weight).T) for low in (rounded, nearest)]
        assert np.linalg.norm(unseen @ (rounded - weight).T) <= max(np.linalg.norm(unseen @ (nearest - weight).T), 1e-5)
    assert errors[0] <= bound * max(errors[1], 1e-6)


@pytest.mark.parametrize("depth", [1, 2, 5, 95, 96])
def test_rounded_weights_are_whole_levels_and_packing_keeps_them(depth):
    x = correlated(200, depth)
    weight = np.random.default_rng(2).standard_normal((33, depth)).astype(np.float32)
    weight[5] = 0
    weight[6], weight[7, :2], weight[8, -1] = 0.5, 9, -20  # every pair, one pair and one element decide the scale
    rounded = calibration.round_weights(weight, x)
    scale = reference.weight_scales(weight)
    assert np.allclose(calibration.scales_of(weight)[:, None], np.where(np.arange(33)[:, None] == 5, 0, scale))
    levels = rounded / scale
    assert np.abs(levels - np.round(levels)).max() <= 1e-3
    whole = np.round(levels)
    pairs = np.pad(whole, ((0, 0), (0, depth % 2))).reshape(33, -1, 2).sum(-1)
    largest = np.maximum(np.abs(whole).max(-1), np.abs(pairs).max(-1))
    assert np.array_equal(largest, [0 if i == 5 else 127 for i in range(33)])
    assert np.abs(reference.to_signed_bytes(rounded) - rounded).max() <= 1e-6 * np.abs(rounded).max()
    bytes_of_x = reference.to_bytes(x).astype(np.float32)
    found = _native.linear(bytes_of_x, rounded, np.zeros(33, np.float32), dtype="int8")
    assert np.abs(found - bytes_of_x @ rounded.T).max() <= 2e-4 * np.abs(found).max()


def test_a_calibrated_model_is_nearer():
    checkpoint = tiny(units=64, hidden_size=256, num_heads=4, vocab_size=300)
    rounded = calibration.calibrated(checkpoint, rows_of(checkpoint, 120))
    inputs = batch(checkpoint.config, [17, 1, 30, 40, 9, 12], 40, seed=9)
    exact = NativeEngine(checkpoint, threads=1).forward(*inputs)[0]
    errors = [np.linalg.norm(NativeEngine(c, dtype="int8", threads=1).forward(*inputs)[0] - exact)
              for c in (rounded, checkpoint)]
    assert errors[0] < 0.95 * errors[1]
    changed = [name for name in checkpoint.params if rounded.params[name] is not checkpoint.params[name]]
    assert len(changed) == 2 * 2 * 6 and all(rounded.params[name].dtype == np.float32 for name in changed)


def test_what_a_plan_keeps_has_its_own_weights():
    checkpoint = tiny()
    rounded = calibration.calibrated(checkpoint, rows_of(checkpoint))
    mixed = calibration.chosen(checkpoint, rounded, "int8,0.qkv=bfloat16,1=float32")
    for part in numpy_encoder.parts_of(checkpoint.config):
        for name in numpy_encoder.names_of(checkpoint.config, part):
            source = checkpoint if part == "0.qkv" or part[0] == "1" else rounded
            for kind in ("weight", "bias"):
                assert mixed.params[f"{name}.{kind}"] is source.params[f"{name}.{kind}"]
