"""Texts as tokens, tokens as texts, and vectors of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertpass.engines.model import with_prompt
from bertpass.serving.failures import EmptyInput, InvalidBody
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings, late
from bertpass.serving.tasks.common import Work


def embed_all(state: State, body: bodies.EmbedAll) -> Work:
    """One vector per token, one list per text."""
    model = common.asked(state, body, (*common.EMBEDDING, "late"))
    texts = common.listed(state, body.inputs)
    prompt = embeddings.prompt_of(model, body)
    if model.kind == "late" and body.is_query is None:
        raise InvalidBody(f"is_query is missing: {model.name} reads queries and documents in different ways; send "
                          "true or false.", "is_query")
    if model.kind != "late" and body.is_query is not None:
        raise InvalidBody(f"is_query would change nothing of what {model.name} computes, which is no model of late "
                          "interaction; leave it out.", "is_query")
    put = model.sentence.prompt(prompt)

    def work() -> list[Any]:
        if body.is_query is not None:
            return [row.tolist() for row in late.vectors(state, model, body.truncate, texts, body.is_query, put)]
        prompted = with_prompt(put, texts)
        common.fit(state, model, body.truncate, prompted)
        rows = model.tokenizer.encode(prompted, max_length=model.max_length)
        common.refuse_large_outputs(state, sum(map(len, rows)))
        return [row.tolist() for row in model.states(rows)]

    return work


def tokenize(state: State, body: bodies.Tokenize) -> Work:
    """The tokens of each text."""
    model, texts = common.asked(state, body), common.listed(state, body.inputs)
    return lambda: _tokens(model, texts, body.add_special_tokens)


def decode(state: State, body: bodies.Decode) -> Work:
    """The text of each list of ids."""
    model = common.asked(state, body)
    rows: list[list[int]] = [body.ids] if body.ids and isinstance(body.ids[0], int) else body.ids  # type: ignore
    if not rows:
        raise EmptyInput("ids must not be empty.")
    common.refuse_many(state, len(rows), "ids")
    return lambda: model.tokenizer.decode(rows, body.skip_special_tokens)


def _tokens(model: QueuedModel, texts: Sequence[str], special: bool) -> list[list[dict[str, Any]]]:
    names, out = model.tokenizer.tokens, []
    for text, row in zip(texts, model.tokenizer.encode(texts, truncation=False), strict=True):
        out.append([{"id": int(token), "text": names[token] if where < 0 else text[start:stop],
                     "special": bool(where < 0), "start": None if where < 0 else int(start),
                     "stop": None if where < 0 else int(stop)}
                    for token, (start, stop), where in zip(row.ids, row.offsets, row.sequence_ids, strict=True)
                    if special or where >= 0])
    return out
