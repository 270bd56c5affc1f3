"""One route for every task, in the form of Hugging Face's pipelines: what its InferenceClient sends to an endpoint, and
SageMaker to a container.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BeforeValidator, Field, ValidationInfo

from bertpass.errors import UsageError, nearest
from bertpass.serving.failures import EmptyInput, InvalidBody
from bertpass.serving.received import bodies
from bertpass.serving.received.fields import Body, checked, is_ids, kind_of, shown, token_ids
from bertpass.serving.received.reading import JsonRoute
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings, labels, ranking, spans, words
from bertpass.serving.tasks.common import Work

_OBJECTS: dict[frozenset[str], type[Body]] = {
    frozenset(cls.model_fields): cls for cls in (bodies.Sentences, bodies.Asked, bodies.Pair)}


def _inputs(value: Any, info: ValidationInfo) -> Any:
    """A text, a list of texts, or one of the objects; a sentence where it is none."""
    if isinstance(value, dict):
        known = list(dict.fromkeys(name for names in _OBJECTS for name in names))
        for name in value:
            if name not in known:
                raise InvalidBody(f"unknown field '{shown(name)}' of inputs.{nearest(name[:60], known)} inputs may be "
                                  "a text, a list of texts, or an object: question and context, source_sentence and "
                                  "sentences, or text and text_pair.", "inputs")
        cls = max(_OBJECTS, key=lambda names: len(names & set(value)))
        return checked(_OBJECTS[cls], value)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise InvalidBody(f"inputs must be a text, a list of texts or an object, and is {kind_of(value)}.", "inputs")
    if is_ids(value):
        raise token_ids("inputs")
    for at, each in enumerate(value, 1):
        if not isinstance(each, str):
            raise InvalidBody(f"inputs must be a text, a list of texts or an object; item {at} is {kind_of(each)}.",
                              "inputs")
    return value


class Parameters(bodies.LabelParameters, bodies.TagParameters):
    """Of Hugging Face's pipelines and clients; each is for some tasks, and refused by the others."""

    max_answer_len: int = Field(default=30, ge=1, description="tokens of the longest answer")
    handle_impossible_answer: bool = Field(default=False, description="the answer may be empty (SQuAD 2.0)")
    align_to_words: bool = Field(default=True, description="an answer begins and ends with whole words, not tokens")
    normalize: bool | None = Field(default=None, description="as beside inputs")
    truncate: bool | None = Field(default=None, description="as beside inputs")
    truncation_direction: bodies.Side | None = Field(default=None, description="as beside inputs")
    targets: str | list[str] | None = Field(default=None, description="words that may stand for a [MASK]")
    prompt_name: str | None = Field(default=None, description="as beside inputs")


class Options(Body):
    """Of Hugging Face's hosted API; they change nothing here, where a model is loaded and nothing is kept."""

    wait_for_model: bool = False
    use_cache: bool = False
    use_gpu: Literal[False] = False


class Pipeline(bodies.Vectors, bodies.Scored):
    """Of Hugging Face's endpoints and SageMaker containers; what ``inputs`` hold says which task is meant."""

    inputs: Annotated[str | list[str] | bodies.Sentences | bodies.Asked | bodies.Pair | None,
                      BeforeValidator(_inputs)] = None
    query: str | None = Field(default=None, description="with texts, in place of inputs: rank them")
    texts: list[str] | None = None
    return_text: bool = Field(default=False, description="with texts: give the texts too")
    top_n: int | None = Field(default=None, ge=1, description="with texts: so many of them, the best")
    parameters: Parameters = Parameters()
    options: Options = Options()

    def model_post_init(self, _: Any) -> None:
        """What stands in ``parameters`` as it may stand beside ``inputs`` counts as if it did."""
        bodies.take_parameters(self, self.parameters)


def router(state: State) -> APIRouter:
    """SageMaker's /ping and /invocations; POST / is the latter under the name that endpoints have."""
    routes = APIRouter(route_class=JsonRoute)

    @routes.get("/ping")
    async def ping() -> dict[str, Any]:
        """As /ready."""
        return state.check_ready()

    @routes.post("/")
    @routes.post("/invocations")
    async def invoke(body: Pipeline, request: Request, response: Response) -> Any:
        """Embeddings, similarities, labels, an answer, entities or a ranking, as the body and the model say."""
        return await state.compute(request, response, work(state, body))

    return routes


_COMMON = {"model", "inputs", "parameters", "options", "truncate"}
_CUT = {"truncation_direction"}
_VECTORS = {*_CUT, "normalize", "dimensions", "prompt", "prompt_name"}
_LABELS = {*_CUT, "raw_scores", "top_k", "function_to_apply"}


def work(state: State, body: Pipeline) -> Work:
    """The task that a body asks for."""
    inputs, chosen = body.inputs, body.parameters
    if body.query is not None or body.texts is not None:
        if inputs is not None:
            raise InvalidBody("send inputs, or query and texts, and not both.", "inputs")
        if body.query is None or body.texts is None:
            lacking = "query" if body.query is None else "texts"
            raise InvalidBody(f"{lacking} is missing; a ranking needs query and texts.", lacking)
        _only(body, "a ranking", {*_CUT, "query", "texts", "raw_scores", "return_text", "top_n"})
        return ranking.rerank(state, bodies.Rerank(**_some(body, bodies.Rerank)))
    if inputs is None:
        raise EmptyInput("send inputs, or query and texts.")
    if isinstance(inputs, bodies.Sentences):
        _only(body, "similarities", {*_CUT, "prompt", "prompt_name"})
        return embeddings.similarity(state, bodies.Similarity(**_some(body, bodies.Similarity, "parameters")))
    if isinstance(inputs, bodies.Asked):
        _only(body, "an answer", {"max_answer_len", "handle_impossible_answer", "align_to_words", "top_k"})
        if chosen.top_k not in (None, 1):
            raise InvalidBody("parameters.top_k must be 1, for one answer is given.", "top_k")
        return spans.answer(state, bodies.Question(
            model=body.model, question=inputs.question, context=inputs.context, truncate=body.truncate,
            max_answer_length=chosen.max_answer_len, handle_impossible_answer=chosen.handle_impossible_answer,
            align_to_words=chosen.align_to_words))
    if isinstance(inputs, bodies.Pair):
        return _labels(state, body, [[inputs.text] if inputs.text_pair is None else [inputs.text, inputs.text_pair]])
    kind = state.model(body.model).kind
    if kind == "tokens":
        _only(body, "entities", {"aggregation_strategy"})
        return spans.tag(state, bodies.Tag(
            **_some(body, bodies.Tag, "parameters"), aggregation_strategy=chosen.aggregation_strategy))
    if kind in common.EMBEDDING:
        _only(body, "embeddings", _VECTORS)
        return embeddings.embed(state, bodies.Embed(**_some(body, bodies.Embed)))
    if kind == "mlm":
        _only(body, "words for a [MASK]", {*_CUT, "top_k", "targets"})
        told = {name: getattr(chosen, name) for name in ("top_k", "targets") if getattr(chosen, name) is not None}
        return words.fill_mask(state, bodies.FillMask(**_some(body, bodies.FillMask), **told))
    if kind == "sparse":
        _only(body, "weights of words", {*_CUT, "prompt", "prompt_name"})
        return words.embed_sparse(state, bodies.EmbedSparse(**_some(body, bodies.EmbedSparse)))
    if kind in ("qa", "ranking", "late"):
        wanted = {"qa": '"inputs": {"question": ..., "context": ...}', "ranking": '"query" and "texts"',
                  "late": '"query" and "texts", or ask /embed_all'}[kind]
        raise UsageError(f"this is a {kind} model; send {wanted}, or name another model.")
    return _labels(state, body, [[text] for text in common.listed(state, inputs)])


def _labels(state: State, body: Pipeline, rows: list[list[str]]) -> Work:
    """A list of labels for every text, also for a single one: what pipelines give with top_k."""
    _only(body, "labels", _LABELS)
    chosen = bodies.LabelParameters(**{name: getattr(body.parameters, name)
                                       for name in bodies.LabelParameters.model_fields})
    return labels.predict(state, bodies.Predict(
        **{**_some(body, bodies.Predict), "inputs": rows, "parameters": chosen}))


def _some(body: Pipeline, cls: type[Body], *leave_out: str) -> dict[str, Any]:
    """The fields of a body that another class has too."""
    return {name: getattr(body, name) for name in cls.model_fields
            if name in type(body).model_fields and name not in leave_out}


def _only(body: Pipeline, task: str, fields: set[str]) -> None:
    """InvalidBody for a field, or a parameter, that the task does not look at."""
    for name in sorted((body.model_fields_set | body.parameters.model_fields_set) - _COMMON):
        if name not in fields:
            raise InvalidBody(f"{name}: the inputs and the model ask for {task}, which {name} would not change; leave "
                              "it out.", name)
