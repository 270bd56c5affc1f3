"""Result files of every bench as one list of points, each number with its place in its file.

``bench report`` and ``bertpass compare`` read through this module, so that what they show can be found again: a place
is ``file.json#/models/0/engines/3/timings/1x128/median_ms``, a JSON pointer (RFC 6901) after the file's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bertpass.errors import DataError

KINDS = ("cpu", "scaling", "finetuning", "passes", "peers")
MILLISECONDS, SAMPLES = "ms", "samples/s"


@dataclass(frozen=True)
class Number:
    """A number as its file has it, and its place."""

    value: float
    place: str


@dataclass(frozen=True)
class Point:
    """One engine on one workload.

    ``middle`` is the median in ``unit``, milliseconds of a batch or training samples a second; ``low`` and ``high`` are
    its spread: percentiles 10 and 90 of the rounds' medians, for passes the least and percentile 90 of the calls, None
    where the file has none. ``length`` is None for a ragged batch; ``configuration`` is "2 x 1", instances x cores;
    ``error`` the relative L2 error of the token states, for passes the largest difference; ``rate`` sequences a second
    where the file has them; ``score`` the task's main metric.
    """

    model: str
    engine: str
    precision: str
    ours: bool
    workload: str
    middle: Number
    low: Number | None = None
    high: Number | None = None
    unit: str = MILLISECONDS
    rows: int = 0
    length: int | None = None
    configuration: str = ""
    error: Number | None = None
    rate: Number | None = None
    score: Number | None = None
    noisy: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two runs of one kind have in common."""
        return self.model, self.workload, self.configuration, self.engine


@dataclass(frozen=True)
class ResultFile:
    """A file that was read: its kind, of :data:`KINDS`, what it was measured on, its points and its failures."""

    name: str
    kind: str
    digest: str
    content: Mapping[str, Any]
    points: Sequence[Point]
    failures: Sequence[str] = field(default=())

    @property
    def environment(self) -> Mapping[str, Any]:
        """Machine, versions, revision, threads, command; of the passes' files what they have of it."""
        return self.content.get("environment") or {key: self.content[key] for key in ("command", "machine", "threads")}


class _Reader:
    """Walks a file's content; numbers come out with their places."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self.name, self.content = name, content
        self.failures: list[str] = []

    def number(self, *path: str | int) -> Number | None:
        """The number at a path; None where it is null or missing."""
        value: Any = self.content
        for step in path:
            if isinstance(value, Mapping) and step not in value:
                return None
            value = value[step]
        if value is None:
            return None
        return Number(float(value), f"{quote(self.name)}#{pointer(path)}")

    def needed(self, *path: str | int) -> Number:
        found = self.number(*path)
        if found is None:
            raise KeyError(pointer(path))
        return found

    def timing(self, *path: str | int) -> dict[str, Any]:
        return {"middle": self.needed(*path, "median_ms"), "low": self.number(*path, "p10_ms"),
                "high": self.number(*path, "p90_ms")}

    def cpu(self) -> Iterator[Point]:
        """Of a ragged batch each engine's fastest layout, as the bench's own tables do."""
        for m, model in enumerate(self.content["models"]):
            families: dict[str, list[Mapping[str, Any]]] = {}
            for work in model["workloads"]:
                families.setdefault(work["family"], []).append(work)
            for e, entry in enumerate(model["engines"]):
                if entry["failure"]:
                    self.failures.append(f"{model['model']}, {entry['name']}: {entry['failure']}")
                for family, works in families.items():
                    names = [w["name"] for w in works if w["name"] in entry["timings"]]
                    if not names:
                        continue
                    best = min(names, key=lambda name: entry["timings"][name]["median_ms"])
                    lengths = works[0]["lengths"]
                    yield Point(model["model"], entry["name"], entry["precision"], entry["ours"], family,
                                **self.timing("models", m, "engines", e, "timings", best), rows=len(lengths),
                                length=None if works[0]["layout"] else lengths[0],
                                configuration=f"1 x {model['threads']}" if "threads" in model else "",
                                error=self.number("models", m, "engines", e, "relative_error"),
                                noisy=entry["timings"][best]["noisy"])

    def scaling(self) -> Iterator[Point]:
        for m, model in enumerate(self.content["scaling"]):
            about = {entry["name"]: (e, entry) for e, entry in enumerate(model["engines"])}
            self.failures += [f"{model['model']}, {f['engine']}, {f['instances']} x {f['cores']}: {f['failure']}"
                              for f in model["failures"]]
            for c, cell in enumerate(model["cells"]):
                e, entry = about[cell["engine"]]
                yield Point(model["model"], cell["engine"], entry["precision"], entry["ours"],
                            f"{cell['rows']}x{cell['length']}", **self.timing("scaling", m, "cells", c),
                            rows=cell["rows"], length=cell["length"],
                            configuration=f"{cell['instances']} x {cell['cores']}",
                            error=self.number("scaling", m, "engines", e, "relative_error"),
                            rate=self.number("scaling", m, "cells", c, "sequences_per_second"), noisy=cell["noisy"])

    def passes(self) -> Iterator[Point]:
        for v, variant in enumerate(self.content["variants"]):
            for shape in variant["latency"]:
                rows, length = (int(part) for part in shape.split(" x "))
                path = ("variants", v, "latency", shape)
                yield Point(self.content["model"], variant["name"], "float32", variant["name"] != "no pass",
                            f"{rows}x{length}", self.needed(*path, "p50"), self.number(*path, "least"),
                            self.number(*path, "p90"), rows=rows, length=length,
                            error=self.number("variants", v, "difference"))

    def peers(self) -> Iterator[Point]:
        rows = {work["name"]: work["rows"] for work in self.content["workloads"]}
        for c, entry in enumerate(self.content["contenders"]):
            if entry["failure"]:
                self.failures.append(f"{self.content['model']}, {entry['name']}: {entry['failure']}")
            for work, timing in entry["timings"].items():
                yield Point(self.content["model"], entry["name"], entry["precision"], entry["ours"], work,
                            **self.timing("contenders", c, "timings", work), rows=rows[work],
                            error=self.number("contenders", c, "relative_error"),
                            score=self.number("contenders", c, "spearman"), noisy=timing["noisy"])

    def finetuning(self) -> Iterator[Point]:
        for r, run in enumerate(self.content["runs"]):
            for side in ("ours", "control"):
                yield Point(run["model"], side, "float32", side == "ours", f"{run['task']}, seed {run['seed']}",
                            self.needed("runs", r, side, "samples_per_second"), unit=SAMPLES,
                            score=self.number("runs", r, side, "metrics", run["main_metric"]))


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer in its form for URIs (RFC 6901, section 6), which has no spaces."""
    return "".join("/" + quote(str(step).replace("~", "~0").replace("/", "~1"), safe="~") for step in path)


def kind_of(content: Any) -> str | None:
    """Which bench wrote a file; None for none of them."""
    marks = {"models": "cpu", "scaling": "scaling", "runs": "finetuning", "variants": "passes",
             "contenders": "peers"}
    return next((kind for mark, kind in marks.items() if isinstance(content, dict)
                 and isinstance(content.get(mark), list)), None)


def read(file: Path) -> ResultFile:
    """The points of a file of ``bench cpu``, ``scaling``, ``passes``, ``finetuning`` or of the peers' benchmark.

    Raises
    ------
    DataError
        It cannot be read, is no such file, or nothing was measured in it.
    """
    expected = (f"give a file that bertpass bench {', '.join(KINDS[:-2])}, {KINDS[-2]} or "
                "benchmarks/embedding_backends.py wrote")
    try:
        data = file.read_bytes()
        content = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise DataError(f"{file}: it cannot be read ({error.strerror}); {expected}.") from error
    except ValueError as error:
        raise DataError(f"{file}: it is no JSON ({error}); {expected}.") from error
    kind = kind_of(content)
    if kind is None:
        raise DataError(f"{file}: it is no result file; {expected}.")
    reader = _Reader(file.name, content)
    try:
        points = list(getattr(reader, kind)())
        found = ResultFile(file.name, kind, hashlib.sha256(data).hexdigest(), content, points, reader.failures)
        found.environment["machine"]["cpu"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{file}: it looks like a file of bench {kind}, but is not whole ({type(error).__name__}: "
                        f"{error}); {expected}.") from error
    wrong = [p for p in points if not 0 < p.middle.value < float("inf")]
    if wrong or not points:
        raise DataError(f"{file}: " + (f"{wrong[0].middle.place} is no positive number." if wrong
                                       else "nothing was measured in it."))
    return found
