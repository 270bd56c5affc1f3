"""MXNet against a compiler, batch 1: the published TVM figures, plain MXNet and the native engine here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.contract import Entry, Kept, Published, Row, Table, ratio
from bertpass.bench.reproduce.latency import plain
from bertpass.bench.reproduce.session import Session
from bertpass.bench.variants import REFERENCE, Variant

OURS = "native-float32"


def measure(session: Session) -> None:
    shapes: dict[str, list[str]] = {}
    for result in session.published["results"]:
        shapes.setdefault(result["bert_model"], []).append(f"1x{result['length']}")
    throughput = session.published["throughput"]
    shapes[next(iter(shapes))].append(f"{throughput['batch']}x{throughput['length']}")
    variants = [plain(), Variant(OURS, "native", "float32", {"dtype": "float32"}, ours=True)]
    for model, wanted in shapes.items():
        grid.measure(session, model, model + (":2" if session.settings.quick else ""), variants, wanted)


def tables(published: Published, kept: Kept) -> list[Table]:
    installed = importlib.util.find_spec("tvm") is not None
    rows: list[Row] = []
    for result in published["results"]:
        model, shape = result["bert_model"], f"1x{result['length']}"
        mxnet, ours = (grid.median(kept, model, shape, name) for name in (REFERENCE, OURS))
        rows.append({
            "model": result["model"], "length": result["length"], "mxnet published": result["mxnet_ms"],
            "tvm published": result["tvm_ms"], "speedup published": result["speedup"], "mxnet": mxnet, "ours": ours,
            "speedup": ratio(mxnet, ours), "ratio": ratio(mxnet, result["mxnet_ms"]),
            "conditions": "" if mxnet else grid.why_not(kept, model, shape)})
    columns = {"model": "model", "length": "sequence length", "mxnet published": "published: MXNet, ms",
               "tvm published": "published: TVM, ms", "speedup published": "published: MXNet / TVM",
               "mxnet": "here: MXNet, ms", "ours": "here: native engine, ms", "speedup": "here: MXNet / native",
               "ratio": "MXNet here / published", "conditions": "conditions"}
    batch = published["throughput"]
    shape, model = f"{batch['batch']}x{batch['length']}", published["results"][0]["bert_model"]
    there = ratio(*(grid.median(kept, model, shape, name) for name in (REFERENCE, OURS)))
    return [
        Table("Latency at batch 1, float32", columns, rows,
              "TVM is " + ("installed, and not yet one of bertpass's engines." if installed else
                           "not installed, and not yet one of bertpass's engines.") +
              " The native engine stands in its place: float32 as well, and of any shape."),
        Table(f"Throughput at ({batch['batch']}, {batch['length']})", {
            "what": "figure", "published": "published", "here": "here", "conditions": "conditions"},
            [{"what": "TVM over MXNet", "published": batch["shown"], "here": None, "conditions": batch["instances"]},
             {"what": "native engine over MXNet", "published": None, "here": there, "conditions": "this machine"}])]


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    panels: dict[str, dict[str, dict[str, float | None]]] = {}
    for result in published["results"]:
        shape = f"1x{result['length']}"
        mxnet, ours = (grid.median(kept, result["bert_model"], shape, name) for name in (REFERENCE, OURS))
        panels.setdefault(result["model"], {})[f"{result['length']} tokens"] = {
            "published: TVM over MXNet": result["speedup"], "here: native engine over MXNet": ratio(mxnet, ours)}
    picture.bars(path, subtitle, "Speed-up over MXNet at batch 1, float32", "MXNet's time over the other's",
                 panels, unit="x", line=1.0)


ENTRY = Entry(
    "tvm", "MXNet against TVM on CPUs", "MXNet and the native engine", 1.5, measure, tables, draw,
    lambda: ["TVM itself (not one of bertpass's engines yet)", "a c5.9xlarge"])
