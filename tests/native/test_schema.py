"""The table of a model's parts in C++ (csrc/schema) and the one in Python are the same; the reader of descriptions."""

import dataclasses
import itertools

import pytest

from bertpass import _native
from bertpass.errors import ModelError
from bertpass.model import heads, parameters
from bertpass.model.config import CLASSIFIERS, HEADS, POOLINGS, SPARSE_POOLINGS, WORD_KINDS, EncoderConfig, HeadConfig
from bertpass.model.families import FAMILIES
from tests.helpers.reference import FIELDS

SIZES = {"num_layers": 2, "units": 24, "hidden_size": 40, "num_heads": 3, "max_length": 17, "vocab_size": 29}
CONFIGS = [EncoderConfig(**{"family": family, **SIZES, "token_type_vocab_size": types, **FIELDS.get(family, {})})
           for family, about in FAMILIES.items()
           for types in {0, 2 if about.most_token_types is None else about.most_token_types}]
CONFIGS += [dataclasses.replace(config, embedding_size=width) for config in CONFIGS if config.about.projection
            for width in (10, 24)]


def every_head():
    for kind in HEADS:
        labels = 0 if kind in ("none", "pooled", "qa", "embedding", *WORD_KINDS) else 1 if kind == "ranking" else 5
        if kind == "sparse":
            for pooling, tied, activation in itertools.product(SPARSE_POOLINGS, (False, True), ("", "log1p_relu")):
                yield HeadConfig(kind, pooling=pooling, tied=tied, activation=activation)
            continue
        if kind == "mlm":
            yield HeadConfig(kind, tied=False)
        choices = (itertools.product(POOLINGS, (False, True)) if kind == "embedding"
                   else [(pooling, False) for pooling in (POOLINGS if kind in CLASSIFIERS else ("mean",))])
        for pooling, normalize in choices:
            yield HeadConfig(kind, num_labels=labels, pooling=pooling, normalize=normalize)


CASES = [pytest.param(config, head, id=f"{config.family}-{config.token_type_vocab_size}-{config.embedding_size}-"
                      f"{head.kind}-{head.pooling}-{head.normalize}-{head.tied}-{head.activation}")
         for config in CONFIGS for head in every_head()]


@pytest.mark.parametrize(("config", "head"), CASES)
def test_the_two_tables_are_the_same(config, head):
    given = config.to_dict(), head.to_dict()
    found = [(name, tuple(shape)) for name, shape in _native.parameters(*given)]
    assert found == list(parameters.shapes(config, head).items())
    states, takes, layers, *others = _native.head(*given)
    assert heads.Layout(states, takes, tuple(heads.Dense(*layer) for layer in layers), *others) == \
        heads.layout(config, head)


def test_every_kind_and_family_is_compared():
    assert {param.values[1].kind for param in CASES} == set(HEADS)
    assert {param.values[0].family for param in CASES} == set(FAMILIES)


@pytest.mark.parametrize("head, words", [({"kind": "sparse", "pooling": "mean"}, "its pooling is not one of its head"),
                                         ({"kind": "embedding", "pooling": "max"}, "its pooling is not one"),
                                         ({"kind": "sparse", "activation": "tanh"}, "no usable activation"),
                                         ({"kind": "mlm", "tied": 1}, "no usable tied")])
def test_heads_of_words_are_read_strictly(head, words):
    with pytest.raises(ModelError, match=words):
        _native.parameters(CONFIGS[0].to_dict(), {**HeadConfig("sparse").to_dict(), **head})


WRONG = {
    "unknown field": (("encoder", "rope_phi", 1e4), "the field 'config.rope_phi', which this version"),
    "positions of another family": (("encoder", "rope_theta", 1e4), "no usable rope_theta"),
    "no factor": (("encoder", "rope_factor", 0.5), "no usable rope_factor"),
    "no layer of all": (("encoder", "global_every", 0), "no usable global_every"),
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
