"""Infinity's table for CPUs: requests of 256 texts with 115,000 tokens, by library; and ours beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bertpass.bench.peers import run
from bertpass.bench.peers.contenders import REFERENCE, chosen
from bertpass.bench.reproduce import beside, picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.layouts import huggingface

PART = "infinity"
OURS = ("native-float32", "native-bfloat16", "native-int8")
LAYERS, QUICK_LAYERS, POSITIONS = 12, 2, 512
SHARE, QUICK_SHARE = 8, 64  # a call is this part of a request


def folder_of(session: Session) -> Path:
    """A model of bge-small's shape, which is MiniLM's with 12 layers, with random weights and MiniLM's tokenizer."""
    layers = QUICK_LAYERS if session.settings.quick else LAYERS
    folder = beside.files() / f"bge-small-shape-{layers}"
    if not (folder / "model.safetensors").exists():
        base = load_checkpoint("minilm")
        config = dataclasses.replace(base.config, num_layers=layers, use_pooler=False)
        params = parameters.random(parameters.shapes(config, base.head), seed=0, random_bias=True)
        huggingface.write_folder(folder, dataclasses.replace(
            base, config=config, params=params, max_length=POSITIONS, carried={}, source="random weights"))
    return folder


def measure(session: Session) -> None:
    data, published = beside.data(), session.published
    contenders = chosen([*OURS, *(one["contender"] for one in published["results"] if one["contender"])])
    own = folder_of(session)
    folder = run.folder_of(own.name, own.parent, contenders, data.sentences, session.cpus)
    share = QUICK_SHARE if session.settings.quick else SHARE
    count = published["texts"] // share
    texts, tokens = exactly(data, run.counter(folder), published["tokens"] // published["texts"], count)
    part = session.part("request")
    part.update(share=share, tokens=tokens)
    beside.measure(session, PART, folder, contenders, [run.Workload("request", "", (texts,))],
                   data.sentences[:run.CHECKED])


def exactly(data: run.Data, words: Callable[[str], int], length: int, count: int) -> tuple[tuple[str, ...], int]:
    """``count`` texts of about ``length`` tokens, paragraphs of SQuAD one after the other, and all their tokens."""
    texts, at, total = [], 0, 0
    for _ in range(count):
        found = data.paragraphs[at].split()
        while len(found) < length:
            at += 1
            found += data.paragraphs[at].split()
        at += 1
        while words(" ".join(found)) > length:
            found = found[:-1 - max(0, words(" ".join(found)) - length) // 2]
        texts.append(" ".join(found))
        total += words(texts[-1])
    return tuple(texts), total


def _seconds(kept: Kept, published: Published, who: str) -> float | None:
    """Seconds of all requests here, from those of a part of one with as many tokens for each text."""
    one, part = beside.median(kept, PART, who, "request"), kept.get("request")
    if one is None or not part:
        return None
    return one / 1e3 * published["requests"] * published["tokens"] / part["tokens"]


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    torch = next(one["seconds"] for one in published["results"] if one["contender"] == REFERENCE)
    here = _seconds(kept, published, REFERENCE)
    for one in [*published["results"], *({"contender": who, "name": who} for who in OURS)]:
        who, theirs = one["contender"], one.get("seconds")
        seconds = _seconds(kept, published, who) if who else None
        speed, own = ratio(torch, theirs), ratio(here, seconds)
        error = beside.figure(kept, PART, who, "relative_error")
        rows.append({"name": one["name"], "published": theirs, "here": seconds,
                     "rate": ratio(published["requests"], seconds), "speed": speed, "own": own,
                     "ratio": ratio(own, speed), "error": "–" if error is None else f"{error:.1e}",
                     "conditions": "" if seconds else beside.why_not(kept, PART, who) if who else
                     one["why"]})
    return [Table("10 requests of 256 texts, 1,150,000 tokens", {
        "name": "library", "published": "published, s", "here": "here, s", "rate": "here, requests/s",
        "speed": "published: times sentence-transformers", "own": "here: times sentence-transformers",
        "ratio": "here / published", "error": "error of the vectors", "conditions": "conditions"}, rows,
        "Here: calls of the libraries, without HTTP, on a part of a request with as many tokens for each text, times "
        "the whole; a model of the same shape with random weights, so that errors say nothing about a trained one. The "
        "last rows are this package's, in the same rounds.")]


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    torch = next(one["seconds"] for one in published["results"] if one["contender"] == REFERENCE)
    here = _seconds(kept, published, REFERENCE)
    groups: dict[str, dict[str, float | None]] = {
        one["name"]: {"published": ratio(torch, one["seconds"]),
                      "here": ratio(here, _seconds(kept, published, one["contender"]) if one["contender"] else None)}
        for one in published["results"]}
    groups |= {who: {"here": ratio(here, _seconds(kept, published, who))} for who in OURS}
    picture.bars(path, subtitle, "Texts of 449 tokens, a model of bge-small's shape", "times as fast as "
                 "sentence-transformers with PyTorch", {"": groups}, unit="x", line=1.0)


ENTRY = Entry(
    "infinity", "Infinity's table for CPUs", "`make peers`, `make infinity`, SQuAD", 8, measure, tables, draw,
    lambda: [*beside.missing("peers", "infinity"), "HTTP", "infinity's engine optimum", "TEI (a container)"])
