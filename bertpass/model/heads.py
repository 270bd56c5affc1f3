"""What each kind of head is made of: the one table of it in Python, as csrc/schema/heads.cc is in C++.

Whatever computes, writes or reads a head goes by this table, so that a new kind or family is one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertpass.model.config import EncoderConfig, HeadConfig

#: kind -> its layer on every token's state
TOKEN_LAYERS = {"qa": "span_classifier", "tokens": "tag_classifier"}


@dataclass(frozen=True)
class Dense:
    """NAME.weight (outputs, inputs) and NAME.bias (outputs,), then ``activation``: "tanh", "relu", "gelu" or "none"."""

    name: str
    outputs: int
    activation: str = "none"


@dataclass(frozen=True)
class Layout:
    """What a head computes from the encoder's token states.

    Attributes
    ----------
    states : whether the token states are an output, the first one
    takes : what the other output is computed from: every token's state ("tokens"), the first one's ("first"), the mean
        over the tokens ("mean"); empty where there is no other output
    layers : applied to it one after the other
    normalize : whether it gets Euclidean length 1 before them
    """

    states: bool
    takes: str = ""
    layers: tuple[Dense, ...] = ()
    normalize: bool = False

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs in their order."""
        other = "pooled" if self.states else "logits" if self.layers else "embeddings"
        return [*(["token_states"] if self.states else []), *([other] if self.takes else [])]


def layout(config: EncoderConfig, head: HeadConfig) -> Layout:
    """The entry of the table for a head on an encoder.

    A classifier's layers are those of its family (:mod:`bertpass.model.families`); BERT's first one is the pooler,
    RoBERTa's are named as in GluonNLP's RoBERTaClassifier, DistilBERT's as in transformers. The numbers count the
    dropouts before the layers.
    """
    if head.kind == "none":
        return Layout(states=True)
    if head.kind == "pooled":
        return Layout(states=True, takes="first", layers=(Dense(f"{config.root}.pooler", config.units, "tanh"),))
    if head.kind == "embedding":
        return Layout(states=False, takes="mean" if head.pooling == "mean" else "first", normalize=head.normalize)
    if head.kind in TOKEN_LAYERS:
        return Layout(states=False, takes="tokens", layers=(Dense(TOKEN_LAYERS[head.kind], head.outputs),))
    classifier = config.classifier
    layers = (Dense(classifier.first, config.units, classifier.activation), Dense(classifier.last, head.outputs))
    return Layout(states=False, takes="first", layers=layers)


def own_layers(config: EncoderConfig, head: HeadConfig) -> tuple[Dense, ...]:
    """The head's layers without the pooler, which is a part of the encoder."""
    return tuple(layer for layer in layout(config, head).layers if layer.name != f"{config.root}.pooler")


def needs_pooler(config: EncoderConfig, head: HeadConfig) -> bool:
    """Whether ``head`` computes from the encoder's pooler."""
    return len(own_layers(config, head)) < len(layout(config, head).layers)
