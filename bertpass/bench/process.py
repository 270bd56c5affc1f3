"""A worker as its parent sees it: start, ask, end. Whatever happens to one, the others and their results stay."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertpass.base.child import Child, Ended, Refused
from bertpass.base.paths import ROOT
from bertpass.bench import environments
from bertpass.bench.variants import Variant
from bertpass.errors import UsageError

#: seconds until a worker that does not answer is ended
LOADING, WORKING = 900.0, 600.0


class WorkerError(Exception):
    """A worker refused, died or did not answer; the text says which, in one sentence."""


class Worker:
    """One engine in a process of its own.

    Parameters
    ----------
    variant, model, threads
        What it loads.
    cpus, memory
        Processors that it may use, and NUMA nodes that it may allocate from (default: any).
    log
        File that takes what the engine prints.

    Raises
    ------
    WorkerError
        It could not load; the process has ended.
    """

    def __init__(self, variant: Variant, model: str, *, threads: int, cpus: Sequence[int], log: Path,
                 memory: Sequence[int] = ()) -> None:
        self.variant, self.model, self.log = variant, model, log
        try:
            python = environments.python_of(variant.engine)
        except UsageError as error:
            raise WorkerError(str(error)) from error
        variables = {**{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
                     "PYTHONWARNINGS": "ignore", **variant.environment}
        with log.open("ab") as output:
            self._child = Child("bertpass.bench.worker", variables=variables, cpus=cpus, memory=memory, output=output,
                                python=python, root=variant.checkout or ROOT)
        try:
            self.about: dict[str, Any] = self.ask("load", model, variant, threads, timeout=LOADING)
        except WorkerError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, command: str, *arguments: Any, timeout: float = WORKING) -> Any:
        """The value of a command of :mod:`bertpass.bench.worker`; WorkerError where there is none."""
        self.begin(command, *arguments)
        return self.finish(timeout)

    def begin(self, command: str, *arguments: Any) -> None:
        """Send a command whose value :meth:`finish` has, so that several workers work at once."""
        self._asked = command
        try:
            self._child.send(command, arguments)
        except Ended as error:
            raise WorkerError(self._last_words()) from error

    def finish(self, timeout: float = WORKING) -> Any:
        """The value of the command that was begun; WorkerError where there is none."""
        try:
            return self._child.receive(timeout)
        except TimeoutError as error:
            self.close()
            raise WorkerError(f"no answer to '{self._asked}' in {timeout:.0f} seconds; its process was "
                              "ended.") from error
        except Ended as error:
            raise WorkerError(self._last_words()) from error
        except Refused as error:
            if error.trace:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(error.trace)
            raise WorkerError(str(error)) from error

    def fileno(self) -> int:
        """What becomes readable when :meth:`finish` need not wait, for ``multiprocessing.connection.wait``."""
        return self._child.fileno()

    def resident(self) -> int:
        """Bytes of memory that the process holds; 0 where the system does not tell."""
        return self._child.resident()

    def peak(self) -> int:
        """The most bytes of memory that the process ever held, loading included; 0 where the system does not tell."""
        return self._child.peak()

    def close(self) -> None:
        """End the process, at once where it does not end by itself."""
        self._child.close(grace=2)

    def _last_words(self) -> str:
        code = self._wait()
        if code is not None and code < 0:
            reason = f"ended by signal {-code} ({signal.Signals(-code).name})"
            if -code == signal.SIGKILL:
                reason += ": somebody ended it, or memory ran out"
        else:
            reason = f"ended with exit code {code}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n") if self.log.is_file() else []
        said = [line.strip() for line in lines if line.strip()]
        return f"its process {reason}" + (f"; it said: {said[-1][:200]}" if said and (code or 0) > 0 else "") + "."

    def _wait(self) -> int | None:
        end = time.monotonic() + 2
        while self._child.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self._child.process.poll()
