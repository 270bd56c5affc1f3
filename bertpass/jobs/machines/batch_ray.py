"""The parts of a batch on a Ray cluster, by Ray Data: actors that each hold the model and write parts.

Input, output and model have to lie where every node reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bertpass.base.paths import python_path
from bertpass.errors import DeviceError
from bertpass.extras import require
from bertpass.jobs.machines.batch import Computer, Work


class Actor:
    """What Ray Data keeps in each process and calls with the number of a part."""

    def __init__(self, work: Work, rows: int, threads: int) -> None:
        self._computer, self._rows = Computer(work, threads), rows

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Compute the parts of a batch; their rows."""
        return {"rows": [self._computer.compute(int(number), self._rows) for number in batch["item"]]}


def connect(address: str | None) -> None:
    """Join the cluster at that address ("auto": the one of this machine), or start Ray here.

    Raises
    ------
    MissingDependencyError, DeviceError
        Ray is not installed, or there is none at the address, or it does not start.
    """
    ray = require("ray", "ray")
    options: dict[str, Any] = {} if address is not None else {"include_dashboard": False}
    # Ray's workers look into the current folder first, where a folder "bertpass" would hide this very package
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning",
                 runtime_env={"env_vars": {"PYTHONPATH": python_path()}}, **options)
    except Exception as error:  # Ray raises plain Exception among others
        where = f"at {address}" if address is not None else "on this machine"
        raise DeviceError(f"Ray cannot be used {where} ({' '.join(str(error).split())[:300]}).") from error


def spread(address: str | None, workers: int, threads: int) -> Callable[[Work, list[int], int], Iterable[int]]:
    """The ``spread`` of :func:`bertpass.jobs.machines.batch.run` with so many actors of so many cores each.

    ``address``: see :func:`connect`.

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    """
    ray = require("ray", "ray")
    data = require("ray.data", "ray")

    def over(work: Work, numbers: list[int], rows: int) -> Iterator[int]:
        if not numbers:
            return
        connect(address)
        try:
            data.DataContext.get_current().enable_progress_bars = False  # there is one of ours
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            parts = data.from_items(numbers, override_num_blocks=len(numbers))
            done = parts.map_batches(Actor, fn_constructor_args=(work, rows, threads), batch_size=1,
                                     num_cpus=threads, compute=data.ActorPoolStrategy(size=min(workers, len(numbers))))
            for row in done.iter_rows():
                yield int(row["rows"])
        finally:
            ray.shutdown()
    return over
