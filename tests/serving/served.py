"""Servers in this process, by default with the dummy engine, reached through httpx without a socket."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

NEEDS = "pip install 'bertpass[test]' for the server and its clients"
httpx = pytest.importorskip("httpx", reason=NEEDS)
for module in ("fastapi", "uvicorn", "prometheus_client", "openai"):
    pytest.importorskip(module, reason=NEEDS)

from bertpass.serving.app import create_app  # noqa: E402 - after the check that its packages are there
from bertpass.serving.options import ServeOptions  # noqa: E402
from bertpass.serving.state import State  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


async def until(condition, what, seconds=20.0):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(*models, wait=True, **options):
    """A client of a server whose instances are real processes; ``client.state`` is the server's."""
    state = State(ServeOptions(models=list(models), **{"engine": "dummy", **options}))
    app = create_app(state)
    await state.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=30) as client:
            client.state = state
            if wait:
                await until(lambda: state.ready, "ready")
            yield client
    finally:
        await state.close()


def pids(client):
    """The engine processes."""
    return [each["pid"] for each in client.state.pool.describe()]


class Process:
    """``bertpass serve`` as a person starts it."""

    def __init__(self, *words, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from bertpass.commands.main import main; raise SystemExit(main())", "serve",
             *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def url(self):
        """The address, once it is ready."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            found = re.search(r"listening at (\S+)", "".join(self.lines))
            if found:
                try:
                    if httpx.get(found[1] + "/ready").status_code == 200:
                        return found[1]
                except httpx.TransportError:
                    pass
            time.sleep(0.05)
        raise AssertionError("".join(self.lines))

    def said(self):
        """All that an ended server wrote."""
        self.process.wait()
        self._reader.join()
        return "".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
