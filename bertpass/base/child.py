"""A process of our own that computes beside this one and is asked over a socket.

Messages are pickled. A request is a tuple of arguments, a reply ``(True, value)``, or ``(False, sentence)`` where the
request was refused, or ``(False, (sentence, traceback))`` where something was raised that is not for people.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import termios
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from bertpass.base.paths import ROOT, python_path
from bertpass.errors import BertpassError
from bertpass.placement.binding import placed

_LENGTH = struct.Struct("!i")


class Ended(Exception):
    """The process is gone, or what it says cannot be read."""


class Refused(Exception):
    """It did not do what it was asked; ``trace`` is the traceback where that is not for people."""

    def __init__(self, sentence: str, trace: str | None = None) -> None:
        super().__init__(sentence)
        self.trace = trace


class Child:
    """The process as its parent sees it. For one thread at a time; :meth:`kill` is for any.

    Parameters
    ----------
    program
        Module of this package that calls :func:`serve`.
    variables
        Environment variables besides those of this process.
    cpus, memory
        Processors that it may use, and NUMA nodes that it may allocate from (default: any).
    files
        Numbers of open files that it inherits.
    output
        What takes all that it prints (default: as this process).
    python, root
        The program that runs it, and the folder from which it imports this package.
    """

    def __init__(self, program: str, *, variables: Mapping[str, str], cpus: Sequence[int] = (),
                 memory: Sequence[int] = (), files: Sequence[int] = (), output: IO[bytes] | None = None,
                 python: str = sys.executable, root: str | os.PathLike[str] = ROOT) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **variables, "PYTHONPATH": python_path(root)}
        with theirs, placed(cpus, memory):
            self.process = subprocess.Popen(
                [python, "-P", "-m", program, str(theirs.fileno())], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=environment, pass_fds=[theirs.fileno(), *files])
        self._socket, self._connection = ours, Connection(os.dup(ours.fileno()))

    @property
    def pid(self) -> int:
        return self.process.pid

    def resident(self) -> int:
        """Bytes of memory that the process holds; 0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return 0

    def peak(self) -> int:
        """The most bytes of memory that the process ever held; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        except (OSError, IndexError, ValueError):
            return 0

    def fileno(self) -> int:
        """What becomes readable with an answer, for ``multiprocessing.connection.wait``."""
        return self._connection.fileno()

    def send(self, *request: Any) -> None:
        """Ask, without waiting for the answer; Ended where nobody is there."""
        try:
            self._connection.send(request)
        except OSError as error:
            raise Ended from error

    def receive(self, timeout: float | None = None) -> Any:
        """The answer, waiting for it as long as the process lives, or ``timeout`` seconds.

        Raises
        ------
        Refused, Ended, TimeoutError
        """
        try:
            there = timeout is None or self._connection.poll(timeout)
            fine, value = self._connection.recv() if there else (False, "")
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Ended from error
        if not there:
            raise TimeoutError
        if not fine:
            raise Refused(value) if isinstance(value, str) else Refused(*value)
        return value

    def answered(self) -> bool:
        """Whether :meth:`receive` would not wait: a whole answer is there, or the process has ended.

        The first four bytes of a message are its length, -1 where that needs more (multiprocessing.connection). Of so
        long an answer this is never true.
        """
        try:
            head = self._socket.recv(_LENGTH.size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            there = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)))[0]
        except BlockingIOError:
            return False
        except OSError:
            return True
        if not head:
            return True
        return len(head) == _LENGTH.size and 0 <= _LENGTH.unpack(head)[0] <= there - _LENGTH.size

    def kill(self) -> None:
        """End the process: who waits for its answer gets Ended."""
        self.process.kill()

    def close(self, grace: float = 0) -> None:
        """End the process, by force where it has not ended by itself after ``grace`` seconds."""
        self._socket.close()
        self._connection.close()
        try:
            self.process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(answer: Callable[..., Any], ignored: Sequence[signal.Signals]) -> None:
    """The process itself: answer requests until the other end closes.

    The number of the socket is the program's argument. ``answer`` is called with a request's arguments; ``ignored`` are
    signals that the parent handles.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # what libraries print goes to the log
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):  # the parent ended, or was ended
            return
        try:
            reply: tuple[bool, Any] = True, answer(*request)
        except BertpassError as error:
            reply = False, str(error)
        except Exception as error:  # whatever an engine raises fails this request and not the process
            sentence = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            reply = False, (sentence, traceback.format_exc())
        try:
            connection.send(reply)
        except OSError:  # nobody waits for it any more
            return
