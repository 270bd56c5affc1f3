"""What is timed, and what is computed from it by hand."""

import dataclasses

import numpy as np
import pytest

from bertpass.bench import models, variants, workloads
from bertpass.bench.variants import Variant
from bertpass.engines import checking
from bertpass.errors import UsageError
from bertpass.model.config import EncoderConfig, named
from tests.helpers import reference

CONFIG = EncoderConfig(**reference.SIZES)


def test_a_full_batch():
    (work,) = workloads.of_family("3x5")
    assert (work.name, work.lengths, work.tokens) == ("3x5", (5, 5, 5), 15)
    ((ids, types, lengths),) = work.batches(CONFIG)
    assert ids.shape == types.shape == (3, 5) and list(lengths) == [5, 5, 5]
    assert ids.dtype == types.dtype == lengths.dtype == np.int32 and 0 <= ids.min() <= ids.max() < CONFIG.vocab_size


@pytest.mark.parametrize(("family", "mean", "most"), [("sst", (24, 26), 66), ("squad", (165, 190), 384)])
def test_ragged_batches_are_like_the_data(family, mean, most):
    layouts = workloads.of_family(family)
    lengths = layouts[0].lengths
    assert mean[0] <= np.mean(lengths) <= mean[1] and max(lengths) <= most and len(set(lengths)) > len(lengths) / 2
    assert list(lengths) != sorted(lengths) and all(w.lengths == lengths for w in layouts)
    assert lengths == workloads.of_family(family)[0].lengths  # the same ones in every run


@pytest.mark.parametrize("family", ["sst", "squad"])
def test_layouts_hold_the_same_rows(family):
    found = []
    for work in workloads.of_family(family):
        rows = []
        for (numbers, padded), (ids, _, lengths) in zip(work.groups, work.batches(CONFIG), strict=True):
            assert ids.shape == (len(numbers), padded) and not ids[np.arange(padded) >= lengths[:, None]].any()
            rows += [(number, tuple(row[:n])) for number, row, n in zip(numbers, ids, lengths, strict=True)]
        found.append(sorted(rows))
    assert found[0] == found[1] == found[2]
    padded, longest, groups = workloads.of_family(family)
    assert padded.groups[0][1] == workloads.RAGGED[family][2] and longest.groups[0][1] == max(longest.lengths)
    widths = [width for _, width in groups.groups]
    assert widths == sorted(widths, reverse=True) and len(widths) == 4


def test_flops_by_hand():
    config = EncoderConfig(**{**reference.SIZES, "num_layers": 2, "units": 6, "hidden_size": 10})
    dense = 4 * 6 * 6 + 2 * 6 * 10  # multiplications a token
    assert workloads.flops(config, [3, 5]) == 2 * (2 * 8 * dense + 2 * 2 * (9 + 25) * 6)
    assert workloads.flops(EncoderConfig(), [128]) == pytest.approx(22.35e9, rel=0.001)  # BERT-base, (1, 128)


@pytest.mark.parametrize("length", [1, 3, 9, 40])
def test_operations_of_gated_layers_and_windows(length):
    """Pairs of tokens counted one by one; every third layer attends to all."""
    config = dataclasses.replace(named("modernbert"), num_layers=4, units=24, num_heads=3, hidden_size=40, window=5)
    near = sum(abs(i - j) <= 5 for i in range(length) for j in range(length))
    products = 4 * 24 * 24 + 3 * 24 * 40
    assert workloads.flops(config, [length]) == 4 * 2 * length * products + 4 * 24 * (2 * length**2 + 2 * near)


@pytest.mark.parametrize("word", ["8*128", "0x4", "sst2", "", "12"])
def test_a_shape_that_is_none(word):
    with pytest.raises(UsageError, match="--shapes: unknown shape"):
        workloads.of_family(word)


def test_every_precision_of_ours_is_measured():
    from bertpass.engines import native

    names = [v.name for v in variants.known()]
    assert len(set(names)) == len(names) and variants.REFERENCE in names
    for dtype in native.DTYPES:
        assert dtype == "auto" or f"native-{dtype}" in names
    assert {"openvino-bfloat16", "openvino-int8", "onnxruntime-float32", "onnxruntime-int8", "torch-bfloat16",
            "torch-script-float32", "torch-compile-bfloat16", "mxnet-plain", "mxnet-fusions"} <= set(names)
    assert all(v.precision in variants.BOUNDS for v in variants.known())


def test_choosing_engines():
    assert [v.name for v in variants.chosen(["torch-float32", "openvino"])] == [
        "openvino-float32", "openvino-bfloat16", "openvino-int8", "torch-float32"]
    with pytest.raises(UsageError, match="Did you mean 'openvino'"):
        variants.chosen(["opnvino"])


def test_our_encoder_in_mxnet_is_measured():
    added = [v for v in variants.known() if v.engine == "mxnet" and v.ours]
    assert Variant("mxnet-encoder-float32", "mxnet", "float32", {"passes": "native_encoder", "dtype": "float32"},
                   ours=True) in added


def test_text_of_checks(folder):
    checkpoint = models.token_states(folder)
    ids, _, lengths = checking.check_batch(checkpoint)
    assert len(ids) == len(checking.CHECK) and len(set(lengths.tolist())) > 5
    assert ids.shape[1] == lengths.max() <= checkpoint.config.max_length
    batches = checking.calibration_batches(checkpoint)
    assert len(batches) >= 20 and all(ids.shape == (1, lengths[0]) for ids, _, lengths in batches)
    assert not set(checking.CHECK) & set(checking.CALIBRATION)
