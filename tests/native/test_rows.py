"""Rows one after the other, without padding: the same bits as padded batches, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest

from bertpass.engines import rows
from bertpass.engines.base import Engine
from bertpass.engines.frameworks import torch_engine
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import UsageError
from tests.helpers import reference
from tests.helpers.reference import batch, tiny

LENGTHS = [7, 40, 1, 16, 33, 2, 40, 17]


def flat(checkpoint, lengths=LENGTHS):
    return rows.unpadded(*batch(checkpoint.config, lengths))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_rows_have_the_bits_of_a_padded_batch_and_of_each_row_alone(family, dtype):
    for head in reference.HEADS:
        checkpoint = tiny(family, head)
        inputs = batch(checkpoint.config, LENGTHS, 40)
        given = ids, types, offsets = rows.unpadded(*inputs)
        assert offsets.tolist() == np.cumsum([0, *LENGTHS]).tolist()
        engine = NativeEngine(checkpoint, dtype=dtype, threads=2)
        padded, found = engine.forward(*inputs), engine.rows(*given)
        assert [o.per_token for o in found] == [array.ndim == 3 for array in padded], head
        for whole, output in zip(padded, found, strict=True):
            assert output.values.dtype == np.float32
            cut = [row[:n] for row, n in zip(whole, LENGTHS, strict=True)] if output.per_token else list(whole)
            assert all(np.array_equal(a, b) for a, b in zip(cut, output.by_row(), strict=True)), head
        for row, (start, end) in enumerate(pairwise(offsets)):
            alone = engine.rows(ids[start:end], types[start:end], np.array([0, end - start]))
            for one, many in zip(alone, found, strict=True):
                assert np.array_equal(one.by_row()[0], many.by_row()[row]), (head, row)


@pytest.mark.parametrize("head", reference.HEADS)
def test_rows_are_those_of_the_reference(head):
    checkpoint = tiny(head=head)
    inputs = batch(checkpoint.config, LENGTHS)
    wanted = reference.outputs(checkpoint, *inputs)
    for output, whole in zip(NativeEngine(checkpoint).rows(*rows.unpadded(*inputs)), wanted, strict=True):
        for row, array, length in zip(output.by_row(), whole, LENGTHS, strict=True):
            assert np.abs(row - (array[:length] if output.per_token else array)).max() <= 2e-5


def test_many_tokens_in_several_threads():
    """From 192 tokens per thread on each thread takes sequences of its own through all layers."""
    checkpoint = tiny(units=64, hidden_size=96, num_heads=2, max_length=128, head="pooled")
    given = flat(checkpoint, [128, 70, 1, 99, 2, 128, 40, 17, 16, 15, 128, 128])
    wanted = NativeEngine(checkpoint, threads=1).rows(*given)
    for threads in (2, 3):
        for one, other in zip(NativeEngine(checkpoint, threads=threads).rows(*given), wanted, strict=True):
            assert np.array_equal(one.values, other.values)


def test_every_output_is_written_and_nothing_past_it():
    for head in reference.HEADS:
        checkpoint = tiny(head=head)
        given = flat(checkpoint)
        model = NativeEngine(checkpoint, threads=1).model
        sizes = [(len(given[0]) if per_token else len(LENGTHS), width) for per_token, width in model.outputs]
        room = [np.full((size + 2, width), np.nan, np.float32) for size, width in sizes]
        model.rows(*given, [array[1:-1] for array in room])
        assert all(np.isfinite(array[1:-1]).all() and np.isnan(array[[0, -1]]).all() for array in room), head


def padding_engine(checkpoint):
    pytest.importorskip("torch", reason="needs torch: pip install 'bertpass[torch]'")
    return torch_engine.TorchEngine(checkpoint)


@pytest.fixture(scope="module", params=[NativeEngine, padding_engine])
def engine(request):
    """An engine that takes rows as they are, and one that pads them."""
    return request.param(tiny(head="tokens"))


WRONG = {
    "not from 0": ([1, 3, 9], "from 0 to the number of ids, 9, not from 1 to 9"),
    "below 0": ([-1, 3, 9], "from 0 to the number of ids, 9, not from -1 to 9"),
    "falling": ([0, 5, 3, 9], "row 1 goes from 5 to 3"),
    "an empty row": ([0, 5, 5, 9], "row 1 goes from 5 to 5"),
    "past the end": ([0, 3, 10], "not from 0 to 10"),
    "before the end": ([0, 3, 8], "not from 0 to 8"),
    "past the end and back": ([0, 30, 9], "row 1 goes from 30 to 9"),
    "no rows": ([0], "there are no rows"),
    "nothing": ([], "there are no rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_offsets(engine, case):
    offsets, words = WRONG[case]
    with pytest.raises(UsageError, match=words):
        engine.rows(np.ones(9, np.int32), np.zeros(9, np.int32), np.array(offsets, np.int64))


@pytest.mark.parametrize("case", WRONG)
def test_the_core_refuses_wrong_offsets_before_it_reads_an_id(case):
    """Ids that no table holds would be refused in other words."""
    model = NativeEngine(tiny()).model
    with pytest.raises(UsageError, match=r"offsets"):
        model.rows(np.full(9, 10**9, np.int32), np.zeros(9, np.int32), np.array(WRONG[case][0], np.int64),
                   [np.empty((9, 36), np.float32)])


@pytest.mark.parametrize(("change", "words"), [
    ({"ids": np.ones(9, np.int64)}, r"ids must be an array of int32 of the shape \(tokens,\), not int64 \(9,\)"),
    ({"ids": np.ones((3, 3), np.int32)}, r"ids must be .* not int32 \(3, 3\)"),
    ({"ids": [1, 2, 3]}, "not list"),
    ({"token_types": np.zeros(9, np.float32)}, "token_types must be an array of int32 .* not float32"),
    ({"token_types": np.zeros(8, np.int32)}, r"token_types must have the shape \(9,\), not \(8,\)"),
    ({"offsets": np.array([0, 9], np.int32)}, r"offsets must be an array of int64 .* \(rows \+ 1,\), not int32"),
    ({"offsets": np.array([0.0, 9.0])}, "offsets must be .* not float64"),
], ids=str)
def test_wrong_arrays(engine, change, words):
    given = {"ids": np.ones(9, np.int32), "token_types": np.zeros(9, np.int32), "offsets": np.array([0, 9]), **change}
    with pytest.raises(UsageError, match=words):
        engine.rows(**given)


@pytest.mark.parametrize(("place", "value", "words"), [
    (0, 61, "input_ids must be from 0 to 60, not 61"), (0, -1, "input_ids must be from 0 to 60, not -1"),
    (1, 2, "token_types must be from 0 to 1, not 2"), (2, None, "41 tokens is longer than the model's 40 positions")])
def test_ids_and_lengths_that_do_not_fit_the_model(place, value, words):
    given = list(flat(tiny(), [3, 41] if value is None else [3, 4]))
    if value is not None:
        given[place][-1] = value
    with pytest.raises(UsageError, match=words):
        NativeEngine(tiny()).rows(*given)


def test_a_closed_engine_says_so():
    engine = NativeEngine(tiny())
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.rows(*flat(tiny()))


@pytest.mark.parametrize("head", ["pooled", "qa", "tokens", "classification", "mean_norm"])
def test_an_engine_that_pads_gives_the_same_rows(head):
    checkpoint = tiny(head=head)
    engine = padding_engine(checkpoint)
    assert engine.pads and not NativeEngine.pads
    inputs = batch(checkpoint.config, LENGTHS)
    given = rows.unpadded(*inputs)
    wanted = reference.outputs(checkpoint, *inputs)
    for ours, its, whole in zip(NativeEngine(checkpoint).rows(*given), engine.rows(*given), wanted, strict=True):
        assert ours.per_token == its.per_token == (whole.ndim == 3)
        assert its.values.shape == ours.values.shape and its.values.dtype == np.float32
        assert np.abs(its.values - ours.values).max() <= 2e-5


def test_forward_of_an_engine_that_has_rows_alone():
    class Ids(Engine):
        name = "ids"

        def rows(self, ids, token_types, offsets):
            rows.check(ids, token_types, offsets)
            values = (ids + 100 * token_types)[:, None].astype(np.float32)
            return [rows.Output(values, offsets), rows.Output(np.add.reduceat(values, offsets[:-1]))]

        def describe(self):
            return {}

    ids, types = np.array([[5, 6, 9], [7, 8, 9]]), np.array([[0, 0, 1], [1, 0, 1]])
    tokens, sums = Ids().forward(ids, types, np.array([3, 1]))
    assert tokens[..., 0].tolist() == [[5, 6, 109], [107, 0, 0]] and sums.tolist() == [[120], [107]]
    for valid in ([3, 4], [3, 0], [3]):
        with pytest.raises(UsageError, match="valid_length"):
            Ids().forward(ids, types, np.array(valid))
