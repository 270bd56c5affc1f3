"""Answers in contexts, and entities in texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertpass.engines.results import Entity
from bertpass.serving.failures import TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common, strategies
from bertpass.serving.tasks.common import Work
from bertpass.text.data.labels import placeholders


def answer(state: State, body: bodies.Question) -> Work:
    """The best answer with its characters."""
    model = common.asked(state, body, ("qa",))
    common.listed(state, body.question, "question")
    common.listed(state, body.context, "context")

    def work() -> dict[str, Any]:
        fit_question(state, model, body.truncate, body.question)
        found = model.answer(body.question, body.context, max_answer_length=body.max_answer_length,
                             version_2=body.handle_impossible_answer, align_to_words=body.align_to_words)
        return {"answer": found.text, "score": found.score, "start": found.start, "end": found.end}

    return work


def fit_question(state: State, model: QueuedModel, truncate: bool | None, question: str,
                 switch: str = common.SWITCH) -> None:
    """Refuse a question that :meth:`Model.answer` would cut, where it is not to be cut."""
    if common.cuts(state, truncate):
        return
    tokens, most = len(model.tokenizer.pieces([question])[0].ids), model.max_question_length
    if tokens > most:
        raise TooLarge(f"the question has {tokens} tokens and the model reads {most}; send {switch} to have it cut.")


def tag(state: State, body: bodies.Tag) -> Work:
    """Entities of a text; a list of such lists for a list of texts."""
    model, texts = common.asked(state, body, ("tokens",)), common.listed(state, body.inputs)
    strategy = body.aggregation_strategy

    def work() -> list[Any]:
        if strategy == "first":
            found = [[entity(each) for each in entities] for entities in model.tag(texts)]
        else:
            common.fit(state, model, body.truncate, texts,
                       switch='"truncate": true, or aggregation_strategy "first", which reads texts of any length,')
            found = _tagged(model, texts, strategy)
        return found[0] if isinstance(body.inputs, str) else found

    return work


def _tagged(model: QueuedModel, texts: Sequence[str], strategy: str) -> list[list[dict[str, Any]]]:
    rows = model.tokenizer.encode(texts, max_length=model.max_length)
    labels = model.labels or placeholders(model.head.num_labels)
    outputs = model.run(rows)
    if strategy == "none":
        return [strategies.tokens(row, logits, labels, model.tokenizer, text)
                for row, logits, text in zip(rows, outputs, texts, strict=True)]
    return [[entity(each) for each in strategies.entities(row, logits, labels, model.tokenizer, text, strategy)]
            for row, logits, text in zip(rows, outputs, texts, strict=True)]


def entity(found: Entity) -> dict[str, Any]:
    """An entity in the words of Hugging Face's pipelines."""
    return {"entity_group": found.label, "word": found.text, "score": found.score, "start": found.start,
            "end": found.end}
