"""The process that computes: it loads every model, warms up, and answers batches until the other end closes.

Started by :mod:`bertpass.serving.instances.instance` as ``python -m bertpass.serving.instances.worker SOCKET``.
Messages are pickled; it is sent ``(models, threads)`` first and then ``(model, encodings)`` with
``[(ids, token types), ...]``. It answers ``("ok", value)`` - descriptions of the engines, then the rows of a batch -,
``("error", sentence)``, or ``("fault", (sentence, traceback))`` where an engine raised what is not for people.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bertpass.engines.base import Engine
from bertpass.errors import BertpassError
from bertpass.model.record import Checkpoint
from bertpass.serving.instances.kept import Held
from bertpass.serving.instances.models import Source

#: one row: ids and token types, int32, shape (tokens,)
Row = tuple[np.ndarray, np.ndarray]


class Computer:
    """The engines of one process."""

    def __init__(self, models: Sequence[Source | Held], threads: int) -> None:
        self._models: list[tuple[Engine, Checkpoint]] = []
        for model in models:
            checkpoint = model.checkpoint()
            self._models.append((model.load(checkpoint, threads), checkpoint))
        for number in range(len(models)):
            self.rows(number, [warm_up_row()])

    def describe(self) -> list[dict[str, Any]]:
        return [engine.describe() for engine, _ in self._models]

    def rows(self, model: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """The first output of each row: (outputs,), or (tokens, outputs) of a head that looks at every token."""
        engine, checkpoint = self._models[model]
        lengths = np.array([len(ids) for ids, _ in rows], np.int32)
        ids = np.zeros((len(rows), int(lengths.max())), np.int32)
        types = np.zeros_like(ids)
        for at, (row_ids, row_types) in enumerate(rows):
            ids[at, :len(row_ids)], types[at, :len(row_types)] = row_ids, row_types
        out = engine.forward(ids, types, lengths)[0]
        per_token = checkpoint.head.per_token
        found = [row[:length] if per_token else row for row, length in zip(out, lengths, strict=True)]
        if not all(np.isfinite(row).all() for row in found):
            raise BertpassError("the model computed numbers that are not finite; are its weights whole?")
        return found


def warm_up_row() -> Row:
    """A row that every model can compute: two tokens of the first id."""
    return np.zeros(2, np.int32), np.zeros(2, np.int32)


def serve(connection: Connection) -> None:
    """Answer until the other end closes."""
    computer: Computer | None = None
    while True:
        try:
            first, second = connection.recv()
        except (EOFError, OSError):  # the server ended, or was ended
            return
        try:
            if computer is None:
                computer = Computer(first, second)
                reply: tuple[str, Any] = "ok", computer.describe()
            else:
                reply = "ok", computer.rows(first, second)
        except BertpassError as error:
            reply = "error", str(error)
        except Exception as error:  # whatever an engine raises fails this batch and not the process
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            reply = "fault", (told, traceback.format_exc())
        try:
            connection.send(reply)
        except OSError:  # nobody waits for it any more
            return


if __name__ == "__main__":
    # the parent drains, and then ends its workers
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # what libraries print goes to the log
    serve(Connection(int(sys.argv[1])))
