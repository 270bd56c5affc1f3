"""Run the instances of a program side by side: start each in its place, pass on its output, signals and exit code."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

from bertpass.errors import UsageError
from bertpass.placement import Instance
from bertpass.placement.binding import placed
from bertpass.progress import log

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: of Popen: a group of processes of its own
OWN_GROUP: Mapping[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
_LOOK = 0.2  # seconds after which ended processes are looked for where no output told of it
_LINE = 2**16  # bytes after which a line without an end is written


@dataclass(frozen=True)
class Job:
    """One instance: its place, its command and all of its environment variables."""

    instance: Instance
    words: Sequence[str]
    environment: Mapping[str, str]


class _Stream:
    """Lines of one of a process's streams, each written with its prefix."""

    def __init__(self, source: IO[bytes], target: BinaryIO, prefix: str) -> None:
        self.source, self._target, self._prefix, self._rest = source, target, prefix.encode(), b""
        os.set_blocking(source.fileno(), False)

    def read(self) -> bool:
        """Write the lines that have come; false at the end of the stream."""
        while True:
            try:
                data = os.read(self.source.fileno(), _LINE)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._write(lines)
            if not data or len(self._rest) >= _LINE:
                self.finish()
            if not data:
                return False

    def finish(self) -> None:
        """Write what has come of a line without an end."""
        self._write([self._rest] if self._rest else [])
        self._rest = b""

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            self._target.write(b"".join(self._prefix + line + b"\n" for line in lines))
            self._target.flush()


class Launcher:
    """The instances of one program.

    Parameters
    ----------
    stop_all : end the others when one fails
    grace : seconds between the signal that ends an instance and SIGKILL
    prefix : before each line of output: "[number] ", or nothing
    """

    def __init__(self, jobs: Sequence[Job], *, stop_all: bool = True, grace: float = 10.0, prefix: bool = True) -> None:
        self._jobs, self._stop_all, self._grace, self._prefix = jobs, stop_all, grace, prefix
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._first_failure = 0
        self._ending = 0  # the signal by which the instances are being ended
        self._deadline = float("inf")

    def run(self) -> int:
        """Start all, wait for all; the exit code of the first that failed (128 + signal for a killed one), else 0.

        Raises
        ------
        UsageError
            The command cannot be started; what was started is ended.
        """
        with self._forwarding():
            try:
                for job in self._jobs:
                    self._start(job)
                while self._running:
                    self._pass_on(_LOOK)
                    self._look()
                self._pass_on(0)
            finally:
                self._kill()
                self._close()
        return self._first_failure

    def end(self, number: int) -> None:
        """Send a signal to all that run; processes that still run after the grace are killed."""
        self._ending = number
        self._deadline = min(self._deadline, time.monotonic() + self._grace)
        self._send(number)

    def _start(self, job: Job) -> None:
        if self._ending:
            return
        try:
            with placed(job.instance.cpus, job.instance.memory):
                process = subprocess.Popen(job.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, env=job.environment, **OWN_GROUP)
        except OSError as error:
            raise UsageError(f"{job.words[0]}: it cannot be started ({error}).") from error
        number = job.instance.number
        self._running[number] = process
        for source, target in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)):
            assert source is not None
            stream = _Stream(source, target, f"[{number}] " if self._prefix else "")
            self._selector.register(source, selectors.EVENT_READ, stream)
        if self._ending:  # the signal came between the look above and now
            self._send(self._ending)

    def _pass_on(self, seconds: float) -> None:
        if not self._selector.get_map():
            time.sleep(seconds)
            return
        for key, _ in self._selector.select(seconds):
            if not key.data.read():
                self._selector.unregister(key.data.source)
                key.data.source.close()

    def _look(self) -> None:
        """Take note of who has ended."""
        for number, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[number]
            if code == 0:
                continue
            self._first_failure = self._first_failure or (code if code > 0 else 128 - code)
            if not self._ending:
                how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
                log.warning("instance %d ended with %s%s", number, how,
                            "; ending the others" if self._stop_all and self._running else "")
                if self._stop_all:
                    self.end(signal.SIGTERM)
        if time.monotonic() > self._deadline:
            self._deadline = float("inf")
            self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for process in list(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _kill(self) -> None:
        """Leave nothing behind: for errors of our own."""
        self._send(signal.SIGKILL)
        for process in self._running.values():
            process.wait()

    def _close(self) -> None:
        """Close the streams that have no end yet because grandchildren keep them open."""
        for key in list(self._selector.get_map().values()):
            key.data.finish()
            key.data.source.close()
        self._selector.close()

    @contextlib.contextmanager
    def _forwarding(self) -> Iterator[None]:
        """Signals that would end this process go to the instances instead; ignored ones (nohup) stay so."""
        before = {number: signal.signal(number, lambda received, frame: self.end(received)) for number in FORWARDED
                  if signal.getsignal(number) != signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
