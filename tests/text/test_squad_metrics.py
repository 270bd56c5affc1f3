"""The evaluation: examples worked by hand, and agreement with transformers' port of the official 2.0 program."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertpass.errors import DataError
from bertpass.text.squad import Answer, Question, SquadData, evaluate, read_squad
from bertpass.text.squad.metrics import exact, f1, normalize


def data_of(answers: dict[str, list[str] | None], version_2: bool = False) -> SquadData:
    return SquadData(tuple(Question(name, "?", "context", None if texts is None else tuple(Answer(t, 0) for t in texts))
                           for name, texts in answers.items()), version_2)


@pytest.mark.parametrize(("text", "plain"), [
    ("The  Cat!", "cat"), ("a an the", ""), ("theatre", "theatre"), ("U.S.A.", "usa"), ("an\u00a0apple\t", "apple"),
    ("don't", "dont"), ("The-end", "theend"), ("“Quoted”", "“quoted”"), ("", ""),
])
def test_normalize(text: str, plain: str) -> None:
    assert normalize(text) == plain


@pytest.mark.parametrize(("prediction", "gold", "value"), [
    ("the Denver Broncos", "Denver Broncos.", 1.0),
    ("Denver", "Denver Broncos", 2 * 1 * 0.5 / 1.5),
    ("the big big cat", "big cat", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
    ("dog", "cat", 0.0),
    ("", "cat", 0.0), ("cat", "", 0.0), ("", "", 1.0), ("the", "", 1.0),
])
def test_f1(prediction: str, gold: str, value: float) -> None:
    assert f1(prediction, gold) == pytest.approx(value)
    assert exact(prediction, gold) == float(value == 1.0)


def test_version_1_worked_example() -> None:
    data = data_of({"a": ["Denver Broncos", "The Broncos"], "b": ["1990"], "c": ["x"], "d": ["the"]})
    with pytest.warns(UserWarning, match="1 of 4 questions have no prediction"):
        found = evaluate(data, {"a": "Broncos!", "b": "in 1990", "d": "a", "unknown": "x"})
    # a: exact with the second answer; b: 2 * 1/2 * 1 / (3/2) = 2/3; c: missing counts as wrong; d: no words, so F1 0
    assert found == {"exact": pytest.approx(100 * 2 / 4), "f1": pytest.approx(100 * (1 + 2 / 3) / 4), "total": 4}


def test_version_2_worked_example() -> None:
    data = data_of({"a": ["cat"], "b": [], "c": [], "d": ["the big dog"]}, version_2=True)
    found = evaluate(data, {"a": "the cat", "b": "", "c": "fox", "d": "dog"}, {"a": -3.0, "b": 2.0, "c": 0.5, "d": 1.0})
    part = pytest.approx(200 / 3)  # F1 of "dog" with "big dog"
    assert (found["exact"], found["f1"], found["total"]) == (50.0, pytest.approx(100 * (2 + 2 / 3) / 4), 4)
    assert (found["HasAns_exact"], found["HasAns_f1"], found["HasAns_total"]) == (50.0, pytest.approx(500 / 6), 2)
    assert (found["NoAns_exact"], found["NoAns_f1"], found["NoAns_total"]) == (50.0, 50.0, 2)
    # starting from 2 of 4: a +1, c -1, d +0 (exact) or +2/3 (F1), b +0: best after a
    assert (found["best_exact"], found["best_exact_thresh"]) == (75.0, -3.0)
    assert (found["best_f1"], found["best_f1_thresh"]) == (75.0, -3.0)
    assert 100 * f1("dog", "the big dog") == part


@pytest.mark.parametrize(("rows", "value"), [
    ([("1976", "1976")], 100.0), ([("1976", "1999")], 0.0),
    ([("1976", "1976"), ("Beyoncé and Bruno Mars", "Beyonce"), ("climate change", "climate change")],
     66.66666666666667)])
def test_published_examples_of_the_official_2_0_program(rows: list[tuple[str, str]], value: float) -> None:
    """Inputs and outputs that the metric card of squad_v2 in huggingface/evaluate gives for the official program."""
    data = data_of({str(at): [gold] for at, (gold, _) in enumerate(rows)}, version_2=True)
    predictions = {str(at): said for at, (_, said) in enumerate(rows)}
    found = evaluate(data, predictions, dict.fromkeys(predictions, 0.0))
    assert found == {"exact": value, "f1": value, "total": len(rows), "HasAns_exact": value, "HasAns_f1": value,
                     "HasAns_total": len(rows), "best_exact": value, "best_exact_thresh": 0.0, "best_f1": value,
                     "best_f1_thresh": 0.0}


def test_wrong_calls() -> None:
    with pytest.raises(DataError, match="no answers"):
        evaluate(data_of({"a": None}), {"a": "x"})
    with pytest.raises(DataError, match="no answers"):
        evaluate(data_of({"a": []}), {"a": "x"})
    with pytest.raises(DataError, match="another file"):
        evaluate(data_of({"a": ["x"]}), {"b": "x"})
    with pytest.raises(DataError, match="'a' has a prediction but no no-answer probability"):
        evaluate(data_of({"a": ["x"]}, version_2=True), {"a": "x"}, {})


WORDS = st.lists(st.sampled_from(["the", "a", "cat", "Cat!", "dog", "1,990", "—", "an"]), max_size=4).map(" ".join)
ROWS = st.lists(st.tuples(st.lists(WORDS, max_size=3), WORDS, st.integers(-5, 5)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_version_2_agrees_with_transformers(rows: list[tuple[list[str], str, int]]) -> None:
    reference = pytest.importorskip("transformers.data.metrics.squad_metrics",
                                    reason="needs transformers: pip install '.[reference]'")
    data = data_of({str(at): gold for at, (gold, _, _) in enumerate(rows)}, version_2=True)
    predictions = {str(at): prediction for at, (_, prediction, _) in enumerate(rows)}
    odds = {str(at): float(value) for at, (_, _, value) in enumerate(rows)}
    examples = [SimpleNamespace(qas_id=q.id, answers=[{"text": a.text} for a in q.answers or ()])
                for q in data.questions]
    theirs = reference.squad_evaluate(examples, predictions, odds, no_answer_probability_threshold=100.0)
    assert evaluate(data, predictions, odds) == {key: pytest.approx(value) for key, value in theirs.items()}


@given(ROWS)
def test_gold_as_prediction_is_perfect(rows: list[tuple[list[str], str, int]]) -> None:
    data = data_of({str(at): gold for at, (gold, _, _) in enumerate(rows)}, version_2=True)
    found = evaluate(data, {q.id: next((a.text for a in q.answers or () if normalize(a.text)), "")
                            for q in data.questions})
    assert found["exact"] == found["f1"] == 100.0


@pytest.mark.data
def test_the_official_2_0_program_on_real_questions(real_data: Path) -> None:
    """Made-up predictions for 4719 real questions; the figures are what evaluate-v2.0.py of the SQuAD site printed.

    It was run with these predictions and odds as --na-prob-file, and --na-prob-thresh 100 so that it changed none.
    """
    data = read_squad(real_data / "SQuAD" / "train-v2.0-first10.json.gz")
    predictions, odds = {}, {}
    for at, question in enumerate(data.questions):
        number = zlib.crc32(question.id.encode())
        own = question.answers[0].text if question.answers else ""
        other = next((q.answers[0].text for q in data.questions[at + 1:] if q.answers), "")
        predictions[question.id] = ["", own, own + " of the", " ".join(own.split()[:2]).upper(), other][number % 5]
        odds[question.id] = (number // 5 % 1000 - 500) / 100 + (0 if question.answers else 4)
    assert evaluate(data, predictions, odds) == {name: pytest.approx(value, rel=1e-13) for name, value in {
        "exact": 35.34647171010808, "f1": 53.96633343831354, "total": 4719, "HasAns_exact": 33.4248455730954,
        "HasAns_f1": 53.527139669504145, "HasAns_total": 4371, "NoAns_exact": 59.48275862068966,
        "NoAns_f1": 59.48275862068966, "NoAns_total": 348, "best_exact": 36.61792752701844, "best_exact_thresh": 4.99,
        "best_f1": 55.23778925522405, "best_f1_thresh": 4.99}.items()}


@pytest.mark.data
def test_gold_answers_of_the_real_dev_file(real_data: Path) -> None:
    data = read_squad(real_data / "SQuAD" / "dev-v1.1.json.gz")
    for pick, perfect in ((0, 10570), (-1, 10569)):  # one last answer is ".", without words: F1 0 in 1.1
        found = evaluate(data, {q.id: q.answers[pick].text for q in data.questions if q.answers})
        assert found == {"exact": 100.0, "f1": pytest.approx(100 * perfect / 10570), "total": 10570}
    shifted = {q.id: other.answers[0].text
               for q, other in zip(data.questions, data.questions[1:], strict=False) if q.answers and other.answers}
    with pytest.warns(UserWarning, match="1 of 10570"):
        assert evaluate(data, shifted)["exact"] < 20
