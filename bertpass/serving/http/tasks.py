"""What each route does: a body is checked, and comes back as work for the thread of its request.

A route's function raises for what is wrong with a body before any work begins; the work itself may then only meet a
text that is too long or cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertpass.engines import results
from bertpass.engines.model import with_prompt
from bertpass.engines.results import Entity
from bertpass.errors import UsageError
from bertpass.serving.failures import EmptyInput, InvalidBody, TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.text.data.labels import placeholders

EMBEDDING = ("embedding", "none", "pooled")
CLASSIFIER = ("classification", "multilabel", "regression", "ranking")

Work = Callable[[], Any]

#: batches of tokens whose states one answer may hold
ANSWER_BATCHES = 8


def listed(state: State, inputs: str | Sequence[str], name: str = "inputs") -> list[str]:
    """Texts as a list; EmptyInput where there are none or one is empty, TooLarge where there are too many."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not texts or not all(texts):
        which = f"; item {texts.index('') + 1} is" if len(texts) > 1 else ""
        raise EmptyInput(f"{name} must not be empty{which}.")
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


def asked(state: State, body: bodies.Named, kinds: tuple[str, ...] = ()) -> QueuedModel:
    """The model that a body means; it cuts texts at the end that the body says. Errors: :meth:`State.model`."""
    model = state.model(body.model, kinds)
    if isinstance(body, bodies.Prompted) and kinds != EMBEDDING and (body.prompt_name, body.prompt) != (None, None):
        raise InvalidBody("a prompt is for embeddings of whole texts; put the words before the texts.", "prompt")
    return model.cutting(body.truncation_direction) if isinstance(body, bodies.Cut) else model


def fit(state: State, model: QueuedModel, truncate: bool | None, texts: Sequence[str],
        pairs: Sequence[str] | None = None, switch: str = '"truncate": true') -> None:
    """Refuse texts that are too long where they are not to be cut; ``switch`` is what cuts them."""
    if not (state.options.auto_truncate if truncate is None else truncate):
        model.refuse_long(texts, pairs, switch)


def embeddings(state: State, model: QueuedModel, texts: Sequence[str], truncate: bool | None, normalize: bool,
               dimensions: int | None = None, switch: str = '"truncate": true', prompt: str | None = None,
               ) -> np.ndarray:
    """(texts, units) float32, or their first ``dimensions`` numbers; for the thread of a request.

    ``prompt`` goes before each text; by default the model's own, where it has one.
    """
    put = model.sentence.prompt(prompt)
    fit(state, model, truncate, with_prompt(put, list(texts)), switch=switch)
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


def refuse_dimensions(model: QueuedModel, dimensions: int | None) -> None:
    """InvalidBody for more numbers than an embedding has."""
    size = model.sentence.size(model.config.units)
    if dimensions is not None and dimensions > size:
        raise InvalidBody(f"dimensions: {model.name} gives {size} numbers, and no {dimensions}.", "dimensions")


def embed(state: State, body: bodies.Embed) -> Work:
    """One vector a text."""
    model, texts = asked(state, body, EMBEDDING), listed(state, body.inputs)
    refuse_dimensions(model, body.dimensions)
    prompt = prompt_of(model, body)
    return lambda: embeddings(state, model, texts, body.truncate, body.normalize, body.dimensions,
                              prompt=prompt).tolist()


def embed_all(state: State, body: bodies.EmbedAll) -> Work:
    """One vector a token, one list a text."""
    model, texts = asked(state, body, ("none", "pooled")), listed(state, body.inputs)

    def work() -> list[Any]:
        fit(state, model, body.truncate, texts)
        rows = model.tokenizer.encode(texts, max_length=model.max_length)
        refuse_large_outputs(state, sum(map(len, rows)))
        return [row.tolist() for row in model.run(rows)]

    return work


def predict(state: State, body: bodies.Predict) -> Work:
    """Labels with their scores, the highest first; a list of such lists for a batch."""
    chosen = body.parameters
    if body.raw_scores and chosen.function_to_apply not in (None, "none"):
        raise InvalidBody("raw_scores are logits, to which no function is applied; leave out one of raw_scores and "
                          "function_to_apply.", "function_to_apply")
    model = asked(state, body, CLASSIFIER)
    single = isinstance(body.inputs, str) or all(isinstance(each, str) for each in body.inputs)
    rows: Any = [body.inputs] if single else body.inputs
    firsts, seconds = _pairs(state, [[row] if isinstance(row, str) else row for row in rows])
    wanted = "none" if body.raw_scores else chosen.function_to_apply

    def work() -> list[Any]:
        fit(state, model, body.truncate, firsts, seconds)
        found = [_best_first(scores)[:chosen.top_k] for scores in label_scores(model, firsts, seconds, wanted)]
        return found[0] if single else found

    return work


def label_scores(model: QueuedModel, firsts: Sequence[str], seconds: Sequence[str] | None, apply: str | None,
                 ) -> list[dict[str, float]]:
    """The score of each label, in the order of the logits; of a model without labels that of "score".

    ``apply`` is what makes scores of logits: "none", "sigmoid", "softmax"; default: what the model says.
    """
    if apply is None:
        return [each.scores or {"score": each.score} for each in model.predict(firsts, seconds)]
    firsts = with_prompt(model.sentence.prompt(), list(firsts))
    rows = model.run(model.tokenizer.encode(firsts, seconds, max_length=model.max_length))
    one = model.head.kind in ("regression", "ranking") and model.head.num_labels == 1
    names = ["score"] if one else model.labels or placeholders(model.head.num_labels)
    return [dict(zip(names, map(float, _APPLIED[apply](row)), strict=True)) for row in rows]


_APPLIED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda logits: logits, "sigmoid": results.sigmoid, "softmax": results.softmax}


def rerank(state: State, body: bodies.Rerank) -> Work:
    """Places of the texts with scores, the most relevant first."""
    model = asked(state, body, ("ranking",))
    query, texts = listed(state, body.query, "query")[0], listed(state, body.texts, "texts")

    def work() -> list[dict[str, Any]]:
        fit(state, model, body.truncate, [query] * len(texts), texts)
        found = label_scores(model, [query] * len(texts), texts, "none" if body.raw_scores else None)
        scores = [each["score"] for each in found]
        best = sorted(range(len(scores)), key=lambda at: -scores[at])[:body.top_n]
        return [{"index": at, "score": scores[at], **({"text": texts[at]} if body.return_text else {})} for at in best]

    return work


def similarity(state: State, body: bodies.Similarity) -> Work:
    """Cosines."""
    model = asked(state, body, EMBEDDING)
    texts = [*listed(state, body.inputs.source_sentence, "source_sentence"),
             *listed(state, body.inputs.sentences, "sentences")]
    prompt = prompt_of(model, body)

    def work() -> list[float]:
        vectors = embeddings(state, model, texts, body.truncate, True, prompt=prompt)
        return [float(value) for value in vectors[1:] @ vectors[0]]

    return work


def answer(state: State, body: bodies.Question) -> Work:
    """The best answer with its characters."""
    model = asked(state, body, ("qa",))
    listed(state, body.question, "question")
    listed(state, body.context, "context")

    def work() -> dict[str, Any]:
        fit_question(state, model, body.truncate, body.question)
        found = model.answer(body.question, body.context, max_answer_length=body.max_answer_length,
                             version_2=body.handle_impossible_answer, align_to_words=body.align_to_words)
        return {"answer": found.text, "score": found.score, "start": found.start, "end": found.end}

    return work


def fit_question(state: State, model: QueuedModel, truncate: bool | None, question: str,
                 switch: str = '"truncate": true') -> None:
    """Refuse a question that :meth:`Model.answer` would cut, where it is not to be cut."""
    if state.options.auto_truncate if truncate is None else truncate:
        return
    tokens, most = len(model.tokenizer.pieces([question])[0].ids), model.max_question_length
    if tokens > most:
        raise TooLarge(f"the question has {tokens} tokens and the model reads {most}; send {switch} to have it cut.")


def tag(state: State, body: bodies.Tag) -> Work:
    """Entities of a text; a list of such lists for a list of texts."""
    model, texts = asked(state, body, ("tokens",)), listed(state, body.inputs)

    def work() -> list[Any]:
        found = [[entity(each) for each in entities] for entities in model.tag(texts)]
        return found[0] if isinstance(body.inputs, str) else found

    return work


def tokenize(state: State, body: bodies.Tokenize) -> Work:
    """The tokens of each text."""
    model, texts = asked(state, body), listed(state, body.inputs)
    return lambda: _tokens(model, texts, body.add_special_tokens)


def decode(state: State, body: bodies.Decode) -> Work:
    """The text of each list of ids."""
    model = asked(state, body)
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
    """First and second texts of a batch whose rows are single texts, or pairs."""
    if not all(rows):
        raise EmptyInput("inputs must not be empty.")
    firsts = listed(state, [row[0] for row in rows])
    return firsts, listed(state, [row[1] for row in rows]) if len(rows[0]) == 2 else None


def _best_first(scores: dict[str, float]) -> list[dict[str, Any]]:
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
