"""Metrics against values worked out by hand, and inputs that have no metric."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.metrics import compute


def test_worked_example() -> None:
    # 2 true positives, 1 false positive, 1 false negative, 1 true negative
    found = compute(["accuracy", "f1", "matthews"], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0])
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["matthews"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))


def test_correlations() -> None:
    found = compute(["pearson", "spearman"], [1.0, 2.0, 3.0, 10.0], [1.0, 2.0, 3.0, 4.0])
    centred = np.array([-3.0, -2.0, -1.0, 6.0]), np.array([-1.5, -0.5, 0.5, 1.5])
    assert found["pearson"] == pytest.approx(centred[0] @ centred[1] / np.sqrt(50.0 * 5.0))
    assert found["spearman"] == pytest.approx(1.0)


def test_f1_of_three_classes_is_the_mean() -> None:
    assert compute(["f1"], [0, 1, 2, 2], [0, 1, 2, 1])["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
@pytest.mark.parametrize(("predictions", "labels"), [([1, 1, 1], [0, 1, 0]), ([0, 1, 0], [1, 1, 1])])
def test_constant_values_give_zero_and_a_warning(name: str, predictions: list, labels: list) -> None:
    with pytest.warns(UserWarning, match=name):
        assert compute([name], predictions, labels) == {name: 0.0}


def test_no_positive_prediction_is_f1_zero_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute(["f1", "accuracy"], [0, 0], [1, 0]) == {"f1": 0.0, "accuracy": 0.5}


def test_wrong_calls() -> None:
    with pytest.raises(DataError, match="prediction of row 2 is not a finite number"):
        compute(["pearson"], [1.0, float("nan")], [1.0, 2.0])
    with pytest.raises(DataError, match="label of row 1"):
        compute(["pearson"], [1.0, 2.0], [float("inf"), 2.0])
    with pytest.raises(DataError, match="at least one"):
        compute(["accuracy"], [], [])
    with pytest.raises(DataError, match="as many"):
        compute(["accuracy"], [1], [1, 0])
    with pytest.raises(UsageError, match="Did you mean 'accuracy'"):
        compute(["acuracy"], [1], [1])
