"""What ONNX Runtime's fused operators are worth: the same network in them and in standard ones."""

from __future__ import annotations

from pathlib import Path

from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.errors import UsageError
from bertpass.model.config import ALIASES, NAMED, PACKAGED

FUSED, UNFUSED, OURS = "onnxruntime fused", "onnxruntime unfused", "native-float32"
LAYERS, QUICK = (3, 12), (2,)


def _grid(layers: int) -> str:
    return f"{layers} layers"


def _shape(published: Published) -> str:
    return f"{published['batch']}x{published['length']}"


def measure(session: Session) -> None:
    variants = [plain(), Variant(UNFUSED, "onnxruntime", "float32", {"fusions": False}),
                Variant(FUSED, "onnxruntime", "float32", {"dtype": "float32"}),
                Variant(OURS, "native", "float32", {"dtype": "float32"}, ours=True)]
    size = session.settings.bert_model.partition(":")[0]
    if ALIASES.get(size, size) not in NAMED or size in PACKAGED:
        raise UsageError(f"--model {size}: onnxruntime measures the first layers of a published size with random "
                         "weights; leave the flag out.")
    for layers in QUICK if session.settings.quick else LAYERS:
        grid.measure(session, _grid(layers), f"{size}:{layers}", variants, [_shape(session.published)])


def _speedups(published: Published, kept: Kept, layers: int) -> dict[str, float | None]:
    shape = _shape(published)
    base = grid.median(kept, _grid(layers), shape, UNFUSED)
    return {name: ratio(base, grid.median(kept, _grid(layers), shape, name)) for name in (FUSED, OURS, REFERENCE)}


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    for result in published["results"]:
        here = _speedups(published, kept, result["layers"])[FUSED] if result["device"] == "CPU" else None
        rows.append({"layers": result["layers"], "precision": result["precision"], "device": result["device"],
                     "published": result["shown"], "here": here, "ratio": ratio(here, result.get("ratio")),
                     "conditions": f"{NEEDS_GPU}" if result["device"] != "CPU" else
                     "here: fused over unfused in one ONNX Runtime; which program, version and settings the published "
                     "figure is over is not said, so it cannot be repeated"})
    speed: list[Row] = []
    for layers in (*QUICK, *LAYERS):
        if _grid(layers) in kept:
            times = {name: grid.median(kept, _grid(layers), _shape(published), name)
                     for name in (UNFUSED, FUSED, OURS, REFERENCE)}
            speed.append({"layers": layers, **times, "ratio": ratio(times[UNFUSED], times[FUSED])})
    return [Table("Published and here", {
        "layers": "layers", "precision": "precision", "device": "device", "published": "published", "here": "here, x",
        "ratio": "here / published", "conditions": "conditions"}, rows),
        Table(f"Times here at ({published['batch']}, {published['length']}), float32, ms", {
            "layers": "layers", UNFUSED: UNFUSED, FUSED: FUSED, OURS: "native engine", REFERENCE: "plain MXNet",
            "ratio": "unfused / fused"}, speed,
            "Unfused: our ONNX graph in standard operators, with every optimisation of the session off. Fused: "
            "embeddings, attention, GELU and the sums with layer normalisation in ONNX Runtime's operators "
            "(com.microsoft)."),
        *_graphs(kept)]


def _graphs(kept: Kept) -> list[Table]:
    """Nodes by operator of the largest model that was measured."""
    part: Kept = next((kept[_grid(layers)] for layers in reversed((*QUICK, *LAYERS)) if _grid(layers) in kept), {})
    counts = {name: part.get("engines", {}).get(name, {}).get("about", {}).get("operators", {})
              for name in (UNFUSED, FUSED)}
    if not all(counts.values()):
        return []
    rows = [{"operator": op, **{name: found.get(op, 0) for name, found in counts.items()}}
            for op in sorted({op for found in counts.values() for op in found})]
    total = {"operator": "all", **{name: sum(found.values()) for name, found in counts.items()}}
    return [Table(f"Nodes of the graphs, {part['model']}", {"operator": "operator", UNFUSED: UNFUSED, FUSED: FUSED},
                  [*rows, total])]


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    titles = {FUSED: "ONNX Runtime fused", OURS: "native engine", REFERENCE: "plain MXNet"}
    theirs = {r["layers"]: r["ratio"] for r in published["results"] if "ratio" in r}
    groups = {_grid(layers): {
        **({"published: over its own baseline": theirs[layers]} if layers in theirs else {}),
        **{titles[name]: value for name, value in _speedups(published, kept, layers).items()}}
        for layers in (*QUICK, *LAYERS) if _grid(layers) in kept}
    picture.bars(path, subtitle, "BERT of 768 units, float32, batch 1, 128 tokens",
                 "time of ONNX Runtime without fusions over the other's", {"": groups}, unit="x", line=1.0)


ENTRY = Entry(
    "onnxruntime", "ONNX Runtime's fusions", "ONNX Runtime, MXNet and the native engine", 1.5, measure, tables, draw,
    lambda: [f"fp16 on a V100 ({NEEDS_GPU})", "the published baseline on a CPU (not described)"],
    {"onnxruntime": "onnxruntime", "onnx": "onnxruntime"})
