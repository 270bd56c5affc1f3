"""Embeddings of whole texts, and their cosines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertpass.engines.model import with_prompt
from bertpass.errors import UsageError
from bertpass.serving.failures import InvalidBody
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common, quantized
from bertpass.serving.tasks.common import Work


def embeddings(state: State, model: QueuedModel, texts: Sequence[str], truncate: bool | None, normalize: bool,
               dimensions: int | None = None, switch: str = common.SWITCH, prompt: str | None = None,
               ) -> np.ndarray:
    """(texts, units) float32, or their first ``dimensions`` numbers; for the thread of a request.

    ``prompt`` goes before each text; by default the model's own, where it has one.
    """
    put = model.sentence.prompt(prompt)
    common.fit(state, model, truncate, with_prompt(put, list(texts)), switch=switch)
    return finished(model.encode(texts, normalize=False, prompt=put), normalize, dimensions)


def prompt_of(model: QueuedModel, body: bodies.Prompted) -> str | None:
    """The prompt that a body asks for, None for the model's own; InvalidBody where it has none of that name."""
    if body.prompt is not None and body.prompt_name is not None:
        raise InvalidBody("give prompt or prompt_name, not both.", "prompt")
    if body.prompt_name is None:
        return body.prompt
    try:
        return model.sentence.prompt(name=body.prompt_name)
    except UsageError as error:
        raise InvalidBody(f"prompt_name: {error}", "prompt_name") from error


def finished(vectors: np.ndarray, normalize: bool, dimensions: int | None = None) -> np.ndarray:
    """Pooled vectors, cut to their first numbers, and then scaled to length 1 where that is asked for."""
    cut = np.ascontiguousarray(vectors[:, :dimensions])
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12) if normalize else cut


def refuse_dimensions(model: QueuedModel, dimensions: int | None, name: str = "dimensions") -> None:
    """InvalidBody for more numbers than an embedding has."""
    size = model.sentence.size(model.config.units)
    if dimensions is not None and dimensions > size:
        raise InvalidBody(f"{name}: {model.name} gives {size} numbers, and no {dimensions}.", name)


def embed(state: State, body: bodies.Embed) -> Work:
    """One vector a text."""
    model, texts = common.asked(state, body, common.EMBEDDING), common.listed(state, body.inputs)
    refuse_dimensions(model, body.dimensions)
    quantized.check(body.output_dtype, "output_dtype")
    prompt = prompt_of(model, body)
    return lambda: quantized.rows(embeddings(state, model, texts, body.truncate, body.normalize, body.dimensions,
                                             prompt=prompt), body.output_dtype)


def similarity(state: State, body: bodies.Similarity) -> Work:
    """Cosines."""
    model = common.asked(state, body, common.EMBEDDING)
    texts = [*common.listed(state, body.inputs.source_sentence, "source_sentence"),
             *common.listed(state, body.inputs.sentences, "sentences")]
    prompt = prompt_of(model, body)

    def work() -> list[float]:
        vectors = embeddings(state, model, texts, body.truncate, True, prompt=prompt)
        return [float(value) for value in vectors[1:] @ vectors[0]]

    return work
