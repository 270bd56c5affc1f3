"""Configurations: published sizes, Hugging Face's words for them, impossible values."""

import json

import pytest

from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.config import ALIASES, NAMED, EncoderConfig, HeadConfig, named

MILLIONS = {  # of parameters, as published by their authors (without heads of pretraining)
    "bert_12_768_12": 109.5, "bert_24_1024_16": 335.1, "distilbert_6_768_12": 66.4, "roberta_12_768_12": 124.1,
    "roberta_24_1024_16": 354.3, "minilm": 22.7, "mpnet": 108.9, "modernbert_22_768_12": 149.0,
}


@pytest.mark.parametrize("name", NAMED)
def test_sizes_of_published_models(name):
    count = 0
    for shape in parameters.encoder_shapes(named(name)).values():
        size = 1
        for dimension in shape:
            size *= dimension
        count += size
    assert round(count / 1e6, 1) == MILLIONS[name]


@pytest.mark.parametrize("name", NAMED)
def test_there_and_back(name):
    config = named(name)
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert EncoderConfig.from_huggingface({**config.to_huggingface(), "type_vocab_size": config.token_type_vocab_size}
                                          ) == config
    for kind in ("none", "regression", "embedding"):
        head = HeadConfig(kind, pooling="cls", normalize=True)
        assert HeadConfig.from_dict(json.loads(json.dumps(head.to_dict()))) == head


def test_names():
    assert named("distilbert") is NAMED[ALIASES["distilbert"]]
    with pytest.raises(ModelError, match="Did you mean 'bert_24_1024_16'"):
        named("bert_24_1024")


def test_transformers_reads_our_config(tmp_path):
    transformers = pytest.importorskip(
        "transformers", reason="pip install '.[reference]' to compare with transformers")
    for name, config in NAMED.items():
        (tmp_path / "config.json").write_text(json.dumps(config.to_huggingface()))
        theirs = transformers.AutoConfig.from_pretrained(tmp_path)
        assert theirs.model_type == config.family, name
        assert (theirs.hidden_size, theirs.num_hidden_layers, theirs.num_attention_heads) == (
            config.units, config.num_layers, config.num_heads)
        assert theirs.max_position_embeddings == config.max_length + config.about.padding_rows
        assert theirs.pad_token_id == (config.about.pad_id or 0)


@pytest.mark.parametrize("fields, words", [
    ({"family": "t5"}, "unknown encoder family"), ({"num_layers": 0}, "must be a whole number of at least 1"),
    ({"num_layers": 1001}, "num_layers must be at most 1000"), ({"num_layers": 2**70}, "must be at most 1000"),
    ({"units": 2**31}, "units must be at most 2147483647"),
    ({"units": 768.0}, "units must be a whole"), ({"num_heads": 7}, "multiple of num_heads"),
    ({"vocab_size": True}, "vocab_size"), ({"dropout": 1.5}, "dropout must be a number from"),
    ({"layer_norm_eps": "1e-12"}, "layer_norm_eps must be a number"), ({"activation": "swish"}, "unknown activation"),
    ({"activation": ["gelu"]}, "unknown activation"), ({"use_pooler": 1}, "use_pooler must be true or false"),
    ({"family": "distilbert"}, "family distilbert can have 0 at most"), ({"layers": 3}, "Did you mean 'num_layers'"),
], ids=str)
def test_impossible_encoders(fields, words):
    with pytest.raises(ModelError, match=words):
        EncoderConfig.from_dict(fields)


@pytest.mark.parametrize("fields, words", [
    ({"kind": "clasification"}, "Did you mean 'classification'"), ({"kind": "classification"}, "num_labels"),
    ({"kind": "embedding", "pooling": "max"}, "unknown pooling 'max'"), ({"normalize": "yes"}, "normalize"),
    ("embedding", "must be an object"),
], ids=str)
def test_impossible_heads(fields, words):
    with pytest.raises(ModelError, match=words):
        HeadConfig.from_dict(fields)
