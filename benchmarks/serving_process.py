"""`bertpass serve` as a person starts it, and clients that keep it busy: for tests, benchmarks, the table of faults."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass import extras

httpx = extras.require("httpx", "test")
ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A server on a free port of this machine; its standard error is kept in ``lines``.

    ``first`` is called in the new process before it becomes the server.
    """

    def __init__(self, *words: Any, first: Callable[[], object] | None = None, **environment: str) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from bertpass.commands.main import main; raise SystemExit(main())", "serve",
             *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=first,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def url(self, seconds: float = 60.0, ready: bool = True) -> str:
        """The address, once it is ready, or listens; RuntimeError with what it wrote where it does not become so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"listening at (http://[\w.:]+)", "".join(self.lines))
            if found:
                try:
                    if not ready or httpx.get(found[1] + "/ready").status_code == 200:
                        return found[1]
                except httpx.TransportError:
                    pass
            time.sleep(0.01)
        raise RuntimeError("the server is not ready: " + "".join(self.lines))

    def pids(self, headers: dict[str, str] | None = None) -> list[int]:
        """The engine processes."""
        self.url()
        return self.pids_now(headers)

    def pids_now(self, headers: dict[str, str] | None = None) -> list[int]:
        """:meth:`pids`, also while the server is not ready."""
        told = httpx.get(self.url(ready=False) + "/info", headers=headers).json()
        return [each["pid"] for each in told["instances"]]

    def said(self) -> str:
        """All that an ended server wrote."""
        self.process.wait()
        self._reader.join()
        return "".join(self.lines)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # its engines too, which a test may have stopped
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@dataclass
class Reply:
    """What came back to one request: a status or the name of an error, and when it was sent."""

    sent: float
    outcome: int | str


@dataclass
class Load:
    """Clients that send texts to /embed one after the other, each over a connection of its own, and check the answers.

    An answer of 200 with another vector than the text had before the load counts as "wrong answer".
    """

    url: str
    texts: Sequence[str]
    clients: int = 8
    replies: list[Reply] = field(default_factory=list)

    def run(self, requests: int, during: Callable[[], None]) -> Counter[int | str]:
        """Send so many requests, and do something once a third of them are answered; returns how often each outcome
        came."""
        with _client() as client:
            self._expected = {text: self._ask(client, text).json() for text in self.texts}
        self._left = iter(range(requests))
        workers = [threading.Thread(target=self._work) for _ in range(self.clients)]
        for worker in workers:
            worker.start()
        while len(self.replies) < requests // 3:
            time.sleep(0.005)
        during()
        for worker in workers:
            worker.join()
        return Counter(reply.outcome for reply in self.replies)

    def _ask(self, client: Any, text: str) -> Any:
        return client.post(self.url + "/embed", json={"inputs": text})

    def _work(self) -> None:
        with _client() as client:
            for number in self._left:
                text, sent = self.texts[number % len(self.texts)], time.monotonic()
                try:
                    reply = self._ask(client, text)
                except httpx.TransportError as error:
                    self.replies.append(Reply(sent, type(error).__name__))
                    continue
                right = reply.status_code != 200 or reply.json() == self._expected[text]
                self.replies.append(Reply(sent, reply.status_code if right else "wrong answer"))


def _client() -> Any:
    """A client without certificates, which take longer to read than a request takes."""
    return httpx.Client(timeout=60, verify=False)
