"""Models to measure."""

from __future__ import annotations

import dataclasses
import re

from bertpass.errors import UsageError
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import ALIASES, NAMED, PACKAGED, HeadConfig
from bertpass.model.record import Checkpoint


def checkpoint_for_speed(name: str) -> Checkpoint:
    """A model to measure: random weights with random biases for a published size, else the checkpoint of that name.

    A published size may be followed by a number of layers: "bert_12_768_12:3" has BERT-base's widths and three.
    UsageError where that is no number.
    """
    size, colon, layers = name.partition(":")
    size = ALIASES.get(size, size)
    if size in PACKAGED or size not in NAMED:
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
