"""MXNet against TVM, batch 1: the published figures, and both engines here with all threads and with one."""

from __future__ import annotations

from pathlib import Path

from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant

TVM, OURS = "tvm-float32", "native-float32"
ALL, ONE = "all threads", "1 thread"


def _grid(model: str, threads: str) -> str:
    return f"{model}, {threads}"


def engines() -> list[Variant]:
    """What is measured."""
    return [plain(), Variant(TVM, "tvm", "float32", {"dtype": "float32"}),
            Variant(OURS, "native", "float32", {"dtype": "float32"}, ours=True)]


def measure(session: Session) -> None:
    shapes: dict[str, list[str]] = {}
    for result in session.published["results"]:
        shapes.setdefault(result["bert_model"], []).append(f"1x{result['length']}")
    throughput = session.published["throughput"]
    first = next(iter(shapes))
    for threads, count in ((ALL, None), *([(ONE, 1)] if session.settings.threads > 1 else [])):
        for model, wanted in shapes.items():
            more = [f"{throughput['batch']}x{throughput['length']}"] if (model, threads) == (first, ALL) else []
            grid.measure(session, _grid(model, threads), model + (":2" if session.settings.quick else ""), engines(),
                         [*wanted, *more], threads=count)


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    for result in published["results"]:
        shape = f"1x{result['length']}"
        for threads in (ALL, ONE):
            name = _grid(result["bert_model"], threads)
            mxnet, tvm, ours = (grid.median(kept, name, shape, engine) for engine in (REFERENCE, TVM, OURS))
            if threads == ONE and mxnet is None:
                continue
            rows.append({
                "model": result["model"], "length": result["length"], "mxnet published": result["mxnet_ms"],
                "tvm published": result["tvm_ms"], "speedup published": result["speedup"],
                "threads": kept.get(name, {}).get("threads"), "mxnet": mxnet, "tvm": tvm, "speedup": ratio(mxnet, tvm),
                "ratio": ratio(ratio(mxnet, tvm), result["speedup"]), "ours": ours,
                "conditions": "" if mxnet else grid.why_not(kept, name, shape)})
    columns = {"model": "model", "length": "sequence length", "mxnet published": "published: MXNet, ms",
               "tvm published": "published: TVM, ms", "speedup published": "published: MXNet / TVM",
               "threads": "here: threads of each", "mxnet": "here: MXNet, ms", "tvm": "here: TVM, ms",
               "speedup": "here: MXNet / TVM", "ratio": "here / published", "ours": "here: native engine, ms",
               "conditions": "conditions"}
    batch = published["throughput"]
    shape, name = f"{batch['batch']}x{batch['length']}", _grid(published["results"][0]["bert_model"], ALL)
    over = [ratio(*(grid.median(kept, name, shape, engine) for engine in (REFERENCE, other))) for other in (TVM, OURS)]
    return [
        Table("Latency at batch 1, float32", columns, rows, _note(kept)),
        Table(f"Throughput at ({batch['batch']}, {batch['length']})", {
            "what": "figure", "published": "published", "here": "here", "conditions": "conditions"},
            [{"what": "TVM over MXNet", "published": batch["shown"], "here": over[0],
              "conditions": f"{batch['instances']}; here: this machine, all threads"},
             {"what": "native engine over MXNet", "published": None, "here": over[1], "conditions": "the same"}])]


def _note(kept: Kept) -> str:
    """How TVM is used here, and how near it is to MXNet on the sentences of every engine's check."""
    text = ("TVM here: Relax with kernels of bertpass's own for fixed shapes, matrix products included (the "
            "publication calls MKL for them), exp and erf approximated.")
    found = [part["engines"][TVM] for part in kept.values() if TVM in part.get("engines", {})]
    errors = [engine["largest_error"] for engine in found if engine.get("largest_error") is not None]
    if errors:
        text += (f" Its token states differ from MXNet's by at most {max(errors):.1e} "
                 "(published check: rtol = atol = 1e-3).")
    return " ".join([text, *dict.fromkeys(engine["failure"] for engine in found if engine["failure"])])


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    panels: dict[str, dict[str, dict[str, float | None]]] = {}
    for result in published["results"]:
        shape, bars = f"1x{result['length']}", {"published: TVM over MXNet": result["speedup"]}
        for threads in (ALL, ONE):
            name = _grid(result["bert_model"], threads)
            mxnet, tvm = (grid.median(kept, name, shape, engine) for engine in (REFERENCE, TVM))
            bars[f"here, {threads}: TVM over MXNet"] = ratio(mxnet, tvm)
        panels.setdefault(result["model"], {})[f"{result['length']} tokens"] = bars
    picture.bars(path, subtitle, "Speed-up over MXNet at batch 1, float32", "MXNet's time over TVM's",
                 panels, unit="x", line=1.0)


ENTRY = Entry(
    "tvm", "MXNet against TVM on CPUs", "MXNet, TVM and the native engine", 4, measure, tables, draw,
    lambda: ["TVM's call of MKL (its matrix products here are kernels too)", "a c5.9xlarge"], {"tvm": "tvm"})
