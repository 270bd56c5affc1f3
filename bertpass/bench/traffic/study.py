"""How a server bears load: its capacity, what clients see at shares of it, and rates at equal latency.

Servers are measured in turn on the same machine: each turn is a few seconds of one of them while the others wait
without work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.bench.traffic.client import Client, closed_loop, due_times, open_loop
from bertpass.bench.traffic.servers import Server
from bertpass.bench.traffic.summary import recovered, summary
from bertpass.errors import ServerError

#: share of the capacity that is offered after an overload, to see the recovery
AFTER = 0.5
#: of all requests, how many may fail where a rate counts as borne
FAILED = 0.001
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """``seconds`` of a turn, of which ``warmup`` do not count; ``texts`` in turn; ``in_flight`` for the capacity."""

    texts: Sequence[str]
    seconds: float = 10.0
    warmup: float = 2.0
    in_flight: int = 64
    seed: int = 0

    async def capacity(self, server: Server) -> float:
        """Answers a second with :attr:`in_flight` requests always waiting; ServerError where there is none."""
        async with Client(server.target) as client:
            samples = await closed_loop(client, server.bodies(self.texts), self.in_flight, self.seconds)
        rate: float = summary(samples, self.warmup, self.seconds)["answered_per_second"]
        if not rate:
            raise ServerError(f"{server.name} answered no request in {self.seconds:g} seconds; measure it for longer.")
        return rate

    async def offered(self, server: Server, rate: float) -> dict[str, Any]:
        """What comes back at a rate: figures of :func:`summary`, and processors that server and generator kept busy."""
        used, own, start = server.cpu_seconds(), time.process_time(), time.monotonic()
        async with Client(server.target) as client:
            samples = await open_loop(client, server.bodies(self.texts),
                                      due_times(rate, self.seconds, seed=self.seed))
        wall = time.monotonic() - start
        return summary(samples, self.warmup, self.seconds) | {
            "server_processors": round((server.cpu_seconds() - used) / wall, 3),
            "generator_processors": round((time.process_time() - own) / wall, 3)}

    async def overload(self, server: Server, capacity: float, share: float, usual_p99: float) -> dict[str, Any]:
        """As :meth:`offered` at a share above 1 of the capacity, and without a pause half of it: seconds until all is
        well again (:func:`recovered`) after the last request of the overload was due.
        """
        first = due_times(share * capacity, self.seconds, seed=self.seed)
        second = due_times(AFTER * capacity, self.seconds, seed=self.seed + 1) + self.seconds
        async with Client(server.target) as client:
            samples = await open_loop(client, server.bodies(self.texts), np.concatenate([first, second]))
        loaded = [sample for sample in samples if sample.due < self.seconds]
        later = [type(s)(s.due - self.seconds, s.sent, s.ended - self.seconds, s.status)
                 for s in samples if s.due >= self.seconds]
        return summary(loaded, self.warmup, self.seconds) | {
            "recovery_seconds": recovered(later, usual_p99), "recovered_below_ms": usual_p99}

    async def shares(self, server: Server, capacity: float, shares: Sequence[float],
                     tell: Tell) -> list[dict[str, Any]]:
        """A row for each share of the capacity, rising; those above 1 with the recovery."""
        rows: list[dict[str, Any]] = []
        for share in sorted(shares):
            if share > 1:
                usual = next((row["latency_ms"]["p99"] for row in rows if row["latency_ms"]["p99"]), 1e3)
                row = await self.overload(server, capacity, share, usual)
            else:
                row = await self.offered(server, share * capacity)
            rows.append({"share": share, "rate": round(share * capacity, 2), **row})
            tell(f"{server.name} at {share:.0%} of its capacity: p99 {row['latency_ms']['p99']} ms, {row['statuses']}")
        return rows

    async def at_latency(self, servers: Sequence[Server], capacities: Sequence[float], bound_ms: float, steps: int,
                         tell: Tell) -> list[dict[str, Any]]:
        """For each server the highest rate at which p99 is at most ``bound_ms`` and hardly a request fails.

        Bisection between 0 and the capacity, in turns; a rate that was borne is measured once more in the end, and
        lowered by a tenth until it is borne again.
        """
        low, high = [0.0] * len(servers), list(capacities)
        for step in range(steps):
            for number, server in enumerate(servers):
                rate = (low[number] + high[number]) / 2
                row = await self.offered(server, rate)
                (low if borne(row, bound_ms) else high)[number] = rate
                tell(f"p99 of at most {bound_ms:g} ms, step {step + 1}: {server.name} at {rate:.1f} a second: "
                     f"{row['latency_ms']['p99']} ms")
        found = []
        for number, server in enumerate(servers):
            rate = low[number]
            confirmed: dict[str, Any] | None = None
            while rate >= 0.02 * capacities[number]:
                confirmed = await self.offered(server, rate)
                if borne(confirmed, bound_ms):
                    break
                rate *= 0.9
            else:
                rate = 0.0  # not even with hardly any load
            found.append({"server": server.name, "bound_ms": bound_ms, "rate": round(rate, 2), "confirmed": confirmed})
        return found


def borne(row: dict[str, Any], bound_ms: float) -> bool:
    """Whether p99 (the largest where there are few requests) is within the bound and next to no request failed."""
    latency = row["latency_ms"]["p99"] or row["latency_ms"]["max"]
    failed = row["sent"] - row["statuses"].get("200", 0)
    return latency is not None and latency <= bound_ms and failed <= FAILED * row["sent"]
