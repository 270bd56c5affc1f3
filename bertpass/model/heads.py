"""What each kind of head is made of: the one table of it in Python, as csrc/schema/heads.cc is in C++.

Whatever computes, writes or reads a head goes by this table, so that a new kind or family is one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertpass.errors import ModelError
from bertpass.model.config import WORD_KINDS, EncoderConfig, HeadConfig

#: kind -> its layer on every token's state
TOKEN_LAYERS = {"qa": "span_classifier", "tokens": "tag_classifier"}


@dataclass(frozen=True)
class Dense:
    """NAME.weight (outputs, inputs) and NAME.bias (outputs,), then ``activation``: "tanh", "relu", "gelu", "gelu_tanh"
    or "none"; then, where ``norm`` names one, the normalisation NORM.gamma and NORM.beta (outputs,).

    ``table`` is an array of the embeddings in place of NAME.weight, empty for none. A ``bare`` layer has neither
    NAME.bias nor NORM.beta.
    """

    name: str
    outputs: int
    activation: str = "none"
    norm: str = ""
    table: str = ""
    bare: bool = False

    @property
    def weight(self) -> str:
        """Name of the weights' array."""
        return self.table or f"{self.name}.weight"


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
    over : what becomes of the results of a text's tokens: "max" or "sum" of log(1 + max(x, 0)); empty for nothing
    logs : how many logarithms that has, one of the other
    """

    states: bool
    takes: str = ""
    layers: tuple[Dense, ...] = ()
    normalize: bool = False
    over: str = ""
    logs: int = 0

    @property
    def per_token(self) -> bool:
        """Whether the other output has a row for every token."""
        return self.takes == "tokens" and not self.over

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
        return Layout(states=False, takes="tokens",
                      layers=(*_first(config), Dense(TOKEN_LAYERS[head.kind], head.outputs)))
    if head.kind in WORD_KINDS:
        over, logs = (head.pooling, 2 if head.activation else 1) if head.kind == "sparse" else ("", 0)
        return Layout(states=False, takes="tokens", layers=_words(config, head), over=over, logs=logs)
    classifier = config.classifier
    if config.about.head_norm:
        return Layout(states=False, takes="mean" if head.pooling == "mean" else "first",
                      layers=(*_first(config), Dense(classifier.last, head.outputs)))
    layers = (Dense(classifier.first, config.units, classifier.activation), Dense(classifier.last, head.outputs))
    return Layout(states=False, takes="first", layers=layers)


def _first(config: EncoderConfig) -> tuple[Dense, ...]:
    """The layer that the heads of a family have before their own, with its normalisation; none for most families."""
    if not config.about.head_norm:
        return ()
    classifier = config.classifier
    return (Dense(classifier.first, config.units, classifier.activation, norm=config.about.head_norm, bare=True),)


def _words(config: EncoderConfig, head: HeadConfig) -> tuple[Dense, ...]:
    """From a token's state to the logits of all words, by GluonNLP's names."""
    words = config.about.words
    table = f"{config.root}.word_embed.0.weight" if head.tied else ""
    return (Dense("decoder.0", config.embedding_width, words.activation or config.activation, norm="decoder.2",
                  bare=bool(config.about.head_norm)),
            Dense("decoder.3", config.vocab_size, table=table))


def refuse_words(head: HeadConfig, what: str) -> None:
    """Raise a ModelError for a head of masked words, which ``what`` does not compute."""
    if head.kind in WORD_KINDS:
        raise ModelError(f"{what} has no logits of words (the head is '{head.kind}'); use engine 'native', "
                         "'onnxruntime', 'openvino' or 'torch'.")


def own_layers(config: EncoderConfig, head: HeadConfig) -> tuple[Dense, ...]:
    """The head's layers without the pooler, which is a part of the encoder."""
    return tuple(layer for layer in layout(config, head).layers if layer.name != f"{config.root}.pooler")


def needs_pooler(config: EncoderConfig, head: HeadConfig) -> bool:
    """Whether ``head`` computes from the encoder's pooler."""
    return len(own_layers(config, head)) < len(layout(config, head).layers)
