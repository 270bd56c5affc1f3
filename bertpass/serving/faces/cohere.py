"""Cohere's second API: /v2/rerank and /v2/embed."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from bertpass.serving.failures import InvalidBody
from bertpass.serving.received import bodies
from bertpass.serving.received.fields import Body
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings, quantized, ranking

#: what texts are for -> names that models have for its prompt
PROMPTS = {"search_query": ("search_query", "query"),
           "search_document": ("search_document", "document", "passage", "corpus"),
           "classification": ("classification",), "clustering": ("clustering",)}
#: what is cut -> truncate and the side of the other routes
CUTS: dict[str, tuple[bool, Literal["left", "right"] | None]] = {
    "NONE": (False, None), "START": (True, "left"), "END": (True, "right")}


class CohereRanking(Body):
    """Of /v2/rerank."""

    model: str | None = Field(default=None, description="which of the served models; default: the first that ranks")
    query: str
    documents: list[str]
    top_n: int | None = Field(default=None, ge=1, description="so many of them, the best")


class CohereEmbeddings(Body):
    """Of /v2/embed."""

    model: str | None = Field(default=None, description="which of the served models; default: the first that fits")
    texts: list[str]
    input_type: Literal["search_document", "search_query", "classification", "clustering"] | None = Field(
        default=None, description="the prompt of a model that has prompts; of another model it changes nothing")
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] = Field(
        default=["float"], description="float, base64 (of float32), binary, ubinary")
    output_dimension: int | None = Field(default=None, ge=1, description="so many numbers from the front of each")
    truncate: Literal["NONE", "START", "END"] = Field(
        default="END", description="the end at which texts that are too long are cut; with NONE they are refused")


def router(state: State) -> APIRouter:
    """Both routes."""
    routes = APIRouter(prefix="/v2", route_class=JsonRoute)

    @routes.post("/rerank")
    async def rerank_v2(body: CohereRanking, request: Request, response: Response) -> dict[str, Any]:
        """Documents by their relevance to a query, the most relevant first."""
        common.listed(state, body.documents, "documents")
        ranked = await state.compute(request, response, ranking.rerank(state, bodies.Rerank(
            model=body.model, query=body.query, texts=body.documents, top_n=body.top_n)))
        return {"id": str(uuid.uuid4()), "meta": _meta(response),
                "results": [{"index": each["index"], "relevance_score": each["score"]} for each in ranked]}

    @routes.post("/embed")
    async def embed_v2(body: CohereEmbeddings, request: Request, response: Response) -> dict[str, Any]:
        """Embeddings of length 1, in each of the forms that are asked for."""
        truncate, side = CUTS[body.truncate]
        asked = bodies.Embed(model=body.model, inputs=body.texts, truncation_direction=side)
        model = common.asked(state, asked, common.EMBEDDING)
        texts = common.listed(state, body.texts, "texts")
        embeddings.refuse_dimensions(model, body.output_dimension, "output_dimension")
        for kind in body.embedding_types:
            quantized.check(kind, "embedding_types")
        prompt = None
        if body.input_type is not None and model.sentence.prompts:
            known = [name for name in PROMPTS[body.input_type] if name in model.sentence.prompts]
            if not known:
                raise InvalidBody(f"input_type: {model.name} has no prompt for {body.input_type}; its prompts are "
                                  f"{', '.join(model.sentence.prompts)}.", "input_type")
            prompt = model.sentence.prompts[known[0]]
        vectors = await state.compute(request, response, lambda: embeddings.embeddings(
            state, model, texts, truncate, True, body.output_dimension, '"truncate": "END"', prompt))
        return {"id": str(uuid.uuid4()), "response_type": "embeddings_by_type", "texts": texts, "meta": _meta(response),
                "embeddings": {kind: [quantized.base64_of(row, "float") for row in vectors] if kind == "base64"
                               else quantized.rows(vectors, kind) for kind in dict.fromkeys(body.embedding_types)}}

    return routes


def _meta(response: Response) -> dict[str, Any]:
    return {"api_version": {"version": "2"},
            "billed_units": {"input_tokens": int(response.headers["x-compute-tokens"])}}
