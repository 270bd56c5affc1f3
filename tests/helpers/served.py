"""Servers in this process, by default with the dummy engine, reached through httpx without a socket."""

import asyncio
import contextlib
import time

import pytest

NEEDS = "pip install '.[test]' for the server and its clients"
httpx = pytest.importorskip("httpx", reason=NEEDS)
for module in ("fastapi", "uvicorn", "prometheus_client", "greenlet", "openai"):
    pytest.importorskip(module, reason=NEEDS)

from serving_process import ROOT, Process  # noqa: E402, F401 - for the tests

from bertpass.serving.http.app import create_app  # noqa: E402 - after the check that its packages are there
from bertpass.serving.options import ServeOptions  # noqa: E402
from bertpass.serving.state import State  # noqa: E402


async def until(condition, what, seconds=60.0):
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
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as client:
            client.state = state
            if wait:
                await until(lambda: state.ready, "ready")
            yield client
    finally:
        await state.close()


def pids(client):
    """The engine processes."""
    return [each["pid"] for each in client.state.pool.describe()]
