"""Engine.profile: the same computation, its time told by stage or operator."""

import time

import numpy as np
import pytest

from bertpass import _native
from bertpass.engines.native import NativeEngine
from bertpass.errors import UsageError
from tests.helpers.reference import batch, tiny

STAGES = ["embedding", "qkv", "attention", "projection", "norm", "up", "down", "quantize", "head"]


def core(checkpoint, dtype):
    params = {name: np.ascontiguousarray(array, np.float32) for name, array in checkpoint.params.items()}
    return _native.Model(checkpoint.config.to_dict(), checkpoint.head.to_dict(), params, dtype=dtype)


@pytest.mark.parametrize("head", ["none", "classification", "qa"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_outputs_are_those_of_forward(head, dtype):
    checkpoint = tiny(head=head)
    model, inputs = core(checkpoint, dtype), batch(checkpoint.config, [5, 17, 1], 20)
    shapes = model.output_shapes(*inputs[0].shape)
    first, second = ([np.full(shape, np.nan, np.float32) for shape in shapes] for _ in range(2))
    model.forward(*inputs, first)
    seconds = model.profile(*inputs, second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert list(seconds) == STAGES
    assert (seconds["quantize"] > 0) == (dtype == "int8")
    assert all(seconds[stage] > 0 for stage in STAGES if stage != "quantize")


def test_stages_add_up_to_the_forward():
    """All of a forward's time is in its stages, and a product of four times the work takes longer than its peer."""
    engine = NativeEngine(tiny(units=192, hidden_size=768, num_heads=3, max_length=64), threads=1)
    inputs = batch(tiny(max_length=64).config, [64] * 8)
    engine.profile(*inputs)
    start = time.perf_counter()
    seconds = engine.profile(*inputs, calls=20)
    wall = (time.perf_counter() - start) / 20
    assert 0.5 * wall <= sum(seconds.values()) <= wall
    assert seconds["up"] > seconds["projection"] and seconds["down"] > seconds["projection"]


def test_inputs_are_checked_as_in_forward():
    engine = NativeEngine(tiny())
    with pytest.raises(UsageError, match="41 tokens is longer"):
        engine.profile(*batch(tiny().config, [41], 41))
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.profile(*batch(tiny().config, [3]))


def test_an_engine_without_timers_says_so():
    from bertpass.engines.base import PaddedEngine

    class Other(PaddedEngine):
        name = "other"

        def forward(self, input_ids, token_types, valid_length):
            return []

        def describe(self):
            return {}

    with pytest.raises(UsageError, match="the other engine has no timers"):
        Other().profile(*batch(tiny().config, [3]))


def test_mxnet_by_operator():
    from bertpass.engines.frameworks import mxnet_engine

    checkpoint = tiny()
    engine = mxnet_engine.from_checkpoint(checkpoint, passes="none")
    inputs = batch(checkpoint.config, [5, 17], 20)
    before = engine.forward(*inputs)
    first, second = (engine.profile(*inputs, calls=3) for _ in range(2))
    assert {"FullyConnected", "LayerNorm", "softmax", "LeakyReLU"} <= set(first)
    assert set(first) == set(second) and all(s >= 0 for s in first.values())
    assert max(second.values()) < 10 * max(first.values())  # statistics begin anew with each call
    assert all(np.array_equal(a, b) for a, b in zip(before, engine.forward(*inputs), strict=True))
