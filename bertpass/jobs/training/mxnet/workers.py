"""Several processes that train one model: each takes its rows of every batch, and gradients are added up.

The backends: ``dist_sync``, MXNet's own parameter server (ps-lite), which is part of its wheels, and ``horovod``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from bertpass.errors import MissingDependencyError, UsageError
from bertpass.extras import require
from bertpass.jobs.training.workers import Workers
from bertpass.mx import mx

_NEEDED = ("DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")
_VALUE = 2**30  # the key of share(), past those of the parameters, which Gluon counts from 0


class KVStoreWorkers(Workers):
    """Processes beside MXNet's parameter servers, started with the variables that MXNet's tools/launch.py sets."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        missing = [name for name in _NEEDED if name not in os.environ]
        if missing:
            raise UsageError(f"--comm_backend dist_sync: {', '.join(missing)} is not set; start the processes with "
                             "MXNet's tools/launch.py, or on one machine with --workers N.")
        if not mx.runtime.Features().is_enabled("DIST_KVSTORE"):
            raise MissingDependencyError(f"this MXNet ({mx.__version__}) was built without its parameter server; "
                                         "install a wheel from PyPI or use --comm_backend horovod.")
        with self._starting():
            self.kvstore = mx.kv.create("dist_sync")
        self.rank, self.size = self.kvstore.rank, self.kvstore.num_workers
        self._value = mx.nd.zeros(1)
        self.kvstore.init(_VALUE, self._value)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        self.size = 2  # not known yet, but not alone
        with self.waiting():
            yield

    def share(self, value: float) -> float:
        with self.waiting():
            self._value[:] = value if self.rank == 0 else 0.0
            self.kvstore.pushpull(_VALUE, self._value, out=self._value)
            return float(self._value.asscalar())


class HorovodWorkers(Workers):
    """Processes that horovodrun or mpirun has started."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        self._horovod = require("horovod.mxnet", "horovod")
        self._horovod.init()
        self.rank, self.size = self._horovod.rank(), self._horovod.size()

    def add_up(self, gradients: Sequence[Any]) -> None:
        for number, gradient in enumerate(gradients):
            self._horovod.allreduce_(gradient, average=False, name=str(number), priority=-number)

    def share(self, value: float) -> float:
        with self.waiting():
            return float(self._horovod.broadcast(mx.nd.array([value]), 0, name="value").asscalar())


def join(backend: str | None, timeout: float) -> Workers:
    """The place of this process among the workers; waits until all are there. None: it is alone."""
    if backend is None:
        return Workers()
    return {"dist_sync": KVStoreWorkers, "horovod": HorovodWorkers}[backend](timeout)
