"""What a model is run on: the encoded rows of a data set, and how its outputs are scored and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertpass.errors import DataError, UsageError
from bertpass.jobs.calibration_rows import BATCH, spread
from bertpass.jobs.calibration_rows import calibration_rows as rows_for
from bertpass.jobs.deploy_options import DeployOptions
from bertpass.jobs.predict import (
    AnswerOptions,
    Dataset,
    answers,
    encode_examples,
    encode_questions,
    first_questions,
    score,
    score_answers,
    write_answers,
    write_predictions,
)
from bertpass.progress import log
from bertpass.text import metrics, tasks
from bertpass.text.download import download
from bertpass.text.files import read_lines
from bertpass.text.readers import Example, read_own, read_task_file
from bertpass.text.squad import SquadData, read_squad
from bertpass.text.tasks import Task, find_split, get_task
from bertpass.text.tokenizer import Encoding, Tokenizer

Outputs = Sequence[np.ndarray]


@dataclass
class Source:
    """A split that was read but not yet encoded: every fault of a file shows before a model is loaded."""

    task: Task
    files: list[str]
    examples: list[Example]
    questions: SquadData | None = None


@dataclass
class Workload:
    """Encoded rows; ``rows`` counts what a person counts (sentences, pairs, questions)."""

    dataset: Dataset
    rows: int
    score: Callable[[Outputs], dict[str, float]] | None
    write: Callable[[Path, Outputs], None]


def read(options: DeployOptions, task: Task, labels: Sequence[str] | None) -> Source:
    """Read the split that the flags name.

    Parameters
    ----------
    labels
        The model's labels, for an own file; None before the model is known.
    """
    if options.eval_file:
        if task.kind == "qa":
            return Source(task, [options.eval_file], [], _questions(options.eval_file, options))
        if task.columns is not None and options.eval_file.removesuffix(".gz").endswith(".tsv") \
                and not _has_own_header(Path(options.eval_file)):
            return Source(task, [options.eval_file], read_task_file(task, options.eval_file, options.split))
        kind = "regression" if task.kind == "embedding" else task.kind
        examples, _ = read_own(options.eval_file, kind, labels or task.labels or None, need_labels=False)
        return Source(task, [options.eval_file], examples)
    root = options.data_dir or download(task, version_2=options.QA_version_2)
    split = options.split + ("_v2" if task.kind == "qa" and options.QA_version_2 else "")
    paths = find_split(task, root, split)
    if task.kind == "qa":
        return Source(task, [str(paths[0])], [], _questions(str(paths[0]), options))
    if len(paths) > 1:
        paths = paths[:1]  # MNLI: the matched file; the other is named with --eval_file
    return Source(task, [str(p) for p in paths], read_task_file(task, paths[0], options.split))


def own_task(name: str | None, head_kind: str, labels: Sequence[str]) -> Task:
    """The task of a bundle: one of ours by name, else one of a person's own data."""
    if name is not None:
        try:
            return get_task(name)
        except UsageError:
            pass
    if head_kind in ("classification", "regression"):
        return tasks.own_task(name or "custom", "regression" if head_kind == "regression" else "classification",
                              tuple(labels))
    return get_task("QA" if head_kind == "qa" else "embedding")


def encode(source: Source, tokenizer: Tokenizer, options: DeployOptions) -> Workload:
    """Encode with ``--seq_length``; longer texts are cut (questions are answered in windows)."""
    if source.questions is not None:
        return _answering(source.questions, tokenizer, options)
    if source.task.kind == "embedding":
        return _embedding(source.examples, tokenizer, options)
    data = encode_examples(source.examples, tokenizer, options.seq_length)
    labels = data.labels
    return Workload(data, len(data),
                    None if labels is None else lambda out: score(source.task, out, labels[:len(out)]),
                    lambda folder, out: write_predictions(folder / "predictions.tsv", source.task, out,
                                                          [e.id for e in source.examples[:len(out)]]))


def calibration_rows(options: DeployOptions, task: Task, tokenizer: Tokenizer, load: Workload) -> list[Encoding]:
    """Encoded rows of the training split where it is there, else of the rows that are run, which need no labels."""
    count = options.num_calib_batches * BATCH
    if not options.eval_file and options.split != "train":
        try:
            source = read(dataclasses.replace(options, split="train"), task, None)
        except DataError:
            log.info("calibrating on the rows that are run: there is no training split of %s", task.name)
        else:
            asked = source.questions
            few = asked and SquadData(tuple(spread(asked.questions, count)), asked.version_2)
            load = encode(Source(task, source.files, spread(source.examples, count), few), tokenizer, options)
    return rows_for(load.dataset.encodings, options.num_calib_batches)


def answer_options(options: DeployOptions, max_length: int) -> AnswerOptions:
    """The flags of deploy.py that begin with QA_."""
    return AnswerOptions(max_length, options.QA_doc_stride, options.QA_max_query_length, options.QA_n_best_size,
                         options.QA_max_answer_length, options.QA_version_2, options.QA_null_score_diff_threshold)


def _questions(path: str, options: DeployOptions) -> SquadData:
    data = read_squad(path)
    if data.version_2 and not options.QA_version_2:
        raise UsageError(f"{path} is SQuAD 2.0, whose questions may have no answer: add --QA_version_2.")
    return data


def _answering(data: SquadData, tokenizer: Tokenizer, options: DeployOptions) -> Workload:
    settings = answer_options(options, options.seq_length)
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


def _embedding(examples: Sequence[Example], tokenizer: Tokenizer, options: DeployOptions) -> Workload:
    """Texts in turn with their pairs: row 2i is a text, row 2i+1 its pair. Scored by the cosine of the two."""
    paired = bool(examples) and examples[0].text_pair is not None
    texts = [t for e in examples for t in ((e.text, e.text_pair or "") if paired else (e.text,))]
    dataset = Dataset(tokenizer.encode(texts, max_length=options.seq_length))
    gold = [e.label for e in examples] if paired else []

    def scored(out: Outputs) -> dict[str, float]:
        table = np.stack(out[:len(out) // 2 * 2])
        table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
        cosine = (table[0::2] * table[1::2]).sum(axis=1)
        return metrics.compute(("spearman", "pearson"), cosine, np.asarray(gold[:len(cosine)], np.float64))

    def written(folder: Path, out: Outputs) -> None:
        np.save(folder / "embeddings.npy", np.stack(out))

    return Workload(dataset, len(examples), scored if paired and all(g is not None for g in gold) else None, written)


def _has_own_header(path: Path) -> bool:
    """Whether a .tsv names its columns as own data does (a column ``text``)."""
    return any("text" in line.split("\t") for _, line in [next(read_lines(path), (0, ""))])
