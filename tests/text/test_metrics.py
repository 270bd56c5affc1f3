"""Metrics against values worked out by hand, and inputs that have no metric."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.metrics import compute, multilabel, ranking, tagging


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


# -- rankings ---------------------------------------------------------------------------------------------------------


def test_ranking_worked_example() -> None:
    # query a: order 2, 0, 1 with the relevant one at rank 2; query b: two relevant ones at ranks 1 and 3
    scores, relevance = [0.5, 0.1, 0.9, 3.0, 2.0, 1.0], [1, 0, 0, 1, 0, 1]
    found = ranking(["mrr@10", "ndcg@10", "map"], scores, relevance, list("aaabbb"))
    assert found["mrr@10"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["map"] == pytest.approx((1 / 2 + (1 / 1 + 2 / 3) / 2) / 2)
    gain = 1 / np.log2(np.arange(2, 5))  # of ranks 1 to 3
    assert found["ndcg@10"] == pytest.approx((gain[1] + (gain[0] + gain[2]) / (gain[0] + gain[1])) / 2)


def test_ranks_past_the_tenth_and_ties() -> None:
    late = [float(12 - i) for i in range(12)]
    assert ranking(["mrr@10"], late, [0] * 9 + [1, 0, 0], ["q"] * 12)["mrr@10"] == pytest.approx(0.1)
    assert ranking(["mrr@10"], late, [0] * 10 + [1, 0], ["q"] * 12)["mrr@10"] == 0.0
    assert ranking(["mrr@10"], [1.0, 1.0], [1, 0], ["q", "q"])["mrr@10"] == 0.5  # who cannot tell gains nothing


def test_graded_relevance_is_a_gain() -> None:
    found = ranking(["ndcg@10"], [2.0, 1.0, 0.0], [0.5, 1.0, 0.0], ["q"] * 3)
    assert found["ndcg@10"] == pytest.approx((0.5 + 1 / np.log2(3)) / (1 + 0.5 / np.log2(3)))


def test_queries_that_say_nothing_are_left_out() -> None:
    with pytest.warns(UserWarning, match="2 of 3 queries"):
        found = ranking(["map"], [1.0, 0.0, 1.0, 0.0, 5.0], [1, 0, 0, 0, 1], list("aabbc"))
    assert found == {"map": 1.0}
    with pytest.raises(DataError, match="nothing can be ranked"):
        ranking(["map"], [1.0, 0.0], [0, 0], ["q", "q"])


# -- several labels ---------------------------------------------------------------------------------------------------


def test_multilabel_worked_example() -> None:
    gold = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    probabilities = np.array([[0.9, 0.6, 0.3], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
    found = multilabel(["f1_micro", "f1_macro", "average_precision"], probabilities, 0.5, gold)
    # given: row 1 labels 1, 2; row 2 label 2; row 3 label 3: 2 right, 2 wrong, 1 missing
    assert found["f1_micro"] == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)  # the third row has no label
    assert multilabel(["f1_micro"], probabilities, 0.95, gold) == {"f1_micro": 0.0}


def test_multilabel_without_any_label() -> None:
    with pytest.warns(UserWarning, match="average_precision"):
        assert multilabel(["average_precision"], [[0.1, 0.2]], 0.5, [[0, 0]]) == {"average_precision": 0.0}


# -- entities ---------------------------------------------------------------------------------------------------------


def test_entities_worked_example() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["O", "O"]]
    found = tagging(["f1", "precision", "recall"], predicted, gold)
    # 3 entities, 2 predicted, 1 right (both words and the type)
    assert (found["precision"], found["recall"]) == (0.5, pytest.approx(1 / 3))
    assert found["f1"] == pytest.approx(2 * 1 / (3 + 2))
    assert (found["precision (PER)"], found["recall (PER)"], found["f1 (LOC)"]) == (0.5, 0.5, 0.0)
    assert set(found) == {n + p for n in ("f1", "precision", "recall") for p in ("", " (PER)", " (LOC)")}


def test_half_an_entity_is_wrong() -> None:
    assert tagging(["f1"], [["B-PER", "O"]], [["B-PER", "I-PER"]])["f1"] == 0.0


def test_no_entities_at_all() -> None:
    with pytest.warns(UserWarning, match="no entity"):
        assert tagging(["f1"], [["O", "O"]], [["O", "O"]]) == {"f1": 0.0}
    with pytest.raises(DataError, match="at least one sentence"):
        tagging(["f1"], [], [])


@pytest.mark.parametrize("call", [
    lambda name: ranking([name], [1.0, 0.0], [1, 0], ["q", "q"]), lambda name: multilabel([name], [[0.1]], 0.5, [[1]]),
    lambda name: tagging([name], [["B-X"]], [["B-X"]])])
def test_unknown_metrics(call: Callable) -> None:
    with pytest.raises(UsageError, match="unknown metric 'nonsense'"):
        call("nonsense")


def test_a_model_that_has_diverged() -> None:
    with pytest.raises(DataError, match="prediction of row 2"):
        multilabel(["f1_micro"], [[0.1, 0.2], [float("nan"), 0.1]], 0.5, [[0, 1], [1, 0]])
