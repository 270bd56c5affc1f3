"""The tasks' metrics, computed by scikit-learn, SciPy and seqeval, which are extras and imported on use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bertpass.errors import DataError, UsageError, unknown
from bertpass.extras import require

Numbers = Sequence[float] | np.ndarray
CUT = 10  # ranks that mrr@10 and ndcg@10 look at


def check() -> None:
    """MissingDependencyError where the packages of the extra "metrics" are not installed."""
    _sklearn()
    _scipy()


def _sklearn() -> Any:
    return require("sklearn.metrics", "metrics")


def _scipy() -> Any:
    return require("scipy.stats", "metrics")


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(_sklearn().accuracy_score(labels, predictions))


def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 as GLUE has it; the mean over classes where there are more than two."""
    binary = not set(np.unique(np.concatenate([labels, predictions]))) - {0, 1}
    return float(_sklearn().f1_score(labels, predictions, average="binary" if binary else "macro", zero_division=0.0))


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(_sklearn().matthews_corrcoef(labels, predictions))


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(_scipy().pearsonr(predictions, labels)[0])


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(_scipy().spearmanr(predictions, labels)[0])


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy, "f1": _f1, "matthews": _matthews, "pearson": _pearson, "spearman": _spearman,
}
_CORRELATIONS = ("matthews", "pearson", "spearman")


def compute(names: Iterable[str], predictions: Numbers, labels: Numbers) -> dict[str, float]:
    """The named metrics: accuracy, f1, matthews (of class numbers), pearson, spearman (of scores), each in -1..1.

    A correlation with something constant does not exist; it is given as 0.0 with a warning, never as NaN.

    Raises
    ------
    UsageError
        An unknown metric.
    DataError
        No rows, not as many predictions as labels, or a number that is not finite.
    """
    predicted, gold = _checked(predictions, labels, 1)
    constant = bool(np.ptp(predicted) == 0 or np.ptp(gold) == 0)
    out: dict[str, float] = {}
    for name in names:
        metric = _named(name, _METRICS)
        if constant and name in _CORRELATIONS:
            warnings.warn(f"{name} is not defined, because all predictions or all labels are the same; given as 0.0.",
                          stacklevel=2)
            out[name] = 0.0
        else:
            out[name] = metric(predicted, gold)
    return out


def regression(names: Iterable[str], predictions: Numbers, labels: Numbers, outputs: Sequence[str]) -> dict[str, float]:
    """The mean over the outputs of each named metric, then the metric of each output as "pearson (width)".

    Parameters
    ----------
    predictions, labels
        (rows, outputs)
    outputs
        Their names.

    Raises
    ------
    UsageError, DataError
        As :func:`compute`.
    """
    names = list(names)
    predicted, gold = _checked(predictions, labels, 2)
    each = [compute(names, predicted[:, at], gold[:, at]) for at in range(len(outputs))]
    return {**{name: float(np.mean([found[name] for found in each])) for name in names},
            **{f"{name} ({output})": found[name] for output, found in zip(outputs, each, strict=True)
               for name in names}}


def multilabel(names: Iterable[str], probabilities: Numbers, threshold: float, labels: Numbers) -> dict[str, float]:
    """The named metrics of a multi-label task, in 0..1.

    f1_micro and f1_macro are of the labels whose probability is above ``threshold``; average_precision is that of each
    row's labels in the order of their probabilities, meant over the rows that have a label.

    Parameters
    ----------
    probabilities, labels
        (rows, labels): from 0 to 1, and 0 or 1.

    Raises
    ------
    UsageError, DataError
        As :func:`compute`.
    """
    sklearn = _sklearn()
    scores, gold = _checked(probabilities, labels, 2)
    chosen, some = scores > threshold, gold.any(axis=1)

    def average_precision() -> float:
        if not some.any():
            warnings.warn("average_precision is not defined, because no row has a label; given as 0.0.", stacklevel=3)
            return 0.0
        return float(sklearn.average_precision_score(gold[some], scores[some], average="samples"))

    known = {"f1_micro": lambda: float(sklearn.f1_score(gold, chosen, average="micro", zero_division=0.0)),
             "f1_macro": lambda: float(sklearn.f1_score(gold, chosen, average="macro", zero_division=0.0)),
             "average_precision": average_precision}
    return {name: _named(name, known)() for name in names}


def _reciprocal_rank(scores: np.ndarray, relevance: np.ndarray) -> float:
    """1 / rank of the first relevant passage, 0 past the cut; a passage with the same score goes before it."""
    best = scores[relevance > 0].max()
    rank = 1 + int((scores[relevance == 0] >= best).sum())
    return 1.0 / rank if rank <= CUT else 0.0


def _ndcg(scores: np.ndarray, relevance: np.ndarray) -> float:
    return float(_sklearn().ndcg_score(relevance[None], scores[None], k=CUT))


def _average_precision(scores: np.ndarray, relevance: np.ndarray) -> float:
    return float(_sklearn().average_precision_score(relevance > 0, scores))


_RANKING: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    f"mrr@{CUT}": _reciprocal_rank, f"ndcg@{CUT}": _ndcg, "map": _average_precision,
}


def ranking(names: Iterable[str], scores: Numbers, relevance: Numbers, groups: Sequence[str]) -> dict[str, float]:
    """The named metrics of passages ranked by their scores, meant over the groups (queries), in 0..1.

    mrr@10 and map count passages of relevance above 0, ndcg@10 takes the relevance as gain. A group whose passages are
    all relevant, or none, says nothing about their order and is left out with a warning.

    Raises
    ------
    UsageError, DataError
        As :func:`compute`, or no group is left.
    """
    predicted, gold = _checked(scores, relevance, 1)
    members: dict[str, list[int]] = {}
    for at, group in enumerate(groups):
        members.setdefault(group, []).append(at)
    parts = [(predicted[rows], gold[rows]) for rows in members.values() if 0 < np.count_nonzero(gold[rows]) < len(rows)]
    if not parts:
        raise DataError("no query has both a relevant passage and one that is not, so nothing can be ranked.")
    if len(parts) < len(members):
        warnings.warn(f"{len(members) - len(parts)} of {len(members)} queries have only relevant passages or none and "
                      "were left out.", stacklevel=2)
    return {name: float(np.mean([_named(name, _RANKING)(*part) for part in parts])) for name in names}


def tagging(names: Iterable[str], predictions: Sequence[Sequence[str]],
            tags: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and f1 of entities (seqeval, as conlleval counts them), in 0..1.

    Returns
    -------
    dict
        Each name over all entities, then ``"f1 (PER)"`` and so on for every type.

    Raises
    ------
    UsageError
        An unknown metric.
    DataError
        No sentence.
    MissingDependencyError
        seqeval is not installed.
    """
    classification_report = require("seqeval.metrics", "ner").classification_report
    if not tags:
        raise DataError("metrics need at least one sentence with tags.")
    wanted = {name: _named(name, {"precision": "precision", "recall": "recall", "f1": "f1-score"}) for name in names}
    gold, found = [list(t) for t in tags], [list(p) for p in predictions]
    if not any(tag != "O" for row in (*gold, *found) for tag in row):  # seqeval fails without any entity
        warnings.warn("there is no entity in the data and none was predicted; all metrics are given as 0.0.",
                      stacklevel=2)
        return dict.fromkeys(wanted, 0.0)
    report = classification_report(gold, found, output_dict=True, zero_division=0)
    overall = report.pop("micro avg")
    types = {kind: row for kind, row in report.items() if kind not in ("macro avg", "weighted avg")}
    return {**{name: float(overall[key]) for name, key in wanted.items()},
            **{f"{name} ({kind})": float(row[key]) for kind, row in types.items() for name, key in wanted.items()}}


def _named(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise UsageError(unknown("metric", name, known))
    return known[name]


def _checked(predictions: Numbers, labels: Numbers, axes: int) -> tuple[np.ndarray, np.ndarray]:
    predicted, gold = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != axes or predicted.shape != gold.shape or not len(gold):
        raise DataError(f"metrics need as many predictions as labels and at least one; found {predicted.shape} and "
                        f"{gold.shape}.")
    for what, values in (("prediction", predicted), ("label", gold)):
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            raise DataError(f"the {what} of row {int(np.argmin(finite)) + 1} is not a finite number; "
                            "the model has diverged or a label is missing.")
    return predicted, gold
