"""Ctrl-C during long work with MXNet: noted at once, acted on between two steps.

A KeyboardInterrupt that arrives while Python runs a finalizer or a callback of a C library is printed and lost
(documentation of ``signal`` and ``object.__del__``), and MXNet's arrays have finalizers everywhere.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from bertpass.progress import log


class Stopping:
    """A context in which the first Ctrl-C is kept for :meth:`check`; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Stopping:
        # Only the main thread may handle signals, and a process told to ignore Ctrl-C goes on ignoring it.
        if threading.current_thread() is threading.main_thread() and \
                signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        log.info("stopping after this step; Ctrl-C again stops at once")

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was asked for."""
        if self.asked:
            raise KeyboardInterrupt
