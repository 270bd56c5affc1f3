"""Latency by sequence length and batch: plain MXNet, and what deploy.py's passes make of it in each precision."""

from __future__ import annotations

from pathlib import Path

from bertpass import _native
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.engines import precision

QUICK = (1, 4)  # batches


def deployed() -> list[Variant]:
    """What deploy.py makes with its passes: float32, the flag float16 as this processor computes it, int8."""
    half = precision.float16(_native.selected()).dtype
    return [Variant(f"passes {flag}", "mxnet", dtype, {"passes": "auto", "dtype": dtype}, ours=True)
            for flag, dtype in (("float32", "float32"), ("float16", half), ("int8", "int8"))]


def plain() -> Variant:
    """MXNet on the graph as it was exported."""
    return Variant(REFERENCE, "mxnet", "float32", {"passes": "none"})


def measure(session: Session) -> None:
    published = session.published
    batches = QUICK if session.settings.quick else published["batches"]
    shapes = [f"{batch}x{length}" for length in published["lengths"] for batch in batches]
    grid.measure(session, "grid", session.settings.bert_model, [plain(), *deployed()], shapes)


def tables(published: Published, kept: Kept) -> list[Table]:
    names = [v.name for v in deployed()]
    fastest: dict[int, float] = {}
    rows: list[Row] = []
    for length in published["lengths"]:
        for batch in published["batches"]:
            shape = f"{batch}x{length}"
            base = grid.median(kept, "grid", shape, REFERENCE)
            ours = {name: grid.median(kept, "grid", shape, name) for name in names}
            found = [time for time in ours.values() if time is not None]
            if batch == 1 and found:
                fastest[length] = min(found)
            rows.append({"length": length, "batch": batch, "published": None, "plain": base, **ours,
                         **{f"{name} ratio": ratio(base, time) for name, time in ours.items()},
                         "conditions": "" if base else grid.why_not(kept, "grid", shape)})
    columns = {"length": "sequence length", "batch": "batch", "published": "published", "plain": "plain MXNet here, ms",
               **{name: f"{name} here, ms" for name in names},
               **{f"{name} ratio": f"plain / {name}" for name in names}, "conditions": "conditions"}
    grid_table = Table("Latency", columns, rows, f"{published['note']} The flag float16 computes in bfloat16 where the "
                       "processor multiplies in it, else in float32. Every row of a batch is full; token states are "
                       "the output, so no head is in it.")
    return [_statements(published, fastest), grid_table]


def _statements(published: Published, fastest: dict[int, float]) -> Table:
    """What the publication says in words, beside the fastest time of ours at batch 1."""
    length = 128 if 128 in fastest else next(iter(fastest), None)
    here = fastest[length] if length is not None else None
    rows: list[Row] = []
    for statement in published["statements"]:
        most = statement.get("most_ms")
        rows.append({"what": statement["what"], "published": f"{statement['shown']} ({statement['device']})",
                     "here": here if most else None, "ratio": ratio(here, most) if most else None,
                     "conditions": f"{NEEDS_GPU} to be repeated; here: this CPU, sequence {length}, fastest precision"
                     if most and here else f"{NEEDS_GPU} and a c5.24xlarge"})
    return Table("What the publication states", {"what": "figure", "published": "published", "here": "here, ms",
                                                 "ratio": "here / published", "conditions": "conditions"}, rows)


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    curves = {"plain MXNet": REFERENCE, **{v.name: v.name for v in deployed()}}
    panels = {f"sequence length {length}": {
        title: {batch: time for batch in published["batches"]
                if (time := grid.median(kept, "grid", f"{batch}x{length}", name)) is not None}
        for title, name in curves.items()} for length in published["lengths"]}
    picture.lines(path, subtitle, "Latency by batch and sequence length", "batch", "ms", panels, published["batches"])


ENTRY = Entry(
    "latency", "Latency by sequence length and batch", "MXNet on this CPU; the largest batches go over the budget", 9,
    measure, tables, draw, lambda: [f"the published T4 in FP16 ({NEEDS_GPU})", "c5.24xlarge in INT8 (that machine)"])
