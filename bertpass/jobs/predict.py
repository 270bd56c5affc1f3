"""From a forward to predictions and metrics: the same code for fine-tuning, deployment and the engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bertpass.text.batching import Batch
from bertpass.text.readers import Example
from bertpass.text.squad_data import Question
from bertpass.text.squad_windows import Window, make_windows
from bertpass.text.tokenizer import Tokenizer

from bertpass.errors import DataError

Forward = Callable[[Batch], list[np.ndarray]]


@dataclass
class Dataset:
    """Encoded sequences of one split with what is needed to score them."""

    encodings: list[Any]
    labels: np.ndarray | None = None
    examples: list[Example] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.encodings)


def encode_examples(examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
    """Encode classification or regression examples; labels stay ``None`` unless every example has one."""
    pairs = [e.text_pair for e in examples]
    if any(p is not None for p in pairs) and any(p is None for p in pairs):
        raise DataError("some rows have a text_pair and some have none: give every row one, or no row.")
    encodings = tokenizer.encode([e.text for e in examples],
                                 pairs=None if pairs and pairs[0] is None else pairs, max_length=max_length)
    labels = None
    if examples and all(e.label is not None for e in examples):
        labels = np.asarray([e.label for e in examples])
    return Dataset(encodings, labels, list(examples))


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


def encode_questions(questions: Sequence[Question], tokenizer: Tokenizer, options: AnswerOptions) -> Dataset:
    """Cut every question's context into windows (see :mod:`bertpass.text.squad_windows`)."""
    windows = make_windows(questions, tokenizer, max_seq_length=options.max_seq_length,
                           doc_stride=options.doc_stride, max_query_length=options.max_query_length)
    return Dataset(windows, questions=list(questions), windows=windows)
