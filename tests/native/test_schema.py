"""The table of a model's parts in C++ (csrc/schema) and the one in Python are the same; the reader of descriptions."""

import dataclasses
import itertools

import pytest

from bertpass import _native
from bertpass.errors import ModelError
from bertpass.model import heads, parameters
from bertpass.model.config import HEADS, POOLINGS, EncoderConfig, HeadConfig
from bertpass.model.families import FAMILIES

CONFIGS = [EncoderConfig(family, num_layers=2, units=24, hidden_size=40, num_heads=3, max_length=17, vocab_size=29,
                         token_type_vocab_size=types) for family, about in FAMILIES.items()
           for types in {0, 2 if about.most_token_types is None else about.most_token_types}]
CONFIGS += [dataclasses.replace(config, embedding_size=width) for config in CONFIGS if config.about.projection
            for width in (10, 24)]


def every_head():
    for kind in HEADS:
        labels = 0 if kind in ("none", "pooled", "qa", "embedding") else 1 if kind == "ranking" else 5
        choices = itertools.product(POOLINGS, (False, True)) if kind == "embedding" else [("mean", False)]
        for pooling, normalize in choices:
            yield HeadConfig(kind, num_labels=labels, pooling=pooling, normalize=normalize)


CASES = [pytest.param(config, head, id=f"{config.family}-{config.token_type_vocab_size}-{config.embedding_size}-"
                      f"{head.kind}-{head.pooling}-{head.normalize}") for config in CONFIGS for head in every_head()]


@pytest.mark.parametrize(("config", "head"), CASES)
def test_the_two_tables_are_the_same(config, head):
    given = config.to_dict(), head.to_dict()
    found = [(name, tuple(shape)) for name, shape in _native.parameters(*given)]
    assert found == list(parameters.shapes(config, head).items())
    states, takes, layers, normalize = _native.head(*given)
    assert heads.Layout(states, takes, tuple(heads.Dense(*layer) for layer in layers), normalize) == \
        heads.layout(config, head)


def test_every_kind_and_family_is_compared():
    assert {param.values[1].kind for param in CASES} == set(HEADS)
    assert {param.values[0].family for param in CASES} == set(FAMILIES)


WRONG = {
    "unknown field": (("encoder", "rope_theta", 1e4), "the field 'config.rope_theta', which this version"),
    "unknown field of the head": (("head", "temperature", 2), "the field 'head.temperature', which this version"),
    "unknown family": (("encoder", "family", "gpt"), "no usable family: unknown value 'gpt'"),
    "activation of no encoder": (("encoder", "activation", "tanh"), "no usable activation: unknown value 'tanh'"),
    "count of nothing": (("encoder", "units", 0), "no usable units"),
    "count that is a fraction": (("encoder", "units", 24.5), "no usable units"),
    "count that is true": (("encoder", "num_layers", True), "no usable num_layers"),
    "too large": (("encoder", "hidden_size", 1 << 40), "no usable hidden_size"),
    "below zero": (("encoder", "layer_norm_eps", -1.0), "no usable layer_norm_eps"),
    "no labels": (("head", "num_labels", 0), "no usable num_labels"),
    "text for a flag": (("head", "normalize", "yes"), "no usable normalize"),
    "heads that do not divide": (("encoder", "num_heads", 7), "heads do not divide its width"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_description_is_read_strictly(case):
    (where, name, value), words = WRONG[case]
    encoder, head = CONFIGS[0].to_dict(), HeadConfig("tokens", num_labels=3).to_dict()
    (encoder if where == "encoder" else head)[name] = value
    with pytest.raises(ModelError, match=words):
        _native.parameters(encoder, head)


@pytest.mark.parametrize("name", ["family", "units", "layer_norm_eps", "activation"])
def test_a_missing_field_is_named(name):
    encoder = CONFIGS[0].to_dict()
    del encoder[name]
    with pytest.raises(ModelError, match=f"no usable {name}"):
        _native.parameters(encoder, HeadConfig().to_dict())
