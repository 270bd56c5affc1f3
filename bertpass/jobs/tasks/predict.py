"""From encoded rows to a model's outputs, and from these to answers: the same for fine-tuning and deployment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.files import write_json
from bertpass.errors import DataError
from bertpass.progress import track
from bertpass.text.data.readers import Example
from bertpass.text.squad import Prediction, SquadData, Window, best_answers, evaluate, make_windows
from bertpass.text.tokens.batching import Batch, batches
from bertpass.text.tokens.tokenizer import Tokenizer

Forward = Callable[[Batch], list[np.ndarray]]


@dataclass
class Dataset:
    """Encoded sequences of one split with what is needed to score them.

    ``labels`` are what a loss compares with, one entry a sequence; ``examples`` are the rows of text that the sequences
    were made of. ``per_token``: outputs have a row for every token.
    """

    encodings: Sequence[Any]
    labels: np.ndarray | None = None
    windows: list[Window] = field(default_factory=list)
    examples: Sequence[Example] = ()
    per_token: bool = False

    def __len__(self) -> int:
        return len(self.encodings)


def encode_examples(examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
    """Encode texts or pairs, one sequence each; labels stay ``None`` unless every example has one."""
    pairs = [e.text_pair for e in examples if e.text_pair is not None]
    if pairs and len(pairs) != len(examples):
        raise DataError("some rows have a text_pair and some have none: give every row one, or no row.")
    encodings = tokenizer.encode([e.text for e in examples], pairs=pairs or None, max_length=max_length)
    labels = None
    if examples and all(e.label is not None for e in examples):
        labels = np.asarray([e.label for e in examples])
    return Dataset(encodings, labels, examples=examples)


def collect(forward: Forward, data: Dataset, batch_size: int, pad_id: int, description: str = "",
            pad_to: int | None = None) -> list[np.ndarray]:
    """First output of ``forward`` for every row, in the order of ``data``.

    Outputs with a row for every token (answers, tags) are cut to each sequence's valid length.
    """
    rows: list[np.ndarray] = [np.empty(0)] * len(data)
    plan = batches(data.encodings, batch_size, pad_id=pad_id, pad_to=pad_to)
    for batch in track(plan, description, len(plan), "batches"):
        first = forward(batch)[0]
        for row, length, index in zip(first, batch.valid_length, batch.index, strict=True):
            rows[index] = row[:length] if data.per_token else row
    return rows


@dataclass(frozen=True)
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
    return Dataset(windows, labels, windows, per_token=True)


def first_questions(data: SquadData, dataset: Dataset, count: int) -> tuple[SquadData, Dataset]:
    """The first ``count`` questions and their windows."""
    kept = [window for window in dataset.windows if window.question < count]
    labels = None if dataset.labels is None else dataset.labels[:len(kept)]
    return SquadData(data.questions[:count], data.version_2), Dataset(kept, labels, kept, per_token=True)


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
    """Write predictions.json, nbest_predictions.json and, for 2.0, null_odds.json, as the BERT recipe does."""
    write_json(folder / "predictions.json", {p.id: p.text for p in found})
    write_json(folder / "nbest_predictions.json", {
        p.id: [{"text": c.text, "probability": c.probability, "start_logit": c.start_logit, "end_logit": c.end_logit}
               for c in p.n_best] for p in found})
    odds = {p.id: p.null_odds for p in found if p.null_odds is not None}
    if odds:
        write_json(folder / "null_odds.json", odds)
