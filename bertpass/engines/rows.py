"""What an engine takes and gives: rows of tokens one after the other, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bertpass.errors import UsageError

#: ids and token types, int32, shape (tokens,); offsets, int64, shape (rows + 1,): where each row begins, and the end
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Output:
    """One output of a number of rows.

    Attributes
    ----------
    values
        float32: of an output per token (tokens, width), in the order of the ids; of an output per row (rows, width).
    offsets
        Where the tokens of each row begin in ``values``, and the end, shape (rows + 1,); None of an output per row.
    """

    values: np.ndarray
    offsets: np.ndarray | None = None

    @property
    def per_token(self) -> bool:
        return self.offsets is not None

    def by_row(self) -> list[np.ndarray]:
        """The values of each row, views: (tokens of the row, width) each, or (width,) of an output per row."""
        if self.offsets is None:
            return list(self.values)
        return [self.values[start:end] for start, end in pairwise(self.offsets)]

    def padded(self, length: int) -> np.ndarray:
        """Of an output per token (rows, length, width), 0 past each row's end; of an output per row the values."""
        if self.offsets is None:
            return self.values
        inside = _inside(np.diff(self.offsets), length)
        out = np.zeros((*inside.shape, *self.values.shape[1:]), self.values.dtype)
        out[inside] = self.values
        return out


def joined(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Rows:
    """Rows of (ids, token types) one after the other; at least one row."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(ids) for ids, _ in rows], out=offsets[1:])
    ids, types = (np.concatenate(arrays).astype(np.int32, copy=False) for arrays in zip(*rows, strict=True))
    return ids, types, offsets


def batch(input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray,
          ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch as :meth:`bertpass.engines.base.Engine.forward` takes it, in int32 and C order; UsageError where its
    shapes do not fit. The lengths and ids are not looked at."""
    ids, types, lengths = (np.ascontiguousarray(array, np.int32) for array in (input_ids, token_types, valid_length))
    if ids.ndim != 2 or types.shape != ids.shape or lengths.shape != ids.shape[:1]:
        raise UsageError(f"input_ids and token_types must be (batch, sequence) and valid_length (batch,), not "
                         f"{ids.shape}, {types.shape} and {lengths.shape}.")
    return ids, types, lengths


def unpadded(input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> Rows:
    """The rows of a :func:`batch`; UsageError where its shapes or lengths do not fit."""
    ids, types, lengths = batch(input_ids, token_types, valid_length)
    if not ids.size:
        raise UsageError(f"a batch has at least one row of one token, not the shape {ids.shape}.")
    if lengths.min() < 1 or lengths.max() > ids.shape[1]:
        raise UsageError(f"valid_length must be from 1 to {ids.shape[1]}; found {lengths.min()} to {lengths.max()}.")
    inside = _inside(lengths, ids.shape[1])
    return ids[inside], types[inside], np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def padded(ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray,
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked rows as a batch that is padded to its longest row with 0: the opposite of :func:`unpadded`."""
    lengths = np.diff(offsets)
    inside = _inside(lengths, int(lengths.max()))
    batch = np.zeros((2, *inside.shape), np.int32)
    batch[0][inside], batch[1][inside] = ids, token_types
    return batch[0], batch[1], lengths.astype(np.int32)


def cut(output: np.ndarray, offsets: np.ndarray) -> Output:
    """An output of a batch that was padded, (rows, length, width) or (rows, width), without what lies past each row's
    end."""
    if output.ndim < 3:
        return Output(output)
    return Output(output[_inside(np.diff(offsets), output.shape[1])], offsets)


def check(ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> None:
    """Refuse arrays that are no :data:`Rows`; UsageError. The ids themselves are the engine's to check."""
    for name, array, dtype, shape in (("ids", ids, np.int32, "(tokens,)"),
                                      ("token_types", token_types, np.int32, "(tokens,)"),
                                      ("offsets", offsets, np.int64, "(rows + 1,)")):
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise UsageError(f"{name} must be an array of {np.dtype(dtype)} of the shape {shape}, not {found}.")
    if len(token_types) != len(ids):
        raise UsageError(f"there are {len(ids)} ids, so token_types must have the shape ({len(ids)},), not "
                         f"{token_types.shape}.")
    if len(offsets) < 2:
        raise UsageError("there are no rows; offsets need at least two numbers, where a row begins and where it ends.")
    if offsets[0] != 0 or offsets[-1] != len(ids):
        raise UsageError(f"offsets must go from 0 to the number of ids, {len(ids)}, not from {offsets[0]} to "
                         f"{offsets[-1]}.")
    lengths = np.diff(offsets)
    if lengths.min() < 1:
        row = int(np.argmax(lengths < 1))
        raise UsageError(f"offsets must rise, by at least one token per row; row {row} goes from {offsets[row]} to "
                         f"{offsets[row + 1]}.")


def _inside(lengths: np.ndarray, length: int) -> np.ndarray:
    """Which places of a padded batch are tokens, (rows, length)."""
    found: np.ndarray = np.arange(length) < lengths[:, None]
    return found
