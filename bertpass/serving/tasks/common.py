"""What tasks have in common: which model is asked, and what is refused before it works.

A route's function raises for what is wrong with a body before any work begins; the work itself may then only meet a
text that is too long or cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bertpass.serving.failures import EmptyInput, TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.state import State

EMBEDDING = ("embedding", "none", "pooled")
RANKING = ("ranking", "late")
CLASSIFIER = ("classification", "multilabel", "regression", "ranking")

Work = Callable[[], Any]

#: what cuts texts that are too long, in the words of most bodies
SWITCH = '"truncate": true'

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
    return model.cutting(body.truncation_direction) if isinstance(body, bodies.Cut) else model


def fit(state: State, model: QueuedModel, truncate: bool | None, texts: Sequence[str],
        pairs: Sequence[str] | None = None, switch: str = SWITCH) -> None:
    """Refuse texts that are too long where they are not to be cut; ``switch`` is what cuts them."""
    if not cuts(state, truncate):
        model.refuse_long(texts, pairs, switch)


def cuts(state: State, truncate: bool | None) -> bool:
    """Whether texts that are too long are cut; ``truncate`` is what a body says."""
    return state.options.auto_truncate if truncate is None else truncate
