"""/classify as vLLM has it, and /v1/classify as infinity has it: labels of texts."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from bertpass.serving.received import bodies
from bertpass.serving.received.fields import Texts
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State
from bertpass.serving.tasks import common, labels


class Classify(bodies.Cut):
    """Of vLLM."""

    input: Texts
    use_activation: bool = Field(default=True, description="probabilities; false gives logits")


class InfinityClassify(bodies.Scored):
    """Of infinity."""

    input: Texts


def router(state: State) -> APIRouter:
    """Both routes."""
    routes = APIRouter(route_class=JsonRoute)

    @routes.post("/classify")
    async def classify(body: Classify, request: Request, response: Response) -> dict[str, Any]:
        """The best label of each text, with the probability of every label in the model's order (vLLM)."""
        model, texts = common.asked(state, body, common.CLASSIFIER), common.listed(state, body.input, "input")

        def work() -> list[dict[str, float]]:
            common.fit(state, model, body.truncate, texts)
            return labels.label_scores(model, texts, None, None if body.use_activation else "none")
        found = await state.compute(request, response, work)
        data = [{"index": at, "label": max(scores, key=lambda name: scores[name]) if model.labels else None,
                 "probs": list(scores.values()), "num_classes": len(scores)} for at, scores in enumerate(found)]
        return {**_told("classify-", model.name), "object": "list", "data": data, "usage": _usage(response)}

    @routes.post("/v1/classify")
    async def classify_v1(body: InfinityClassify, request: Request, response: Response) -> dict[str, Any]:
        """The labels of each text with their scores, the best first (infinity)."""
        model, texts = common.asked(state, body, common.CLASSIFIER), common.listed(state, body.input, "input")
        given = {name: getattr(body, name) for name in ("model", "truncate", "truncation_direction", "raw_scores")}
        found = await state.compute(request, response, labels.predict(state, bodies.Predict(
            **given, inputs=[[text] for text in texts])))
        return {**_told("infinity-", model.name), "object": "classify", "data": found, "usage": _usage(response)}

    return routes


def _told(prefix: str, name: str) -> dict[str, Any]:
    return {"id": prefix + uuid.uuid4().hex, "created": int(time.time()), "model": name}


def _usage(response: Response) -> dict[str, int]:
    tokens = int(response.headers["x-compute-tokens"])
    return {"prompt_tokens": tokens, "total_tokens": tokens}
