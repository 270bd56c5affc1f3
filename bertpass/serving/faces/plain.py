"""The routes of text-embeddings-inference that compute, and /qa and /ner, which it does not have."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bertpass.serving.received import bodies
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State
from bertpass.serving.tasks import embeddings, labels, ranking, spans, tokens, words


def router(state: State) -> APIRouter:
    """All these routes."""
    routes = APIRouter(route_class=JsonRoute)

    @routes.post("/embed")
    async def embed(body: bodies.Embed, request: Request, response: Response) -> list[list[float]]:
        """Sentence embeddings, one a text."""
        return await state.compute(request, response, embeddings.embed(state, body))

    @routes.post("/embed_all")
    async def embed_all(body: bodies.EmbedAll, request: Request, response: Response) -> list[list[list[float]]]:
        """Token states, one list per text, special tokens included; of a model of late interaction its vectors."""
        return await state.compute(request, response, tokens.embed_all(state, body))

    @routes.post("/embed_sparse")
    async def embed_sparse(body: bodies.EmbedSparse, request: Request, response: Response,
                           ) -> list[list[dict[str, Any]]]:
        """The words of each text with their weights, by their ids: ``index`` and ``value`` (SPLADE)."""
        return await state.compute(request, response, words.embed_sparse(state, body))

    @routes.post("/predict")
    async def predict(body: bodies.Predict, request: Request, response: Response) -> list[Any]:
        """Labels with their scores, the most probable first; a list of such lists for a batch."""
        return await state.compute(request, response, labels.predict(state, body))

    @routes.post("/rerank")
    async def rerank(body: bodies.Rerank, request: Request, response: Response) -> list[dict[str, Any]]:
        """Texts by their relevance to a query, the most relevant first."""
        return await state.compute(request, response, ranking.rerank(state, body))

    @routes.post("/similarity")
    async def similarity(body: bodies.Similarity, request: Request, response: Response) -> list[float]:
        """Cosine of the source sentence's embedding with each of the others'."""
        return await state.compute(request, response, embeddings.similarity(state, body))

    @routes.post("/qa")
    async def answer(body: bodies.Question, request: Request, response: Response) -> dict[str, Any]:
        """The characters of the context that answer the question; a context of any length."""
        return await state.compute(request, response, spans.answer(state, body))

    @routes.post("/ner")
    async def tag(body: bodies.Tag, request: Request, response: Response) -> list[Any]:
        """The entities of a text; a list of such lists for a list of texts, of any length."""
        return await state.compute(request, response, spans.tag(state, body))

    @routes.post("/tokenize")
    async def tokenize(body: bodies.Tokenize, request: Request, response: Response) -> list[list[dict[str, Any]]]:
        """The tokens of each text, not cut; ``start`` and ``stop`` are characters."""
        return await state.compute(request, response, tokens.tokenize(state, body))

    @routes.post("/decode")
    async def decode(body: bodies.Decode, request: Request, response: Response) -> list[str]:
        """The text of each list of token ids."""
        return await state.compute(request, response, tokens.decode(state, body))

    return routes
