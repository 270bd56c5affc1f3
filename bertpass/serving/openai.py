"""OpenAI's /v1/embeddings and /v1/models, for clients that have them built in."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from bertpass.errors import UsageError
from bertpass.serving.bodies import OpenAIEmbeddings
from bertpass.serving.state import State
from bertpass.serving.tasks import EMBEDDING, embeddings, listed


def router(state: State) -> APIRouter:
    """Both routes."""
    routes = APIRouter(prefix="/v1")

    @routes.post("/embeddings")
    async def embed(body: OpenAIEmbeddings, request: Request, response: Response) -> dict[str, Any]:
        """Embeddings of length 1, as numbers or as base64 of little-endian float32."""
        model, texts = state.model(body.model, EMBEDDING), listed(state, body.input, "input")
        if body.dimensions not in (None, model.config.units):
            raise UsageError(f"dimensions: {model.name} gives {model.config.units} and no other number.")
        vectors = await state.compute(request, response, lambda: embeddings(state, model, texts, None, True))
        tokens = int(response.headers["x-compute-tokens"])
        return {"object": "list", "model": model.name,
                "data": [{"object": "embedding", "index": at, "embedding": _written(row, body.encoding_format)}
                         for at, row in enumerate(vectors)],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models that are served."""
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "bertpass"}
                                           for name in state.models]}

    return routes


def _written(row: np.ndarray, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    numbers: list[float] = row.tolist()
    return numbers
