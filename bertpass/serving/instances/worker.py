"""The process that computes: it loads every model, warms up, and answers batches until the other end closes.

Started by :mod:`bertpass.serving.instances.instance` (see :mod:`bertpass.base.child`). It is sent ``(models, threads)``
first, to which it answers descriptions of the engines, and then ``(model, rows)``, see :meth:`Computer.rows`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass.base import child
from bertpass.engines.rows import Output, Rows, joined
from bertpass.errors import BertpassError
from bertpass.serving.instances.kept import Held
from bertpass.serving.instances.models import Source
from bertpass.serving.instances.ways import WIDTH, Ways

#: one row: ids and token types, int32, shape (tokens,)
Row = tuple[np.ndarray, np.ndarray]


class Computer:
    """The engines of one process."""

    def __init__(self, models: Sequence[Source | Held], threads: int) -> None:
        self._models: list[Ways] = [model.load(model.checkpoint(), threads) for model in models]
        for number in range(len(models)):
            self.rows(number, joined([warm_up_row()]))

    def describe(self) -> list[dict[str, Any]]:
        return [model.describe() for model in self._models]

    def rows(self, number: int, rows: Rows) -> Output:
        """The first output of rows, see :meth:`bertpass.engines.base.Engine.rows`; the number is that of a model and a
        way (:mod:`bertpass.serving.instances.ways`)."""
        way, model = divmod(number, WIDTH)
        found = self._models[model][way].rows(*rows)[0]
        if not np.isfinite(found.values).all():
            raise BertpassError("the model computed numbers that are not finite; are its weights whole?")
        return found


def warm_up_row() -> Row:
    """A row that every model can compute: two tokens of the first id."""
    return np.zeros(2, np.int32), np.zeros(2, np.int32)


class Program:
    """What answers: the first request has the models and the threads, the others a model's number and rows."""

    def __init__(self) -> None:
        self._computer: Computer | None = None

    def __call__(self, first: Any, second: Any) -> list[dict[str, Any]] | Output:
        if self._computer is not None:
            return self._computer.rows(first, second)
        self._computer = Computer(first, second)
        return self._computer.describe()


if __name__ == "__main__":
    # the parent drains, and then ends its workers
    child.serve(Program(), [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
