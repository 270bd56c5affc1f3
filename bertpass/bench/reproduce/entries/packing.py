"""What rows without padding are worth, by mix of lengths: GLiNER's packing over padding, and ours over both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bertpass.bench.models import checkpoint_for_speed
from bertpass.bench.peers import run
from bertpass.bench.peers.contenders import ON_IDS, OURS_ROWS, PACKED, PADDED
from bertpass.bench.reproduce import beside, picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio
from bertpass.model.layouts import huggingface

PART = "packing"
OURS = [one.name for one in ON_IDS if one.ours]
QUICK_BATCH = 8


def lengths(mix: str, batch: int) -> list[int]:
    """Tokens of each row of a mix, drawn as the publication describes it, always the same ones."""
    random = np.random.default_rng(7)
    if mix == "short_zipf":
        found = np.clip(random.zipf(1.2, batch), 8, 128)
    elif mix == "short_uniform":
        found = random.integers(8, 65, batch)
    elif mix == "mixed_tail":
        found = np.concatenate(([256], random.integers(8, 49, batch - 1)))
    elif mix == "flat_long":
        found = np.full(batch, 256)
    else:
        raise ValueError(mix)
    return [int(n) for n in found]


def measure(session: Session) -> None:
    folder = beside.files() / session.settings.bert_model.replace("/", "-").replace(":", "-")
    if not (folder / "model.safetensors").exists():
        huggingface.write_folder(folder, checkpoint_for_speed(session.settings.bert_model))
    batch = QUICK_BATCH if session.settings.quick else session.published["batch"]
    random = np.random.default_rng(7)
    works = []
    for mix in (one["mix"] for one in session.published["results"]):
        rows = tuple(random.integers(1000, 20000, n).tolist() for n in lengths(mix, batch))
        works.append(run.Workload(mix, "", (rows,)))
    session.part(PART).update(model=session.settings.bert_model,
                              tokens={work.name: sum(map(len, work.parts[0])) for work in works})
    beside.measure(session, PART, folder, ON_IDS, works, works[0].parts[0][:8], PADDED)


def _speed(kept: Kept, mix: str, who: str) -> float | None:
    return ratio(beside.median(kept, PART, PADDED, mix), beside.median(kept, PART, who, mix))


def _rate(kept: Kept, mix: str, who: str) -> float | None:
    """Tokens per second, padding not counted."""
    return ratio(kept.get(PART, {}).get("tokens", {}).get(mix), _seconds(beside.median(kept, PART, who, mix)))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    for one in published["results"]:
        mix = one["mix"]
        here = _speed(kept, mix, PACKED)
        rows.append({"mix": mix, "about": one["about"], "published": one["speedup"], "here": here,
                     "ratio": ratio(here, one["speedup"]), **{who: _speed(kept, mix, who) for who in OURS},
                     "over": ratio(beside.median(kept, PART, PACKED, mix), beside.median(kept, PART, OURS_ROWS, mix)),
                     "conditions": "" if here else beside.why_not(kept, PART, PACKED)})
    rates: list[Row] = [{"mix": one["mix"], "padded published": one["padded"], "packed published": one["packed"],
                         **{who: _rate(kept, one["mix"], who) for who in (PADDED, PACKED, *OURS)}}
                        for one in published["results"]]
    errors = {who: beside.figure(kept, PART, who, "relative_error") for who in (PACKED, *OURS)}
    said = "; ".join(f"{who} {error:.1e}" for who, error in errors.items() if error is not None)
    return [Table("Times as fast as the padded batch in PyTorch", {
        "mix": "mix", "about": "lengths", "published": "published: packed", "here": "here: packed",
        "ratio": "here / published", **{who: who for who in OURS}, "over": f"{OURS_ROWS} over packed",
        "conditions": "conditions"}, rows,
        "Packing by the package gliner; positions begin anew with each row. The lengths are drawn as described, not "
        "the very same." + (f" Errors of the first tokens' states against the padded batch: {said}." if said else "")),
        Table("Tokens per second", {"mix": "mix", "padded published": "published: padded",
                                  "packed published": "published: packed",
                                  **{who: f"here: {who}" for who in (PADDED, PACKED, *OURS)}}, rates, decimals=0)]


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    groups = {one["mix"]: {"published: packed by GLiNER": one["speedup"], "here: packed by GLiNER": _speed(
        kept, one["mix"], PACKED), **{f"here: {who}": _speed(kept, one["mix"], who) for who in OURS}}
        for one in published["results"]}
    picture.bars(path, subtitle, "Batches of 64 rows without padding", "times as fast as the padded batch in PyTorch",
                 {"": groups}, unit="x", line=1.0)


ENTRY = Entry("packing", "GLiNER's packing of short rows", "`make peers`", 6, measure, tables, draw,
              lambda: beside.missing("peers"))
