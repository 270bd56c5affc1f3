"""One route for every task, in the form of Hugging Face's pipelines: what its InferenceClient sends to an endpoint, and
SageMaker to a container.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bertpass.errors import UsageError
from bertpass.serving import bodies, tasks
from bertpass.serving.failures import EmptyInput
from bertpass.serving.state import State
from bertpass.serving.tasks import Work


def router(state: State) -> APIRouter:
    """SageMaker's /ping and /invocations; POST / is the latter under the name that endpoints have."""
    routes = APIRouter()

    @routes.get("/ping")
    async def ping() -> dict[str, Any]:
        """As /ready."""
        return state.check_ready()

    @routes.post("/")
    @routes.post("/invocations")
    async def invoke(body: bodies.Pipeline, request: Request, response: Response) -> Any:
        """Embeddings, similarities, labels, an answer, entities or a ranking, as the body and the model say."""
        return await state.compute(request, response, work(state, body))

    return routes


def work(state: State, body: bodies.Pipeline) -> Work:
    """The task that a body asks for."""
    inputs, chosen = body.inputs, body.parameters
    if body.query is not None:
        return tasks.rerank(state, bodies.Rerank(model=body.model, truncate=body.truncate, query=body.query,
                                                 texts=body.texts))
    if inputs is None:
        raise EmptyInput("send inputs, or query and texts.")
    if isinstance(inputs, bodies.Sentences):
        return tasks.similarity(state, bodies.Similarity(model=body.model, truncate=body.truncate, inputs=inputs))
    if isinstance(inputs, bodies.Asked):
        return tasks.answer(state, bodies.Question(
            model=body.model, question=inputs.question, context=inputs.context,
            max_answer_length=chosen.max_answer_len, handle_impossible_answer=chosen.handle_impossible_answer))
    if isinstance(inputs, bodies.Pair):
        return _labels(state, body, [[inputs.text] if inputs.text_pair is None else [inputs.text, inputs.text_pair]])
    kind = state.model(body.model).head.kind
    if kind == "tokens":
        return tasks.tag(state, bodies.Tag(model=body.model, inputs=inputs))
    if kind in tasks.EMBEDDING:
        return tasks.embed(state, bodies.Embed(model=body.model, truncate=body.truncate, inputs=inputs,
                                               normalize=body.normalize))
    if kind in ("qa", "ranking"):
        wanted = {"qa": '"inputs": {"question": ..., "context": ...}', "ranking": '"query" and "texts"'}[kind]
        raise UsageError(f"this is a {kind} model; send {wanted}, or name another model.")
    return _labels(state, body, [[text] for text in tasks.listed(state, inputs)])


def _labels(state: State, body: bodies.Pipeline, rows: list[list[str]]) -> Work:
    """A list of labels for every text, also for a single one: what pipelines give with top_k."""
    predict = tasks.predict(state, bodies.Predict(model=body.model, truncate=body.truncate, inputs=rows))
    return lambda: [labels[:body.parameters.top_k] for labels in predict()]
