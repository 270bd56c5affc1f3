"""The process that holds one engine: it waits for a request in a blocking read, so that it disturbs no other one.

Started by :mod:`bertpass.bench.process` (see :mod:`bertpass.base.child`). A request is ``(command, arguments)``; after
calls the reply comes when the engine's threads sleep.

==========  ================================  =======================================================================
command     arguments                         value
==========  ================================  =======================================================================
load        model's name, Variant, threads    the engine's ``describe()``
check       batch                             the first output
prepare     key, batches, warmup (1)          seconds of a forward of them all after ``warmup`` uncounted ones
time        key, calls                        seconds of each call, a call being a forward of each batch
busy        key                               processors that this process kept busy in the calls since "prepare"
run         key, seconds                      begin and end of each call on the clock that all processes share, for
                                              that long and at least once
profile     key, calls                        seconds of a call by operator, see Engine.profile
==========  ================================  =======================================================================
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bertpass.base import child
from bertpass.bench import models, quiet
from bertpass.bench.variants import Variant
from bertpass.bench.workloads import Batch
from bertpass.engines import ENGINES, Engine
from bertpass.engines.base import options_of
from bertpass.engines.checking import calibration_batches
from bertpass.engines.rows import unpadded


class Server:
    """One engine and the batches that it was given; a method for each command."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._work: dict[str, list[Batch]] = {}
        self._given: dict[str, list[Batch]] = {}  # the same as the engine takes them
        self._used: dict[str, tuple[float, float]] = {}  # seconds of processors and of the clock

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("load comes first")
        return self._engine

    @property
    def _compute(self) -> Callable[..., Any]:
        """What is timed: an engine that pads takes padded batches, another one rows without padding."""
        return self.engine.forward if self.engine.pads else self.engine.rows

    def load(self, model: str, variant: Variant, threads: int) -> dict[str, Any]:
        module = importlib.import_module(ENGINES[variant.engine])
        checkpoint = models.token_states(model)
        options = dict(variant.options)
        if "threads" in options_of(module.from_checkpoint):  # MXNet takes OMP_NUM_THREADS, which its process has
            options["threads"] = threads
        if variant.calibrated:
            options["calibration"] = calibration_batches(checkpoint)
        self._engine = module.from_checkpoint(checkpoint, **options)
        del checkpoint, options
        give_memory_back()
        return self._engine.describe()

    def check(self, batch: Batch) -> np.ndarray:
        return self.engine.forward(*batch)[0]

    def prepare(self, key: str, batches: list[Batch], warmup: int = 1) -> float:
        self._work[key] = batches
        self._given[key] = batches if self.engine.pads else [unpadded(*batch) for batch in batches]
        first = self.time(key, warmup + 1)[-1]
        del self._used[key]
        return first

    def time(self, key: str, calls: int) -> list[float]:
        compute, batches, spent, used = self._compute, self._given[key], [], time.process_time()
        for _ in range(calls):
            start = time.perf_counter()
            for batch in batches:
                compute(*batch)
            spent.append(time.perf_counter() - start)
        before = self._used.get(key, (0.0, 0.0))
        self._used[key] = before[0] + time.process_time() - used, before[1] + sum(spent)
        quiet.rest()
        return spent

    def busy(self, key: str) -> float:
        processors, clock = self._used[key]
        return processors / clock

    def run(self, key: str, seconds: float) -> list[tuple[float, float]]:
        compute, batches = self._compute, self._given[key]
        calls: list[tuple[float, float]] = []
        last = time.monotonic() + seconds
        while not calls or calls[-1][1] < last:
            start = time.monotonic()
            for batch in batches:
                compute(*batch)
            calls.append((start, time.monotonic()))
        quiet.rest()
        return calls

    def profile(self, key: str, calls: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for batch in self._work[key]:
            for name, seconds in self.engine.profile(*batch, calls=calls).items():
                found[name] = found.get(name, 0.0) + seconds
        return found


def give_memory_back() -> None:
    """Return to the system what loading used and freed: all engines of a run are in memory together."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    server = Server()
    # Ctrl-C is for the parent, which ends its workers
    child.serve(lambda command, arguments: getattr(server, command)(*arguments), [signal.SIGINT])
