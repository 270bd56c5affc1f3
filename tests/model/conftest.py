"""Fixtures of the model tests."""

import pytest

from tests.helpers.tiny_models import POSITIONS, VOCAB, write_vocab


@pytest.fixture
def vocab_folder(tmp_path):
    """A folder with a vocab.txt."""
    write_vocab(tmp_path / "vocabulary")
    return tmp_path / "vocabulary"


@pytest.fixture
def tiny(vocab_folder):
    """A function that makes a tiny checkpoint of ours with random values and a tokenizer."""
    from bertpass.model import parameters
    from bertpass.model.config import EncoderConfig, HeadConfig
    from bertpass.model.families import FAMILIES
    from bertpass.model.record import Checkpoint
    from bertpass.text.tokens.tokenizer import Tokenizer

    def make(family="bert", kind="classification", seed=3, **fields):
        pooler = family == "bert" and kind not in ("qa", "tokens")
        types = 2 if FAMILIES[family].takes_token_types else 0
        config = EncoderConfig(**{
            "family": family, "num_layers": 2, "units": 24, "hidden_size": 40, "num_heads": 4, "max_length": POSITIONS,
            "vocab_size": VOCAB, "token_type_vocab_size": types, "use_pooler": pooler,
            "layer_norm_eps": FAMILIES[family].layer_norm_eps, **fields})
        named = kind in ("classification", "multilabel", "tokens")
        head = HeadConfig(kind, num_labels=3 if named else 0)
        wanted = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
        params = parameters.random(wanted, seed, scale=0.3, random_bias=True)
        labels = ["no", "yes", "maybe"] if named else None
        return Checkpoint(config, head, params, Tokenizer.from_folder(vocab_folder), labels=labels, source="tiny")

    return make
