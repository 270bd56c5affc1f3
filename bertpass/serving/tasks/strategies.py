"""Tags of tokens as entities, by the strategies of Hugging Face's pipeline besides "first", which reads words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.engines import results
from bertpass.engines.results import Entity
from bertpass.text.data.tagging import OUTSIDE
from bertpass.text.tokens.tokenizer import Encoding, Tokenizer

#: strategies whose words are made of tokens
WORDS = ("average", "max")


@dataclass(frozen=True)
class _Tagged:
    """A token, or a word of several, with its characters, the tag it has and the probability of that."""

    start: int
    end: int
    tag: str
    score: float

    @property
    def kind(self) -> str:
        return self.tag[2:] if self.tag.startswith(("B-", "I-")) else self.tag


def tokens(row: Encoding, logits: np.ndarray, labels: Sequence[str], tokenizer: Tokenizer, text: str,
           ) -> list[dict[str, Any]]:
    """The strategy "none": every token with a tag, in the words of the pipeline; ``index`` counts special tokens, and
    the word of an unknown token is its characters."""
    scores = results.softmax(logits)
    found = []
    for at in np.flatnonzero(row.sequence_ids >= 0).tolist():
        best = int(scores[at].argmax())
        if labels[best] != OUTSIDE:
            start, end = row.offsets[at].tolist()
            word = text[start:end] if row.ids[at] == tokenizer.unk_id else tokenizer.tokens[row.ids[at]]
            found.append({"entity": labels[best], "score": float(scores[at, best]), "index": at,
                          "word": word, "start": start, "end": end})
    return found


def entities(row: Encoding, logits: np.ndarray, labels: Sequence[str], tokenizer: Tokenizer, text: str, strategy: str,
             ) -> list[Entity]:
    """Neighbours of one kind as entities: of tokens ("simple"), or of words, each with the tag of the mean of its
    tokens' probabilities ("average") or of its surest token ("max")."""
    scores = results.softmax(logits)
    own = np.flatnonzero(row.sequence_ids >= 0).tolist()
    groups: list[list[int]] = []
    for at in own:
        if strategy in WORDS and groups and _continues(row, at, tokenizer, text):
            groups[-1].append(at)
        else:
            groups.append([at])
    tagged = []
    for group in groups:
        chosen = scores[group].mean(axis=0) if strategy == "average" else scores[max(
            group, key=lambda at: float(scores[at].max()))]
        best = int(chosen.argmax())
        tagged.append(_Tagged(int(row.offsets[group[0]][0]), int(row.offsets[group[-1]][1]), labels[best],
                              float(chosen[best])))
    runs: list[list[_Tagged]] = []
    for each in tagged:
        if runs and each.kind == runs[-1][-1].kind and not each.tag.startswith("B-"):
            runs[-1].append(each)
        else:
            runs.append([each])
    return [Entity(run[0].kind, text[run[0].start:run[-1].end], float(np.mean([each.score for each in run])),
                   run[0].start, run[-1].end) for run in runs if run[0].kind != OUTSIDE]


def _continues(row: Encoding, at: int, tokenizer: Tokenizer, text: str) -> bool:
    """Whether a token goes on with the word of the one before it, as the pipeline decides that: a piece of WordPiece is
    longer than its characters, and any other vocabulary's token has no space before it."""
    start, end = row.offsets[at].tolist()
    if row.ids[at] == tokenizer.unk_id:
        return False
    if tokenizer.family == "wordpiece":
        return len(tokenizer.tokens[row.ids[at]]) != end - start
    return start > 0 and " " not in text[start - 1:start + 1]
