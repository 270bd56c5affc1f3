"""The place of a process among those that train one model together; what joins them is the trainer's own."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from bertpass.errors import BertpassError


class Workers:
    """This process among those that train together; this class is the one that is alone."""

    rank, size = 0, 1
    kvstore: Any = "device"  # by what Gluon's Trainer adds up the gradients of devices and, if it can, of processes

    def __init__(self, timeout: float = 0.0) -> None:
        self.timeout = timeout

    def add_up(self, gradients: Sequence[Any]) -> None:
        """Add the gradients of all processes, in place, where ``kvstore`` does not."""

    def share(self, value: float) -> float:
        """The value of the first process, in all."""
        return value

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for other processes: one that has died ends this one, after the time-out."""
        if self.size == 1:
            yield
            return
        timer = threading.Timer(self.timeout, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        # The main thread is inside MXNet and cannot be interrupted.
        print(f"error: the other workers have not answered for {self.timeout:.0f} s, one of them may have died; see "
              "their logs, then --resume goes on from the last checkpoint (--worker_timeout is the limit).",
              file=sys.stderr, flush=True)
        os._exit(BertpassError.exit_code)
