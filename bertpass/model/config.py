"""What an encoder and its head look like, without their weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertpass.errors import ModelError, unknown
from bertpass.model import position_keys
from bertpass.model.families import FAMILIES, Classifier, Family, family_of

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")
# Kinds of heads with logits: of each row, or of every token. What each is made of says bertpass.model.heads.
CLASSIFIERS = ("classification", "regression", "multilabel", "ranking")
TOKEN_KINDS = ("qa", "tokens")
WORD_KINDS = ("mlm", "sparse")  # of masked words: the logits of every token, or what a text makes of them
HEADS = ("none", "pooled", *CLASSIFIERS, *TOKEN_KINDS, "embedding", *WORD_KINDS)
_ONE_OUTPUT = ("regression", "ranking")  # unless they say otherwise
POOLINGS = ("mean", "cls")
SPARSE_POOLINGS = ("max", "sum")
OUTPUT_ACTIVATIONS = ("", "identity", "sigmoid", "softmax")
SPARSE_ACTIVATIONS = ("", "log1p_relu")
_OWN_ACTIVATIONS = {"classification": "softmax", "regression": "identity", "multilabel": "sigmoid",
                    "ranking": "sigmoid"}

_HF_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
                   "relu": "relu", "silu": "silu", "swish": "silu"}
_BERT_ACTIVATION = FAMILIES["bert"].activation_key
_HF_ACTIVATION_OF = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder of the BERT type; the words are GluonNLP's.

    ``units`` is the width of the residual stream, ``hidden_size`` that of the feed-forward layer, ``max_length`` the
    number of positions that text can use (RoBERTa's two rows for padding are not counted). ``activation`` is "gelu"
    (by erf), "gelu_tanh" (its tanh approximation), "relu" or "silu" (x / (1 + exp(-x))). A ``token_type_vocab_size`` of
    0 means no token types. RoBERTa and its kin take no token types as input; with 1 there the single row is added to
    every token. ``embedding_size`` is the width of the embeddings where a projection makes ``units`` of it, 0 where
    they have that width without one. ``family`` is a name of :data:`bertpass.model.families.FAMILIES`.

    ``rope_theta`` is the base of rotary positions where the family has them, ``rope_local_theta`` that of layers with a
    window (0: the same), ``rope_factor`` what they were stretched by (:mod:`bertpass.model.positions`). With a
    ``window`` a token attends to that many tokens on either side, in every layer whose number is no multiple of
    ``global_every``; 0 is no window.

    ``relative_positions`` is the distance from which on DeBERTa's attention tells no distances apart, and
    ``position_buckets`` the number of ranges of distances on either side, 0 where each distance is one.

    Raises
    ------
    ModelError
        A value is impossible, or values do not fit each other.
    """

    family: str = "bert"
    num_layers: int = 12
    units: int = 768
    hidden_size: int = 3072
    num_heads: int = 12
    max_length: int = 512
    vocab_size: int = 30522
    token_type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    use_pooler: bool = True
    embedding_size: int = 0
    rope_theta: float = 0.0
    rope_local_theta: float = 0.0
    rope_factor: float = 1.0
    window: int = 0
    global_every: int = 1
    position_buckets: int = 0
    relative_positions: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.family, str) or self.family not in FAMILIES:
            raise ModelError(unknown("encoder family", str(self.family), FAMILIES))
        if self.activation not in ACTIVATIONS:
            raise ModelError(unknown("activation", str(self.activation), ACTIVATIONS))
        _check_count("num_layers", self.num_layers, 1, 1000)
        for name in ("units", "hidden_size", "num_heads", "max_length", "vocab_size"):
            _check_count(name, getattr(self, name), 1)
        for name in ("token_type_vocab_size", "embedding_size"):
            _check_count(name, getattr(self, name), 0)
        if self.embedding_size and not self.about.projection:
            raise ModelError(f"embedding_size is {self.embedding_size}, but an encoder of the family {self.family} has "
                             "embeddings of the width of its layers.")
        _check_count("window", self.window, 0)
        _check_count("global_every", self.global_every, 1)
        self._check_distances()
        if self.units % self.num_heads:
            raise ModelError(f"units ({self.units}) must be a multiple of num_heads ({self.num_heads}).")
        most = self.about.most_token_types
        if most is not None and self.token_type_vocab_size > most:
            raise ModelError(f"token_type_vocab_size is {self.token_type_vocab_size}, but an encoder of the family "
                             f"{self.family} can have {most} at most.")
        for name, low, high in (("layer_norm_eps", 0.0, 1.0), ("dropout", 0.0, 0.99), ("rope_theta", 0.0, 1e9),
                                ("rope_local_theta", 0.0, 1e9), ("rope_factor", 1.0, 1e4)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ModelError(f"{name} must be a number from {low} to {high}, not {value!r}.")
        turned = self.about.positions == "rotary"
        if turned != (self.rope_theta > 0) or (not turned and (self.rope_local_theta or self.rope_factor != 1)):
            raise ModelError(f"rope_theta is {self.rope_theta}, but an encoder of the family {self.family} "
                             f"{'needs one above 0' if turned else 'has no rotary positions'}.")
        if turned and self.units // self.num_heads % 2:
            raise ModelError(f"units ({self.units}) must give num_heads ({self.num_heads}) heads of an even width for "
                             "rotary positions.")
        if not isinstance(self.use_pooler, bool):
            raise ModelError(f"use_pooler must be true or false, not {self.use_pooler!r}.")

    @property
    def about(self) -> Family:
        """What the family is."""
        return FAMILIES[self.family]

    @property
    def root(self) -> str:
        """The first part of every encoder parameter's name, GluonNLP's: "roberta" or "bert"."""
        return self.about.root

    @property
    def classifier(self) -> Classifier:
        """The two layers that a classifier of the family has."""
        return self.about.classifier

    def _check_distances(self) -> None:
        buckets, most = self.position_buckets, self.relative_positions
        for name in ("position_buckets", "relative_positions"):
            _check_count(name, getattr(self, name), 0)
        if (self.about.positions == "relative") != bool(most) or (buckets and not most):
            raise ModelError(f"relative_positions is {most} and position_buckets {buckets}, which does not fit an "
                             f"encoder of the family {self.family}.")
        if buckets and not 2 <= buckets < 2 * most - 2:
            raise ModelError(f"position_buckets is {buckets}, and must be at least 2 and less than {2 * most - 2} for "
                             f"relative_positions {most}.")

    @property
    def relative_span(self) -> int:
        """Ranges of distances on either side for which there are embeddings; 0 for none."""
        return self.position_buckets or self.relative_positions

    @property
    def embedding_width(self) -> int:
        """Width of the embedding tables."""
        return self.embedding_size or self.units

    @property
    def takes_token_types(self) -> bool:
        """Whether the network's inputs are (ids, token types, valid length) rather than (ids, valid length)."""
        return self.about.takes_token_types

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the exported graph's inputs: ids, token types (where it takes them), valid length."""
        return ("data0", "data1", "data2") if self.takes_token_types else ("data0", "data1")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EncoderConfig:
        """The opposite of :meth:`to_dict`; ModelError for an unknown field or a bad value."""
        return cls(**_known_fields(cls, fields, "encoder"))

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> EncoderConfig:
        """Read the content of a Hugging Face ``config.json``.

        ``hidden_dropout_prob`` becomes the one dropout rate. ``use_pooler`` is a guess here (BERT only): whether
        a pooler is there is known from the weights.

        Raises
        ------
        ModelError
            The model type, position embedding or activation is none of ours, or a field is missing.
        """
        whole, config = config, {key: value for key, value in config.items() if value is not None}
        family = family_of(config)
        about = FAMILIES[family]
        now = bool(about.keys_now) and about.keys["units"] not in config
        keys = about.keys_now if now else about.keys
        names = _HF_ACTIVATIONS if now or not about.activations else about.activations
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise ModelError("config.json describes a decoder; only encoders can be read.")
        act = str(config.get(_BERT_ACTIVATION if now else about.activation_key, "silu" if now else about.activation))
        if act not in names:
            raise ModelError(f"config.json says activation '{act}'; only {', '.join(names)} can be read in a model of "
                             f"type {family}.")
        fields: dict[str, Any] = {"token_type_vocab_size": 0} if about.most_token_types == 0 else {}
        fields |= {ours: config[theirs] for ours, theirs in keys.items() if theirs in config}
        if keys.get("layer_norm_eps") in ("norm_eps", "layer_norm_epsilon"):  # whose libraries have one default
            fields.setdefault("layer_norm_eps", 1e-5)
        fields |= position_keys.read(family, whole)
        lacking = [keys[name] for name in ("num_layers", "units", "hidden_size", "num_heads", "max_length",
                                           "vocab_size", "embedding_size") if name in keys and name not in fields]
        if lacking:
            raise ModelError(f"config.json lacks {', '.join(lacking)}, which an encoder of type {family} needs.")
        width = fields.pop("embedding_size", config.get("embedding_size"))
        if width is not None:
            _check_count("config.json: embedding_size", width, 1)
        if about.always_projected or width not in (None, fields["units"]):
            fields["embedding_size"] = width
        if about.pad_id is not None:
            pad = config.get("pad_token_id", about.pad_id)
            if pad != about.pad_id:
                raise ModelError(f"config.json says pad_token_id {pad}; a checkpoint of type {family} must have "
                                 f"{about.pad_id} there.")
            _check_count("max_position_embeddings", fields["max_length"], about.padding_rows + 1)
            fields["max_length"] -= about.padding_rows
        try:
            return cls(family=family, activation=names[act], use_pooler=about.classifier.pooled,
                       **fields)
        except ModelError as error:  # in the file's words
            said = re.sub(r"\w+", lambda word: keys.get(word[0], word[0]), str(error))
            raise ModelError(f"config.json: {said}") from error

    def to_huggingface(self, carried: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The fields of a Hugging Face ``config.json`` that say the same, and of ``carried`` those that say more."""
        carried = carried or {}
        about = self.about
        fields = {theirs: getattr(self, ours) for keys in (about.keys_now, about.keys) for ours, theirs in keys.items()}
        if about.projection:
            fields[about.keys["embedding_size"]] = self.embedding_width
        act, names = about.activation_key, about.activations or _HF_ACTIVATIONS
        written = {ours: theirs for theirs, ours in about.activations.items()} or _HF_ACTIVATION_OF
        if self.activation not in written:
            raise ModelError(f"a model of type {self.family} has no activation '{self.activation}' in Hugging Face's "
                             f"layout; it has {', '.join(written)}.")
        if about.keys_now:
            fields[_BERT_ACTIVATION] = _HF_ACTIVATION_OF[self.activation]
        same = names.get(str(carried.get(act))) == self.activation
        fields[act] = carried[act] if same else written[self.activation]
        others: dict[str, Any] = {"pad_token_id": 0, **about.fields}
        if self.family == "distilbert":
            others.update(attention_dropout=self.dropout, seq_classif_dropout=self.dropout, qa_dropout=self.dropout,
                          sinusoidal_pos_embds=False)
        elif about.positions == "table":
            others.update(attention_probs_dropout_prob=self.dropout, position_embedding_type="absolute")
        if about.pad_id is not None:
            fields.update(max_position_embeddings=self.max_length + about.padding_rows, pad_token_id=about.pad_id)
        if about.most_token_types == 1 and about.pad_id is not None:  # a row of zeros where there is none
            fields.update(type_vocab_size=1)
        fields |= position_keys.write(self.family, self.to_dict(), carried)
        named = about.model_type or self.family
        if about.model_type_now and not carried.get("auto_map"):
            named = about.model_type_now
        return {**others, **carried, **fields, "model_type": named}


@dataclass(frozen=True)
class HeadConfig:
    """What is computed from the encoder's token states.

    ==============  ==========================================================================================
    kind            outputs of the network for a batch B of length S
    ==============  ==========================================================================================
    none            token states (B, S, units)
    pooled          token states (B, S, units) and the pooler's output (B, units)
    classification  logits (B, num_labels)
    regression      scores (B, num_labels), usually one
    multilabel      logits (B, num_labels), each the log-odds of its label
    ranking         logits (B, 1), the log-odds that the second text is relevant to the first
    tokens          logits (B, S, num_labels)
    qa              start and end logits (B, S, 2)
    embedding       sentence vectors (B, units): mean or first token, of length 1 with ``normalize``; float32
    mlm             logits of the words (B, S, vocab_size)
    sparse          weights of the words (B, vocab_size): "max" or "sum" over the tokens of log(1 + max(logit, 0));
                    with the activation "log1p_relu" of log(1 + that) (SPLADE)
    ==============  ==========================================================================================

    ``activation`` is what makes scores of a classifier's logits where the model says so: "identity", "sigmoid" or
    "softmax"; empty is the kind's own (softmax, none, sigmoid, sigmoid). No network computes it.
    ``tied`` says that the logits of words are products with the table of words, which has no copy then.
    """

    kind: str = "none"
    num_labels: int = 0
    pooling: str = "mean"
    normalize: bool = False
    activation: str = ""
    tied: bool = True

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise ModelError(unknown("head", str(self.kind), HEADS))
        sparse = self.kind == "sparse"
        if sparse and self.pooling == POOLINGS[0]:
            object.__setattr__(self, "pooling", SPARSE_POOLINGS[0])
        if sparse and self.activation == "relu":  # the library's name of the plain one
            object.__setattr__(self, "activation", "")
        poolings, activations = (SPARSE_POOLINGS, SPARSE_ACTIVATIONS) if sparse else (POOLINGS, OUTPUT_ACTIVATIONS)
        if self.pooling not in poolings:
            raise ModelError(unknown("pooling", str(self.pooling), poolings))
        if self.activation not in activations:
            raise ModelError(unknown("activation of outputs", str(self.activation), activations[1:]))
        if not isinstance(self.tied, bool):
            raise ModelError(f"tied must be true or false, not {self.tied!r}.")
        if self.activation == _OWN_ACTIVATIONS.get(self.kind):
            object.__setattr__(self, "activation", "")
        if not isinstance(self.normalize, bool):
            raise ModelError(f"normalize must be true or false, not {self.normalize!r}.")
        if self.kind in _ONE_OUTPUT and self.num_labels == 0:
            object.__setattr__(self, "num_labels", 1)
        _check_count("num_labels", self.num_labels, 1 if self.has_classifier or self.kind == "tokens" else 0, 10**6)
        if self.kind == "ranking" and self.num_labels != 1:
            raise ModelError(f"a ranking head has one output, not {self.num_labels}.")

    @property
    def has_classifier(self) -> bool:
        """Whether the head is one output a label from the first token."""
        return self.kind in CLASSIFIERS

    @property
    def scores(self) -> str:
        """The activation that makes a classifier's scores of its logits."""
        return self.activation or _OWN_ACTIVATIONS[self.kind]

    @property
    def has_token_logits(self) -> bool:
        """Whether the head gives every token its logits."""
        return self.kind in TOKEN_KINDS

    @property
    def per_token(self) -> bool:
        """Whether the first output has a row for every token."""
        return self.kind in ("none", "pooled", "mlm", *TOKEN_KINDS)

    @property
    def outputs(self) -> int:
        """Width of the logits; 0 without any."""
        return 2 if self.kind == "qa" else self.num_labels

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> HeadConfig:
        """The opposite of :meth:`to_dict`; ModelError for an unknown field or a bad value."""
        return cls(**_known_fields(cls, fields, "head"))


def _check_count(name: str, value: Any, least: int, most: int = 2**31 - 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if value > most:  # a damaged file: lists of so many layers or labels would take all memory
        raise ModelError(f"{name} must be at most {most}, not {value}.")


def _known_fields(cls: type, fields: Any, what: str) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        raise ModelError(f"the {what} configuration must be an object of fields, not {type(fields).__name__}.")
    known = [field.name for field in dataclasses.fields(cls)]
    for name in fields:
        if name not in known:
            raise ModelError(unknown(f"field of the {what} configuration", name, known))
    return dict(fields)


_LARGE = {"num_layers": 24, "units": 1024, "hidden_size": 4096, "num_heads": 16}
_ROBERTA = {"family": "roberta", "vocab_size": 50265, "token_type_vocab_size": 0, "layer_norm_eps": 1e-5,
            "use_pooler": False}
NAMED: dict[str, EncoderConfig] = {
    "bert_12_768_12": EncoderConfig(),
    "bert_24_1024_16": EncoderConfig(**_LARGE),  # type: ignore[arg-type]
    "distilbert_6_768_12": EncoderConfig(family="distilbert", num_layers=6, token_type_vocab_size=0, use_pooler=False),
    "roberta_12_768_12": EncoderConfig(**_ROBERTA),  # type: ignore[arg-type]
    "roberta_24_1024_16": EncoderConfig(**_ROBERTA, **_LARGE),  # type: ignore[arg-type]
    "minilm": EncoderConfig(num_layers=6, units=384, hidden_size=1536),
    "mpnet": EncoderConfig(family="mpnet", vocab_size=30527, token_type_vocab_size=0, layer_norm_eps=1e-5,
                           use_pooler=False),
    "modernbert_22_768_12": EncoderConfig(
        family="modernbert", num_layers=22, hidden_size=1152, max_length=8192, vocab_size=50368,
        token_type_vocab_size=0, layer_norm_eps=1e-5, use_pooler=False, rope_theta=160000.0, rope_local_theta=10000.0,
        window=64, global_every=3),
}
PACKAGED = ("minilm", "mpnet")  # those whose weights come from Python packages
ALIASES = {"distilbert": "distilbert_6_768_12", "modernbert": "modernbert_22_768_12"}


def named(name: str) -> EncoderConfig:
    """The configuration of a published size; ModelError with the nearest name for an unknown one."""
    name = ALIASES.get(name, name)
    if name not in NAMED:
        raise ModelError(unknown("model", name, [*NAMED, *ALIASES]))
    return NAMED[name]
