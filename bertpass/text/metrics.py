"""The tasks' metrics, computed by scikit-learn and SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bertpass.errors import DataError, UsageError, unknown

Numbers = Sequence[float] | np.ndarray


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 as GLUE has it; the mean over classes where there are more than two."""
    from sklearn.metrics import f1_score

    binary = set(np.unique(labels)) | set(np.unique(predictions)) <= {0, 1}
    return float(f1_score(labels, predictions, average="binary" if binary else "macro", zero_division=0.0))


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(predictions, labels)[0])


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(predictions, labels)[0])


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
    predicted, gold = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != gold.shape or not len(gold):
        raise DataError(f"metrics need as many predictions as labels and at least one; found {predicted.shape} and "
                        f"{gold.shape}.")
    for what, values in (("prediction", predicted), ("label", gold)):
        if not np.isfinite(values).all():
            raise DataError(f"the {what} of row {int(np.argmin(np.isfinite(values))) + 1} is not a finite number; "
                            "the model has diverged or a label is missing.")
    constant = bool(np.ptp(predicted) == 0 or np.ptp(gold) == 0)
    out: dict[str, float] = {}
    for name in names:
        if name not in _METRICS:
            raise UsageError(unknown("metric", name, _METRICS))
        if constant and name in _CORRELATIONS:
            warnings.warn(f"{name} is not defined, because all predictions or all labels are the same; given as 0.0.",
                          stacklevel=2)
            out[name] = 0.0
        else:
            out[name] = _METRICS[name](predicted, gold)
    return out


