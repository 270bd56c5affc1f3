"""The command line ``bertpass bench serving``: our server at shares of its capacity, and beside others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.bench.traffic.servers import Server, serve_command
from bertpass.bench.traffic.study import Study
from bertpass.bench.traffic.texts import DISTRIBUTIONS, of_file, of_lengths
from bertpass.commands.run import guarded
from bertpass.errors import ServerError, UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import log, start_logging

#: texts whose embeddings are compared, and cosine below which a server computes another model
COMPARED, SAME = 16, 0.98


@dataclass
class ServingOptions:
    """Flags of bertpass bench serving."""

    model: str = flag("minilm", "model for embeddings, as bertpass serve takes it", positional=True,
                      formerly=("--model",))
    serve: list[str] = flag(["dtype=float32", "dtype=auto"], "flags of our servers, one server per word: NAME=VALUE, "
                            "separated by commas; the first server is measured at all loads")
    peer: list[str] = flag([], "other servers, each 'NAME: COMMAND' with {port}; they answer POST /embed, "
                           "/v1/embeddings or /embeddings (see benchmarks/plain_server.py)")
    peer_model: str = flag("model", "name of the model in requests to other servers")
    texts: str | None = flag(None, "file with one text per line (default: texts of --lengths that come with bertpass)")
    lengths: str = flag("sst", "lengths of the texts that come with bertpass", choices=tuple(DISTRIBUTIONS))
    loads: list[float] = flag([0.5, 0.8, 1.2], "requests per second, as shares of the capacity")
    queue_timeout: float = flag(1.0, "--queue_timeout of our servers: deadline of an answer in seconds", least=0.01)
    bounds: list[float] = flag([50.0], "latencies in ms (p99) at which the rates of all servers are compared")
    steps: int = flag(6, "bisections per latency of --bounds", least=1, most=20)
    seconds: float = flag(10.0, "seconds per turn, warm-up included", least=1)
    warmup: float = flag(2.0, "seconds of a turn that are not counted", least=0)
    in_flight: int = flag(64, "requests in flight while the capacity is measured", least=1)
    output: str = flag("bench_output", "folder for serving.json and the servers' logs")

    def __post_init__(self) -> None:
        if self.warmup >= self.seconds:
            raise UsageError(f"--warmup {self.warmup:g}: must be shorter than --seconds {self.seconds:g}.")
        if not self.serve or not all(load > 0 for load in self.loads):
            raise UsageError("--serve and --loads: give at least one server of ours, and shares above 0.")
        for each in self.peer:
            if not all(part.strip() for part in each.partition(":")) or "{port}" not in each:
                raise UsageError(f"--peer {each}: write 'NAME: COMMAND --port {{port}}'.")

    def servers(self) -> list[Server]:
        """Ours, then the others; not started."""
        folder = Path(self.output)
        found: list[Server] = []
        for chosen in self.serve:
            words = [f"--{word}" for word in chosen.split(",")] + [f"--queue_timeout={self.queue_timeout:g}"]
            command = serve_command([f"model={self.model}", *words])
            found.append(Server(f"bertpass {chosen}", command, "model", folder / f"serving-{len(found)}.log"))
        for each in self.peer:
            name, _, line = each.partition(":")
            found.append(Server(name.strip(), line, self.peer_model, folder / f"serving-{len(found)}.log"))
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit code."""
    def job() -> None:
        options = parse(ServingOptions, argv, "Our server at shares of its capacity, and beside other servers.")
        check_output_folder("output", options.output)
        texts = of_file(options.texts) if options.texts else of_lengths(options.lengths, 2000)
        start_logging()
        found = asyncio.run(study(options, texts))
        content = {"command": machine.command(), "machine": machine.describe(), "versions": machine.versions(),
                   "options": {key: value for key, value in vars(options).items() if key != "output"}, **found}
        file = Path(options.output) / "serving.json"
        write_json(file, content)
        show(found)
        print(f"wrote {file}")
    return guarded(job)


async def study(options: ServingOptions, texts: Sequence[str]) -> dict[str, Any]:
    """Start all servers and measure them in turn."""
    plan = Study(texts, options.seconds, options.warmup, options.in_flight)
    with contextlib.ExitStack() as stack:
        servers = options.servers()
        starts: list[float] = []
        reference: np.ndarray | None = None
        for server in servers:  # one after the other, so that none's start disturbs another's
            stack.enter_context(server)
            starts.append(await server.ready(300))
            vectors = await server.vectors(texts[:COMPARED])
            reference = vectors if reference is None else reference
            cosine = float((vectors * reference).sum(axis=1).min()) if vectors.shape == reference.shape else 0.0
            if cosine < SAME:
                raise ServerError(f"{server.name} computes other embeddings than {servers[0].name} (cosine "
                                  f"{cosine:.3f}); let both have the same model.")
            log.info("%s gives embeddings after %.1f s; least cosine with the first %.5f", server.name, starts[-1],
                     cosine)
        capacities = []
        for server in servers:
            await plan.offered(server, 5.0)  # first runs of every length are not its speed
            capacities.append(await plan.capacity(server))
            log.info("%s: %.1f requests a second", server.name, capacities[-1])
        shares = await plan.shares(servers[0], capacities[0], options.loads, log.info)
        equal = [row for bound in options.bounds
                 for row in await plan.at_latency(servers, capacities, bound, options.steps, log.info)]
    return {"servers": [{"name": server.name, "command": server.command, "route": server.route,
                         "ready_seconds": round(start, 2), "capacity": capacity}
                        for server, start, capacity in zip(servers, starts, capacities, strict=True)],
            "loads": shares, "equal_latency": equal}


def show(found: dict[str, Any]) -> None:
    """Print both tables."""
    console = Console(width=None if Console().is_terminal else 132)
    first = found["servers"][0]
    table = Table(title=f"{first['name']}: {first['capacity']:.1f} requests a second at most; latencies of answers 200 "
                  "in ms")
    for name in ("load", "offered", "answered", "p50", "p99", "p99.9", "answers", "recovery, s"):
        table.add_column(name, justify="right")
    for row in found["loads"]:
        latency = row["latency_ms"]
        table.add_row(f"{row['share']:.0%}", f"{row['offered_per_second']:.1f}", f"{row['answered_per_second']:.1f}",
                      *(_shown(latency[key]) for key in ("p50", "p99", "p99.9")),
                      ", ".join(f"{count} x {status}" for status, count in row["statuses"].items()),
                      _shown(row.get("recovery_seconds")))
    console.print(table)
    table = Table(title="highest rate with p99 within the bound")
    for name in ("p99 bound, ms", "server", "requests a second", "first server's rate over it", "capacity"):
        table.add_column(name, justify="left" if name == "server" else "right")
    for number, row in enumerate(found["equal_latency"]):
        server = found["servers"][number % len(found["servers"])]
        ours = found["equal_latency"][number - number % len(found["servers"])]
        ratio = f"{ours['rate'] / row['rate']:.2f}x" if row["rate"] else "-"
        table.add_row(f"{row['bound_ms']:g}", row["server"], f"{row['rate']:.1f}", ratio, f"{server['capacity']:.1f}")
    console.print(table)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
