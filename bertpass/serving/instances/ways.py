"""The ways in which a process computes the rows of one model, each of which the queue counts as a model of its own.

A number of the queue is that of a model and of a way: NUMBER = model + WIDTH * way. The first way is what the model's
head says; of masked words only the logits where a [MASK] stands, for those of every token are megabytes per text.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from bertpass.engines.base import Engine
from bertpass.engines.rows import Output
from bertpass.model.config import HeadConfig

#: models per way; more than any server has
WIDTH = 1 << 16
#: as the head says; the states of every token; queries of late interaction, which [MASK]s lengthen that are not
#: attended to
OWN, STATES, QUERIES = range(3)

#: tokens whose logits of words are in memory at a time, unless one row has more
_TOKENS = 256

Load = Callable[[HeadConfig], Engine]


class Ways:
    """The engines of one model.

    Parameters
    ----------
    load
        What makes the engine of a head on the model's encoder; all of them use the same weights in memory.
    head
        The model's own.
    mask
        The id of the tokenizer's [MASK]; None where it has none.
    """

    def __init__(self, load: Load, head: HeadConfig, mask: int | None) -> None:
        self._load = load
        own = load(head)
        if head.kind == "mlm" and mask is not None:
            own = AtMasks(own, mask)
        self._engines: dict[int, Engine] = {OWN: own}
        if head.kind == "none" and mask is not None:
            self._engines[QUERIES] = Lengthened(own, mask)

    def __getitem__(self, way: int) -> Engine:
        """The engine of a way, made when it is first asked for."""
        if way not in self._engines and way == STATES:
            self._engines[way] = self._load(HeadConfig("none"))
        return self._engines[way]

    def describe(self) -> dict[str, Any]:
        """That of the model's own engine."""
        return self._engines[OWN].describe()


class AtMasks(Engine):
    """The logits of words where a row has a [MASK]; of a row without one none."""

    name = "masks"

    def __init__(self, engine: Engine, mask: int) -> None:
        self._engine, self._mask = engine, mask

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`; a few rows at a time, which changes no bit of them."""
        values, start = [], 0
        while start < len(offsets) - 1:
            end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + _TOKENS, "right")) - 1)
            first, last = offsets[start], offsets[end]
            found = self._engine.rows(ids[first:last], token_types[first:last], offsets[start:end + 1] - first)[0]
            values.append(found.values[ids[first:last] == self._mask])
            start = end
        counts = np.add.reduceat((ids == self._mask).astype(np.int64), offsets[:-1])
        return [Output(np.concatenate(values), np.concatenate(([0], np.cumsum(counts))))]

    def describe(self) -> dict[str, Any]:
        return self._engine.describe()


class Lengthened(Engine):
    """Token states of rows of which the [MASK]s at the end are not attended to."""

    name = "queries"

    def __init__(self, engine: Engine, mask: int) -> None:
        self._engine, self._mask = engine, mask

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`."""
        keys = [attended(ids[start:end], self._mask) for start, end in pairwise(offsets)]
        return self._engine.attended_rows(ids, token_types, offsets, np.array(keys, np.int64))

    def describe(self) -> dict[str, Any]:
        return self._engine.describe()


def attended(ids: np.ndarray, mask: int) -> int:
    """Tokens of a row before the [MASK]s at its end, at least 1."""
    others = np.flatnonzero(ids != mask)
    return int(others[-1]) + 1 if len(others) else 1
