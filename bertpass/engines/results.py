"""What a model says about a text, and how it is read from the outputs of each kind of head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.model.config import HeadConfig
from bertpass.text.data.labels import placeholders
from bertpass.text.data.tagging import OUTSIDE, TaggedRow, entities


@dataclass(frozen=True)
class Prediction:
    """Result for one text or pair.

    Attributes
    ----------
    label
        The most probable label; None for a score, and where a multi-label model gives none.
    score
        Its probability; of a regression model the value (the first of several), of a ranking model the probability of
        relevance. A model that says that its outputs have another activation has that in place of probabilities.
    scores
        The probability of every label: they sum to 1 in classification, and stand each for itself in a multi-label
        model. The values of a regression with several outputs. Empty for a single score.
    labels
        The labels that are given: of a multi-label model all those above the threshold, the most probable first.
    """

    label: str | None
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SparseVector:
    """Weights of words: ``values`` (float32, none is 0) at ``indices`` (int32, ascending) of ``size`` words."""

    indices: np.ndarray
    values: np.ndarray
    size: int

    @classmethod
    def of(cls, row: np.ndarray, most: int | None = None) -> SparseVector:
        """What is not 0 in a row (words,), or the ``most`` values of these that are furthest from it."""
        places = np.flatnonzero(row)
        if most is not None and len(places) > most:
            places = np.sort(places[np.argsort(-np.abs(row[places]), kind="stable")[:most]])
        return cls(places.astype(np.int32), row[places].astype(np.float32), len(row))

    def dense(self) -> np.ndarray:
        """(words,), float32."""
        row = np.zeros(self.size, np.float32)
        row[self.indices] = self.values
        return row


@dataclass(frozen=True)
class Answer:
    """Answer to one question: ``text`` is ``context[start:end]``, empty where the context holds no answer."""

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Entity:
    """A named entity: its type, its characters in the text, the mean probability of its words' tags."""

    label: str
    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Ranked:
    """A passage by its place in the list that was given, and the probability that it is relevant."""

    index: int
    score: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 over the last axis."""
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in float64; both ends keep their digits, and nothing overflows."""
    values = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


#: activation of outputs -> scores of a row of logits
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": softmax, "sigmoid": sigmoid, "identity": lambda logits: logits.astype(np.float64)}


def prediction(head: HeadConfig, labels: Sequence[str], logits: np.ndarray, threshold: float) -> Prediction:
    """What one row of a classifier's logits, (outputs,), says."""
    values = [float(value) for value in ACTIVATIONS[head.scores](logits)]
    scores = dict(zip(labels or placeholders(len(logits)), values, strict=True)) if len(values) > 1 else {}
    if head.kind in ("regression", "ranking"):
        return Prediction(None, values[0], scores)
    names = list(labels or placeholders(len(logits)))
    scores = dict(zip(names, values, strict=True))
    order = sorted(range(len(names)), key=lambda at: -logits[at])
    if head.kind == "classification":
        return Prediction(names[order[0]], values[order[0]], scores, (names[order[0]],))
    chosen = tuple(names[at] for at, probability in ((at, sigmoid(logits[at])) for at in order)
                   if probability > threshold)
    return Prediction(chosen[0] if chosen else None, values[order[0]], scores, chosen)


def entities_of(rows: Sequence[TaggedRow], outputs: Sequence[np.ndarray], labels: Sequence[str], text: str,
                words: Sequence[tuple[int, int]]) -> list[Entity]:
    """The entities of one text from the logits of its rows, (tokens, labels) each.

    A word has the tag of its first token. ``words`` are where they are in the text.
    """
    tags, scores = [OUTSIDE] * len(words), np.ones(len(words))
    for row, logits in zip(rows, outputs, strict=True):
        if not len(row.words):
            continue
        probabilities = softmax(logits[row.positions])
        scores[row.words] = probabilities.max(axis=1)
        for word, best in zip(row.words, probabilities.argmax(axis=1), strict=True):
            tags[word] = labels[best]
    found = []
    for first, end, kind in entities(tags):
        start, stop = words[first][0], words[end - 1][1]
        found.append(Entity(kind, text[start:stop], float(scores[first:end].mean()), start, stop))
    return found
