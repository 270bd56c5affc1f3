"""From a model's start and end scores to answers: n-best, probabilities, and "no answer" (SQuAD 2.0)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.errors import DataError, UsageError
from bertpass.text.squad.data import Question
from bertpass.text.squad.windows import Window

_ALIGNED = 12  # so many candidates transformers grows to whole words for one answer


@dataclass(frozen=True)
class Candidate:
    """A possible answer: ``context[start:end] == text``; "" at 0, 0 is no answer. The score is the logits' sum."""

    text: str
    start: int
    end: int
    start_logit: float
    end_logit: float
    probability: float

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


@dataclass(frozen=True)
class _Span:
    """Logits of a span and its characters in the context."""

    start_logit: float
    end_logit: float
    start: int
    end: int

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


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
                 null_score_diff_threshold: float = 0.0,
                 words: Sequence[np.ndarray] | None = None) -> list[Prediction]:
    """Answers to all questions, in their order.

    Every span of a window's context of at most ``max_answer_length`` tokens that starts at a token which the window
    shows best is considered (so there always is one); its score is start + end. The same text in several places counts
    once.

    Parameters
    ----------
    windows
        Of :func:`~bertpass.text.squad.windows.make_windows` for these questions.
    logits
        One array a window, (S, 2) float, S at least the window's length: start and end scores of its tokens. A
        (windows, S, 2) array will do.
    words
        For each question where the words of its context are, (W, 2), as
        :meth:`~bertpass.text.tokens.tokenizer.Tokenizer.words` gives them. Answers then grow to the words that they
        begin and end in; the probabilities of those that become the same text, in any case, are added up. That is what
        transformers' question-answering pipeline does by default.

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
    for at, (question, rows) in enumerate(zip(questions, by_question, strict=True)):
        if not rows:
            raise DataError(f"question {question.id!r} has no window.")
        found: list[_Span] = []
        null = _Span(math.inf, math.inf, 0, 0)
        for row in rows:
            start, end = _scores(logits[row], len(windows[row]), question)
            null = min(null, _Span(float(start[0]), float(end[0]), 0, 0), key=lambda span: span.score)
            found += _best_spans(windows[row], start, end, n_best_size, max_answer_length)
        nothing = null if version_2 else None
        if words is None:
            out.append(_choose(question, found, nothing, n_best_size, null_score_diff_threshold))
        else:
            out.append(_choose_words(question, found, nothing, words[at], null_score_diff_threshold))
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


def _best_spans(window: Window, start: np.ndarray, end: np.ndarray, count: int, longest: int) -> list[_Span]:
    """The ``count`` best spans of a window."""
    low, high = window.context_start, window.context_end
    width = min(longest, high - low)
    # table[i, j]: from token low + i to token low + i + j; an end beyond the window scores -inf
    padded = np.concatenate([end[low:high], np.full(width - 1, -np.inf)])
    table = start[low:high, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    table = np.where(window.is_max_context[low:high, None], table, -np.inf)
    flat = table.ravel()
    best = np.argpartition(-flat, count)[:count] if flat.size > count else np.arange(flat.size)
    offsets = window.offsets
    return [_Span(float(start[first]), float(end[last]), int(offsets[first, 0]), int(offsets[last, 1]))
            for k in best.tolist() if flat[k] != -np.inf
            for first, last in [(low + k // width, low + k // width + k % width)]]


def _choose(question: Question, found: list[_Span], null: _Span | None, count: int, threshold: float) -> Prediction:
    ranked: dict[str, _Span] = {}
    for span in sorted(found, key=lambda s: (-s.score, s.start, s.end)):
        if len(ranked) < count:
            ranked.setdefault(question.context[span.start:span.end], span)
    best_text, best = next(iter(ranked.items()))
    listed = list(ranked.items())
    if null is not None:
        listed = sorted([*listed[:max(count - 1, 1)], ("", null)], key=lambda item: -item[1].score)
    scores = np.array([span.score for _, span in listed])
    weights = np.exp(scores - scores.max())
    n_best = tuple(Candidate(text, span.start, span.end, span.start_logit, span.end_logit, float(p))
                   for (text, span), p in zip(listed, weights / weights.sum(), strict=True))
    odds = None if null is None else null.score - best.score
    chosen = "" if odds is not None and odds > threshold else best_text
    answer = next(c for c in n_best if c.text == chosen)
    return Prediction(question.id, answer.text, answer.start, answer.end, answer.probability, n_best, odds)


def _choose_words(question: Question, found: list[_Span], null: _Span | None, words: np.ndarray, threshold: float,
                  ) -> Prediction:
    """The answer with whole words at its ends."""
    spans = sorted(found, key=lambda span: (-span.score, span.start, span.end))[:_ALIGNED]
    scores = np.array([span.score for span in spans] + ([] if null is None else [null.score]))
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    grown: dict[str, Candidate] = {}
    for span, weight in zip(spans, weights.tolist(), strict=False):
        touched = words[(words[:, 0] < span.end) & (words[:, 1] > span.start)]
        start, end = int(min(touched[:, 0], default=span.start)), int(max(touched[:, 1], default=span.end))
        text = question.context[start:end]
        same = grown.get(text.lower())
        grown[text.lower()] = Candidate(text, start, end, span.start_logit, span.end_logit, weight) if same is None \
            else dataclasses.replace(same, probability=same.probability + weight)
    listed = list(grown.values())
    odds = None
    if null is not None:
        listed.append(Candidate("", 0, 0, null.start_logit, null.end_logit, float(weights[-1])))
        odds = null.score - spans[0].score
    n_best = tuple(sorted(listed, key=lambda candidate: -candidate.probability))
    empty = odds is not None and odds > threshold
    answer = next(candidate for candidate in n_best if (not candidate.text) == empty)
    return Prediction(question.id, answer.text, answer.start, answer.end, answer.probability, n_best, odds)
