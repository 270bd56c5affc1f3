"""One instance on all processors against several on a part of them each, a batch split among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertpass import machine, placement
from bertpass.bench.instances import scaling
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio
from bertpass.bench.variants import Variant
from bertpass.errors import DeviceError

ROUNDS, QUICK_ROUNDS = 9, 3
LENGTHS = (32, 128, 384)  # of one row, on a part of the processors and on all


def engines() -> list[Variant]:
    """Who is scaled."""
    return [plain(), Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)]


def measure(session: Session) -> None:
    settings, published = session.settings, session.published
    if len(session.cpus) < 2:
        raise DeviceError("scaling: it takes two processors at least; give this process more, or raise --threads.")
    if session.part("scaling"):
        return
    shapes = [(published["batch"], published["length"]), *((1, n) for n in LENGTHS)]
    topology = placement.read(allowed=session.cpus, quota=machine.cgroup_quota())
    plan = scaling.Plan(engines(), scaling.configurations(topology), shapes,
                        QUICK_ROUNDS if settings.quick else ROUNDS, session.left() / len(shapes), topology)
    session.part("scaling").update(scaling.measure(plan, settings.bert_model, session.others).to_dict())
    session.keep()


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    for engine, found in _split(published, kept).items():
        first = next(iter(found.values()))
        for name, cell in found.items():
            rows.append({"engine": grid.label(engine), "layout": name, "each": cell["rows"],
                         "latency": cell["median_ms"], "latency ratio": first["median_ms"] / cell["median_ms"],
                         "throughput": cell["sequences_per_second"],
                         "ratio": cell["sequences_per_second"] / first["sequences_per_second"]})
    split = Table(f"A batch of ({published['batch']}, {published['length']}) split among instances", {
        "engine": "engine", "layout": "instances x cores", "each": "rows each",
        "latency": "latency of the slowest, ms", "latency ratio": "times as fast as one instance",
        "throughput": "rows a second, summed", "ratio": "throughput over one instance"}, rows,
        "Each instance is a process pinned to cores of its own, a thread a core; all work at once. Medians of "
        "interleaved rounds.")
    alone: list[Row] = []
    for engine, ways in _alone(kept).items():
        least = min(ways.items())[1]
        for cores, ms in sorted(ways.items()):
            alone.append({"engine": grid.label(engine), "cores": cores, **ms,
                          **{f"{shape} ratio": ratio(least.get(shape), value) for shape, value in ms.items()}})
    shapes = [f"1x{n}" for n in LENGTHS]
    small = Table("What more processors bring to one row", {
        "engine": "engine", "cores": "cores", **{s: f"(1, {s[2:]}), ms" for s in shapes},
        **{f"{s} ratio": f"(1, {s[2:]}) times as fast" for s in shapes}}, alone)
    return [split, small, _findings(published, kept)]


def _cells(kept: Kept) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = kept.get("scaling", {}).get("cells", [])
    return found


def _split(published: Published, kept: Kept) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Engine -> "instances x cores" -> the cell that answers the published batch in equal parts; the single instance
    on all cores first."""
    cells = [c for c in _cells(kept) if c["length"] == published["length"]
             and c["rows"] * c["instances"] == published["batch"]]
    most = max((c["instances"] * c["cores"] for c in cells), default=0)
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=lambda c: int(c["instances"])):
        if cell["instances"] * cell["cores"] == most:
            found.setdefault(cell["engine"], {})[f"{cell['instances']} x {cell['cores']}"] = cell
    return found


def _alone(kept: Kept) -> dict[str, dict[int, dict[str, float]]]:
    """Engine -> cores of one instance -> shape of one row -> milliseconds."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for cell in _cells(kept):
        if cell["instances"] == 1 and cell["rows"] == 1:
            ways = found.setdefault(cell["engine"], {})
            ways.setdefault(cell["cores"], {})[f"1x{cell['length']}"] = cell["median_ms"]
    return found


def _findings(published: Published, kept: Kept) -> Table:
    """The publication's sentences, and what can be said of each here."""
    best = {engine: min(ways, key=lambda name: ways[name]["median_ms"])
            for engine, ways in _split(published, kept).items()}
    lowest = "; ".join(f"lowest latency of {grid.label(engine)}: {name} (instances x cores)"
                       for engine, name in best.items())
    here = {"sockets": "one socket here: nothing to compare", "measure": "the tables above are measured so",
            "split": lowest, "growth": "“throughput over one instance” in the first table", "small": "the second table"}
    return Table("Published findings", {"published": "published (48 cores)", "here": "here"},
                 [{"published": found["said"], "here": here[found["about"]]} for found in published["findings"]],
                 "The publication draws its figures; these sentences are what it concludes.")


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    panels: dict[str, dict[str, dict[str, float | None]]] = {
        f"({published['batch']}, {published['length']}): rows a second, summed": {},
        "the same: latency of the slowest instance, ms": {}}
    throughput, latency = panels.values()
    for engine, ways in _split(published, kept).items():
        for panel, key in ((throughput, "sequences_per_second"), (latency, "median_ms")):
            panel[grid.label(engine)] = {f"{name} (instances x cores)": cell[key] for name, cell in ways.items()}
    picture.bars(path, subtitle, "One instance against several, each on its own cores", "", panels)


ENTRY = Entry(
    "scaling", "Instances and processors", "two processors at least", 3, measure, tables, draw,
    lambda: ["two sockets of 24 cores (c5.metal)", "SMT and memory nodes"])
