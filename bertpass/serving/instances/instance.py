"""A worker process as the server sees it: start it on its cores, compute in it, end it.

Calls block for as long as the process lives, also where it hangs: whoever calls sees to the time, with :meth:`kill`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.child import Child, Ended, Refused
from bertpass.engines.rows import Output, joined
from bertpass.errors import ModelError
from bertpass.placement import Instance as Place
from bertpass.serving.failures import EngineFailure
from bertpass.serving.instances.kept import Kept
from bertpass.serving.instances.worker import Row, warm_up_row

log = logging.getLogger("bertpass.serving")


class InstanceLost(Exception):
    """The process is gone; its batch may be computed elsewhere."""


class Instance:
    """One engine process; for one thread at a time, :meth:`kill` and :meth:`retire` excepted.

    Parameters
    ----------
    place
        Its cores and the NUMA nodes of its memory.
    kept
        The models that it loads.
    """

    def __init__(self, place: Place, kept: Kept) -> None:
        self.place, self._kept = place, kept
        self._child: Child | None = None
        self._retired = False
        self.about: list[dict[str, Any]] = []

    @property
    def pid(self) -> int | None:
        """The process's number while there is one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start, load and warm up.

        Raises
        ------
        ModelError
            A model cannot be packed or loaded; the text says why.
        InstanceLost
            The process ended on the way.
        """
        threads, models = len(self.place.cpus), self._kept.models()
        where = (self.place.cpus, self.place.memory) if self.place.pinned else ((), ())
        self._child = Child("bertpass.serving.instances.worker", variables={"OMP_NUM_THREADS": str(threads)},
                            cpus=where[0], memory=where[1], files=self._kept.files)
        if self._retired:
            raise InstanceLost(f"instance {self.place.number} is not wanted any more")
        try:
            self._send(models, threads)
            self.about = self._receive()
        except EngineFailure as error:
            self.close()
            raise ModelError(str(error)) from error

    def compute(self, model: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """The first output of each row, at least one: (outputs,), or (tokens, outputs) of a head that looks at every
        token.

        Raises
        ------
        EngineFailure
            The engine refused the batch.
        InstanceLost
            The process ended.
        """
        self.begin(model, rows)
        return self.finish()

    def begin(self, model: int, rows: Sequence[Row]) -> None:
        """The first half of :meth:`compute`: send the batch; waits only for a process that does not read."""
        self._send(model, joined(rows))

    def finish(self) -> list[np.ndarray]:
        """The second half: the outputs, waiting for them unless :meth:`answered` is true."""
        found: Output = self._receive()
        return found.by_row()

    def answered(self) -> bool:
        """Whether :meth:`finish` would not wait."""
        return self._child is None or self._child.answered()

    def fileno(self) -> int:
        """What becomes readable with an answer, or with the end of the process."""
        if self._child is None:
            raise InstanceLost(f"instance {self.place.number} is not running")
        return self._child.fileno()

    def probe(self) -> None:
        """A real forward of every model."""
        for number in range(len(self._kept)):
            self.compute(number, [warm_up_row()])

    def _send(self, *request: Any) -> None:
        if self._child is None:
            raise InstanceLost(f"instance {self.place.number} is not running")
        try:
            self._child.send(*request)
        except Ended as error:
            raise InstanceLost(f"instance {self.place.number} ended or was ended") from error

    def _receive(self) -> Any:
        if self._child is None:
            raise InstanceLost(f"instance {self.place.number} is not running")
        try:
            return self._child.receive()
        except Ended as error:
            raise InstanceLost(f"instance {self.place.number} ended or was ended") from error
        except Refused as error:
            if error.trace:
                log.error("instance %d: %s", self.place.number, error, extra={"fields": {"exception": error.trace}})
            raise EngineFailure(str(error)) from error

    def progress(self) -> str | None:
        """What changes whenever a thread of the process runs; None where the system does not tell.

        Source: Linux kernel documentation, scheduler/sched-stats (``/proc/<pid>/schedstat``, here of every thread).
        """
        try:
            tasks = Path(f"/proc/{self.pid}/task")
            return "".join((task / "schedstat").read_text() for task in tasks.iterdir())
        except OSError:
            return None

    def kill(self) -> None:
        """End the process from another thread: a call that waits for it raises InstanceLost."""
        if (child := self._child) is not None:
            child.kill()

    def retire(self) -> None:
        """:meth:`kill`, also where the process is only just being started."""
        self._retired = True
        self.kill()

    def close(self) -> None:
        """End the process; at once, for it holds nothing that has to be saved."""
        if self._child is not None:
            self._child.close()
            self._child = None
