"""From a forward to predictions and metrics: the same code for fine-tuning, deployment and the engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import DataError
from bertpass.progress import track
from bertpass.text import metrics
from bertpass.text.batching import Batch, batches
from bertpass.text.readers import Example
from bertpass.text.squad import Prediction, SquadData, Window, best_answers, evaluate, make_windows
from bertpass.text.tasks import Task
from bertpass.text.tokenizer import Tokenizer

Forward = Callable[[Batch], list[np.ndarray]]


@dataclass
class Dataset:
    """Encoded sequences of one split with what is needed to score them."""

    encodings: Sequence[Any]
    labels: np.ndarray | None = None
    windows: list[Window] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.encodings)


def encode_examples(examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
    """Encode classification or regression examples; labels stay ``None`` unless every example has one."""
    pairs = [e.text_pair for e in examples if e.text_pair is not None]
    if pairs and len(pairs) != len(examples):
        raise DataError("some rows have a text_pair and some have none: give every row one, or no row.")
    encodings = tokenizer.encode([e.text for e in examples], pairs=pairs or None, max_length=max_length)
    labels = None
    if examples and all(e.label is not None for e in examples):
        labels = np.asarray([e.label for e in examples])
    return Dataset(encodings, labels)


def collect(forward: Forward, data: Dataset, batch_size: int, pad_id: int, description: str = "",
            pad_to: int | None = None) -> list[np.ndarray]:
    """First output of ``forward`` for every row, in the order of ``data``.

    Outputs with a sequence axis (question answering) are cut to each row's valid length.
    """
    rows: list[np.ndarray] = [np.empty(0)] * len(data)
    plan = batches(data.encodings, batch_size, pad_id=pad_id, pad_to=pad_to)
    for batch in track(plan, description, len(plan), "batches"):
        first = forward(batch)[0]
        for row, length, index in zip(first, batch.valid_length, batch.index, strict=True):
            rows[index] = row[:length] if data.windows else row
    return rows


def predictions_of(task: Task, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Class numbers (classification) or values (regression) from the outputs of :func:`collect`."""
    table = np.stack(outputs)
    return table[:, 0] if task.kind == "regression" else table.argmax(axis=1)


def score(task: Task, outputs: Sequence[np.ndarray], labels: np.ndarray | None) -> dict[str, float]:
    """The task's metrics; DataError where the data has no labels to compare with."""
    if labels is None:
        raise DataError(f"the data of {task.name} has no labels to compute {', '.join(task.metrics)} from.")
    return metrics.compute(task.metrics, predictions_of(task, outputs), labels)


def write_predictions(path: Path, task: Task, outputs: Sequence[np.ndarray], ids: Sequence[str]) -> None:
    """Write ``index<TAB>prediction``, GLUE's submission layout, labels by name."""
    values = predictions_of(task, outputs)
    with path.open("w", encoding="utf-8") as file:
        file.write("index\tprediction\n")
        for name, value in zip(ids, values, strict=True):
            file.write(f"{name}\t{task.labels[int(value)] if task.kind == 'classification' else f'{value:.4f}'}\n")


@dataclass
class AnswerOptions:
    """How SQuAD windows are cut and answers chosen (names and defaults of the published scripts)."""

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    n_best_size: int = 20
    max_answer_length: int = 30
    version_2: bool = False
    null_score_diff_threshold: float = 0.0


def encode_questions(data: SquadData, tokenizer: Tokenizer, options: AnswerOptions) -> Dataset:
    """Cut every question's context into windows; the labels are the answers' positions, (windows, 2)."""
    windows = make_windows(data.questions, tokenizer, max_seq_length=options.max_seq_length,
                           doc_stride=options.doc_stride, max_query_length=options.max_query_length)
    labels = np.array([(w.start, w.end) for w in windows], np.int32).reshape(-1, 2)
    return Dataset(windows, labels, windows)


def first_questions(data: SquadData, dataset: Dataset, count: int) -> tuple[SquadData, Dataset]:
    """The first ``count`` questions and their windows."""
    kept = [window for window in dataset.windows if window.question < count]
    labels = None if dataset.labels is None else dataset.labels[:len(kept)]
    return SquadData(data.questions[:count], data.version_2), Dataset(kept, labels, kept)


def answers(data: SquadData, dataset: Dataset, outputs: Sequence[np.ndarray],
            options: AnswerOptions) -> list[Prediction]:
    """An answer to every question from the outputs of :func:`collect`."""
    return best_answers(data.questions, dataset.windows, outputs, n_best_size=options.n_best_size,
                        max_answer_length=options.max_answer_length, version_2=options.version_2,
                        null_score_diff_threshold=options.null_score_diff_threshold)


def score_answers(data: SquadData, found: Sequence[Prediction]) -> dict[str, float]:
    """Exact match and F1 in percent, with the 2.0 figures for 2.0 data."""
    odds = {p.id: p.null_odds for p in found if p.null_odds is not None}
    return evaluate(data, {p.id: p.text for p in found}, odds if data.version_2 and len(odds) == len(found) else None)


def write_answers(folder: Path, found: Sequence[Prediction]) -> None:
    """Write predictions.json, nbest_predictions.json and, for 2.0, null_odds.json, in the published layout."""
    def write(name: str, content: dict[str, Any]) -> None:
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    write("predictions.json", {p.id: p.text for p in found})
    write("nbest_predictions.json", {p.id: [{"text": c.text, "probability": c.probability, "score": c.score}
                                            for c in p.n_best] for p in found})
    odds = {p.id: p.null_odds for p in found if p.null_odds is not None}
    if odds:
        write("null_odds.json", odds)
