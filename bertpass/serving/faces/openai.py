"""OpenAI's /v1/embeddings and /v1/models, and /v1/rerank of Cohere and Jina, for clients that have them built in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from bertpass.serving.failures import InvalidBody
from bertpass.serving.received import bodies
from bertpass.serving.received.fields import Body, Texts, checked, kind_of
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings, quantized, ranking


class Embeddings(bodies.Prompted):
    """Of OpenAI's API, with the cut of the other routes; token ids in place of texts are not taken."""

    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    output_dtype: bodies.Dtype = Field(default="float", description="float, or binary (int8) and ubinary (uint8): "
                                       "whether numbers are above 0, eight in a byte")
    dimensions: int | None = Field(
        default=None, ge=1, description="so many numbers from the front of each embedding, scaled to length 1")
    user: str | None = Field(default=None, description="changes nothing")


class Passage(Body):
    text: str


def _documents(value: Any) -> Any:
    if not isinstance(value, list):
        raise InvalidBody(f"documents must be a list of texts, and is {kind_of(value)}.", "documents")
    for at, each in enumerate(value, 1):
        if not isinstance(each, (str, dict)):
            raise InvalidBody(f"documents must be texts, or objects with a text; item {at} is {kind_of(each)}.",
                              "documents")
    return [each if isinstance(each, str) else checked(Passage, each) for each in value]


class Ranking(bodies.Scored):
    """Of Cohere's and Jina's API, and of infinity's."""

    query: str
    documents: Annotated[list[str | Passage], BeforeValidator(_documents)]
    top_n: int | None = Field(default=None, ge=1, description="so many of them, the best")
    return_documents: bool = Field(default=False, description="give the documents too")


class ErrorParts(BaseModel):
    message: str = Field(description="what is wrong and what to do")
    type: str = Field(description="the kind of cause")
    param: str | None = Field(description="the field that is meant")
    code: str | None = Field(description="the cause in one word, for programs")


class Error(BaseModel):
    """The answer of every status but 200."""

    error: ErrorParts


def router(state: State) -> APIRouter:
    """All these routes."""
    routes = APIRouter(prefix="/v1", route_class=JsonRoute)

    @routes.post("/embeddings")
    async def embed(body: Embeddings, request: Request, response: Response) -> dict[str, Any]:
        """Embeddings of length 1, as numbers or as base64 of little-endian float32."""
        return await embedded(state, body, request, response)

    @routes.post("/rerank")
    async def rerank(body: Ranking, request: Request, response: Response) -> dict[str, Any]:
        """Documents by their relevance to a query, the most relevant first."""
        texts = [each if isinstance(each, str) else each.text for each in body.documents]
        given = {name: getattr(body, name) for name in (*bodies.Scored.model_fields, "query", "top_n")}
        common.listed(state, texts, "documents")
        work = ranking.rerank(state, bodies.Rerank(**given, texts=texts))
        ranked = await state.compute(request, response, work)
        return {"model": common.asked(state, body, common.RANKING).name, "usage": _usage(response),
                "results": [{"index": each["index"], "relevance_score": each["score"],
                             **({"document": {"text": texts[each["index"]]}} if body.return_documents else {})}
                            for each in ranked]}

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models that are served."""
        return {"object": "list", "data": [_about(name) for name in state.models]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return _about(state.model(name).name)

    return routes


async def embedded(state: State, body: Embeddings, request: Request, response: Response) -> dict[str, Any]:
    """The answer to a request for embeddings."""
    model, texts = common.asked(state, body, common.EMBEDDING), common.listed(state, body.input, "input")
    embeddings.refuse_dimensions(model, body.dimensions)
    quantized.check(body.output_dtype, "output_dtype")
    prompt = embeddings.prompt_of(model, body)
    vectors = await state.compute(request, response, lambda: embeddings.embeddings(
        state, model, texts, body.truncate, True, body.dimensions, prompt=prompt))
    kind = body.output_dtype
    written = [quantized.base64_of(row, kind) for row in vectors] if body.encoding_format == "base64" else \
        quantized.rows(vectors, kind)
    return {"object": "list", "model": model.name,
            "data": [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(written)],
            "usage": _usage(response)}


def _about(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "bertpass"}


def _usage(response: Response) -> dict[str, int]:
    tokens = int(response.headers["x-compute-tokens"])
    return {"prompt_tokens": tokens, "total_tokens": tokens}
