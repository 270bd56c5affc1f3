"""Batches: every row once, right padding, orders that repeat, buckets of similar length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertpass.errors import UsageError
from bertpass.text.tokens.batching import batches, collate
from bertpass.text.tokens.tokenizer import Encoding


def rows_of(lengths: list[int]) -> list[Encoding]:
    made = []
    for at, size in enumerate(lengths):
        ids = np.full(size, at + 1, np.int32)
        made.append(Encoding(ids, np.ones(size, np.int32), np.zeros((size, 2), np.int32), np.zeros(size, np.int32)))
    return made


def test_collate_pads_on_the_right() -> None:
    batch = collate(rows_of([2, 3]), pad_id=9)
    assert batch.input_ids.tolist() == [[1, 1, 9], [2, 2, 2]]
    assert batch.token_types.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.valid_length.tolist() == [2, 3]
    assert batch.index.tolist() == [0, 1] and batch.labels is None and len(batch) == 2
    assert {a.dtype for a in (batch.input_ids, batch.token_types, batch.valid_length)} == {np.dtype(np.int32)}
    assert batch.index.dtype == np.int64


@pytest.mark.parametrize(("round_to", "length", "expected"), [(1, None, 5), (8, None, 8), (5, None, 5), (1, 12, 12)])
def test_collate_lengths(round_to: int, length: int | None, expected: int) -> None:
    assert collate(rows_of([5, 2]), 0, round_to, length).input_ids.shape == (2, expected)


def test_wrong_calls() -> None:
    with pytest.raises(UsageError, match="5 tokens, but batches are padded to 4"):
        collate(rows_of([5]), 0, length=4)
    with pytest.raises(UsageError, match="at least one row"):
        collate([], 0)
    with pytest.raises(UsageError, match="batch size is 0"):
        batches(rows_of([1]), 0, pad_id=0)
    with pytest.raises(UsageError, match="1 rows but 2 labels"):
        batches(rows_of([1]), 1, pad_id=0, labels=[1, 2])


@given(st.lists(st.integers(1, 40), max_size=120), st.integers(1, 9), st.booleans(), st.integers(-3, 2**40),
       st.sampled_from([None, "bucket", "length", "none"]), st.integers(1, 4))
def test_every_row_comes_once(lengths: list[int], size: int, shuffle: bool, seed: int, sort: str | None,
                              window: int) -> None:
    made = batches(rows_of(lengths), size, pad_id=0, labels=list(range(len(lengths))), shuffle=shuffle, seed=seed,
                   sort=sort, window=window)
    found = list(made)
    assert len(found) == len(made) == -(-len(lengths) // size)
    assert sorted(i for b in found for i in b.index.tolist()) == list(range(len(lengths)))
    for batch in found:
        assert batch.labels is not None and batch.labels.tolist() == batch.index.tolist()
        assert batch.valid_length.tolist() == [lengths[i] for i in batch.index]
        assert batch.input_ids.shape[1] == batch.valid_length.max()


def orders(**options: int | bool) -> list[list[int]]:
    return [b.index.tolist() for b in batches(rows_of([7, 3, 9, 1, 4, 4, 8, 2] * 4), 4, pad_id=0, **options)]


def test_shuffling_repeats_with_seed_and_epoch() -> None:
    assert orders(shuffle=True, seed=1, epoch=2) == orders(shuffle=True, seed=1, epoch=2)
    assert orders(shuffle=True, seed=1, epoch=2) != orders(shuffle=True, seed=1, epoch=3)
    assert orders(shuffle=True, seed=1, epoch=2) != orders(shuffle=True, seed=2, epoch=1)


def test_inference_starts_with_the_longest() -> None:
    lengths = [b.valid_length.tolist() for b in batches(rows_of([3, 9, 1, 5]), 2, pad_id=0)]
    assert lengths == [[9, 5], [3, 1]]
    assert orders(sort="none")[0] == [0, 1, 2, 3]


def test_buckets_save_padding() -> None:
    lengths = np.random.RandomState(0).randint(5, 100, 2000).tolist()
    padded = {sort: sum(b.input_ids.size for b in batches(rows_of(lengths), 16, pad_id=0, shuffle=True, sort=sort))
              for sort in ("bucket", "none")}
    assert padded["bucket"] < 1.1 * sum(lengths) < 1.5 * sum(lengths) < padded["none"]


def test_fixed_length_and_dropped_rest() -> None:
    made = list(batches(rows_of([3, 4, 5]), 2, pad_id=0, pad_to=16, drop_last=True))
    assert [b.input_ids.shape for b in made] == [(2, 16)]


def test_label_types() -> None:
    def dtype(labels: list) -> np.dtype:
        batch = next(iter(batches(rows_of([1, 1]), 2, pad_id=0, labels=labels)))
        assert batch.labels is not None
        return batch.labels.dtype

    assert dtype([0, 1]) == np.int32 and dtype([0.5, 1]) == np.float32 and dtype([[1, 2], [3, 4]]) == np.int32
