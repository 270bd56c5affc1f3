"""What makes a vector of a text around the network, as sentence-transformers says it: prompts, pooling, further layers.

An engine pools by the mean or by the first token and scales to length 1 (a head of kind "embedding"). Everything else
is computed here with NumPy, from token states or from the network's vectors, whatever engine gives them.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bertpass.errors import ModelError, UsageError, unknown

_LEAST = np.float32(1e-12)  # what a length is divided by at least, as in torch.nn.functional.normalize


def _mean(states: np.ndarray, at: int) -> np.ndarray:
    return states.mean(axis=0)


def _weighted_mean(states: np.ndarray, at: int) -> np.ndarray:
    weights = np.arange(at + 1, at + 1 + len(states), dtype=np.float32)
    return weights @ states / weights.sum()


#: name in sentence-transformers -> vector of the states (tokens, units) of the tokens from the place ``at``
POOLINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "cls": lambda states, at: states[0],
    "max": lambda states, at: states.max(axis=0),
    "mean": _mean,
    "mean_sqrt_len_tokens": lambda states, at: states.sum(axis=0) / np.sqrt(np.float32(len(states))),
    "weightedmean": _weighted_mean,
    "lasttoken": lambda states, at: states[-1],
}

_SQRT_2 = np.float32(np.sqrt(2.0))


def _gelu(x: np.ndarray) -> np.ndarray:
    from math import erf  # of numbers; the layers are small

    return np.float32(0.5) * x * (1 + np.vectorize(erf, otypes=[np.float32])(x / _SQRT_2))


#: name in PyTorch, without its module -> function
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh, "Identity": lambda x: x, "ReLU": lambda x: np.maximum(x, 0), "GELU": _gelu,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


@dataclass(frozen=True)
class Layer:
    """A module after the pooling: "dense" (weight, maybe bias, an activation), "norm" (weight, bias), "normalize"."""

    kind: str
    activation: str = "Identity"
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(rows, units in) -> (rows, units out), float32."""
        if self.kind == "normalize":
            return scaled(vectors)
        weight, bias = self.arrays["weight"], self.arrays.get("bias")
        if self.kind == "norm":  # PyTorch's default epsilon
            centred = vectors - vectors.mean(axis=1, keepdims=True)
            spread = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(1e-5))
            return centred / spread * weight + (0 if bias is None else bias)
        out = vectors @ weight.T
        return ACTIVATIONS[self.activation](out if bias is None else out + bias)


#: key of PyLate's config_sentence_transformers.json -> field of :class:`Late`
KEYS = {"query_prefix": "query_prefix", "document_prefix": "document_prefix", "query_length": "query_length",
        "document_length": "document_length", "do_query_expansion": "expands",
        "attend_to_expansion_tokens": "attends", "skiplist_words": "skipped"}


@dataclass(frozen=True)
class Late:
    """How a text becomes a row of which every token has a vector, for late interaction (ColBERT, Khattab and Zaharia,
    arXiv:2004.12832); the defaults are PyLate's.

    Attributes
    ----------
    query_prefix, document_prefix : the token that is put after the first one; empty for none
    query_length, document_length : tokens of a row at most
    expands : whether queries are lengthened to their length with [MASK], whose vectors count too
    attends : whether other tokens attend to these
    skipped : tokens of documents whose vectors do not count
    """

    query_prefix: str = "[Q] "
    document_prefix: str = "[D] "
    query_length: int = 32
    document_length: int = 180
    expands: bool = True
    attends: bool = False
    skipped: tuple[str, ...] = tuple(string.punctuation)

    def __post_init__(self) -> None:
        for name, kind in (("query_prefix", str), ("document_prefix", str), ("expands", bool), ("attends", bool)):
            if not isinstance(getattr(self, name), kind):
                raise ModelError(f"{_said(name)} is {getattr(self, name)!r}, which is no {_KINDS[kind]}.")
        for name in ("query_length", "document_length"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 4:
                raise ModelError(f"{_said(name)} is {value!r}; it has to be a whole number of at least 4 tokens.")
        if not all(isinstance(word, str) for word in self.skipped):
            raise ModelError(f"{_said('skipped')} has to be a list of words.")

    def prefix(self, is_query: bool) -> str:
        return self.query_prefix if is_query else self.document_prefix

    def length(self, is_query: bool) -> int:
        return self.query_length if is_query else self.document_length

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Late:
        """Of config_sentence_transformers.json; a key that is null or not there has PyLate's default."""
        fields = {ours: settings[theirs] for theirs, ours in KEYS.items() if settings.get(theirs) is not None}
        if "skipped" in fields and isinstance(fields["skipped"], list):
            fields["skipped"] = tuple(fields["skipped"])
        return cls(**fields)

    def to_settings(self) -> dict[str, Any]:
        """The opposite of :meth:`from_settings`."""
        fields = dataclasses.asdict(self)
        return {theirs: list(fields[ours]) if ours == "skipped" else fields[ours] for theirs, ours in KEYS.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Late:
        """The opposite of ``dataclasses.asdict``, also where it became JSON."""
        return cls(**{**fields, "skipped": tuple(fields["skipped"])})


_KINDS = {str: "text", bool: "true or false"}


def _said(name: str) -> str:
    return next(theirs for theirs, ours in KEYS.items() if ours == name)


@dataclass(frozen=True)
class Sentence:
    """What is done around the network; the default is nothing.

    Attributes
    ----------
    prompts, default_prompt : texts that are put in front, by name, and the name of the one that always is
    pooling : names of :data:`POOLINGS`, whose vectors are put one after the other; empty where the network pools
    include_prompt : whether the prompt's tokens are pooled
    layers : further modules, in their order
    truncate_dim : width to which vectors are cut at the end, None for no cut
    late : where every token has a vector, which the layers are applied to; None where the text has one
    """

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    pooling: tuple[str, ...] = ()
    include_prompt: bool = True
    layers: tuple[Layer, ...] = ()
    truncate_dim: int | None = None
    late: Late | None = None

    def __post_init__(self) -> None:
        for name in self.pooling:
            if name not in POOLINGS:
                raise ModelError(unknown("pooling", str(name), POOLINGS))

    @property
    def changes_vectors(self) -> bool:
        """Whether vectors are more than what the network gives."""
        return bool(self.pooling or self.layers or self.truncate_dim)

    @property
    def outside(self) -> str:
        """One sentence with what a file of the network alone lacks; empty where it lacks nothing."""
        parts = []
        if self.default_prompt is not None and self.prompts.get(self.default_prompt):
            parts.append(f"the prompt '{self.prompts[self.default_prompt]}' before every text")
        if self.pooling:
            parts.append(f"the pooling ({' and '.join(self.pooling)}) of its token states")
        if self.late is not None:
            parts.append("the tokens that mark queries and documents")
        if self.layers:
            after = "network" if self.late else "pooling"
            parts.append(f"the layers after the {after} ({', '.join(layer.kind for layer in self.layers)})")
        if self.truncate_dim:
            parts.append(f"the cut of vectors to {self.truncate_dim} numbers")
        return f"the file has the network alone; left to the caller: {', '.join(parts)}." if parts else ""

    def prompt(self, prompt: str | None = None, name: str | None = None) -> str:
        """The text to put in front: the one given, else the one of that name, else the model's default, or nothing.

        UsageError where the name is not known.
        """
        if prompt is not None:
            return prompt
        if name is None:
            return "" if self.default_prompt is None else self.prompts[self.default_prompt]
        if name not in self.prompts:
            raise UsageError(unknown("prompt", name, self.prompts) if self.prompts else
                             f"unknown prompt '{name}': this model has no prompts.")
        return self.prompts[name]

    def pool(self, states: Sequence[np.ndarray], prompt_tokens: int = 0) -> np.ndarray:
        """Vectors (rows, units) of each row's token states (tokens, units); ``prompt_tokens`` are those of the prompt
        with the token before it, of which a row may have nothing else."""
        rows = []
        for row in states:
            at = 0 if self.include_prompt else min(prompt_tokens, len(row) - 1)
            rows.append(np.concatenate([POOLINGS[name](row[at:], at) for name in self.pooling]))
        return np.stack(rows)

    def finish(self, vectors: np.ndarray, truncate_dim: int | None = None) -> np.ndarray:
        """What comes after the pooling; ``truncate_dim`` in place of the model's own."""
        for layer in self.layers:
            vectors = layer(vectors)
        width = truncate_dim or self.truncate_dim
        return vectors if width is None else np.ascontiguousarray(vectors[:, :width])

    def width(self, units: int) -> int:
        """Width of what :meth:`finish` takes, of an encoder of so many units."""
        return units * max(1, len(self.pooling))

    def size(self, units: int) -> int:
        """Width of the vectors in the end."""
        units = self.width(units)
        for layer in self.layers:
            units = len(layer.arrays["weight"]) if layer.kind == "dense" else units
        return min(units, self.truncate_dim or units)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of everything but the layers' arrays, which :meth:`arrays` gives."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        late = None if self.late is None else dataclasses.asdict(self.late)
        return {**fields, "late": late, "prompts": dict(self.prompts), "pooling": list(self.pooling),
                "layers": [{"kind": layer.kind, "activation": layer.activation, "arrays": sorted(layer.arrays)}
                           for layer in self.layers]}

    def arrays(self) -> dict[str, np.ndarray]:
        """The layers' arrays as ``sentence.NUMBER.NAME``."""
        return {f"sentence.{at}.{name}": array for at, layer in enumerate(self.layers)
                for name, array in layer.arrays.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Sentence:
        """The opposite of :meth:`to_dict` with :meth:`arrays`; ModelError where they do not fit each other."""
        try:
            layers = tuple(Layer(each["kind"], each["activation"],
                                 {name: arrays[f"sentence.{at}.{name}"] for name in each["arrays"]})
                           for at, each in enumerate(fields["layers"]))
            late = fields.get("late")
            return cls(**{**fields, "layers": layers, "pooling": tuple(fields["pooling"]),
                          "late": None if late is None else Late.from_dict(late)})
        except (KeyError, TypeError) as error:
            raise ModelError(f"the description of the sentence vectors is damaged ({error}).") from error


def scaled(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
