"""The speed-up of each optimisation alone and of all together, at several batch sizes."""

from __future__ import annotations

from pathlib import Path

from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.passes.select import available

BATCHES, QUICK = (1, 8, 32), (1, 2)
ALL, WITHOUT_ENCODER = "all passes", "all but native_encoder"


def variants() -> list[Variant]:
    """Each pass for a CPU alone, those of plain MXNet's operators together, and all."""
    infos = [info for info in available() if "cpu" in info.devices]
    names = [info.name for info in infos]
    sets = {**{name: [name] for name in names},
            WITHOUT_ENCODER: [info.name for info in infos if not info.takes_encoder], ALL: names}
    return [plain(), *(Variant(title, "mxnet", "float32", {"passes": passes}, ours=True)
                       for title, passes in sets.items())]


def measure(session: Session) -> None:
    batches = QUICK if session.settings.quick else BATCHES
    shapes = [f"{batch}x{session.published['length']}" for batch in batches]
    grid.measure(session, "grid", session.settings.bert_model, variants(), shapes)


def _shapes(kept: Kept) -> list[str]:
    part = kept.get("grid", {})
    return [*part.get("times", {}), *part.get("left_out", {})]


def _speedup(kept: Kept, shape: str, name: str) -> float | None:
    return ratio(grid.median(kept, "grid", shape, REFERENCE), grid.median(kept, "grid", shape, name))


def tables(published: Published, kept: Kept) -> list[Table]:
    shapes = _shapes(kept)
    rows: list[Row] = []
    for variant in variants()[1:]:
        overall = variant.name in (ALL, WITHOUT_ENCODER)
        rows.append({"name": variant.name, "published": f"up to {published['overall']:g}x" if overall else None,
                     **{shape: _speedup(kept, shape, variant.name) for shape in shapes},
                     "conditions": _conditions(kept, variant.name)})
    here = Table("Passes here: plain MXNet's time over theirs", {
        "name": "passes", "published": "published (T4)", **{s: f"here {s.replace('x', ' x ')}" for s in shapes},
        "conditions": "conditions"}, rows, published["note"] + " float32, full rows, (batch x length). The published "
        "optimisations are FP16 on a GPU: gpu_passes measures them there. On a CPU their counterparts are "
        "interleave_qkv (QKV weights arranged beforehand) and mkldnn (oneDNN's fused bias and GELU).")
    return [here]


def _conditions(kept: Kept, name: str) -> str:
    """How often the passes rewrote something."""
    done = kept.get("grid", {}).get("engines", {}).get(name, {}).get("about", {}).get("passes", {})
    return "rewrites: " + (", ".join(f"{count} by {name}" for name, count in done.items() if count) or "none")


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    shapes = _shapes(kept)
    groups = {v.name: {f"(batch x length) {shape}": _speedup(kept, shape, v.name) for shape in shapes}
              for v in variants()[1:]}
    picture.bars(path, subtitle, "Speed-up of each pass on this CPU, float32",
                 "plain MXNet's time over that with the passes", {"": groups}, unit="x", line=1.0)


ENTRY = Entry(
    "passes", "Speed-up of each optimisation", "MXNet on this CPU", 5, measure, tables, draw,
    lambda: [f"the published optimisations, FP16 on a T4 ({NEEDS_GPU}: gpu_passes)"])
