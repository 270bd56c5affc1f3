"""What a model makes of each row of a file of any size, part by part; a run that was stopped goes on where it was.

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
from bertpass.engines.model import Model, with_prompt
from bertpass.errors import BertpassError, DataError, UsageError
from bertpass.jobs.machines import batch_inputs, batch_outputs
from bertpass.jobs.machines.batch_outputs import Kinds
from bertpass.model.given import Given
from bertpass.progress import Bar, log

_PROBE = "The train to Lisbon leaves at 7:45 from platform nine."
_EMBEDDINGS = ("embedding", "none", "pooled")
#: kinds of models of which a row has two texts -> what the second one is
_PAIRS = {"qa": "contexts", "ranking": "passages"}
_JOB, _WHOLE = "job.json", "whole"


@dataclass(frozen=True)
class Work:
    """What is computed; small and plain, so that it travels to other machines.

    ``column`` has the texts and ``pair_column``, where the model takes two, the second ones; ``keep`` are the
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
        return self.folder / f"part-{number:06d}"

    def read(self) -> batch_inputs.Input:
        """The input; errors: see :func:`bertpass.jobs.machines.batch_inputs.opened`."""
        texts = tuple(name for name in (self.column, self.pair_column) if name is not None)
        return batch_inputs.opened(self.input, batch_inputs.Wanted(texts, self.keep))


def kinds(model: Model) -> Kinds:
    """The columns that a model makes of a row, with their kinds; empty where it makes none."""
    head = model.head
    if model.sentence.late is not None:
        return {}
    if head.kind in _EMBEDDINGS:
        return {"embedding": "numbers"}
    score = {"scores": "numbers"} if head.num_labels > 1 else {"score": "number"}
    return {"classification": {"label": "text", "score": "number"},
            "multilabel": {"labels": "texts", "score": "number"}, "regression": score, "ranking": score,
            "sparse": {"indices": "places", "values": "numbers"}, "tokens": {"entities": "entities"},
            "qa": {"answer": "text", "score": "number", "start": "place", "end": "place"}}.get(head.kind, {})


class Computer:
    """A model and the input file, for the parts of one process.

    Parameters
    ----------
    source
        The input, where it is open already.

    Raises
    ------
    ModelError, UsageError
        The model cannot be loaded, makes nothing of a row, or takes one text where two are given or the reverse.
    """

    def __init__(self, work: Work, threads: int | None = None, source: batch_inputs.Input | None = None) -> None:
        self.work = work
        self.model: Model = load(work.model, engine="native", dtype=work.dtype, threads=threads, **asdict(work.given))
        self.source = source or work.read()
        kind = self.model.head.kind
        self._kinds = kinds(self.model)
        if not self._kinds:
            what = "late interaction" if self.model.sentence.late is not None else f"kind '{kind}'"
            raise UsageError(f"{work.model}: nothing of a model of {what} fits into the columns of a file; ask it "
                             "through bertpass serve.")
        if clash := set(work.keep) & set(self._kinds):
            raise UsageError(f"--keep {min(clash)}: the output has a column of that name itself.")
        if work.pair_column is not None and not (self.model.head.has_classifier or kind in _PAIRS):
            raise UsageError("--pair_column: " + ("embeddings are of one text." if kind in _EMBEDDINGS else
                                                  f"a model of kind '{kind}' takes one text."))
        if work.pair_column is None and kind in _PAIRS:
            raise UsageError(f"a model of kind '{kind}' takes two texts: name the column of the {_PAIRS[kind]} with "
                             "--pair_column, and the other with --column.")

    @property
    def writing(self) -> batch_outputs.Output:
        """How the output is written; errors: see :func:`bertpass.jobs.machines.batch_outputs.writing`."""
        return batch_outputs.writing(self.work.output, self.source, self.work.keep, self._kinds)

    def fingerprint(self) -> str:
        """Of everything that the result depends on: the work, the input file, and what the model computes."""
        values = self._values([_PROBE], [_PROBE])  # other weights, precision or instructions show here
        ending = Path(self.work.output).suffix.lower()
        state = [{**asdict(self.work), "output": ending, "overwrite": False}, stamp(self.work.input),
                 {name: repr([each.tolist() if isinstance(each, np.ndarray) else each for each in column])
                  for name, column in values.items()}]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def compute(self, number: int, rows: int) -> int:
        """Write one part of an input of so many rows; returns its rows."""
        work = self.work
        start, stop = number * work.part_rows, min((number + 1) * work.part_rows, rows)
        columns = self.source.read(start, stop)
        texts, pairs = _list(columns[work.column]), None
        if work.pair_column is not None:
            pairs = _list(columns[work.pair_column])
        values = self._values(texts, pairs)
        with replacing_file(work.part(number)) as file:
            self.writing.write(file, {name: columns[name] for name in work.keep}, values,
                               self._count_long(texts, pairs))
        return stop - start

    def _count_long(self, texts: list[Any], pairs: list[Any] | None) -> int:
        """Texts, or pairs, with more tokens than the model takes: they are cut. Of contexts and of texts that are
        tagged none is; of questions the first tokens are read."""
        model = self.model
        if model.head.kind == "tokens":
            return 0
        most, special = model.max_length, model.tokenizer.special_count(pair=pairs is not None)
        if model.head.kind == "qa":
            most, special, pairs = model.max_question_length, 0, None
        put = model.sentence.prompt()

        def size(text: str | None) -> int:  # no text has more tokens: a byte is half of a character that decomposes
            return 2 * len((text or "").encode(errors="replace"))

        both = [(text, pair or "") for text, pair in zip(texts, pairs or [""] * len(texts), strict=True)
                if text and (pair or pairs is None) and size(put + text) + size(pair) > most - special]
        if not both:
            return 0
        firsts = model.tokenizer.pieces(with_prompt(put, [text for text, _ in both]))
        lengths = [len(each.ids) + special for each in firsts]
        if pairs is not None:
            seconds = model.tokenizer.pieces([pair for _, pair in both])
            lengths = [length + len(each.ids) for length, each in zip(lengths, seconds, strict=True)]
        return sum(length > most for length in lengths)

    def _values(self, texts: list[Any], pairs: list[Any] | None) -> dict[str, list[Any]]:
        """New columns; None where a text is missing or empty, or where a context has no tokens."""
        pairs = None if self.work.pair_column is None else pairs
        there = [n for n, text in enumerate(texts) if text and (pairs is None or pairs[n])]
        if self.model.head.kind == "qa" and pairs is not None:
            contexts = self.model.tokenizer.pieces([pairs[n] for n in there])
            there = [n for n, context in zip(there, contexts, strict=True) if len(context.ids)]
        found = self._found([texts[n] for n in there], None if pairs is None else [pairs[n] for n in there])
        columns: dict[str, list[Any]] = {name: [None] * len(texts) for name in self._kinds}
        for name, column in columns.items():
            for place, value in zip(there, found[name] if there else [], strict=True):
                column[place] = value
        return columns

    def _found(self, texts: list[str], pairs: list[str] | None) -> dict[str, list[Any]]:
        """New columns of rows that have texts."""
        model, kind = self.model, self.model.head.kind
        if not texts:
            return {}
        if kind in _EMBEDDINGS:
            vectors = np.ascontiguousarray(model.encode(texts), np.float32)
            return {"embedding": list(_whole(vectors))}
        if kind == "sparse":
            words = model.encode_sparse(texts)
            return {"indices": [each.indices for each in words], "values": [_whole(each.values) for each in words]}
        if kind == "tokens":
            return {"entities": [[asdict(each) for each in entities] for entities in model.tag(texts)]}
        if kind == "qa":
            answers = model.answer(texts, pairs or [])
            return {"answer": [each.text for each in answers],
                    **{name: [getattr(each, name) for each in answers] for name in ("score", "start", "end")}}
        found = model.predict(texts, pairs)
        _whole(np.array([each.score for each in found]))
        return {"label": [each.label for each in found], "labels": [list(each.labels) for each in found],
                "score": [each.score for each in found],
                "scores": [np.array(list(each.scores.values()), np.float32) for each in found]}


def _whole(numbers: np.ndarray) -> np.ndarray:
    """The numbers, if they are finite."""
    if not np.isfinite(numbers).all():
        raise BertpassError("the model computed numbers that are not finite; are its weights whole?")
    return numbers


def _list(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.to_pylist()


def stamp(path: str) -> tuple[int, int]:
    """What tells whether a file is still the same: size in bytes and time of change in nanoseconds."""
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def run(work: Work, *, spread: Callable[[Work, list[int], int], Iterable[int]] | None = None) -> int:
    """Compute what is missing and write the output; returns its rows.

    ``spread`` computes the parts elsewhere: it gets the work, the numbers of the parts and the rows of the input, and
    yields the rows of each part as it is done.

    Raises
    ------
    UsageError, DataError, ModelError, MissingDependencyError
        A column or the model is not there, a row holds something else than texts, or the parts that lie there are of
        another run: all of that before anything is computed. Or the input was changed meanwhile.
    """
    check(work)
    before, source = stamp(work.input) if os.path.exists(work.input) else None, work.read()
    rows, count = source.rows, -(-source.rows // work.part_rows)
    if not rows:
        raise DataError(f"{work.input}: there is no row in it.")
    computer = Computer(work, source=source)
    writing = computer.writing
    missing = begin(work, computer.fingerprint(), count)
    done = min(rows, (count - len(missing)) * work.part_rows)
    if done:
        log.info("%d of %d parts were done before", count - len(missing), count)
    with Bar("rows", rows, "rows") as bar:
        bar.begin_at(done)
        try:
            parts = spread(work, missing, rows) if spread else (computer.compute(each, rows) for each in missing)
            for each in parts:
                bar.advance(each)
        except KeyboardInterrupt:
            log.info("stopped; the same command goes on from here (%s)", work.folder)
            raise
    if stamp(work.input) != before:
        raise DataError(f"{work.input} was changed while it was read; delete {work.folder} and start again.")
    cut = join(work, writing, count)
    if cut:
        what, most = "texts have", computer.model.max_length
        if computer.model.head.kind == "qa":
            what, most = "questions have", computer.model.max_question_length
        log.warning("%d of %d %s more than %d tokens and were cut.", cut, rows, what, most)
    return rows


def check(work: Work) -> None:
    """What is wrong with the output, before anything is read."""
    batch_outputs.check_name(work.output)
    if os.path.exists(work.output) and not os.path.isfile(work.output):
        raise UsageError(f"{work.output} is there and is no file; name another.")
    if os.path.exists(work.output) and not work.overwrite and not work.folder.is_dir():
        raise UsageError(f"{work.output} is there already; name another file, or replace it with --overwrite.")


def begin(work: Work, fingerprint: str, parts: int) -> list[int]:
    """Make the folder of the parts; the numbers of those that are not there yet."""
    job = work.folder / _JOB
    if not job.exists():  # parts without it were left by a run that ended while it removed them
        shutil.rmtree(work.folder, ignore_errors=True)
        work.folder.mkdir(parents=True)
        write_json(job, {"fingerprint": fingerprint})
    elif _kept(job) != {"fingerprint": fingerprint}:
        raise UsageError(f"{work.folder} has parts of a run with another input, model or other flags; delete it, or "
                         "write to another file.")
    return [number for number in range(parts) if not work.part(number).exists()]


def _kept(job: Path) -> Any:
    """What the file of a run says; None where that is nothing."""
    try:
        return json.loads(job.read_text(encoding="utf-8"))
    except ValueError:
        return None


def join(work: Work, writing: batch_outputs.Output, parts: int) -> int:
    """Put the parts together, one after the other, and remove them; returns how many texts were cut."""
    whole = work.folder / _WHOLE
    with replacing_file(whole) as file:
        cut = writing.join([work.part(number) for number in range(parts)], file)
    os.replace(whole, work.output)
    shutil.rmtree(work.folder)
    return cut
