"""Passages by their relevance to a query: by a cross-encoder, or by late interaction."""

from __future__ import annotations

from typing import Any

from bertpass.serving.failures import InvalidBody
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common, labels, late
from bertpass.serving.tasks.common import Work


def rerank(state: State, body: bodies.Rerank) -> Work:
    """Places of the texts with scores, the most relevant first; those of late interaction are MaxSim, a sum."""
    model = common.asked(state, body, common.RANKING)
    query, texts = common.listed(state, body.query, "query")[0], common.listed(state, body.texts, "texts")
    if model.kind == "late" and body.raw_scores:
        raise InvalidBody(f"raw_scores would change nothing: the scores of {model.name} are sums of products, and no "
                          "probabilities; leave it out.", "raw_scores")

    def work() -> list[dict[str, Any]]:
        if model.kind == "late":
            scores = late.max_sims(state, model, body.truncate, query, texts)
        else:
            common.fit(state, model, body.truncate, [query] * len(texts), texts)
            found = labels.label_scores(model, [query] * len(texts), texts, "none" if body.raw_scores else None)
            scores = [each["score"] for each in found]
        best = sorted(range(len(scores)), key=lambda at: -scores[at])[:body.top_n]
        return [{"index": at, "score": scores[at], **({"text": texts[at]} if body.return_text else {})} for at in best]

    return work
