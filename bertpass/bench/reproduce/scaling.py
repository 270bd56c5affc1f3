"""One instance on all processors against several on a part of them each, a batch split among them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertpass.bench import models, workloads
from bertpass.bench.process import Worker
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.contract import Entry, Kept, Published, Row, Table, ratio
from bertpass.bench.reproduce.latency import plain
from bertpass.bench.reproduce.session import Session
from bertpass.bench.timing import PAUSE
from bertpass.bench.variants import Variant
from bertpass.bench.workloads import Workload
from bertpass.errors import DeviceError
from bertpass.model.config import EncoderConfig
from bertpass.progress import Bar, log

ROUNDS, QUICK_ROUNDS = 7, 3
LENGTHS = (32, 128, 384)  # of one row, on a part of the processors and on all


@dataclass(frozen=True)
class Layout:
    """``instances`` processes of ``threads`` threads, each on processors of its own with a part of the batch."""

    instances: int
    threads: int

    @property
    def name(self) -> str:
        return f"{self.instances} x {self.threads}"


def layouts(processors: int, batch: int) -> list[Layout]:
    """Every way to part processors and batch evenly, the single instance first."""
    return [Layout(n, processors // n) for n in range(1, processors + 1) if processors % n == 0 and batch % n == 0]


def engines() -> list[Variant]:
    """Who is scaled."""
    return [plain(), Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)]


@contextlib.contextmanager
def _started(variant: Variant, model: str, layout: Layout, cpus: Sequence[int], folder: Path) -> Iterator[list[Worker]]:
    """The layout's processes, each on its own processors."""
    workers: list[Worker] = []
    try:
        for number in range(layout.instances):
            own = cpus[number * layout.threads:(number + 1) * layout.threads]
            workers.append(Worker(variant, model, threads=layout.threads, cpus=own,
                                  log=folder / f"{variant.name}-{layout.name}-{number}.log"))
        yield workers
    finally:
        for worker in workers:
            worker.close()


def together(workers: Sequence[Worker], key: str) -> list[float]:
    """Seconds of one call of each worker, all started at once."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(lambda worker: float(worker.ask("time", key, 1)[0]), workers))


def measure(session: Session) -> None:
    settings, published, cpus = session.settings, session.published, list(session.cpus)
    if len(cpus) < 2:
        raise DeviceError("scaling: it takes two processors at least; give this process more, or raise --threads.")
    config = models.token_states(settings.bert_model).config
    rounds = QUICK_ROUNDS if settings.quick else ROUNDS
    ways = layouts(len(cpus), published["batch"])
    wanted = [v for v in engines() if v.name not in session.part("batches")]
    with Bar("scaling", len(wanted) * rounds, "rounds") as bar, tempfile.TemporaryDirectory() as folder:
        for variant in wanted:
            with contextlib.ExitStack() as stack:
                running = {}
                for way in ways:
                    log.info("scaling: loading %s as %s", variant.name, way.name)
                    running[way] = stack.enter_context(
                        _started(variant, settings.bert_model, way, cpus, Path(folder)))
                _agree(variant, [w for workers in running.values() for w in workers], settings.bert_model)
                _measure(session, variant, running, config, rounds, bar)
                session.keep()


def _agree(variant: Variant, workers: Sequence[Worker], model: str) -> None:
    """All instances compute the same: the sums of a row do not depend on the threads by more than rounding."""
    batch = models.check_batch(models.token_states(model))
    states = [worker.ask("check", batch) for worker in workers]
    worst = max(float(np.linalg.norm(s - states[0]) / np.linalg.norm(states[0])) for s in states)
    if not worst <= 1e-4:
        raise DeviceError(f"{variant.name}: instances differ by {worst:.1e}; run the tests before you measure.")


def _full(batch: int, length: int) -> Workload:
    return workloads.of_family(f"{batch}x{length}")[0]


def _measure(session: Session, variant: Variant, running: dict[Layout, list[Worker]], config: EncoderConfig,
             rounds: int, bar: Bar) -> None:
    """Interleaved: the batch on each layout in turn, then one row of each length on one instance of each."""
    batch, length = session.published["batch"], session.published["length"]
    for way, workers in running.items():
        for worker in workers:
            worker.ask("prepare", "batch", _full(batch // way.instances, length).batches(config))
        for n in LENGTHS:
            workers[0].ask("prepare", f"1x{n}", _full(1, n).batches(config))
    split: dict[str, list[list[float]]] = {way.name: [] for way in running}
    single: dict[str, dict[str, list[float]]] = {way.name: {f"1x{n}": [] for n in LENGTHS} for way in running}
    for _ in range(rounds):
        for way, workers in running.items():
            together(workers, "batch")  # its caches are another layout's
            split[way.name].append(together(workers, "batch"))
            session.others.pause(PAUSE)
            for n in LENGTHS:
                single[way.name][f"1x{n}"].append(workers[0].ask("time", f"1x{n}", 2)[1])
                session.others.pause(PAUSE)
        bar.advance(1, variant.name)
    session.part("batches")[variant.name] = {
        way.name: {"instances": way.instances, "threads": way.threads, "rounds": rounds,
                   "latency_ms": 1e3 * _median([max(turn) for turn in split[way.name]]),
                   "throughput": _median([sum(batch / way.instances / s for s in turn) for turn in split[way.name]])}
        for way in running}
    session.part("rows")[variant.name] = {
        way.name: {"threads": way.threads,
                   "ms": {shape: 1e3 * _median(found) for shape, found in single[way.name].items()}}
        for way in running}


def _median(values: Sequence[float]) -> float:
    return round(float(np.median(values)), 6)


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    for engine, found in kept.get("batches", {}).items():
        first = next(iter(found.values()))
        for name, way in found.items():
            rows.append({"engine": grid.label(engine), "layout": name, "each": published["batch"] // way["instances"],
                         "latency": way["latency_ms"], "latency ratio": first["latency_ms"] / way["latency_ms"],
                         "throughput": way["throughput"], "ratio": way["throughput"] / first["throughput"]})
    split = Table(f"A batch of ({published['batch']}, {published['length']}) split among instances", {
        "engine": "engine", "layout": "instances x threads", "each": "rows each",
        "latency": "latency of the slowest, ms", "latency ratio": "times as fast as one instance",
        "throughput": "rows a second, summed", "ratio": "throughput over one instance"}, rows,
        "Each instance is a process pinned to processors of its own; all start at once. Medians of interleaved rounds.")
    alone: list[Row] = []
    for engine, ways in kept.get("rows", {}).items():
        least = min(ways.values(), key=lambda way: way["threads"])
        for way in ways.values():
            alone.append({"engine": grid.label(engine), "threads": way["threads"], **way["ms"],
                          **{f"{shape} ratio": ratio(least["ms"][shape], ms) for shape, ms in way["ms"].items()}})
    shapes = [f"1x{n}" for n in LENGTHS]
    small = Table("What more processors bring to one row", {
        "engine": "engine", "threads": "threads", **{s: f"(1, {s[2:]}), ms" for s in shapes},
        **{f"{s} ratio": f"(1, {s[2:]}) times as fast" for s in shapes}}, alone)
    return [split, small, _findings(published, kept)]


def _findings(published: Published, kept: Kept) -> Table:
    """The publication's sentences, and what can be said of each here."""
    here = {"sockets": "one socket here: nothing to compare", "measure": "the tables above are measured so",
            "split": _best_layout(kept), "growth": "“throughput over one instance” in the first table",
            "small": "the second table"}
    return Table("Published findings", {"published": "published (48 cores)", "here": "here"},
                 [{"published": found["said"], "here": here[found["about"]]} for found in published["findings"]],
                 "The publication draws its figures; these sentences are what it concludes.")


def _best_layout(kept: Kept) -> str:
    best = {engine: min(ways, key=lambda name: ways[name]["latency_ms"])
            for engine, ways in kept.get("batches", {}).items()}
    return "; ".join(f"lowest latency of {grid.label(engine)}: {name} (instances x threads)"
                     for engine, name in best.items())


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    panels: dict[str, dict[str, dict[str, float | None]]] = {
        f"({published['batch']}, {published['length']}): rows a second, summed": {},
        "the same: latency of the slowest instance, ms": {}}
    throughput, latency = panels.values()
    for engine, ways in kept.get("batches", {}).items():
        for panel, key in ((throughput, "throughput"), (latency, "latency_ms")):
            panel[grid.label(engine)] = {f"{name} (instances x threads)": way[key] for name, way in ways.items()}
    picture.bars(path, subtitle, "One instance against several, each on its own processors", "", panels)


ENTRY = Entry(
    "scaling", "Instances and processors", "two processors at least", 3, measure, tables, draw,
    lambda: ["two sockets of 24 cores (c5.metal)", "SMT and memory nodes"])
