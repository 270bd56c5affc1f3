"""Models with a head of masked words: weights of words (SPLADE), and words for a [MASK]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass.engines import results
from bertpass.engines.model import with_prompt
from bertpass.engines.results import SparseVector
from bertpass.serving.failures import InvalidBody, TooLarge
from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.received import bodies
from bertpass.serving.received.fields import shown
from bertpass.serving.state import State
from bertpass.serving.tasks import common, embeddings
from bertpass.serving.tasks.common import Work
from bertpass.text.tokens.tokenizer import Encoding

#: texts whose dense weights are in memory at a time are 16 times as many
_BATCH = 4
#: [MASK]s of one request: each has a number per word of the vocabulary
MOST_MASKS = 128


def embed_sparse(state: State, body: bodies.EmbedSparse) -> Work:
    """The words of each text with their weights."""
    model, texts = common.asked(state, body, ("sparse",)), common.listed(state, body.inputs)
    prompt = embeddings.prompt_of(model, body)
    return lambda: [_listed(each) for each in sparse(state, model, texts, body.truncate, prompt)]


def sparse(state: State, model: QueuedModel, texts: Sequence[str], truncate: bool | None, prompt: str | None = None,
           switch: str = common.SWITCH) -> list[SparseVector]:
    """For the thread of a request; ``prompt`` is by default the model's own."""
    put = model.sentence.prompt(prompt)
    common.fit(state, model, truncate, with_prompt(put, list(texts)), switch=switch)
    return model.encode_sparse(texts, batch_size=_BATCH, prompt=put)


def _listed(vector: SparseVector) -> list[dict[str, Any]]:
    return [{"index": index, "value": value}
            for index, value in zip(vector.indices.tolist(), vector.values.tolist(), strict=True)]


def fill_mask(state: State, body: bodies.FillMask) -> Work:
    """Words for each [MASK], the most probable first, in the form of Hugging Face's pipeline: a list of words; of a
    text with several [MASK]s a list of such lists; of several texts, not of a single one in a list, a list of what each
    would have."""
    model, texts = common.asked(state, body, ("mlm",)), common.listed(state, body.inputs)
    wanted = None if body.targets is None else _targets(model, body.targets)

    def work() -> list[Any]:
        common.fit(state, model, body.truncate, texts)
        rows = model.tokenizer.encode(texts, max_length=model.max_length)
        counts = [int((row.ids == model.tokenizer.mask_id).sum()) for row in rows]
        if 0 in counts:
            which = f"text {counts.index(0) + 1}" if len(counts) > 1 else "the text"
            raise InvalidBody(f"{which} has no {model.tokenizer.special['mask']}, the place of the word that is asked "
                              "for.", "inputs")
        if sum(counts) > MOST_MASKS:
            raise TooLarge(f"the texts have {sum(counts)} {model.tokenizer.special['mask']} and the server takes "
                           f"{MOST_MASKS} at a time; send less.")
        found = [_filled(model, row, logits, body.top_k, wanted)
                 for row, logits in zip(rows, model.run(rows), strict=True)]
        return found[0] if len(found) == 1 else found

    return work


def _targets(model: QueuedModel, words: str | Sequence[str]) -> list[int]:
    """The ids of words; InvalidBody for one that is no token."""
    ids = {token: at for at, token in enumerate(model.tokenizer.tokens)}
    asked = [words] if isinstance(words, str) else words
    if not asked:
        raise InvalidBody("targets must not be empty.", "targets")
    for word in asked:
        if word not in ids:
            raise InvalidBody(f"targets: '{shown(word)}' is no token of {model.name}'s vocabulary; name whole "
                              "tokens as the vocabulary spells them.", "targets")
    return list(dict.fromkeys(ids[word] for word in asked))


def _decoded(model: QueuedModel, rows: np.ndarray, skip_special_tokens: bool) -> list[str]:
    """The text of each row of ids; one that the model has and the tokenizer has not, to fill up a table, is no text."""
    return model.tokenizer.decode([[token for token in row if token < model.tokenizer.vocab_size]
                                   for row in rows.tolist()], skip_special_tokens)


def _filled(model: QueuedModel, row: Encoding, logits: np.ndarray, most: int, wanted: list[int] | None) -> list[Any]:
    """Of the logits (masks, words) of one text."""
    places = np.flatnonzero(row.ids == model.tokenizer.mask_id)
    found = []
    for place, scores in zip(places, map(results.softmax, logits), strict=True):
        candidates = np.arange(len(scores)) if wanted is None else np.array(wanted)
        best = candidates[np.argsort(-scores[candidates], kind="stable")[:most]]
        texts = np.tile(row.ids, (len(best), 1))
        texts[:, place] = best
        whole = _decoded(model, texts, skip_special_tokens=len(places) == 1)
        words = _decoded(model, best[:, None], skip_special_tokens=False)
        found.append([{"score": float(scores[token]), "token": token, "token_str": word, "sequence": text}
                      for token, word, text in zip(best.tolist(), words, whole, strict=True)])
    return found[0] if len(found) == 1 else found
