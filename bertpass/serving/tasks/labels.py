"""Labels of texts and of pairs, and the scores that rankings are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertpass.engines import results
from bertpass.engines.model import with_prompt
from bertpass.serving.failures import EmptyInput, InvalidBody
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common
from bertpass.serving.tasks.common import Work
from bertpass.text.data.labels import placeholders


def predict(state: State, body: bodies.Predict) -> Work:
    """Labels with their scores, the highest first; a list of such lists for a batch."""
    chosen = body.parameters
    if body.raw_scores and chosen.function_to_apply not in (None, "none"):
        raise InvalidBody("raw_scores are logits, to which no function is applied; leave out one of raw_scores and "
                          "function_to_apply.", "function_to_apply")
    model = common.asked(state, body, common.CLASSIFIER)
    single = isinstance(body.inputs, str) or all(isinstance(each, str) for each in body.inputs)
    rows: Any = [body.inputs] if single else body.inputs
    firsts, seconds = _pairs(state, [[row] if isinstance(row, str) else row for row in rows])
    wanted = "none" if body.raw_scores else chosen.function_to_apply

    def work() -> list[Any]:
        common.fit(state, model, body.truncate, firsts, seconds)
        found = [_best_first(scores)[:chosen.top_k] for scores in label_scores(model, firsts, seconds, wanted)]
        return found[0] if single else found

    return work


def _pairs(state: State, rows: list[list[str]]) -> tuple[list[str], list[str] | None]:
    """First and second texts of a batch whose rows are single texts, or pairs."""
    if not all(rows):
        raise EmptyInput("inputs must not be empty.")
    firsts = common.listed(state, [row[0] for row in rows])
    return firsts, common.listed(state, [row[1] for row in rows]) if len(rows[0]) == 2 else None


def _best_first(scores: dict[str, float]) -> list[dict[str, Any]]:
    return [{"label": label, "score": scores[label]} for label in sorted(scores, key=lambda name: -scores[name])]


def label_scores(model: QueuedModel, firsts: Sequence[str], seconds: Sequence[str] | None, apply: str | None,
                 ) -> list[dict[str, float]]:
    """The score of each label, in the order of the logits; of a model without labels that of "score".

    ``apply`` is what makes scores of logits: "none", "sigmoid", "softmax"; default: what the model says.
    """
    if apply is None:
        return [each.scores or {"score": each.score} for each in model.predict(firsts, seconds)]
    firsts = with_prompt(model.sentence.prompt(), list(firsts))
    rows = model.run(model.tokenizer.encode(firsts, seconds, max_length=model.max_length))
    one = model.head.kind in ("regression", "ranking") and model.head.num_labels == 1
    names = ["score"] if one else model.labels or placeholders(model.head.num_labels)
    return [dict(zip(names, map(float, _APPLIED[apply](row)), strict=True)) for row in rows]


_APPLIED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda logits: logits, "sigmoid": results.sigmoid, "softmax": results.softmax}
