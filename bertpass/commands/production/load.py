"""bertpass load: requests at a server, at times that do not depend on its answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.bench.traffic.client import (
    ARRIVALS,
    Client,
    Sample,
    Target,
    closed_loop,
    due_times,
    open_loop,
)
from bertpass.bench.traffic.summary import by_second, lateness, summary
from bertpass.bench.traffic.texts import DISTRIBUTIONS, ROUTES, bodies_of, of_file, of_lengths, own_bodies
from bertpass.commands.run import guarded
from bertpass.errors import NoServerError, UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import Bar, start_logging

#: texts that are sent in turn where none are given
SHIPPED = 2000


@dataclass
class LoadOptions:
    """Words and flags of bertpass load."""

    url: str = flag("", "address of the server, as http://127.0.0.1:8080", positional=True)
    route: str = flag("/embed", "route to send to", group="requests", choices=ROUTES)
    texts: str | None = flag(None, "file with one text per line, or a .tsv with a column sentence or text (default: "
                             "sentences of --lengths that come with bertpass)", group="requests")
    lengths: str = flag("sst", "lengths of the sentences that come with bertpass: as in SST-2 or as in SQuAD",
                        group="requests", choices=tuple(DISTRIBUTIONS))
    batch: int = flag(1, "texts per request", group="requests", least=1)
    bodies: str | None = flag(None, "file with one whole JSON body per line, in place of --texts", group="requests")
    model: str | None = flag(None, "name of the model in the bodies", group="requests")
    api_key: str | None = flag(None, "key of the server", group="requests")
    rate: float = flag(50.0, "requests per second", group="load", least=0.01, most=100_000)
    seconds: float = flag(10.0, "seconds for which requests are sent, warm-up included", group="load", least=0.1)
    warmup: float | None = flag(None, "seconds at the beginning that are not counted (default: 1, or a quarter of "
                                "--seconds if that is shorter)", group="load", least=0)
    arrivals: str = flag("poisson", "gaps between requests: random, as from many clients, or equal", group="load",
                         choices=ARRIVALS)
    in_flight: int | None = flag(None, "number of requests that are always in flight, in place of --rate; finds the "
                                 "capacity, and latencies then omit the queueing time", group="load", least=1)
    timeout: float = flag(30.0, "seconds after which a request counts as failed", group="load", least=0.01)
    seed: int = flag(0, "seed of the order of the texts and of the times of arrival", group="load", least=0)
    output: str | None = flag(None, "write the figures to this JSON file", group="output")
    plot: str | None = flag(None, "draw the figures into this file (.png, .svg)", group="output")

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise UsageError(f"{self.url or 'the address'}: give the server as http://HOST:PORT.")
        if self.warmup is None:
            self.warmup = min(1.0, self.seconds / 4)
        if self.warmup >= self.seconds:
            raise UsageError(f"--warmup {self.warmup:g}: must be shorter than --seconds {self.seconds:g}.")
        if self.bodies and self.texts:
            raise UsageError("--bodies and --texts contradict each other: give one of them.")

    def target(self) -> Target:
        """Where the requests go."""
        headers = {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}
        return Target(self.url.rstrip("/") + self.route, headers, self.timeout)

    def made(self) -> list[bytes]:
        """The bodies, in the order in which they are sent."""
        if self.bodies:
            return own_bodies(self.bodies)
        found = of_file(self.texts) if self.texts else of_lengths(self.lengths, SHIPPED, self.seed)
        return bodies_of(self.route, found, self.batch, self.model)


def main(argv: Sequence[str] | None = None) -> int:
    """Send the load; returns the exit code."""
    def job() -> None:
        options = parse(LoadOptions, argv, "Send requests to a server at times that do not depend on its answers.")
        for name in ("output", "plot"):
            if getattr(options, name):
                check_output_folder(name, Path(getattr(options, name)).parent)
        bodies = options.made()
        start_logging()
        samples = asyncio.run(_run(options, bodies))
        found = report(options, samples)
        show(found)
        if options.output:
            write_json(options.output, found)
        if options.plot:
            from bertpass.bench.traffic.picture import draw
            draw(Path(options.plot), samples, options.warmup or 0.0, f"{options.target().url}: {_offered(options)}")
        if not found["latency_ms"]["max"]:
            raise NoServerError(f"no request was answered with 200: {found['statuses']}.")
    return guarded(job)


async def _run(options: LoadOptions, bodies: Sequence[bytes]) -> list[Sample]:
    async with Client(options.target()) as client:
        await client.check(bodies[0])
        if options.in_flight:
            with Bar("load", 0, "answers") as bar:
                return await closed_loop(client, bodies, options.in_flight, options.seconds, bar.advance)
        due = due_times(options.rate, options.seconds, options.arrivals, options.seed)
        with Bar("load", len(due), "answers") as bar:
            return await open_loop(client, bodies, due, bar.advance)


def _offered(options: LoadOptions) -> str:
    return f"{options.in_flight} in flight" if options.in_flight else f"{options.rate:g} a second, {options.arrivals}"


def report(options: LoadOptions, samples: Sequence[Sample]) -> dict[str, Any]:
    """The content of the JSON file."""
    return {"command": machine.command(), "machine": machine.describe(), "url": options.target().url,
            "offered": _offered(options), "texts_a_request": options.batch,
            **summary(samples, options.warmup or 0.0, options.seconds), "by_second": by_second(samples)}


def show(found: dict[str, Any]) -> None:
    """Print the figures."""
    console = Console(width=None if Console().is_terminal else 110)
    statuses = ", ".join(f"{count} x {status}" for status, count in found["statuses"].items())
    console.print(f"{found['url']}: {found['offered']}; {found['answered_per_second']:g} answers 200 a second "
                  f"({statuses})", highlight=False)
    table = Table("ms", "p50", "p90", "p99", "p99.9", "max")
    for name, key in (("latency, from when it was due", "latency_ms"), ("from when it was sent", "service_ms"),
                      ("failures", "failure_ms"), ("the generator was late by", "lag_ms")):
        if found[key]["max"] is not None:
            table.add_row(name, *("-" if value is None else f"{value:.1f}" for value in found[key].values()))
    console.print(table)
    warning = lateness(found)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
