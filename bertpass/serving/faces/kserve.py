"""The KServe v2 protocol (Open Inference Protocol), for clients such as tritonclient.

A model takes texts (BYTES) and answers as its other route does, or ids (INT64) and answers with what it computes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from bertpass import __version__
from bertpass.errors import UsageError, unknown
from bertpass.serving.failures import EmptyInput, InvalidBody, TooLarge, UnknownModel, UnknownPath
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import tensors
from bertpass.serving.received.fields import shown
from bertpass.serving.received.reading import check_type
from bertpass.serving.received.tensors import Parameters
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings, spans

#: inputs of the form that takes ids; the first is needed
IDS = ("input_ids", "attention_mask", "token_type_ids")
#: (datatype, shape of one element) of an output
Kind = tuple[str, tuple[int, ...]]
Texts = Mapping[str, list[str]]
Outputs = dict[str, np.ndarray]
#: what cuts texts that are too long, in the words of this protocol
SWITCH = '"parameters": {"truncate": true}'


#: names of datatypes in Triton's configuration
_TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}
#: kinds of models that this protocol does not answer with -> what does
_ELSEWHERE = {"sparse": "/embed_sparse", "late": "/embed_all or /rerank", "mlm": "/invocations"}


@dataclass(frozen=True)
class Signature:
    """What a kind of model takes and gives in the form that takes texts."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, Kind]
    compute: Callable[[State, QueuedModel, Texts, Parameters], Outputs]
    optional: tuple[str, ...] = ()
    #: fields of Parameters that are looked at
    parameters: tuple[str, ...] = ("truncate", "truncation_direction")


def signature(model: QueuedModel) -> Signature:
    """That of a model."""
    kind, score, text = model.kind, ("FP32", ()), ("BYTES", ())
    if kind in _ELSEWHERE:
        raise UsageError(f"{model.name} is of the kind {kind}, which has no tensors here; ask {_ELSEWHERE[kind]}.")
    if kind in common.EMBEDDING:
        return Signature(("text",), {"embedding": ("FP32", (model.sentence.size(model.config.units),))}, _embeddings,
                         parameters=("truncate", "truncation_direction", "normalize", "dimensions"))
    if kind == "qa":
        return Signature(("question", "context"),
                         {"answer": text, "score": score, "start": ("INT64", ()), "end": ("INT64", ())}, _answers,
                         parameters=("truncate", "max_answer_length", "handle_impossible_answer"))
    if kind == "tokens":
        return Signature(("text",), {"entities": text}, _entities, parameters=("truncate",))
    if kind == "ranking":
        return Signature(("text", "text_pair"), {"score": score}, _labels)
    if kind == "regression":
        several = {"scores": ("FP32", (model.head.num_labels,))} if model.head.num_labels > 1 else {}
        return Signature(("text",), {"score": score, **several}, _labels, ("text_pair",))
    return Signature(("text",), {"label": text, "score": score, "scores": ("FP32", (model.head.num_labels,))},
                     _labels, ("text_pair",))


def _embeddings(state: State, model: QueuedModel, texts: Texts, asked: Parameters) -> Outputs:
    return {"embedding": embeddings.embeddings(state, model, texts["text"], asked.truncate,
                                               asked.normalize is not False, asked.dimensions, SWITCH)}


def _answers(state: State, model: QueuedModel, texts: Texts, asked: Parameters) -> Outputs:
    for question in texts["question"]:
        spans.fit_question(state, model, asked.truncate, question, SWITCH)
    found = [model.answer(*pair, max_answer_length=asked.max_answer_length or 30,
                          version_2=bool(asked.handle_impossible_answer))
             for pair in zip(texts["question"], texts["context"], strict=True)]
    return {"answer": np.array([each.text for each in found], object),
            "score": np.array([each.score for each in found], np.float32),
            "start": np.array([each.start for each in found]), "end": np.array([each.end for each in found])}


def _entities(_: State, model: QueuedModel, texts: Texts, asked: Parameters) -> Outputs:
    """Each text's entities as JSON, for they are of any number."""
    return {"entities": np.array([json.dumps([spans.entity(each) for each in entities])
                                  for entities in model.tag(texts["text"])], object)}


def _labels(state: State, model: QueuedModel, texts: Texts, asked: Parameters) -> Outputs:
    firsts, seconds = texts["text"], texts.get("text_pair")
    common.fit(state, model, asked.truncate, firsts, seconds, SWITCH)
    found = model.predict(firsts, seconds)
    outputs: Outputs = {"score": np.array([each.score for each in found], np.float32)}
    if found[0].scores:
        outputs["scores"] = np.array([list(each.scores.values()) for each in found], np.float32)
    if model.head.kind != "regression" and found[0].scores:
        outputs["label"] = np.array([each.label or "" for each in found], object)
    return outputs


def router(state: State) -> APIRouter:
    """All routes of the protocol."""
    routes = APIRouter(prefix="/v2")

    @routes.get("")
    async def server() -> dict[str, Any]:
        """Name and version."""
        return {"name": "bertpass", "version": __version__, "extensions": ["binary_tensor_data"]}

    @routes.get("/health/live")
    async def live() -> dict[str, Any]:
        """200 while the server answers."""
        return {"live": True}

    @routes.get("/health/ready")
    async def ready() -> dict[str, Any]:
        """As /ready."""
        return state.check_ready()

    async def about(name: str) -> dict[str, Any]:
        """A model's tensors."""
        found = signature(_model(state, name))
        return {"name": name, "versions": ["1"], "platform": "bertpass",
                "inputs": [{"name": each, "datatype": "BYTES", "shape": [-1]} for each in found.inputs],
                "outputs": [{"name": each, "datatype": datatype, "shape": [-1, *shape]}
                            for each, (datatype, shape) in found.outputs.items()]}

    async def config(name: str) -> dict[str, Any]:
        """A model's tensors in the words of Triton's configuration."""
        found = signature(_model(state, name))
        return {"name": name, "platform": "bertpass", "backend": "bertpass",
                "max_batch_size": state.options.max_client_batch_size,
                "input": [{"name": each, "data_type": "TYPE_STRING", "dims": [1],
                           "optional": each in found.optional} for each in (*found.inputs, *found.optional)],
                "output": [{"name": each, "data_type": _TYPES[datatype], "dims": list(shape) or [1]}
                           for each, (datatype, shape) in found.outputs.items()]}

    async def model_ready(name: str) -> dict[str, Any]:
        """As /ready, for a model that is served."""
        state.model(name)
        return state.check_ready()

    async def infer(name: str, request: Request, response: Response) -> Response:
        """What a model computes of tensors."""
        model = state.model(name)
        if request.headers.get(tensors.LENGTH) is None:
            check_type(request.headers.get("content-type"))
        asked, inputs = tensors.read(await request.body(), request.headers.get(tensors.LENGTH))
        outputs = await state.compute(request, response, _work(state, model, asked, inputs))
        told = {"model_name": name, "model_version": "1", **({"id": asked.id} if asked.id is not None else {})}
        body, length = tensors.write(told, outputs, asked)
        headers = {**response.headers, **({} if length is None else {tensors.LENGTH: str(length)})}
        return Response(body, media_type="application/json" if length is None else "application/octet-stream",
                        headers=headers)

    content = {"content": {"application/json": {"schema": _inlined(tensors.Infer.model_json_schema())},
                           "application/octet-stream": {}}, "required": True}
    # names may hold slashes, so the longer paths come first
    for path, more in (("/models/{name:path}/versions/{version}", [Depends(_any_version)]),
                       ("/models/{name:path}", [])):
        routes.get(path + "/ready", dependencies=more)(model_ready)
        routes.get(path + "/config", dependencies=more)(config)
        routes.post(path + "/infer", dependencies=more, openapi_extra={"requestBody": content})(infer)
        routes.get(path, dependencies=more)(about)
    return routes


def _model(state: State, name: str) -> QueuedModel:
    """The model of that name; where a model's name is only its beginning, the rest is no path."""
    try:
        return state.model(name)
    except UnknownModel:
        for model in state.models:
            if name.startswith(model + "/"):
                raise UnknownPath(f"there is no path {shown(f'/v2/models/{name}')}; below the model {model} there are "
                                  "ready, config and infer.") from None
        raise


def _any_version(version: str) -> None:
    """A model has one version, whatever number a client writes."""


def _work(state: State, model: QueuedModel, asked: tensors.Infer, inputs: Mapping[str, np.ndarray]) -> common.Work:
    form = signature(model)
    known = IDS if IDS[0] in inputs else (*form.inputs, *form.optional)
    for name in inputs:
        if name not in known:
            raise UsageError(unknown(f"input of {model.name}", shown(name), dict.fromkeys((*known, *IDS))))
    looked_at = form.parameters
    if known is IDS:
        looked_at = ("normalize", "dimensions") if model.head.kind == "embedding" else ()
    for name in sorted(asked.parameters.model_fields_set - {"binary_data_output"}):
        if name not in looked_at:
            raise InvalidBody(f"parameters.{name} would change nothing of what {model.name} computes of "
                              f"{' and '.join(inputs)}; leave it out.", "parameters")
    embeddings.refuse_dimensions(model, asked.parameters.dimensions)
    model = model.cutting(asked.parameters.truncation_direction)
    if known is IDS:
        return _ids(state, model, inputs, asked.parameters)
    for name in form.inputs:
        if name not in inputs:
            raise UsageError(f"{model.name} needs the inputs {' and '.join(form.inputs)}, or {IDS[0]}; {name} is "
                             "missing.")
    texts = {name: _texts(state, name, array) for name, array in inputs.items()}
    if len(set(map(len, texts.values()))) > 1:
        raise UsageError(f"{' and '.join(texts)} must have the same number of elements.")
    return lambda: form.compute(state, model, texts, asked.parameters)


def _texts(state: State, name: str, array: np.ndarray) -> list[str]:
    if array.dtype != object:
        raise UsageError(f"{name} must be BYTES.")
    return common.listed(state, array.ravel().tolist(), name)


def _ids(state: State, model: QueuedModel, inputs: Mapping[str, np.ndarray], asked: Parameters) -> common.Work:
    """Rows of ids, padded on the right; the output has the name of what the model computes."""
    ids, mask, types = (inputs.get(name) for name in IDS)
    assert ids is not None  # _work looked for it
    if not ids.size:
        raise EmptyInput(f"{IDS[0]} must not be empty.")
    common.refuse_many(state, len(ids), IDS[0])
    valid = None
    if mask is not None:
        if mask.shape != ids.shape or ids.ndim != 2 or not np.isin(mask, (0, 1)).all() or \
                (np.diff(mask, axis=1) > 0).any():
            raise UsageError(f"{IDS[1]} must have the shape of {IDS[0]} and in each row ones, then zeros.")
        valid = mask.sum(axis=1)
    elif ids.ndim == 2 and (ids[:, -1] == model.tokenizer.pad_id).any():
        row = 1 + int(np.argmax(ids[:, -1] == model.tokenizer.pad_id))
        raise UsageError(f"row {row} of {IDS[0]} ends with the padding id {model.tokenizer.pad_id}, which would be "
                         f"computed as a word; send {IDS[1]}, or rows without padding.")
    longest = ids.shape[-1] if valid is None else int(valid.max())
    if longest > model.max_length:
        raise TooLarge(f"a row of {IDS[0]} has {longest} tokens and the model takes {model.max_length}; cut it.")
    if model.head.per_token:
        common.refuse_large_outputs(state, ids.size)
    name = {"embedding": "embedding", "none": "last_hidden_state", "pooled": "last_hidden_state"}.get(
        model.head.kind, "logits")

    def work() -> Outputs:
        found = model.forward(ids, types, valid)[0]
        if name == "embedding":
            found = model.sentence.finish(found)
        return {name: embeddings.finished(found, asked.normalize is not False, asked.dimensions)
                if name == "embedding" else found}

    return work


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose parts stand where they are referred to: they have no place of their own in the OpenAPI file."""
    parts = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(parts[node["$ref"].rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(each) for each in node] if isinstance(node, Sequence) and not isinstance(node, str) else node

    whole: dict[str, Any] = resolved(schema)
    return whole
