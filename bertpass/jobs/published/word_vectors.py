"""A vector for each word of a text, by the token states of a model: what the published embedding.py gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertpass.engines.base import Engine
from bertpass.engines.native import NativeEngine
from bertpass.errors import ModelError, UsageError
from bertpass.jobs.published.options import WordVectorOptions
from bertpass.jobs.tasks.opening import load
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.text.files import read_lines
from bertpass.text.tokens.batching import batches
from bertpass.text.tokens.tokenizer import Encoding, Tokenizer


@dataclass(frozen=True)
class Words:
    """The words of a text that was cut to the model's length, and their vectors, (words, units) float32."""

    words: list[str]
    vectors: np.ndarray


def run(options: WordVectorOptions) -> list[Words]:
    """The vectors of every text."""
    options.check()
    texts = list(options.sentences) or [line for _, line in read_lines(Path(options.file or ""))]
    source = options.params_path or options.model
    found = load(source, bert_model=options.model, dataset=options.dataset_name, vocab=options.vocab, kind="none")
    tokenizer = found.tokenizer
    if tokenizer is None:
        raise ModelError(f"{source} has no vocabulary beside it; name one with --vocab.")
    model = adapt(dataclasses.replace(found, labels=None), HeadConfig("none"))
    if options.max_seq_length > model.config.max_length:
        raise UsageError(f"--max_seq_length {options.max_seq_length}: the model has {model.config.max_length} "
                         "positions.")
    engine: Engine
    if options.gpu is None and options.dtype == "float32":
        engine = NativeEngine(model)
    else:
        from bertpass.engines.frameworks.mxnet_engine import from_checkpoint

        engine = from_checkpoint(model, gpu=options.gpu, dtype=options.dtype)
    rows = tokenizer.encode(texts, max_length=options.max_seq_length)
    result: dict[int, Words] = {}
    for batch in batches(rows, options.batch_size, pad_id=tokenizer.pad_id):
        states = engine.forward(batch.input_ids, batch.token_types, batch.valid_length)[0]
        for of_row, index in zip(states, batch.index, strict=True):
            result[int(index)] = of_words(texts[index], rows[index], of_row, tokenizer, options.oov_way)
    return [result[at] for at in range(len(texts))]


def of_words(text: str, row: Encoding, states: np.ndarray, tokenizer: Tokenizer, way: str) -> Words:
    """Join the pieces of each word: their mean, their sum or the last one; special tokens are left out."""
    words: list[str] = []
    groups: list[list[np.ndarray]] = []
    for at, token in enumerate(row.ids):
        if row.sequence_ids[at] < 0:
            continue
        begin, end = row.offsets[at]
        if groups and _continues(tokenizer.tokens[token], tokenizer):
            groups[-1].append(states[at])
            words[-1] += text[begin:end]
        else:
            groups.append([states[at]])
            words.append(text[begin:end].strip())
    join = {"avg": lambda group: np.mean(group, axis=0), "sum": lambda group: np.sum(group, axis=0),
            "last": lambda group: group[-1]}[way]
    return Words(words, np.array([join(group) for group in groups], np.float32).reshape(-1, states.shape[-1]))


def _continues(token: str, tokenizer: Tokenizer) -> bool:
    """Whether a token goes on with the word before it: WordPiece's ##, and what byte-level BPE or SentencePiece has no
    space before."""
    return token.startswith("##") if tokenizer.family == "wordpiece" else not token.startswith(("Ġ", "▁"))


def lines(found: Sequence[Words]) -> list[str]:
    """What embedding.py prints."""
    with np.printoptions(threshold=5):
        return [line for words in found for line in (f"Text: {' '.join(words.words)}",
                                                     f"Tokens embedding: {list(words.vectors)}")]
