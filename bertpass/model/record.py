"""A checkpoint in memory: the one form into which every kind of file is read and from which it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.sentence import Sentence

if TYPE_CHECKING:
    from bertpass.text.tokens.tokenizer import Tokenizer


@dataclass
class Checkpoint:
    """Weights with all that is needed to use them.

    Attributes
    ----------
    params : arrays by the names of :func:`bertpass.model.parameters.encoder_shapes` and ``head_shapes``; the pooler's
        are there when ``config.use_pooler``, also where the head does not use them
    tokenizer : None where the source has no vocabulary
    labels : the classes' names in the order of the logits, or None
    max_length : tokens to which texts are cut, special tokens included, at most ``config.max_length``
    pairs : whether it was trained on pairs of texts, None where that is not known
    source : where the weights come from, for people
    notes : sentences on what was left out, guessed or added
    extras : tensors of the source that the network does not have, kept so that writing gives them back
    sentence : what is done around the network to make a vector of a text
    carried : file name -> fields of the source's files, kept so that writing gives back those that nothing here uses
    """

    config: EncoderConfig
    head: HeadConfig
    params: dict[str, np.ndarray]
    tokenizer: Tokenizer | None = None
    labels: list[str] | None = None
    max_length: int | None = None
    pairs: bool | None = None
    source: str = ""
    notes: list[str] = field(default_factory=list)
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    sentence: Sentence = field(default_factory=Sentence)
    carried: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_length is None:
            self.max_length = self.config.max_length
        if not 2 < self.max_length <= self.config.max_length:
            raise ModelError(f"max_length must be from 3 to {self.config.max_length}, the encoder's positions, "
                             f"not {self.max_length}.")
        if self.labels is not None and self.head.num_labels and len(self.labels) != self.head.num_labels:
            raise ModelError(f"there are {len(self.labels)} labels for a head of {self.head.num_labels}.")
        if self.tokenizer is not None and self.tokenizer.vocab_size > self.config.vocab_size:
            raise ModelError(f"the tokenizer has {self.tokenizer.vocab_size} tokens and the encoder "
                             f"{self.config.vocab_size}; give the vocabulary that belongs to the weights.")

    def check(self) -> None:
        """Raise a ModelError where a parameter is missing, too many or misshapen."""
        wanted = {**parameters.encoder_shapes(self.config), **parameters.head_shapes(self.config, self.head)}
        parameters.check(self.params, wanted, self.source or "the checkpoint")

    def network(self) -> tuple[EncoderConfig, dict[str, np.ndarray]]:
        """What is run of it: the network's configuration, and its arrays in the order of
        :func:`bertpass.model.parameters.shapes`.

        Raises
        ------
        ModelError
            Parameters are missing or misshapen, or the head needs a pooler that is not there.
        """
        config = parameters.network_config(self.config, self.head)
        wanted = parameters.shapes(config, self.head)
        arrays = {name: self.params[name] for name in wanted if name in self.params}
        parameters.check(arrays, wanted, self.source or "the checkpoint")
        return config, arrays


@dataclass
class PackedCheckpoint(Checkpoint):
    """A checkpoint whose layers are packed for the native engine, the only one that can use it.

    ``layers`` are bytes, as :func:`bertpass._native.pack` makes them, by the precision plan ``dtype``; ``params`` hold
    what is not part of a layer.
    """

    layers: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    dtype: str = "float32"
