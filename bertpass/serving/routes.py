"""The routes that compute, as in text-embeddings-inference, and /qa and /ner, which it does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from bertpass.engines.results import Entity, Prediction
from bertpass.serving import bodies
from bertpass.serving.calls import QueuedModel
from bertpass.serving.failures import EmptyInput, TooLarge
from bertpass.serving.state import State

EMBEDDING = ("embedding", "none", "pooled")
CLASSIFIER = ("classification", "multilabel", "regression", "ranking")


def listed(state: State, inputs: str | Sequence[str], name: str = "inputs") -> list[str]:
    """Texts as a list; EmptyInput where there are none or one is empty, TooLarge where there are too many."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not texts or not all(texts):
        raise EmptyInput(f"{name} must not be empty.")
    most = state.options.max_client_batch_size
    if len(texts) > most:
        raise TooLarge(f"{name} holds {len(texts)} texts and the server takes {most} at a time; send less.")
    return texts


def fit(state: State, model: QueuedModel, truncate: bool | None, texts: Sequence[str],
        pairs: Sequence[str] | None = None) -> None:
    """Refuse texts that are too long where they are not to be cut."""
    if not (state.options.auto_truncate if truncate is None else truncate):
        model.refuse_long(texts, pairs)


def embeddings(state: State, model: QueuedModel, texts: Sequence[str], truncate: bool | None,
               normalize: bool) -> np.ndarray:
    """(texts, units) float32; for the thread of a request."""
    fit(state, model, truncate, texts)
    return model.encode(texts, normalize=normalize)


def router(state: State) -> APIRouter:
    """All these routes."""
    routes = APIRouter()

    @routes.post("/embed")
    async def embed(body: bodies.Embed, request: Request, response: Response) -> list[list[float]]:
        """Sentence embeddings, one a text."""
        model, texts = state.model(body.model, EMBEDDING), listed(state, body.inputs)
        return await state.compute(request, response, lambda: embeddings(
            state, model, texts, body.truncate, body.normalize).tolist())

    @routes.post("/embed_all")
    async def embed_all(body: bodies.EmbedAll, request: Request, response: Response) -> list[list[list[float]]]:
        """Token states, one list a text, special tokens included."""
        model, texts = state.model(body.model, ("none", "pooled")), listed(state, body.inputs)

        def work() -> list[Any]:
            fit(state, model, body.truncate, texts)
            return [row.tolist() for row in model.run(model.tokenizer.encode(texts, max_length=model.max_length))]

        return await state.compute(request, response, work)

    @routes.post("/predict")
    async def predict(body: bodies.Predict, request: Request, response: Response) -> list[Any]:
        """Labels with their scores, the most probable first; a list of such lists for a batch."""
        model = state.model(body.model, CLASSIFIER)
        single = isinstance(body.inputs, str) or all(isinstance(each, str) for each in body.inputs)
        rows: Any = [body.inputs] if single else body.inputs
        firsts, seconds = _pairs(state, [[row] if isinstance(row, str) else row for row in rows])

        def work() -> list[Any]:
            fit(state, model, body.truncate, firsts, seconds)
            return [_scores(found) for found in model.predict(firsts, seconds)]

        found = await state.compute(request, response, work)
        return found[0] if single else found

    @routes.post("/rerank")
    async def rerank(body: bodies.Rerank, request: Request, response: Response) -> list[dict[str, Any]]:
        """Texts by their relevance to a query, the most relevant first."""
        model = state.model(body.model, ("ranking",))
        query, texts = listed(state, body.query, "query")[0], listed(state, body.texts, "texts")

        def work() -> list[dict[str, Any]]:
            fit(state, model, body.truncate, [query] * len(texts), texts)
            return [{"index": each.index, "score": each.score,
                     **({"text": texts[each.index]} if body.return_text else {})}
                    for each in model.rerank(query, texts)]

        return await state.compute(request, response, work)

    @routes.post("/similarity")
    async def similarity(body: bodies.Similarity, request: Request, response: Response) -> list[float]:
        """Cosine of the source sentence's embedding with each of the others'."""
        model = state.model(body.model, EMBEDDING)
        texts = [*listed(state, body.inputs.source_sentence), *listed(state, body.inputs.sentences)]

        def work() -> list[float]:
            vectors = embeddings(state, model, texts, body.truncate, True)
            return [float(value) for value in vectors[1:] @ vectors[0]]

        return await state.compute(request, response, work)

    @routes.post("/qa")
    async def answer(body: bodies.Question, request: Request, response: Response) -> dict[str, Any]:
        """The characters of the context that answer the question; a context of any length."""
        model = state.model(body.model, ("qa",))
        listed(state, [body.question, body.context], "question and context")

        def work() -> dict[str, Any]:
            found = model.answer(body.question, body.context, max_answer_length=body.max_answer_length,
                                 version_2=body.handle_impossible_answer)
            return {"answer": found.text, "score": found.score, "start": found.start, "end": found.end}

        return await state.compute(request, response, work)

    @routes.post("/ner")
    async def tag(body: bodies.Tag, request: Request, response: Response) -> list[Any]:
        """The entities of a text; a list of such lists for a list of texts, of any length."""
        model, texts = state.model(body.model, ("tokens",)), listed(state, body.inputs)
        found = await state.compute(request, response, lambda: [[_entity(each) for each in entities]
                                                                for entities in model.tag(texts)])
        return found[0] if isinstance(body.inputs, str) else found

    @routes.post("/tokenize")
    async def tokenize(body: bodies.Tokenize, request: Request, response: Response) -> list[list[dict[str, Any]]]:
        """The tokens of each text, not cut; ``start`` and ``stop`` are characters."""
        model, texts = state.model(body.model), listed(state, body.inputs)
        return await state.compute(request, response,
                                   lambda: _tokens(model, texts, body.add_special_tokens))

    return routes


def _pairs(state: State, rows: list[list[str]]) -> tuple[list[str], list[str] | None]:
    """First and second texts of a batch; EmptyInput unless all rows are single texts, or all are pairs."""
    sizes = {len(row) for row in rows}
    if sizes not in ({1}, {2}):
        raise EmptyInput("inputs must be texts, or pairs of texts, and not a mixture.")
    firsts = listed(state, [row[0] for row in rows])
    return firsts, listed(state, [row[1] for row in rows]) if sizes == {2} else None


def _scores(found: Prediction) -> list[dict[str, Any]]:
    scores = found.scores or {"score": found.score}
    return [{"label": label, "score": scores[label]} for label in sorted(scores, key=lambda name: -scores[name])]


def _entity(found: Entity) -> dict[str, Any]:
    return {"entity_group": found.label, "word": found.text, "score": found.score, "start": found.start,
            "end": found.end}


def _tokens(model: QueuedModel, texts: Sequence[str], special: bool) -> list[list[dict[str, Any]]]:
    names, out = model.tokenizer.tokens, []
    for text, row in zip(texts, model.tokenizer.encode(texts, truncation=False), strict=True):
        out.append([{"id": int(token), "text": names[token] if where < 0 else text[start:stop],
                     "special": bool(where < 0), "start": None if where < 0 else int(start),
                     "stop": None if where < 0 else int(stop)}
                    for token, (start, stop), where in zip(row.ids, row.offsets, row.sequence_ids, strict=True)
                    if special or where >= 0])
    return out
