"""Where the time of a forward goes: MXNet's operators by its own profiler, the native engine's stages by its timers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bertpass.bench import workloads
from bertpass.bench.cpu import run as cpu
from bertpass.bench.drawing import BLUE, DARK_GREY, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW
from bertpass.bench.process import WorkerError
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.progress import Bar

SHAPES, QUICK = ("1x128", "8x128", "128x128"), ("1x128", "4x128")
RUNS = 5  # forwards of an engine at least: two of warm-up, one timed, two of the profile
CALLS, LARGE = 5, 1e12  # forwards that a profile is the mean of; from so many operations on it is one forward
LEAST_SHARE = 0.005  # operators below it are one line together
GEMM, MOVING, OTHER, UNTOLD = "GEMM", "copying and reordering", "other", "not told apart"
#: MXNet's operators by their type, by the beginning of their names
MXNET_TYPES = {
    "FullyConnected": GEMM, "_sg_mkldnn_fully_connected": GEMM, "batch_dot": GEMM, "dot": GEMM,
    "_contrib_interleaved_matmul": GEMM, "_sg_mkldnn_selfatt": GEMM, "softmax": "softmax", "LayerNorm": "LayerNorm",
    "LeakyReLU": "GELU", "broadcast_add": "addition", "elemwise_add": "addition", "_plus": "addition",
    "Embedding": "embedding", "Concat": MOVING, "Reshape": MOVING, "transpose": MOVING, "SwapAxis": MOVING,
    "broadcast_axis": MOVING, "broadcast_like": MOVING, "stack": MOVING, "expand_dims": MOVING, "slice": MOVING,
}
#: the native engine's stages by what they compute; sums, biases and GELU are a part of the product before them
STAGE_TYPES = {
    "qkv": GEMM, "projection": GEMM, "up": "GEMM + GELU", "down": GEMM, "attention": "attention", "norm": "LayerNorm",
    "quantize": "rounding to int8", "embedding": "embedding", "head": OTHER,
}
COLOURS = {
    GEMM: BLUE, "GEMM + GELU": SKY, "softmax": VERMILION, "attention": GREEN, "LayerNorm": ORANGE,
    "GELU": YELLOW, "addition": PURPLE, "embedding": GREY, "rounding to int8": DARK_GREY, MOVING: "#BBAA88",
    OTHER: LIGHT_GREY, UNTOLD: LIGHT_GREY,
}


def engines() -> list[Variant]:
    """Whose time is looked at."""
    return [plain(), *(Variant(f"native-{dtype}", "native", dtype, {"dtype": dtype}, ours=True)
                       for dtype in ("float32", "int8"))]


def measure(session: Session) -> None:
    kept = session.part("profiles")
    variants = engines()
    shapes = [shape for shape in (QUICK if session.settings.quick else SHAPES) if shape not in kept]
    if not shapes:
        return
    loads = [workloads.of_family(shape)[0] for shape in shapes]
    plan = cpu.Plan(variants, loads, 1, 1.0, session.settings.threads, session.cpus)
    with cpu.running(plan, session.settings.bert_model, partial(grid.tell_loading, "operators")) as run, \
            Bar("operators", len(shapes) * len(variants), "profiles") as bar:
        for shape, load in zip(shapes, loads, strict=True):
            expected = _expected(kept, shape)
            if expected > session.left():
                session.part("left_out")[shape] = round(expected, 1)
                bar.advance(len(variants), f"{shape} goes over the budget")
                continue
            calls = CALLS if workloads.flops(run.config, load.lengths) < LARGE else 1
            found = {}
            for name, worker in list(run.workers.items()):
                try:
                    worker.ask("prepare", shape, load.batches(run.config))
                    seconds = worker.ask("time", shape, calls)
                    found[name] = {"seconds": worker.ask("profile", shape, calls), "forward": sum(seconds) / calls}
                except WorkerError as error:
                    run.fail(name, str(error))
                session.others.pause(0.03)
                bar.advance(1, f"{shape} {name}")
            kept[shape] = found
            session.part("checked")["engines"] = grid.engines(run)
            session.keep()


def _expected(profiles: Mapping[str, Mapping[str, Mapping[str, float]]], shape: str) -> float:
    """Seconds that a shape takes, from the largest one so far and the numbers of tokens; 0 before the first."""
    if not profiles:
        return 0.0
    last = max(profiles, key=_tokens)
    return RUNS * sum(found["forward"] for found in profiles[last].values()) * _tokens(shape) / _tokens(last)


def _tokens(shape: str) -> int:
    return math.prod(map(int, shape.split("x")))


def type_of(engine: str, operator: str) -> str:
    """What an operator or a stage computes."""
    if engine != REFERENCE:
        return STAGE_TYPES.get(operator, OTHER)
    return next((kind for start, kind in MXNET_TYPES.items() if operator.startswith(start)), OTHER)


def by_type(engine: str, seconds: Mapping[str, float]) -> dict[str, float]:
    """Share of the time of each type, the largest first; "other" last."""
    total, found = sum(seconds.values()), dict[str, float]()
    for operator, spent in seconds.items():
        kind = type_of(engine, operator)
        found[kind] = found.get(kind, 0.0) + spent / total
    return dict(sorted(found.items(), key=lambda pair: (pair[0] == OTHER, -pair[1])))


def _name(shape: str) -> str:
    return f"({shape.replace('x', ', ')})"


def tables(published: Published, kept: Kept) -> list[Table]:
    profiles = kept.get("profiles", {})
    theirs = f"{published['batch']}x{published['length']}"
    rows: list[Row] = []
    for shape, found in profiles.items():
        if REFERENCE not in found:
            continue
        here = by_type(REFERENCE, found[REFERENCE]["seconds"]).get(GEMM, 0.0)
        same = shape == theirs
        rows.append({"shape": _name(shape), "published": 100 * published["gemm_share"] if same else None,
                     "here": 100 * here, "ratio": ratio(here, published["gemm_share"]) if same else None,
                     "conditions": f"published: {published['conditions']} ({NEEDS_GPU}); here: this CPU, float32"
                     if same else "this CPU, float32"})
    if theirs not in profiles:
        rows.append({"shape": _name(theirs), "published": 100 * published["gemm_share"],
                     "conditions": f"published: {published['conditions']} ({NEEDS_GPU}); here: " +
                     grid.left_out(kept, theirs)})
    made = [Table("Share of matrix products in plain MXNet", {
        "shape": "(batch, length)", "published": "published, %", "here": "here, %", "ratio": "here / published",
        "conditions": "conditions"}, rows)]
    for engine in engines():
        columns = {"operator": "operator" if engine.name == REFERENCE else "stage", "type": "type"}
        shapes = [shape for shape, found in profiles.items() if engine.name in found]
        if shapes:
            columns |= {shape: f"{_name(shape)}, % of {_milliseconds(profiles[shape][engine.name])}"
                        for shape in shapes}
            made.append(Table(_title(engine.name), columns, _operators(engine.name, profiles, shapes),
                              _note(engine.name)))
    return made


def _milliseconds(profile: Mapping) -> str:
    return f"{1e3 * profile['forward']:.1f} ms"


def _title(engine: str) -> str:
    return "Plain MXNet by operator" if engine == REFERENCE else f"{engine} by stage"


def _note(engine: str) -> str:
    if engine == REFERENCE:
        return ("Aggregate statistics of MXNet's profiler; a FullyConnected holds its bias. The time is that of a "
                "forward without the profiler.")
    return ("Timers of the native engine in the thread that calls; bias, residual sum and GELU are a part of the "
            "product before them, softmax of attention.")


def _operators(engine: str, profiles: Mapping, shapes: list[str]) -> list[Row]:
    """Every operator with at least :data:`LEAST_SHARE` somewhere, then the sum of the rest."""
    share = {shape: {op: s / sum(profiles[shape][engine]["seconds"].values())
                     for op, s in profiles[shape][engine]["seconds"].items()} for shape in shapes}
    every = {op: max(share[shape].get(op, 0.0) for shape in shapes) for shape in shapes for op in share[shape]}
    large = sorted((op for op in every if every[op] >= LEAST_SHARE), key=lambda op: -every[op])
    rows: list[Row] = [{"operator": op, "type": type_of(engine, op),
                        **{shape: 100 * share[shape].get(op, 0.0) for shape in shapes}} for op in large]
    rest = {shape: 100 * sum(s for op, s in share[shape].items() if op not in large) for shape in shapes}
    if any(rest.values()):
        rows.append({"operator": f"{len(every) - len(large)} others", "type": "", **rest})
    return rows


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    profiles = kept.get("profiles", {})
    panels: dict[str, dict[str, dict[str, float]]] = {"plain MXNet by operator type": {
        f"published, T4, ({published['batch']}, {published['length']})": {
            GEMM: published["gemm_share"], UNTOLD: 1 - published["gemm_share"]}}}
    for engine in engines():
        panel = panels.setdefault("plain MXNet by operator type" if engine.name == REFERENCE else
                                  "native engine by stage", {})
        label = "here" if engine.name == REFERENCE else engine.name.removeprefix("native-")
        for shape, found in profiles.items():
            if engine.name in found:
                panel[f"{label}, {_name(shape)}"] = by_type(engine.name, found[engine.name]["seconds"])
    picture.shares(path, subtitle, "Share of time by type of operator",
                   {title: bars for title, bars in panels.items() if bars}, COLOURS)


ENTRY = Entry(
    "operators", "Share of time per operator type", "MXNet with its profiler, and the native engine", 5, measure,
    tables, draw, lambda: [f"the published share on a T4 ({NEEDS_GPU})"])
