"""The contract between a model and what computes it."""

from __future__ import annotations

import abc
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines import rows
from bertpass.engines.rows import Output
from bertpass.errors import UsageError, unknown

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # input_ids, token_types (batch, sequence), valid_length (batch,)


class Engine(abc.ABC):
    """Computes the outputs of one bundle: of rows one after the other, and so that no row depends on the others.

    An engine is made from a loaded checkpoint or bundle and is safe to call from several Python
    threads (it may take turns inside).
    """

    #: name under which ``bertpass.load(engine=...)`` finds it
    name: str
    #: whether it pads rows to one length to compute them
    pads = False

    @abc.abstractmethod
    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """Run rows of any lengths.

        Parameters
        ----------
        ids, token_types
            int32, shape (tokens,): row after row. Families without token types ignore ``token_types``.
        offsets
            int64, shape (rows + 1,): where each row begins in ``ids``, and the end of the last one. They begin with 0,
            rise by at least one token per row and end with the number of ids.

        Returns
        -------
        list of :class:`~bertpass.engines.rows.Output`
            The outputs of the graph, float32, each of which says whether it is per token or per row: logits
            (rows, labels); question answering (tokens, 2); tags (tokens, labels); token states (tokens, units),
            followed by the pooled output (rows, units) where the model has one; sentence embeddings (rows, units).

        Raises
        ------
        UsageError
            The arrays are no such rows (:func:`bertpass.engines.rows.check`), or an id or a length does not fit the
            model.
        """

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        """Run one batch of padded rows: :meth:`rows` for people who have them so.

        Parameters
        ----------
        input_ids, token_types
            int32, shape (batch, sequence). Families without token types ignore ``token_types``.
        valid_length
            Tokens of each row that are not padding, shape (batch,), at least 1.

        Returns
        -------
        list of float32 arrays
            The outputs of the graph: logits (batch, labels); question answering (batch, sequence, 2); tags
            (batch, sequence, labels); token states
            (batch, sequence, units), followed by the pooled output (batch, units) where the model has one; sentence
            embeddings (batch, units). Past the valid length they are 0 unless the engine says otherwise.
        """
        given = rows.unpadded(input_ids, token_types, valid_length)
        return [output.padded(np.shape(input_ids)[1]) for output in self.rows(*given)]

    def attended_rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray, keys: np.ndarray,
                      ) -> list[Output]:
        """:meth:`rows`, of which every token attends to the first tokens of its row alone.

        Parameters
        ----------
        keys
            int64, shape (rows,): how many of a row's first tokens are attended to, at least 1.

        Raises
        ------
        UsageError
            As in :meth:`rows`, or the engine cannot do this.
        """
        raise UsageError(f"in the {self.name} engine all tokens of a row are attended to, and this model lengthens "
                         "queries with [MASK] tokens that are not; use engine 'native'.")

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Settings that decide speed and accuracy: versions, threads, precision, what the passes did."""

    def profile(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray, calls: int = 1,
                ) -> dict[str, float]:
        """Seconds of one :meth:`forward` of this batch by operator or stage, the mean of ``calls`` forwards.

        What an engine counts as one operator is its own; the names stand in its class. UsageError where it has no
        timers.
        """
        raise UsageError(f"the {self.name} engine has no timers of its operators; native and mxnet have.")

    def close(self) -> None:  # noqa: B027 - most engines have nothing to give back
        """Give back what the engine holds."""


class PaddedEngine(Engine):
    """An engine whose framework computes batches of rows that are padded to one length: its own :meth:`forward`."""

    pads = True

    @abc.abstractmethod
    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        """See :meth:`Engine.forward`; what stands past the valid length may be anything."""

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`; padded to the longest row, and what lies past each row's end cut off."""
        rows.check(ids, token_types, offsets)
        return [rows.cut(output, offsets) for output in self.forward(*rows.padded(ids, token_types, offsets))]


def check_dtype(engine: str, dtype: str, known: Sequence[str]) -> None:
    """Refuse a precision that the engine does not have; UsageError."""
    if dtype not in known:
        raise UsageError(unknown(f"dtype of the {engine} engine", str(dtype), known))


def check_threads(threads: int | None) -> int:
    """A number of threads, :func:`bertpass.machine.threads` for ``None``; UsageError where it is none."""
    if threads is None:
        return machine.threads()
    most = max(64, 4 * (os.cpu_count() or 1))
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= most:
        raise UsageError(f"threads must be a whole number from 1 to {most} on this machine, which has "
                         f"{machine.usable_cpus()} usable processors, not {threads!r}.")
    return threads


def options_of(make: Callable[..., Engine]) -> tuple[str, ...]:
    """The options of an engine: the keywords of what makes it from a checkpoint."""
    found = inspect.signature(make).parameters.values()
    return tuple(one.name for one in found if one.kind is inspect.Parameter.KEYWORD_ONLY)
