"""Speed and quality of sentence-transformers' backends on a CPU, over PyTorch in float32; and ours beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from statistics import fmean

from bertpass.bench.peers import run
from bertpass.bench.peers.contenders import REFERENCE, chosen
from bertpass.bench.reproduce import beside, picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio

MODEL, PART = "minilm", "backends"
OURS = ("native-float32", "native-bfloat16", "native-int8")
STSB, PASSAGES, LONG = "256 sentences of STS-B", "64 paragraphs of SQuAD", "16 long texts"
WORKS = (STSB, PASSAGES, LONG)
QUICK_PAIRS = 64


def workloads(data: run.Data, quick: bool) -> list[run.Workload]:
    """Short, middle and long texts, as the publication's three data sets; the long ones go past the model's length."""
    paragraphs = data.paragraphs
    many, some, few = (16, 4, 2) if quick else (256, 64, 16)
    step = max(1, len(paragraphs) // some)
    return [run.Workload(STSB, "", (tuple(data.sentences[:many]),)),
            run.Workload(PASSAGES, "", (tuple(paragraphs[::step][:some]),)),
            run.Workload(LONG, "", (tuple(" ".join(paragraphs[at:at + 8]) for at in range(0, 8 * few, 8)),))]


def measure(session: Session) -> None:
    data = beside.data()
    if session.settings.quick:
        data = dataclasses.replace(data, pairs=data.pairs[:QUICK_PAIRS], scores=data.scores[:QUICK_PAIRS])
    names = [one["backend"] for one in session.published["results"]]
    contenders = chosen([*OURS, *names])
    folder = run.folder_of(MODEL, beside.files(), contenders, data.sentences, session.cpus)
    session.part(PART)["model"] = MODEL
    beside.measure(session, PART, folder, contenders, workloads(data, session.settings.quick),
                   data.sentences[:run.CHECKED], scored=data)


def _speeds(kept: Kept, who: str) -> list[float | None]:
    """How many times as fast as PyTorch, by workload."""
    return [ratio(beside.median(kept, PART, REFERENCE, work), beside.median(kept, PART, who, work)) for work in WORKS]


def _mean(kept: Kept, who: str) -> float | None:
    found = [one for one in _speeds(kept, who) if one is not None]
    return fmean(found) if found else None


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    theirs = {one["backend"]: one for one in published["results"]}
    for who in (*theirs, *OURS):
        one = theirs.get(who, {})
        mean, speeds = _mean(kept, who), _speeds(kept, who)
        quality = ratio(beside.figure(kept, PART, who, "spearman"), beside.figure(kept, PART, REFERENCE, "spearman"))
        rows.append({"backend": one.get("name", who), "speed": one.get("speed"), "here": mean,
                     "ratio": ratio(mean, one.get("speed")), "stsb": one.get("stsb"),
                     **dict(zip(WORKS, speeds, strict=True)),
                     "quality": one["quality"] * 100 if one else None,
                     "quality here": quality and 100 * quality, "error": _shown(beside.figure(
                         kept, PART, who, "relative_error")),
                     "conditions": "" if mean else beside.why_not(kept, PART, who)})
    return [Table("Times as fast as PyTorch in float32, and share of its quality", {
        "backend": "backend", "speed": "published", "here": "here, mean", "ratio": "here / published",
        "stsb": "published, STS-B", STSB: f"here, {STSB}", PASSAGES: f"here, {PASSAGES}", LONG: f"here, {LONG}",
        "quality": "published quality, %", "quality here": "Spearman on STS-B here, %",
        "error": "error of the vectors", "conditions": "conditions"}, rows,
        "MiniLM, encode with tokenizing, batches of 32; the published means are over four models and more batch sizes. "
        "OpenVINO's default computes in bfloat16 where the processor has it. The last rows are this package's, on the "
        "same texts in the same rounds.", decimals=2)]


def _shown(error: float | None) -> str:
    return "–" if error is None else f"{error:.1e}"


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    groups: dict[str, dict[str, float | None]] = {
        one["name"]: {"published": one["speed"], "here": _mean(kept, one["backend"])} for one in published["results"]}
    groups |= {who: {"here": _mean(kept, who)} for who in OURS}
    picture.bars(path, subtitle, "Backends of sentence-transformers on a CPU, and bertpass",
                 "times as fast as PyTorch in float32", {"": groups}, unit="x", line=1.0)


ENTRY = Entry(
    "backends", "sentence-transformers' backends on a CPU", "`make peers`, STS-B and SQuAD", 8, measure, tables, draw,
    lambda: [*beside.missing("peers"), "the three larger models, NanoBEIR, and batch sizes other than 32"])
