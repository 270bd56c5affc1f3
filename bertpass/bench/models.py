"""Models to measure, and the text on which their engines are checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from bertpass.bench import sentences
from bertpass.bench.workloads import Batch
from bertpass.errors import UsageError
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import ALIASES, NAMED, HeadConfig
from bertpass.model.record import Checkpoint

TEXT_LENGTH = 128  # tokens to which sentences of checks are cut


def checkpoint_for_speed(name: str) -> Checkpoint:
    """A model to measure: random weights with random biases for a published size, else the checkpoint of that name.

    A published size may be followed by a number of layers: "bert_12_768_12:3" has BERT-base's widths and three.
    UsageError where that is no number.
    """
    size, colon, layers = name.partition(":")
    size = ALIASES.get(size, size)
    if size == "minilm" or size not in NAMED:
        return load_checkpoint(name)
    config = NAMED[size]
    if colon:
        if not re.fullmatch(r"[1-9]\d{0,2}", layers):
            raise UsageError(f"{name}: write a number of layers behind the colon, as in {size}:3.")
        config = dataclasses.replace(config, num_layers=int(layers))
    head = HeadConfig("pooled" if config.use_pooler else "none")
    params = parameters.random(parameters.shapes(config, head), seed=0, random_bias=True)
    return Checkpoint(config, head, params, source=f"random weights ({name})")


def token_states(name: str) -> Checkpoint:
    """The model of :func:`checkpoint_for_speed` with token states as its only output.

    They are what a bound on the error of low precision is about: a head would average the error out.
    """
    checkpoint = checkpoint_for_speed(name)
    return dataclasses.replace(checkpoint, head=HeadConfig("none"), labels=None)


def _encoded(checkpoint: Checkpoint, texts: Sequence[str]) -> list[np.ndarray]:
    longest = min(checkpoint.max_length or TEXT_LENGTH, TEXT_LENGTH)
    if checkpoint.tokenizer is not None:
        return [row.ids for row in checkpoint.tokenizer.encode(list(texts), max_length=longest)]
    random = np.random.default_rng(len(texts))
    lengths = [min(len(text.split()) + 2, longest) for text in texts]
    return [random.integers(0, checkpoint.config.vocab_size, length) for length in lengths]


def check_batch(checkpoint: Checkpoint) -> Batch:
    """The sentences of every engine's check as one ragged batch; random ids where the model has no vocabulary."""
    rows = _encoded(checkpoint, sentences.CHECK)
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for place, row in enumerate(rows):
        ids[place, :len(row)] = row
    return ids, np.zeros_like(ids), np.array([len(row) for row in rows], np.int32)


def calibration_batches(checkpoint: Checkpoint) -> list[Batch]:
    """The sentences of int8's calibration, one a batch, so that no padding has a part in it."""
    rows = [row[None].astype(np.int32) for row in _encoded(checkpoint, sentences.CALIBRATION)]
    return [(row, np.zeros_like(row), np.array([row.shape[1]], np.int32)) for row in rows]
