"""The contract between a model and what computes it."""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.errors import UsageError, unknown

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # input_ids, token_types (batch, sequence), valid_length (batch,)


class Engine(abc.ABC):
    """Computes the outputs of one bundle.

    An engine is made from a loaded checkpoint or bundle and is safe to call from several Python
    threads (it may take turns inside).
    """

    #: name under which ``bertpass.load(engine=...)`` finds it
    name: str

    @abc.abstractmethod
    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        """Run one batch.

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
            embeddings (batch, units).
        """

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
