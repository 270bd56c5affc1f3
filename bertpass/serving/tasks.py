"""What each route does: a body is checked, and comes back as work for the thread of its request.

A route's function raises for what is wrong with a body before any work begins; the work itself may then only meet a
text that is too long or cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertpass.engines.results import Entity, Prediction
from bertpass.serving import bodies
from bertpass.serving.calls import QueuedModel
from bertpass.serving.failures import EmptyInput, TooLarge
from bertpass.serving.state import State

EMBEDDING = ("embedding", "none", "pooled")
CLASSIFIER = ("classification", "multilabel", "regression", "ranking")

Work = Callable[[], Any]

#: batches of tokens whose states one answer may hold
ANSWER_BATCHES = 8


def listed(state: State, inputs: str | Sequence[str], name: str = "inputs") -> list[str]:
    """Texts as a list; EmptyInput where there are none or one is empty, TooLarge where there are too many."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not texts or not all(texts):
        raise EmptyInput(f"{name} must not be empty.")
    refuse_many(state, len(texts), name)
    return texts


def refuse_many(state: State, count: int, name: str) -> None:
    """TooLarge for more texts or rows than one request may have."""
    most = state.options.max_client_batch_size
    if count > most:
        raise TooLarge(f"{name} holds {count} and the server takes {most} at a time; send less.")


def refuse_large_outputs(state: State, tokens: int) -> None:
    """TooLarge where an answer would have the states of more tokens than some batches have: thousands of bytes each."""
    most = ANSWER_BATCHES * state.options.max_batch_tokens
    if tokens > most:
        raise TooLarge(f"the answer would hold the states of {tokens} tokens and the server gives {most} at a time; "
                       "send less.")


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


def embed(state: State, body: bodies.Embed) -> Work:
    """One vector a text."""
    model, texts = state.model(body.model, EMBEDDING), listed(state, body.inputs)
    return lambda: embeddings(state, model, texts, body.truncate, body.normalize).tolist()


def embed_all(state: State, body: bodies.EmbedAll) -> Work:
    """One vector a token, one list a text."""
    model, texts = state.model(body.model, ("none", "pooled")), listed(state, body.inputs)

    def work() -> list[Any]:
        fit(state, model, body.truncate, texts)
        rows = model.tokenizer.encode(texts, max_length=model.max_length)
        refuse_large_outputs(state, sum(map(len, rows)))
        return [row.tolist() for row in model.run(rows)]

    return work


def predict(state: State, body: bodies.Predict) -> Work:
    """Labels with their scores, the most probable first; a list of such lists for a batch."""
    model = state.model(body.model, CLASSIFIER)
    single = isinstance(body.inputs, str) or all(isinstance(each, str) for each in body.inputs)
    rows: Any = [body.inputs] if single else body.inputs
    firsts, seconds = _pairs(state, [[row] if isinstance(row, str) else row for row in rows])

    def work() -> list[Any]:
        fit(state, model, body.truncate, firsts, seconds)
        found = [_scores(each) for each in model.predict(firsts, seconds)]
        return found[0] if single else found

    return work


def rerank(state: State, body: bodies.Rerank) -> Work:
    """Places of the texts with scores, the most relevant first."""
    model = state.model(body.model, ("ranking",))
    query, texts = listed(state, body.query, "query")[0], listed(state, body.texts, "texts")

    def work() -> list[dict[str, Any]]:
        fit(state, model, body.truncate, [query] * len(texts), texts)
        return [{"index": each.index, "score": each.score,
                 **({"text": texts[each.index]} if body.return_text else {})} for each in model.rerank(query, texts)]

    return work


def similarity(state: State, body: bodies.Similarity) -> Work:
    """Cosines."""
    model = state.model(body.model, EMBEDDING)
    texts = [*listed(state, body.inputs.source_sentence), *listed(state, body.inputs.sentences)]

    def work() -> list[float]:
        vectors = embeddings(state, model, texts, body.truncate, True)
        return [float(value) for value in vectors[1:] @ vectors[0]]

    return work


def answer(state: State, body: bodies.Question) -> Work:
    """The best answer with its characters."""
    model = state.model(body.model, ("qa",))
    listed(state, [body.question, body.context], "question and context")

    def work() -> dict[str, Any]:
        found = model.answer(body.question, body.context, max_answer_length=body.max_answer_length,
                             version_2=body.handle_impossible_answer)
        return {"answer": found.text, "score": found.score, "start": found.start, "end": found.end}

    return work


def tag(state: State, body: bodies.Tag) -> Work:
    """Entities of a text; a list of such lists for a list of texts."""
    model, texts = state.model(body.model, ("tokens",)), listed(state, body.inputs)

    def work() -> list[Any]:
        found = [[entity(each) for each in entities] for entities in model.tag(texts)]
        return found[0] if isinstance(body.inputs, str) else found

    return work


def tokenize(state: State, body: bodies.Tokenize) -> Work:
    """The tokens of each text."""
    model, texts = state.model(body.model), listed(state, body.inputs)
    return lambda: _tokens(model, texts, body.add_special_tokens)


def decode(state: State, body: bodies.Decode) -> Work:
    """The text of each list of ids."""
    model = state.model(body.model)
    rows: list[list[int]] = [body.ids] if body.ids and isinstance(body.ids[0], int) else body.ids  # type: ignore
    if not rows:
        raise EmptyInput("ids must not be empty.")
    refuse_many(state, len(rows), "ids")
    return lambda: model.tokenizer.decode(rows, body.skip_special_tokens)


def entity(found: Entity) -> dict[str, Any]:
    """An entity in the words of Hugging Face's pipelines."""
    return {"entity_group": found.label, "word": found.text, "score": found.score, "start": found.start,
            "end": found.end}


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


def _tokens(model: QueuedModel, texts: Sequence[str], special: bool) -> list[list[dict[str, Any]]]:
    names, out = model.tokenizer.tokens, []
    for text, row in zip(texts, model.tokenizer.encode(texts, truncation=False), strict=True):
        out.append([{"id": int(token), "text": names[token] if where < 0 else text[start:stop],
                     "special": bool(where < 0), "start": None if where < 0 else int(start),
                     "stop": None if where < 0 else int(stop)}
                    for token, (start, stop), where in zip(row.ids, row.offsets, row.sequence_ids, strict=True)
                    if special or where >= 0])
    return out
