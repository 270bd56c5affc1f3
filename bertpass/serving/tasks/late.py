"""Late interaction: the vectors of a text's tokens, and MaxSim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertpass.engines.model import with_prompt
from bertpass.engines.vectors import max_sim
from bertpass.serving.failures import TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.state import State
from bertpass.serving.tasks import common


def max_sims(state: State, model: QueuedModel, truncate: bool | None, query: str, texts: Sequence[str]) -> list[float]:
    """The score of each text: the sum over the query's tokens of the largest product with one of the text's."""
    put = model.sentence.prompt()
    queries = vectors(state, model, truncate, [query], True, put)
    found = max_sim(queries, vectors(state, model, truncate, texts, False, put))[0]
    return [float(value) for value in found]


def vectors(state: State, model: QueuedModel, truncate: bool | None, texts: Sequence[str], is_query: bool, put: str,
          ) -> list[np.ndarray]:
    """The vectors of each text's tokens, (tokens, width) of length 1; TooLarge for a text that may not be cut."""
    late = model.sentence.late
    assert late is not None  # of this kind alone
    prompted = [text.strip() for text in with_prompt(put, list(texts))]
    rows = model.tokenizer.encode(prompted, truncation=False)
    most = late.length(is_query) - bool(late.prefix(is_query))
    longest = max(map(len, rows))
    if not common.cuts(state, truncate) and longest > most:
        what = "query" if is_query else "document"
        raise TooLarge(f"a {what} has {longest} tokens and the model takes {most} of a {what}; send \"truncate\": true "
                       "to have it cut.")
    common.refuse_large_outputs(state, len(rows) * most if is_query else sum(min(most, len(row)) for row in rows))
    return model.encode_tokens(texts, is_query=is_query, prompt=put)
