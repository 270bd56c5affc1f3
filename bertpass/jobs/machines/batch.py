"""Embeddings or labels for a Parquet file of any size, part by part; a run that was stopped goes on where it was.

The rows are cut into parts of equal size. Each part becomes a file of its own, which appears only when it is whole; in
the end the parts are put together in their order. So the result does not depend on who computed which part, or on how
often the run was stopped: a row's numbers are the same in any batch (native engine).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.files import replacing_file, write_json
from bertpass.engines import load
from bertpass.engines.model import Model
from bertpass.errors import DataError, UsageError, unknown
from bertpass.extras import require
from bertpass.model.given import Given
from bertpass.progress import Bar, log

_PROBE = "The train to Lisbon leaves at 7:45 from platform nine."
_EMBEDDINGS = ("embedding", "none", "pooled")
_JOB = "job.json"
_CUT = b"bertpass.cut"  # in a part's metadata: texts that were too long


@dataclass(frozen=True)
class Work:
    """What is computed; small and plain, so that it travels to other machines.

    ``column`` has the texts and ``pair_column``, where the model compares two, the second ones; ``keep`` are the
    columns of the input that the output has as well; ``part_rows`` rows are a part. With ``overwrite`` an output that
    is there already is replaced.
    """

    input: str
    output: str
    model: str
    column: str
    pair_column: str | None
    keep: tuple[str, ...]
    dtype: str
    part_rows: int
    given: Given = field(default_factory=Given)
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where the parts are until all are there."""
        return Path(self.output + ".parts")

    def part(self, number: int) -> Path:
        """The file of one part."""
        return self.folder / f"part-{number:06d}.parquet"


class Computer:
    """A model and the input file, for the parts of one process.

    Raises
    ------
    ModelError, UsageError
        The model cannot be loaded, or makes neither embeddings nor labels.
    """

    def __init__(self, work: Work, threads: int | None = None) -> None:
        self._arrow, self._parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
        self.work = work
        self.model: Model = load(work.model, engine="native", dtype=work.dtype, threads=threads, **asdict(work.given))
        if self.model.head.kind not in _EMBEDDINGS and not self.model.head.has_classifier:
            raise UsageError(f"--model {work.model}: a model of kind '{self.model.head.kind}' makes neither embeddings "
                             "nor labels.")
        if work.pair_column is not None and not self.model.head.has_classifier:
            raise UsageError("--pair_column: embeddings are of one text.")
        self._file = self._parquet.ParquetFile(work.input)
        counts = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._group: tuple[int, Any] = (-1, None)

    @property
    def rows(self) -> int:
        """Of the input."""
        return int(self._file.metadata.num_rows)

    @property
    def parts(self) -> int:
        """Their number."""
        return -(-self.rows // self.work.part_rows)

    def fingerprint(self) -> str:
        """Of everything that the result depends on: the work, the input file, and what the model computes."""
        about = os.stat(self.work.input)
        values = self._values([_PROBE], [_PROBE])  # other weights, precision or instructions show here
        state = [{**asdict(self.work), "output": "", "overwrite": False}, about.st_size, about.st_mtime_ns,
                 {name: each.to_pylist() for name, each in values.items()}]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def compute(self, number: int) -> int:
        """Write one part; returns its rows. DataError where the column holds something else than texts."""
        work = self.work
        start = number * work.part_rows
        table = self._read(start, min(start + work.part_rows, self.rows))
        texts, pairs = self._texts(table, work.column), None
        if work.pair_column is not None:
            pairs = self._texts(table, work.pair_column)
        for name, values in self._values(texts, pairs).items():
            table = table.append_column(name, values)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}),
                                               _CUT: str(self._count_long(texts, pairs)).encode()})
        with replacing_file(work.part(number)) as file:
            self._parquet.write_table(table.select([*work.keep, *table.column_names[len(self._columns):]]), file)
        return int(table.num_rows)

    def _count_long(self, texts: list[Any], pairs: list[Any] | None) -> int:
        """Texts, or pairs, with more tokens than the model takes: they are cut."""
        def size(text: str | None) -> int:  # no text has more tokens: a byte is half of a character that decomposes
            return 2 * len((text or "").encode(errors="replace"))

        model = self.model
        both = [(text, pair or "") for text, pair in zip(texts, pairs or [""] * len(texts), strict=True)
                if text and size(text) + size(pair) > model.max_length - 4]
        if not both:
            return 0
        rows = model.tokenizer.encode([text for text, _ in both],
                                      [pair for _, pair in both] if pairs is not None else None, truncation=False)
        return sum(len(row) > model.max_length for row in rows)

    @property
    def _columns(self) -> list[str]:
        names = [*self.work.keep, self.work.column, *filter(None, [self.work.pair_column])]
        return list(dict.fromkeys(names))

    def _read(self, start: int, stop: int) -> Any:
        """The rows from ``start`` to ``stop`` as a table; a row group is read once for all parts in it."""
        pieces = []
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        for group in range(int(first), int(last) + 1):
            if self._group[0] != group:
                self._group = group, self._file.read_row_group(group, columns=self._columns)
            begin = int(self._ends[group - 1]) if group else 0
            low = max(start - begin, 0)
            pieces.append(self._group[1].slice(low, stop - begin - low))
        return self._arrow.concat_tables(pieces).select(self._columns)

    def _texts(self, table: Any, column: str) -> list[str | None]:
        found = table.column(column).to_pylist()
        wrong = next((each for each in found if each is not None and not isinstance(each, str)), None)
        if wrong is not None:
            raise DataError(f"{self.work.input}: column {column} holds {type(wrong).__name__} and not texts.")
        return found

    def _values(self, texts: list[Any], pairs: list[Any] | None) -> dict[str, Any]:
        """New columns; null where a text is null or empty."""
        pairs = None if self.work.pair_column is None else pairs
        there = [n for n, text in enumerate(texts) if text and (pairs is None or pairs[n])]
        chosen = [texts[n] for n in there]
        places = np.zeros(len(texts), np.int64)
        places[there] = np.arange(len(there))
        take = self._arrow.array(places, mask=~np.isin(np.arange(len(texts)), there))
        if self.model.head.kind in _EMBEDDINGS:
            vectors = self.model.encode(chosen) if chosen else np.zeros((0, 0), np.float32)
            sizes = np.where(take.is_valid().to_numpy(False), vectors.shape[1], 0)
            return {"embedding": self._arrow.ListArray.from_arrays(
                self._arrow.array(np.concatenate([[0], np.cumsum(sizes)]), self._arrow.int32()),
                self._arrow.array(np.ascontiguousarray(vectors, np.float32).ravel()), mask=take.is_null())}
        found = self.model.predict(chosen, None if pairs is None else [pairs[n] for n in there]) if chosen else []
        text, number = self._arrow.string(), self._arrow.float32()
        score = self._arrow.array([each.score for each in found], number).take(take)
        if self.model.head.kind == "multilabel":
            labels = self._arrow.array([list(each.labels) for each in found], self._arrow.list_(text)).take(take)
            return {"labels": labels, "score": score}
        if self.model.head.kind == "regression" and self.model.head.num_labels > 1:
            values = self._arrow.array([list(each.scores.values()) for each in found], self._arrow.list_(number))
            return {"scores": values.take(take)}
        return {"label": self._arrow.array([each.label for each in found], text).take(take), "score": score}


def run(work: Work, *, spread: Callable[[Work, list[int]], Iterable[int]] | None = None) -> int:
    """Compute what is missing and write the output; returns its rows.

    ``spread`` computes the parts elsewhere: it gets the work and the numbers of the parts, and yields the rows of each
    as it is done.

    Raises
    ------
    UsageError, DataError, ModelError, MissingDependencyError
        A column or the model is not there, or the parts that lie there are of another run.
    """
    check(work)
    computer = Computer(work)
    missing = begin(work, computer.fingerprint(), computer.parts)
    done = min(computer.rows, (computer.parts - len(missing)) * work.part_rows)
    if done:
        log.info("%d of %d parts were done before", computer.parts - len(missing), computer.parts)
    with Bar("rows", computer.rows, "rows") as bar:
        bar.advance(done)
        try:
            for rows in spread(work, missing) if spread else map(computer.compute, missing):
                bar.advance(rows)
        except KeyboardInterrupt:
            log.info("stopped; the same command goes on from here (%s)", work.folder)
            raise
    cut = join(work, computer.parts)
    if cut:
        log.warning("%d of %d texts have more than %d tokens and were cut.", cut, computer.rows,
                    computer.model.max_length)
    return computer.rows


def check(work: Work) -> None:
    """Everything that can be wrong with input and output, before a model is loaded."""
    if os.path.exists(work.output) and not work.overwrite and not work.folder.is_dir():
        raise UsageError(f"{work.output} is there already; name another file, or replace it with --overwrite.")
    parquet, arrow = require("pyarrow.parquet", "batch"), require("pyarrow", "batch")
    try:
        schema = parquet.read_schema(work.input)
    except (OSError, arrow.ArrowException) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{work.input} is not a Parquet file that can be read ({said}).") from error
    for name in (work.column, work.pair_column, *work.keep):
        if name is not None and name not in schema.names:
            raise UsageError(f"{work.input}: {unknown('column', name, schema.names)}")
    clash = {"embedding", "label", "labels", "score", "scores"} & set(work.keep)
    if clash:
        raise UsageError(f"--keep {clash.pop()}: the output has a column of that name itself.")


def begin(work: Work, fingerprint: str, parts: int) -> list[int]:
    """Make the folder of the parts; the numbers of those that are not there yet."""
    work.folder.mkdir(parents=True, exist_ok=True)
    job = work.folder / _JOB
    if not job.exists():
        write_json(job, {"fingerprint": fingerprint})
    elif json.loads(job.read_text(encoding="utf-8")).get("fingerprint") != fingerprint:
        raise UsageError(f"{work.folder} has parts of a run with another input, model or other flags; delete it, or "
                         "write to another file.")
    return [number for number in range(parts) if not work.part(number).exists()]


def join(work: Work, parts: int) -> int:
    """Put the parts together, one after the other, and remove them; returns how many texts were cut."""
    parquet = require("pyarrow.parquet", "batch")
    if not parts:
        raise DataError(f"{work.input}: there is no row in it.")
    cut, schema = 0, parquet.read_schema(work.part(0))
    kept = {name: value for name, value in schema.metadata.items() if name != _CUT}
    with replacing_file(work.output) as file, parquet.ParquetWriter(file, schema.with_metadata(kept or None)) as writer:
        for number in range(parts):
            table = parquet.read_table(work.part(number))
            cut += int(table.schema.metadata[_CUT])
            writer.write_table(table.replace_schema_metadata(kept or None))
    shutil.rmtree(work.folder)
    return cut
