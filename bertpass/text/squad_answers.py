"""From a model's start and end scores to answers: n-best, probabilities, and "no answer" (SQuAD 2.0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.errors import DataError, UsageError
from bertpass.text.squad_data import Question
from bertpass.text.squad_windows import Window


@dataclass(frozen=True)
class Candidate:
    """A possible answer: ``context[start:end] == text``; score is start score + end score; "" at 0, 0 is no answer."""

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one question.

    Attributes
    ----------
    text, start, end
        The answer and its characters in the context; "" and 0, 0 for no answer.
    probability
        Softmax over the scores of ``n_best``.
    n_best
        The best first; with ``version_2`` the empty answer is always among them.
    null_odds
        Score of no answer less that of the best answer: above the threshold the question is left without an answer.
        None without ``version_2``. The official evaluation takes it as the no-answer probability.
    """

    id: str
    text: str
    start: int
    end: int
    probability: float
    n_best: tuple[Candidate, ...]
    null_odds: float | None


def best_answers(questions: Sequence[Question], windows: Sequence[Window], logits: Sequence[np.ndarray], *,
                 n_best_size: int = 20, max_answer_length: int = 30, version_2: bool = False,
                 null_score_diff_threshold: float = 0.0) -> list[Prediction]:
    """Answers to all questions, in their order.

    Every span of a window's context of at most ``max_answer_length`` tokens that starts at a token which the window
    shows best is considered (so there always is one); its score is start + end. The same text in several places counts
    once.

    Parameters
    ----------
    windows
        Of :func:`~bertpass.text.squad_windows.make_windows` for these questions.
    logits
        One array a window, (S, 2) float, S at least the window's length: start and end scores of its tokens. A
        (windows, S, 2) array will do.

    Raises
    ------
    UsageError
        A size below 1.
    DataError
        Logits of another shape or not finite, or a question without a window.
    """
    if n_best_size < 1 or max_answer_length < 1:
        raise UsageError("n_best_size and max_answer_length have to be at least 1.")
    if len(logits) != len(windows):
        raise DataError(f"{len(windows)} windows but logits of {len(logits)}.")
    by_question: list[list[int]] = [[] for _ in questions]
    for row, window in enumerate(windows):
        by_question[window.question].append(row)
    out = []
    for question, rows in zip(questions, by_question, strict=True):
        if not rows:
            raise DataError(f"question {question.id!r} has no window.")
        found: list[tuple[float, int, int]] = []  # score, first and last character
        null = math.inf
        for row in rows:
            start, end = _scores(logits[row], len(windows[row]), question)
            null = min(null, float(start[0] + end[0]))
            found += _best_spans(windows[row], start, end, n_best_size, max_answer_length)
        out.append(_choose(question, found, null if version_2 else None, n_best_size, null_score_diff_threshold))
    return out


def _scores(logits: np.ndarray, length: int, question: Question) -> tuple[np.ndarray, np.ndarray]:
    """Start and end scores of one window, (length,) float64 each."""
    values = np.asarray(logits, np.float64)
    if values.ndim != 2 or values.shape[0] < length or values.shape[1] != 2:
        raise DataError(f"logits of a window of question {question.id!r} have shape {values.shape}; expected "
                        f"({length} or more, 2).")
    if not np.isfinite(values[:length]).all():
        raise DataError(f"the logits of question {question.id!r} are not finite numbers; the model has diverged.")
    return values[:length, 0], values[:length, 1]


def _best_spans(window: Window, start: np.ndarray, end: np.ndarray, count: int,
                longest: int) -> list[tuple[float, int, int]]:
    """The ``count`` best spans of a window as (score, first character, character after the last)."""
    low, high = window.context_start, window.context_end
    width = min(longest, high - low)
    # table[i, j]: from token low + i to token low + i + j; an end beyond the window scores -inf
    padded = np.concatenate([end[low:high], np.full(width - 1, -np.inf)])
    table = start[low:high, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    table = np.where(window.is_max_context[low:high, None], table, -np.inf)
    flat = table.ravel()
    best = np.argpartition(-flat, count)[:count] if flat.size > count else np.arange(flat.size)
    offsets = window.offsets
    return [(float(flat[k]), int(offsets[low + k // width, 0]), int(offsets[low + k // width + k % width, 1]))
            for k in best.tolist() if flat[k] != -np.inf]


def _choose(question: Question, found: list[tuple[float, int, int]], null: float | None, count: int,
            threshold: float) -> Prediction:
    ranked: list[tuple[float, str, int, int]] = []
    texts: set[str] = set()
    for score, start, end in sorted(found, key=lambda s: (-s[0], s[1], s[2])):
        text = question.context[start:end]
        if text not in texts and len(ranked) < count:
            texts.add(text)
            ranked.append((score, text, start, end))
    best = ranked[0]
    if null is not None:
        del ranked[max(count - 1, 1):]
        ranked.append((null, "", 0, 0))
        ranked.sort(key=lambda c: -c[0])
    scores = np.array([c[0] for c in ranked])
    weights = np.exp(scores - scores.max())
    n_best = tuple(Candidate(text, start, end, score, float(p))
                   for (score, text, start, end), p in zip(ranked, weights / weights.sum(), strict=True))
    odds = None if null is None else null - best[0]
    chosen = "" if odds is not None and odds > threshold else best[1]
    answer = next(c for c in n_best if c.text == chosen)
    return Prediction(question.id, answer.text, answer.start, answer.end, answer.probability, n_best, odds)
