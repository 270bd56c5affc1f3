"""Rows to padded batches: bucketed by length for training, sorted by length for inference, or of one fixed length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bertpass.errors import UsageError
from bertpass.text.tokens.tokenizer import Encoding

Sort = Literal["bucket", "length", "none"]


@dataclass(frozen=True)
class Batch:
    """B rows padded to S tokens.

    input_ids, token_types: (B, S) int32; valid_length: (B,) int32, tokens of a row that are not padding; labels:
    (B, ...) int32 or float32, or None; index: (B,) int64, where in the data set each row stands.
    """

    input_ids: np.ndarray
    token_types: np.ndarray
    valid_length: np.ndarray
    labels: np.ndarray | None
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.valid_length)


def collate(encodings: Sequence[Encoding], pad_id: int, round_to: int = 1, length: int | None = None,
            labels: np.ndarray | None = None, index: np.ndarray | None = None) -> Batch:
    """Pad rows on the right to the longest, rounded up to a multiple of ``round_to``, or to ``length`` where given.

    Raises
    ------
    UsageError
        No rows, ``round_to`` below 1, or a row longer than ``length``.
    """
    if not encodings or round_to < 1:
        raise UsageError("a batch needs at least one row and round_to of at least 1.")
    lengths = np.array([len(e) for e in encodings], np.int32)
    longest = int(lengths.max())
    if length is None:
        length = -(-longest // round_to) * round_to
    elif longest > length:
        raise UsageError(f"a row has {longest} tokens, but batches are padded to {length}; encode with max_length="
                         f"{length}.")
    ids = np.full((len(encodings), length), pad_id, np.int32)
    types = np.zeros((len(encodings), length), np.int32)
    for row, encoding in enumerate(encodings):
        ids[row, :len(encoding)] = encoding.ids
        types[row, :len(encoding)] = encoding.token_types
    if index is None:
        index = np.arange(len(encodings), dtype=np.int64)
    return Batch(ids, types, lengths, labels, index)


class Batches:
    """An iterable of :class:`Batch`; ``len()`` is the number of batches. Made by :func:`batches`."""

    def __init__(self, encodings: Sequence[Encoding], pad_id: int, labels: np.ndarray | None,
                 plan: list[np.ndarray], round_to: int, pad_to: int | None) -> None:
        self._encodings = encodings
        self._pad_id = pad_id
        self._labels = labels
        self._plan = plan
        self._round_to = round_to
        self._pad_to = pad_to

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        for index in self._plan:
            yield collate([self._encodings[i] for i in index], self._pad_id, self._round_to, self._pad_to,
                          None if self._labels is None else self._labels[index], index)


def plan(lengths: Sequence[int], batch_size: int, *, shuffle: bool = False, seed: int = 0, epoch: int = 0,
         sort: Sort | None = None, drop_last: bool = False, window: int = 50) -> list[np.ndarray]:
    """The numbers of the rows of each batch, for rows of these lengths in tokens; see :func:`batches`.

    Raises
    ------
    UsageError
        ``batch_size`` below 1.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; it has to be at least 1.")
    tokens = np.array(lengths, np.int64)
    order = np.arange(len(tokens), dtype=np.int64)
    random = np.random.RandomState(_mix(seed, epoch))
    if shuffle:
        random.shuffle(order)
    if sort is None:
        sort = "bucket" if shuffle else "length"
    if sort == "length":
        order = order[np.argsort(-tokens[order], kind="stable")]
    elif sort == "bucket":
        span = batch_size * window
        chunks = [order[at:at + span] for at in range(0, len(order), span)]
        order = np.concatenate([c[np.argsort(-tokens[c], kind="stable")] for c in chunks]) if chunks else order
    found = [order[at:at + batch_size] for at in range(0, len(order), batch_size)]
    if drop_last and found and len(found[-1]) < batch_size:
        found.pop()
    if shuffle and sort == "bucket":
        found = [found[i] for i in random.permutation(len(found))]
    return found


def batches(encodings: Sequence[Encoding], batch_size: int, *, pad_id: int,
            labels: Sequence[object] | np.ndarray | None = None, shuffle: bool = False, seed: int = 0, epoch: int = 0,
            round_to: int = 1, pad_to: int | None = None, sort: Sort | None = None, drop_last: bool = False,
            window: int = 50) -> Batches:
    """Cut a data set into batches.

    Parameters
    ----------
    labels
        One for each row; whole numbers become int32, others float32.
    shuffle
        Another order in every epoch, the same for the same ``seed`` and ``epoch`` on every machine.
    pad_to
        Pad every batch to this length (the published mode of ``deploy.py``) in place of its longest row.
    sort
        "bucket" (default with ``shuffle``): shuffle, sort by length within windows of ``window`` batches, shuffle the
        batches. "length" (default otherwise): the longest first, so that memory is asked for at the start;
        ``Batch.index`` puts results back into order. "none": as shuffled, or as they are.
    drop_last
        Leave out rows at the end that do not fill a batch.

    Raises
    ------
    UsageError
        ``batch_size`` below 1, or not as many labels as rows.
    """
    numbers = plan([len(e) for e in encodings], batch_size, shuffle=shuffle, seed=seed, epoch=epoch, sort=sort,
                   drop_last=drop_last, window=window)
    values = None if labels is None else _label_array(labels)
    if values is not None and len(values) != len(encodings):
        raise UsageError(f"{len(encodings)} rows but {len(values)} labels.")
    return Batches(encodings, pad_id, values, numbers, round_to, pad_to)


def _label_array(labels: Sequence[object] | np.ndarray) -> np.ndarray:
    values = np.asarray(labels)
    return values.astype(np.int32 if values.dtype.kind in "iub" else np.float32)


def _mix(seed: int, epoch: int) -> int:
    """One 32-bit seed of two numbers, such that neighbours do not share streams."""
    return int(np.random.SeedSequence([seed & 0xFFFFFFFF, epoch]).generate_state(1)[0])
