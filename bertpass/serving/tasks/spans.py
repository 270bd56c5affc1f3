"""Answers in contexts, and entities in texts."""

from __future__ import annotations

from typing import Any

from bertpass.engines.results import Entity
from bertpass.serving.failures import TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State
from bertpass.serving.tasks import common
from bertpass.serving.tasks.common import Work


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

    def work() -> list[Any]:
        found = [[entity(each) for each in entities] for entities in model.tag(texts)]
        return found[0] if isinstance(body.inputs, str) else found

    return work


def entity(found: Entity) -> dict[str, Any]:
    """An entity in the words of Hugging Face's pipelines."""
    return {"entity_group": found.label, "word": found.text, "score": found.score, "start": found.start,
            "end": found.end}
