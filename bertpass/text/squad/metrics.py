"""The evaluation of SQuAD 1.1 (Rajpurkar et al. 2016) and 2.0 (2018): exact match, F1 of words, best thresholds."""

from __future__ import annotations

import re
import string
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

from bertpass.errors import DataError
from bertpass.text.squad.data import Question, SquadData

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and extra white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(prediction: str, gold: str) -> float:
    """1.0 if both are the same once normalized, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str, *, version_2: bool = True) -> float:
    """Harmonic mean of precision and recall of the words, counted with repetition.

    Where one of the two has no words, 2.0 gives 1.0 if neither has, else 0.0; 1.1 gives 0.0.
    """
    predicted, wanted = normalize(prediction).split(), normalize(gold).split()
    if not predicted or not wanted:
        return float(version_2 and predicted == wanted)
    common = sum((Counter(predicted) & Counter(wanted)).values())
    return 2.0 * common / (len(predicted) + len(wanted))


def evaluate(data: SquadData, predictions: Mapping[str, str],
             no_answer_probability: Mapping[str, float] | None = None) -> dict[str, float]:
    """Score predictions (answers by question id), in percent.

    Returns
    -------
    dict
        ``exact``, ``f1``, ``total``. For 2.0 also ``HasAns_exact``, ``HasAns_f1``, ``HasAns_total`` and the same for
        ``NoAns``, where there are such questions. With ``no_answer_probability`` (any number that grows with the belief
        that there is no answer) also ``best_exact``, ``best_exact_thresh``, ``best_f1``, ``best_f1_thresh``: the best
        that leaving the questions above a threshold without answer can reach.

    A missing prediction counts as wrong in 1.1 and is left out of the totals in 2.0, as in the official programs; both
    warn.

    Raises
    ------
    DataError
        The data has no answers, there is no prediction for any question, or a probability is missing.
    """
    if not data.labelled:
        raise DataError("the questions have no answers, so predictions cannot be scored.")
    answered = [q for q in data.questions if q.id in predictions]
    if not answered:
        raise DataError("no question of the data has a prediction; are the predictions of another file?")
    if len(answered) < len(data.questions):
        warnings.warn(f"{len(data.questions) - len(answered)} of {len(data.questions)} questions have no prediction.",
                      stacklevel=2)
    exact_scores = {q.id: max(exact(predictions[q.id], g) for g in _gold(q, data.version_2)) for q in answered}
    f1_scores = {q.id: max(f1(predictions[q.id], g, version_2=data.version_2) for g in _gold(q, data.version_2))
                 for q in answered}
    if not data.version_2:
        total = len(data.questions)
        return {"exact": 100.0 * sum(exact_scores.values()) / total, "f1": 100.0 * sum(f1_scores.values()) / total,
                "total": total}
    out = _means(answered, exact_scores, f1_scores)
    for prefix, has_answer in (("HasAns_", True), ("NoAns_", False)):
        part = [q for q in answered if bool(q.answers) is has_answer]
        if part:
            out |= {prefix + name: value for name, value in _means(part, exact_scores, f1_scores).items()}
    if no_answer_probability is not None:
        missing = next((q.id for q in answered if q.id not in no_answer_probability), None)
        if missing is not None:
            raise DataError(f"question {missing!r} has a prediction but no no-answer probability.")
        for name, scores in (("exact", exact_scores), ("f1", f1_scores)):
            out[f"best_{name}"], out[f"best_{name}_thresh"] = _best_threshold(
                answered, predictions, scores, no_answer_probability)
    return out


def _gold(question: Question, version_2: bool) -> list[str]:
    texts = [a.text for a in question.answers or ()]
    if version_2:
        texts = [t for t in texts if normalize(t)]
    return texts or [""]


def _means(questions: Iterable[Question], exact_scores: Mapping[str, float],
           f1_scores: Mapping[str, float]) -> dict[str, float]:
    ids = [q.id for q in questions]
    return {"exact": 100.0 * sum(exact_scores[i] for i in ids) / len(ids),
            "f1": 100.0 * sum(f1_scores[i] for i in ids) / len(ids), "total": len(ids)}


def _best_threshold(questions: list[Question], predictions: Mapping[str, str], scores: Mapping[str, float],
                    no_answer: Mapping[str, float]) -> tuple[float, float]:
    """The best mean score (percent) over thresholds, and its threshold.

    Starts with no question answered and answers them one by one in the order of their no-answer probability: a question
    with gold answers adds its score; one without costs 1 if its prediction is not empty.
    """
    current = best = float(sum(not q.answers for q in questions))
    threshold = 0.0
    for question in sorted(questions, key=lambda q: no_answer[q.id]):
        if question.answers:
            current += scores[question.id]
        elif predictions[question.id]:
            current -= 1.0
        if current > best:
            best, threshold = current, no_answer[question.id]
    return 100.0 * best / len(questions), threshold
