"""An engine without weights, for tests of everything around it: outputs that depend on a row's tokens alone.

A model is named by its kind, as ``embedding``; ``embedding@2000`` takes as long as if it computed 2000 tokens a second.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bertpass.engines import rows
from bertpass.engines.base import Engine
from bertpass.engines.rows import Output
from bertpass.errors import ModelError, unknown
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import Late, Sentence
from bertpass.text.tokens.tokenizer import Tokenizer

_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,?!",
          *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"))
_LABELS = {"classification": ("negative", "positive"), "tokens": ("O", "B-PER", "I-PER")}
_HEADS = {"embedding": HeadConfig("embedding", pooling="mean", normalize=True), "none": HeadConfig("none"),
          "classification": HeadConfig("classification", 2), "tokens": HeadConfig("tokens", 3),
          "qa": HeadConfig("qa", 2), "ranking": HeadConfig("ranking", 1), "sparse": HeadConfig("sparse"),
          "mlm": HeadConfig("mlm"), "late": HeadConfig("none")}
#: of late interaction: all tokens are attended to, for a row depends on its own tokens alone anyway
_LATE = Late(query_prefix="", document_prefix="", query_length=12, document_length=40, attends=True)


class DummyEngine(Engine):
    """Every output is a sine of the row's ids and of where it stands; the same alone and in any batch."""

    name = "dummy"

    def __init__(self, config: EncoderConfig, head: HeadConfig, tokens_a_second: float | None = None) -> None:
        self._pace = tokens_a_second
        self._per_token, self._normalize = head.per_token, head.normalize
        self._width = {"none": config.units, "embedding": config.units, "mlm": config.vocab_size,
                       "sparse": config.vocab_size}.get(head.kind, head.num_labels)
        self._least = 0.0 if head.kind == "sparse" else -1.0

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`."""
        rows.check(ids, token_types, offsets)
        if self._pace is not None:
            end = time.monotonic() + len(ids) / self._pace
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, 0.05))  # an engine that computes is seen to do something
        phase = ids.astype(np.int64) + 7 * token_types
        if not self._per_token:
            phase = np.add.reduceat(phase, offsets[:-1])
        out = np.sin(phase[:, None] + np.arange(1, self._width + 1)).astype(np.float32)
        out = np.maximum(out, self._least, dtype=np.float32)
        if self._normalize:
            out /= np.linalg.norm(out, axis=1, keepdims=True)
        return [Output(out, offsets if self._per_token else None)]

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name}


def named(path: str) -> tuple[str, float | None]:
    """Kind and tokens a second of a model's name, the latter None without one.

    Raises
    ------
    ModelError
        There is no such kind, or the pace is no number above 0.
    """
    kind, at, words = path.partition("@")
    if kind not in _HEADS:
        raise ModelError(unknown("model of the dummy engine", kind, _HEADS))
    try:
        pace = float(words) if at else None
    except ValueError:
        pace = 0.0
    if pace is not None and not pace > 0.0:
        raise ModelError(f"{path}: write the tokens a second as a number above 0, as in embedding@2000.")
    return kind, pace


def checkpoint(path: str) -> Checkpoint:
    """A model of that name without weights: 16 units, 64 positions, letters as tokens; errors: :func:`named`."""
    kind, _ = named(path)
    config = EncoderConfig(num_layers=1, units=16, hidden_size=16, num_heads=1, use_pooler=False, max_length=64,
                           vocab_size=len(_WORDS), dropout=0.0)
    return Checkpoint(config, _HEADS[kind], {}, Tokenizer.from_wordpiece(_WORDS, lower=True),
                      labels=list(_LABELS[kind]) if kind in _LABELS else None, source=f"dummy {path}",
                      sentence=Sentence(late=_LATE if kind == "late" else None))
