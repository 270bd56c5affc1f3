"""The command line ``bertpass bench routing``: requests by length to instances of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bertpass import placement
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.placement import binding
from bertpass.progress import start_logging


@dataclass
class RoutingOptions:
    """Flags of bertpass bench routing."""

    model: str = flag("minilm", "a published size (random weights), minilm or a path", positional=True,
                      formerly=("--model",))
    engine: str = flag("native-float32", "engine and precision, as native-float32; bertpass bench cpu has their names")
    sizes: list[int] = flag([], "cores of each instance (default: two halves of all cores)")
    distribution: str = flag("mixed", "lengths of the requests: as in SST-2, as in SQuAD, or half from each",
                             choices=("sst", "squad", "mixed"))
    bounds: list[int] = flag([], "longest sequence of each instance, rising (default: equal work for all)")
    loads: list[float] = flag([0.5, 0.8], "requests per second, as shares of the capacity of all instances")
    requests: int = flag(400, "requests per run", least=20, most=1_000_000)
    output: str = flag("bench_output", "folder for routing.json")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")

    def __post_init__(self) -> None:
        if not self.loads or not all(0 < load < 1 for load in self.loads):
            raise UsageError(f"--loads {' '.join(map(str, self.loads))}: give shares between 0 and 1, as in 0.5 0.8; "
                             "from 1 on the queue grows without end.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit code."""
    def job() -> None:
        options = parse(RoutingOptions, argv, "Route requests by length to instances of different sizes.")
        check_output_folder("output", options.output)
        from bertpass.bench import quiet, variants
        from bertpass.bench.cpu import report
        from bertpass.bench.instances import deployments, routing

        chosen = variants.chosen([options.engine])
        if len(chosen) != 1:
            raise UsageError(f"--engine {options.engine}: name one of {', '.join(v.name for v in chosen)}.")
        topology, unbound = binding.bindable(placement.here())
        sizes = options.sizes or [len(i.cores) for i in placement.plan(topology, 2)]
        if options.bounds:
            routing.check_bounds(options.bounds, len(sizes))
        start_logging()
        if options.strict:
            quiet.demand()
        study = deployments.Study(chosen[0], sizes, options.distribution, options.loads, options.requests, topology,
                                  options.bounds)
        found = deployments.compare(study, options.model)
        show(found)
        cpus = sorted(cpu for instance in found["instances"] for cpu in instance["cpus"])
        folder = Path(options.output)
        content = {"environment": {**report.environment(len(cpus), cpus, {}), "topology": str(topology),
                       "memory": unbound or "bound to the nodes of the cores"},
                   "routing": found}
        write_json(folder / "routing.json", content)
        print(f"wrote {folder / 'routing.json'}")
    return guarded(job)


def show(found: dict[str, Any]) -> None:
    """Print latencies by load and way."""
    bounds = ", ".join(f"instance {n} ({len(i['cpus'])} cores) up to {b} tokens"
                       for n, (i, b) in enumerate(zip(found["instances"], found["bounds"], strict=True)))
    console = Console(width=None if Console().is_terminal else 132)
    console.print(f"{found['model']}, {found['engine']}: {found['requests']} requests of {found['mean_length']:g} "
                  f"tokens on average; by length: {bounds}", highlight=False)
    table = Table(title="latency in ms; short and long: the halves of the requests by length")
    for name in ("load", "a second", "way", "p50", "p95", "p99", "p95, short", "p95, long"):
        table.add_column(name, justify="left" if name == "way" else "right")
    last = None
    for run in found["runs"]:
        if last not in (None, run["load"]):
            table.add_section()
        last = run["load"]
        cells = [_shown(run[key]) for key in ("p50_ms", "p95_ms", "p99_ms", "short_p95_ms", "long_p95_ms")]
        table.add_row(f"{run['load']:g}", f"{run['requests_per_second']:.3g}", run["way"], *cells)
    console.print(table)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
