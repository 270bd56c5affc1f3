"""Servers to measure, each a command in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.paths import ROOT, python_path
from bertpass.bench.traffic.client import Client, Target
from bertpass.bench.traffic.texts import bodies_of
from bertpass.errors import ServerError

#: routes for embeddings, ours and text-embeddings-inference's first, then OpenAI's as vLLM and infinity have it
ROUTES = ("/embed", "/v1/embeddings", "/embeddings")
_MAIN = "import sys; from bertpass.commands.main import main; sys.exit(main())"


def serve_command(words: Sequence[str]) -> list[str]:
    """``bertpass serve`` of this installation with these words, and ``{port}`` to be filled in."""
    return [sys.executable, "-c", _MAIN, "serve", *words, "--port", "{port}"]


def free_port() -> int:
    """A port of this machine that nothing listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A context in which a command serves.

    Parameters
    ----------
    name
        For tables.
    command
        Words, or a line as a shell has it; ``{port}`` in it is replaced.
    model
        What requests call the model, for OpenAI's routes.
    log
        File for what it prints.
    """

    def __init__(self, name: str, command: str | Sequence[str], model: str, log: Path) -> None:
        self.name, self._model, self._log = name, model, log
        words = shlex.split(command) if isinstance(command, str) else list(command)
        self.port = free_port()
        self.command = [word.replace("{port}", str(self.port)) for word in words]
        self.route = ROUTES[0]

    @property
    def target(self) -> Target:
        """Where its embeddings are asked for."""
        return Target(f"http://127.0.0.1:{self.port}{self.route}")

    def bodies(self, texts: Sequence[str], batch: int = 1) -> list[bytes]:
        """Bodies of requests for its route."""
        return bodies_of(self.route, texts, batch, None if self.route == ROUTES[0] else self._model)

    def __enter__(self) -> Server:
        environment = {**os.environ, "PYTHONPATH": python_path(ROOT if self.command[0] == sys.executable else "")}
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 env=environment, start_new_session=True)
            except OSError as error:
                raise ServerError(f"{self.name}: {self.command[0]} cannot be started ({error.strerror}).") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with contextlib.suppress(ProcessLookupError):  # and whatever it has started
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def check_alive(self) -> None:
        """ServerError where it has ended, with the last line that it wrote."""
        if self._process.poll() is not None:
            said = self._log.read_text("utf-8", "replace").strip().rpartition("\n")[2][:300]
            raise ServerError(f"{self.name} ended with {self._process.returncode}: {said} (its log is {self._log}).")

    async def ready(self, seconds: float) -> float:
        """Wait until it gives embeddings, and find its route; returns the seconds since the call."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            self.check_alive()
            for self.route in ROUTES:
                async with Client(self.target) as client:
                    status, _ = await client.send(self.bodies(["ready?"])[0])
                if status == 200:
                    return time.monotonic() - start
                if status != 404:
                    break
            await asyncio.sleep(0.05)
        raise ServerError(f"{self.name} gave no embeddings within {seconds:g} seconds; its log is {self._log}.")

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, (texts, units) float32, of length 1."""
        async with Client(self.target) as client:
            found: Any = json.loads(await client.check(self.bodies(texts, max(2, len(texts)))[0]))
        rows = found if isinstance(found, list) else [each["embedding"] for each in found["data"]]
        vectors = np.asarray(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def cpu_seconds(self) -> float:
        """Processor seconds that it and what it started have used."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self._process.pid:  # its session
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
