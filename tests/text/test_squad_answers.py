"""Answers from scores: spans, n-best, no answer; against a plain search over all windows."""

from __future__ import annotations

import numpy as np
import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.squad import Question, Window, best_answers, make_windows
from bertpass.text.tokens.tokenizer import Tokenizer

CONTEXT = "the cat sat on the mat and the dog sat on the log while the fox ran"
QUESTION = Question("q", "who sat", CONTEXT)


def logits_for(windows: list[Window], start: str, end: str, score: float = 5.0) -> list[np.ndarray]:
    """Scores that point at the first word ``start`` and the first word ``end`` of the context."""
    out = []
    for window in windows:
        scores = np.zeros((len(window), 2))
        for column, word in enumerate((start, end)):
            at = np.flatnonzero((window.sequence_ids == 1) & (window.offsets[:, 0] == CONTEXT.index(word)))
            scores[at, column] = score
        out.append(scores)
    return out


@pytest.mark.parametrize("length", [16, 40])
def test_the_answer_is_a_piece_of_the_context(minilm: Tokenizer, length: int) -> None:
    windows = make_windows([QUESTION], minilm, max_seq_length=length, doc_stride=3)
    (found,) = best_answers([QUESTION], windows, logits_for(windows, "dog", "log"))
    assert found.text == CONTEXT[found.start:found.end] == "dog sat on the log"
    assert found.null_odds is None and found.id == "q"


def test_probabilities_are_a_softmax_over_the_n_best(minilm: Tokenizer) -> None:
    windows = make_windows([QUESTION], minilm)
    (found,) = best_answers([QUESTION], windows, logits_for(windows, "dog", "log"), n_best_size=7)
    scores = np.array([c.score for c in found.n_best])
    assert len(scores) == 7 and (np.diff(scores) <= 0).all() and scores[0] == 10.0
    assert [c.probability for c in found.n_best] == pytest.approx(np.exp(scores) / np.exp(scores).sum())
    assert found.probability == found.n_best[0].probability
    assert len({c.text for c in found.n_best}) == 7


def test_maximum_length_and_order(minilm: Tokenizer) -> None:
    windows = make_windows([QUESTION], minilm)
    (found,) = best_answers([QUESTION], windows, logits_for(windows, "dog", "log"), max_answer_length=4)
    assert len(found.text.split()) <= 4 and found.n_best[0].score == 5.0
    (found,) = best_answers([QUESTION], windows, logits_for(windows, "log", "dog"))  # an end before the start
    assert found.n_best[0].score == 5.0


def test_no_answer(minilm: Tokenizer) -> None:
    windows = make_windows([QUESTION], minilm)
    scores = logits_for(windows, "dog", "log")
    scores[0][0] = 6.0  # the first special token: score 12 for no answer
    (found,) = best_answers([QUESTION], windows, scores, version_2=True)
    assert (found.text, found.start, found.end, found.null_odds) == ("", 0, 0, 2.0)
    assert found.n_best[0].text == "" and found.n_best[1].text == "dog sat on the log"
    (found,) = best_answers([QUESTION], windows, scores, version_2=True, null_score_diff_threshold=2.0)
    assert found.text == "dog sat on the log" and found.n_best[0].text == ""
    (found,) = best_answers([QUESTION], windows, scores, version_2=False)
    assert found.text == "dog sat on the log" and all(c.text for c in found.n_best)


def test_no_answer_needs_all_windows_to_agree(minilm: Tokenizer) -> None:
    """The score of no answer is the lowest over the windows."""
    windows = make_windows([QUESTION], minilm, max_seq_length=16, doc_stride=6)
    scores = logits_for(windows, "dog", "dog", score=1.0)
    for at, one in enumerate(scores):
        one[0] = 3.0 if at else 0.5
    (found,) = best_answers([QUESTION], windows, scores, version_2=True)
    assert len(windows) > 1 and found.null_odds == pytest.approx(1.0 - 2.0) and found.text == "dog"


@pytest.mark.parametrize("version_2", [False, True])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_n_best_always_holds_the_answer_and_the_empty_one(minilm: Tokenizer, version_2: bool, count: int) -> None:
    windows = make_windows([QUESTION], minilm)
    (found,) = best_answers([QUESTION], windows, logits_for(windows, "dog", "log"), n_best_size=count,
                            version_2=version_2)
    assert found.text in {c.text for c in found.n_best}
    assert ("" in {c.text for c in found.n_best}) == version_2


def test_random_scores_against_a_plain_search(minilm: Tokenizer) -> None:
    random = np.random.RandomState(3)
    questions = [QUESTION, Question("r", "where is the fox", CONTEXT[20:]), Question("s", "x", "cat")]
    windows = make_windows(questions, minilm, max_seq_length=15, doc_stride=4)
    for _ in range(20):
        scores = [random.normal(size=(15, 2)) for _ in windows]  # padded to one length, as a model gives them
        for number, found in enumerate(best_answers(questions, windows, scores, max_answer_length=3)):
            best = (-np.inf, "")
            for window, one in zip(windows, scores, strict=True):
                if window.question != number:
                    continue
                for i in range(window.context_start, window.context_end):
                    for j in range(i, min(i + 3, window.context_end)):
                        score = one[i, 0] + one[j, 1]
                        if window.is_max_context[i] and score > best[0]:
                            best = (score, questions[number].context[window.offsets[i, 0]:window.offsets[j, 1]])
            assert (found.n_best[0].score, found.text) == (pytest.approx(best[0]), best[1])


def test_wrong_calls(minilm: Tokenizer) -> None:
    windows = make_windows([QUESTION], minilm)
    good = logits_for(windows, "dog", "log")
    with pytest.raises(DataError, match="not finite"):
        best_answers([QUESTION], windows, [good[0] * np.nan])
    with pytest.raises(DataError, match="have shape"):
        best_answers([QUESTION], windows, [good[0][:-1]])
    with pytest.raises(DataError, match="have shape"):
        best_answers([QUESTION], windows, [good[0][:, :1]])
    with pytest.raises(DataError, match="1 windows but logits of 0"):
        best_answers([QUESTION], windows, [])
    with pytest.raises(DataError, match="has no window"):
        best_answers([QUESTION, QUESTION], windows, good)
    with pytest.raises(UsageError, match="at least 1"):
        best_answers([QUESTION], windows, good, n_best_size=0)
