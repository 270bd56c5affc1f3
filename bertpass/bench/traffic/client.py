"""Sending requests: at given times whatever comes back (open loop), or so many at once (closed loop)."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bertpass.errors import NoServerError
from bertpass.extras import require

#: seconds that an idle connection is kept, shorter than servers keep it (uvicorn: 5)
KEEP_ALIVE = 4.0
ARRIVALS = ("poisson", "constant")


@dataclass(frozen=True)
class Target:
    """Where requests go: the route's whole URL, headers, and seconds after which an answer is not waited for."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 30.0


@dataclass(frozen=True)
class Sample:
    """One request: seconds since the run began at which it was due, was sent and was answered.

    ``status`` is HTTP's, or "timeout", "refused" or "broken" where no answer came.
    """

    due: float
    sent: float
    ended: float
    status: int | str


def due_times(rate: float, seconds: float, arrivals: str = "poisson", seed: int = 0) -> np.ndarray:
    """Seconds at which requests are due, rising, all below ``seconds``: float64 (requests,).

    "poisson": exponential gaps with the mean 1 / ``rate``, as from very many clients that know nothing of each other.
    """
    if arrivals == "constant":
        return np.arange(0.0, seconds, 1 / rate)
    random, times = np.random.default_rng(seed), np.zeros(1)
    while times[-1] < seconds:
        gaps = random.exponential(1 / rate, int(rate * seconds) + 100)
        times = np.concatenate([times, times[-1] + np.cumsum(gaps)])
    return times[1:][times[1:] < seconds]


class Client:
    """A context in which requests can be sent; connections are opened as they are needed and used again."""

    def __init__(self, target: Target) -> None:
        self._http, self._target = require("aiohttp", "load"), target

    async def __aenter__(self) -> Client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # every request that waits has a connection
        self._limits = soft, hard
        self._session = self._http.ClientSession(
            connector=self._http.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=self._http.ClientTimeout(total=self._target.timeout),
            headers={"Content-Type": "application/json", **self._target.headers})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)

    async def send(self, body: bytes) -> tuple[int | str, bytes]:
        """Status and answer; never raises for what a server or the network does."""
        try:
            async with self._session.post(self._target.url, data=body) as response:
                return response.status, await response.read()
        except asyncio.TimeoutError:
            return "timeout", b""
        except self._http.ClientConnectorError:
            return "refused", b""
        except (self._http.ClientError, OSError):
            return "broken", b""

    async def check(self, body: bytes) -> bytes:
        """The answer to one request, before many are sent; NoServerError where it is not 200."""
        status, text = await self.send(body)
        if status == "refused":
            raise NoServerError(f"nothing answers at {self._target.url}; start a server, as in: bertpass serve minilm.")
        if status != 200:
            said = " ".join(text.decode("utf-8", "replace").split())[:300]
            raise NoServerError(f"{self._target.url} answers {status} {said}".rstrip() + "; no load was sent.")
        return text


async def open_loop(client: Client, bodies: Sequence[bytes], due: np.ndarray,
                    answered: Callable[[], Any] = lambda: None) -> list[Sample]:
    """Send a request at each time of ``due``, the bodies in turn; the samples come in the order of ``due``."""
    begin = time.monotonic() + 0.01

    async def one(at: float, body: bytes) -> Sample:
        sent = time.monotonic() - begin
        status, _ = await client.send(body)
        ended = time.monotonic() - begin
        answered()
        return Sample(at, sent, ended, status)

    tasks = []
    for number, at in enumerate(due.tolist()):
        # also where it is late already: answers have to be read meanwhile
        await asyncio.sleep(max(0.0, begin + at - time.monotonic()))
        tasks.append(asyncio.create_task(one(at, bodies[number % len(bodies)])))
    return list(await asyncio.gather(*tasks))


async def closed_loop(client: Client, bodies: Sequence[bytes], in_flight: int, seconds: float,
                      answered: Callable[[], Any] = lambda: None) -> list[Sample]:
    """Keep so many requests in flight: the rate is what the server can do, and waiting hides in it.

    A request is due when it is sent, so these latencies are no measure of what clients of other servers see.
    """
    begin, samples, number = time.monotonic(), [], 0

    async def worker() -> None:
        nonlocal number
        while (sent := time.monotonic() - begin) < seconds:
            body, number = bodies[number % len(bodies)], number + 1
            status, _ = await client.send(body)
            samples.append(Sample(sent, sent, time.monotonic() - begin, status))
            answered()
            if status != 200:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return sorted(samples, key=lambda sample: sample.due)
