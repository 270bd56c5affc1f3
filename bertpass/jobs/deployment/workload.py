"""What a model is run on: the encoded rows of a data set, and how its outputs are scored and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bertpass.errors import DataError, UsageError
from bertpass.jobs.low_precision.calibration_rows import BATCH, spread
from bertpass.jobs.low_precision.calibration_rows import calibration_rows as rows_for
from bertpass.jobs.tasks import kinds
from bertpass.jobs.tasks.predict import (
    AnswerOptions,
    Dataset,
    answers,
    encode_questions,
    first_questions,
    score_answers,
    write_answers,
)
from bertpass.progress import log
from bertpass.text.data import tasks
from bertpass.text.data.download import download
from bertpass.text.data.readers import Example, read_own, read_task_file
from bertpass.text.data.tasks import Task, find_split, get_task, stem
from bertpass.text.files import read_lines
from bertpass.text.squad import SquadData, read_squad
from bertpass.text.tokens.tokenizer import Encoding, Tokenizer

Outputs = Sequence[np.ndarray]


@dataclass(frozen=True)
class RowSettings:
    """Which rows are run, how they are cut and how many are in a batch.

    ``file`` is one own file; without it ``split`` is read from the data in ``root``, which are downloaded where it is
    None. ``answers`` says how questions are cut and answered; its length is that of the rows of every task.
    """

    answers: AnswerOptions
    batch_size: int
    file: str | None = None
    root: str | None = None
    split: str = "dev"
    word_column: int | None = None
    tag_column: int | None = None
    max_batches: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Of a row, in tokens."""
        return self.answers.max_seq_length


@dataclass
class Source:
    """A split that was read but not yet encoded: every fault of a file shows before a model is loaded.

    ``parts`` are the rows by the names of their files, without endings: two where MNLI's matched and mismatched rows
    are there, which are run together and scored one by one.
    """

    task: Task
    files: list[str]
    parts: Mapping[str, list[Example]]
    questions: SquadData | None = None

    @property
    def examples(self) -> list[Example]:
        """The rows of all files."""
        return [example for rows in self.parts.values() for example in rows]


@dataclass
class Workload:
    """Encoded rows; ``rows`` counts what a person counts (sentences, pairs, questions)."""

    dataset: Dataset
    rows: int
    score: Callable[[Outputs], dict[str, float]] | None
    write: Callable[[Path, Outputs], None]

    def metrics(self, outputs: Outputs) -> dict[str, float]:
        """None where rows have no labels."""
        return self.score(outputs) if self.score is not None else {}


def read(settings: RowSettings, task: Task, labels: Sequence[str] | None) -> Source:
    """Read the split or the file that the settings name.

    Parameters
    ----------
    labels
        The model's labels, for an own file; None before the model is known.
    """
    version_2 = settings.answers.version_2
    if task.kind in kinds.KINDS:
        kinds.KINDS[task.kind].check()
    if settings.file:
        path, name = settings.file, stem(settings.file)
        if settings.columns and (task.kind == "qa" or task.layout == "paragraphs"):
            raise UsageError(f"{task.name} reads files in SQuAD's layout, which have no columns; leave out the flags "
                             "that name columns.")
        if task.kind == "qa":
            return Source(task, [path], {}, _questions(path, version_2))
        if task.layout == "paragraphs" or (task.columns is not None and path.removesuffix(".gz").endswith(".tsv")
                                           and not settings.columns and not _has_own_header(Path(path))):
            return Source(task, [path], {name: read_task_file(task, path, settings.split)})
        kind = "regression" if task.kind == "embedding" else task.kind
        known = labels or task.labels or (() if kind == "regression" else None)
        examples, _ = read_own(path, kind, known, need_labels=False, separator=task.separator,
                               word_column=settings.word_column, tag_column=settings.tag_column,
                               columns=settings.columns)
        if examples and task.columns is not None and (examples[0].text_pair is not None) != task.pair:
            raise DataError(f"{path} has {'single texts' if task.pair else 'pairs of texts'}, and {task.name} takes "
                            f"{'pairs (a column text_pair)' if task.pair else 'single texts'}.")
        return Source(task, [path], {name: examples})
    root = settings.root or download(task, version_2=version_2)
    split = settings.split + ("_v2" if task.kind == "qa" and version_2 else "")
    paths = find_split(task, root, split)
    if task.kind == "qa":
        return Source(task, [str(paths[0])], {}, _questions(str(paths[0]), version_2))
    return Source(task, [str(p) for p in paths],
                  {stem(path): read_task_file(task, path, settings.split) for path in paths})


def own_task(name: str | None, head_kind: str, labels: Sequence[str], separator: str = ",", threshold: float = 0.5,
             ) -> Task:
    """The task of a bundle: one of ours by name, else one of a person's own data."""
    if name is not None:
        try:
            return get_task(name)
        except UsageError:
            pass
    for kind in kinds.KINDS:
        if kind == head_kind:
            return tasks.own_task(name or "custom", kind, tuple(labels), separator=separator, threshold=threshold)
    return get_task("QA" if head_kind == "qa" else "embedding")


def refuse_other_pairs(source: Source, pairs: bool | None) -> None:
    """DataError where a model was trained on pairs of texts and the rows are single ones, or the other way round."""
    rows = source.examples
    if pairs is not None and source.task.kind != "embedding" and rows and (rows[0].text_pair is not None) != pairs:
        was, are = ("pairs of texts", "single texts") if pairs else ("single texts", "pairs of texts")
        raise DataError(f"{', '.join(source.files)} has {are}, and the model was trained on {was}; give it rows of "
                        "that kind (a column text_pair, or none).")


def encode(source: Source, tokenizer: Tokenizer, settings: RowSettings) -> Workload:
    """Encode rows of ``settings.length``; longer texts are cut (questions are answered in windows)."""
    if source.questions is not None:
        return _answering(source.questions, tokenizer, settings.answers)
    task, kind = source.task, kinds.KINDS[source.task.kind]
    parts = {name: kind.encode(task, rows, tokenizer, settings.length) for name, rows in source.parts.items()}

    def split(out: Outputs) -> dict[str, tuple[Outputs, Dataset]]:
        """The outputs by file; a file that ``--max_iters`` left out is not among them."""
        found, begin = {}, 0
        for name, data in parts.items():
            if len(out) > begin:
                found[name] = (out[begin:begin + len(data)], data)
            begin += len(data)
        return found

    def scored(out: Outputs) -> dict[str, float]:
        return kinds.score(task, split(out), several=len(parts) > 1)

    def written(folder: Path, out: Outputs) -> None:
        kinds.write(folder, task, split(out), several=len(parts) > 1)

    labelled = sum(example.label is not None or example.tags is not None for example in source.examples)
    if not all(map(kind.labelled, parts.values())):
        log.warning("%s: %d of %d rows have labels, so no metric is computed", ", ".join(source.files), labelled,
                    len(source.examples))
    whole = Dataset([row for data in parts.values() for row in data.encodings],
                    per_token=any(data.per_token for data in parts.values()))
    return Workload(whole, len(source.examples), scored if all(map(kind.labelled, parts.values())) else None, written)


def calibration_rows(settings: RowSettings, task: Task, tokenizer: Tokenizer, load: Workload, number: int,
                     ) -> list[Encoding]:
    """Encoded rows for ``number`` batches: of the training split where it is there, else of the rows that are run.

    They need no labels.
    """
    count = number * BATCH
    if not settings.file and settings.split != "train":
        try:
            source = read(dataclasses.replace(settings, split="train"), task, None)
        except DataError:
            log.info("calibrating on the rows that are run: there is no training split of %s", task.name)
        else:
            asked = source.questions
            few = asked and SquadData(tuple(spread(asked.questions, count)), asked.version_2)
            parts = {name: spread(rows, count) for name, rows in source.parts.items()}
            load = encode(Source(task, source.files, parts, few), tokenizer, settings)
    return rows_for(load.dataset.encodings, number)


def _questions(path: str, version_2: bool) -> SquadData:
    data = read_squad(path)
    for note in data.notes:
        log.warning("%s", note)
    if data.version_2 and not version_2:
        raise UsageError(f"{path} is SQuAD 2.0, whose questions may have no answer: add --QA_version_2.")
    return data


def _answering(data: SquadData, tokenizer: Tokenizer, settings: AnswerOptions) -> Workload:
    dataset = encode_questions(data, tokenizer, settings)

    def part(out: Outputs) -> tuple[SquadData, Dataset]:
        """The questions all of whose windows were run (``--max_iters`` may stop before the end)."""
        whole = len(data.questions) if len(out) == len(dataset) else dataset.windows[len(out)].question
        if not whole:
            raise DataError("--max_iters stopped before the first question was complete: raise it.")
        return first_questions(data, dataset, whole)

    def scored(out: Outputs) -> dict[str, float]:
        some, rows = part(out)
        return score_answers(some, answers(some, rows, out[:len(rows)], settings))

    def written(folder: Path, out: Outputs) -> None:
        some, rows = part(out)
        write_answers(folder, answers(some, rows, out[:len(rows)], settings))

    return Workload(dataset, len(data.questions), scored if data.labelled else None, written)


def _has_own_header(path: Path) -> bool:
    """Whether a .tsv names its columns as own data does (a column ``text``)."""
    return any("text" in line.split("\t") for _, line in [next(read_lines(path), (0, ""))])
