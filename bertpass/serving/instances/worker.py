"""The process that computes: it loads every model, warms up, and answers batches until the other end closes.

Started by :mod:`bertpass.serving.instances.instance` as ``python -m bertpass.serving.instances.worker SOCKET``.
Messages are pickled; it is sent ``(models, threads)`` first and then ``(model, rows)``, see :meth:`Computer.rows`. It
answers ``("ok", value)`` - descriptions of the engines, then the output of each batch -,
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
from bertpass.engines.rows import Output, Rows, joined
from bertpass.errors import BertpassError
from bertpass.serving.instances.kept import Held
from bertpass.serving.instances.models import Source

#: one row: ids and token types, int32, shape (tokens,)
Row = tuple[np.ndarray, np.ndarray]


class Computer:
    """The engines of one process."""

    def __init__(self, models: Sequence[Source | Held], threads: int) -> None:
        self._engines: list[Engine] = [model.load(model.checkpoint(), threads) for model in models]
        for number in range(len(models)):
            self.rows(number, joined([warm_up_row()]))

    def describe(self) -> list[dict[str, Any]]:
        return [engine.describe() for engine in self._engines]

    def rows(self, model: int, rows: Rows) -> Output:
        """The first output of the rows of a model, see :meth:`bertpass.engines.base.Engine.rows`."""
        found = self._engines[model].rows(*rows)[0]
        if not np.isfinite(found.values).all():
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
