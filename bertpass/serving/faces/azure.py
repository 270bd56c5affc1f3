"""Azure's addresses of OpenAI's API: the model stands in the path, the key in the header api-key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bertpass.serving.faces import openai
from bertpass.serving.failures import InvalidBody
from bertpass.serving.received.fields import shown
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State


def router(state: State) -> APIRouter:
    """Its one route; the gate reads the key, and lets ?api-version= pass, which changes nothing."""
    routes = APIRouter(prefix="/openai/deployments", route_class=JsonRoute)

    @routes.post("/{name:path}/embeddings")
    async def azure_embeddings(name: str, body: openai.Embeddings, request: Request, response: Response,
                               ) -> dict[str, Any]:
        """As /v1/embeddings, of the model in the path."""
        if body.model not in (None, name):
            raise InvalidBody(f"model is '{shown(str(body.model))}' in the body and '{shown(name)}' in the path; send "
                              "it once.", "model")
        return await openai.embedded(state, body.model_copy(update={"model": name}), request, response)

    return routes
