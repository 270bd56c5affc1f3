"""The table of keys against the libraries: every key that they write is in it, and does what the table says.

Each key is set to something else than its default and the outputs are compared with transformers'.
"""

import json

import numpy as np
import pytest

from bertpass import known_keys
from bertpass.engines.native import NativeEngine
from bertpass.errors import ModelError
from bertpass.known_keys import ACTED, NOTHING, REFUSED, TABLE
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers import plain_encoders
from tests.helpers.tiny_models import CLASSES, TINY, ragged_batch, torch_model, torch_outputs

REASON = "pip install 'bertpass[reference]' to compare with transformers"
transformers = pytest.importorskip("transformers", reason=REASON)
CONFIG = TABLE["config.json"]


def rule(name, file="config.json"):
    return TABLE[file][name].rule


@pytest.mark.parametrize("family", list(TINY))
def test_every_key_that_transformers_writes_is_known(family):
    config = getattr(transformers, f"{CLASSES[family]}Config")()
    assert set(config.to_dict()) - set(CONFIG) == set()
    assert known_keys.look("config.json", config.to_dict(), "x") == []


@pytest.mark.parametrize("family", list(plain_encoders.CONFIGS))
def test_every_key_of_models_with_their_own_code_is_known(family):
    assert set(plain_encoders.CONFIGS[family]) - set(CONFIG) == set()


def test_every_key_that_sentence_transformers_writes_is_known(tmp_path):
    pytest.importorskip("sentence_transformers", reason=REASON)
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer import modules
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    for name, module in {"Dense": Dense, "Pooling": modules.Pooling, "LayerNorm": modules.LayerNorm,
                         "Dropout": modules.Dropout, "Normalize": modules.Normalize, "SpladePooling": SpladePooling,
                         "sentence_*_config.json": Transformer}.items():
        assert {*module.config_keys, *getattr(module, "config_key_renames", {})} - set(TABLE[name]) == set()


# Values away from the default, of keys that change no output in transformers either.
WITHOUT_EFFECT = {
    "initializer_range": 0.5, "attention_probs_dropout_prob": 0.4, "classifier_dropout": 0.3, "use_cache": False,
    "hidden_dropout_prob": 0.5, "chunk_size_feed_forward": 1, "tie_word_embeddings": False, "bos_token_id": 7,
    "eos_token_id": 8, "sep_token_id": 9, "pad_token_id": 3, "torch_dtype": "float16", "finetuning_task": "mrpc",
    "_name_or_path": "somewhere/else", "transformers_version": "2.0.0", "task_specific_params": {"x": {}},
    "max_length": 7, "num_beams": 3, "temperature": 0.1, "top_k": 3, "decoder_start_token_id": 4, "prefix": "x: ",
    "gradient_checkpointing": True, "pooler_type": "first_token_transform", "directionality": "bidi",
}


@pytest.mark.parametrize("name", list(WITHOUT_EFFECT))
def test_keys_that_change_nothing(tmp_path, name):
    assert rule(name) == NOTHING or name in ("hidden_dropout_prob", "pad_token_id", "tie_word_embeddings")
    compared(tmp_path, {name: WITHOUT_EFFECT[name]})
    assert compare_written(tmp_path, name) == WITHOUT_EFFECT[name] or name in ("torch_dtype", "transformers_version")


# Values away from those of the tiny models, of keys that decide outputs; the weights are the same.
ACTING = {"hidden_act": "relu", "layer_norm_eps": 1e-2, "num_attention_heads": 2,
          "hidden_act ": "gelu_new", "hidden_act  ": "gelu_pytorch_tanh", "hidden_act   ": "gelu_python"}


@pytest.mark.parametrize("name", list(ACTING))
def test_keys_that_decide_outputs(tmp_path, name):
    key = name.strip()
    assert rule(key) == ACTED
    plain, _ = compared(tmp_path / "plain", {})
    other, _ = compared(tmp_path / "other", {key: ACTING[name]})
    assert (np.abs(plain - other).max() > 1e-5) == (ACTING[name] != "gelu_python")  # the default by another name
    assert compare_written(tmp_path / "other", key) == ACTING[name]


def compared(folder, fields):
    """Token states of a folder with these fields in its config.json, after comparing them with transformers'."""
    torch_model("bert", "Model").save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **fields}))
    checkpoint = read_folder(folder)
    batch = ragged_batch("bert")
    got = NativeEngine(checkpoint, threads=1).forward(*batch)[0]
    model = transformers.AutoModel.from_pretrained(folder, dtype="float32").eval()
    wanted = torch_outputs(model, "bert", *batch)[0]
    valid = np.arange(batch[0].shape[1]) < batch[2][:, None]
    assert np.abs(got - wanted)[valid].max() <= 2e-5
    return got, checkpoint


def compare_written(folder, name):
    """Write the folder again, compare what transformers computes of it; the value that the key has there."""
    write_folder(folder / "again", read_folder(folder))
    batch = ragged_batch("bert")
    both = [torch_outputs(transformers.AutoModel.from_pretrained(path, dtype="float32").eval(), "bert", *batch)[0]
            for path in (folder, folder / "again")]
    assert np.array_equal(*both)
    return json.loads((folder / "again" / "config.json").read_text())[name]


REFUSED_VALUES = {
    "is_decoder": True, "add_cross_attention": True,
    "is_encoder_decoder": True, "cross_attention_hidden_size": 8, "pruned_heads": {"0": [1]},
    "quantization_config": {"quant_method": "bitsandbytes"}, "compression_config": {"x": 1},
    "factor_hidden_size": 3, "auto_map": {"AutoModel": "modeling.Model"}, "relative_attention_num_buckets": 64,
    "num_hidden_groups": 2, "inner_group_num": 2, "conv_kernel_size": 3, "pooler_hidden_act": "tanh",
    "attention_head_size": 8,
    "classifier_activation": "relu", "classifier_bias": True, "decoder_bias": False,
    "attention_bias": True, "mlp_bias": True, "norm_bias": True, "qkv_proj_bias": True, "mlp_fc1_bias": True,
    "mlp_fc2_bias": True, "prenorm": True, "use_rms_norm": True, "parallel_block": True,
    "parallel_block_tied_norm": True, "layer_norm_type": "rms_norm", "moe_every_n_layers": 2, "causal": True,
    "logn_attention_scale": True, "scale_attn_by_inverse_layer_idx": True, "rotary_head_dim": True,
    "scale_attn_weights": False, "num_heads_kv": 2, "pack_qkv": False, "feed_forward_type": "reglu",
}


def test_every_refused_key_is_tried():
    assert {name for name, key in CONFIG.items() if key.rule == REFUSED} == set(REFUSED_VALUES)


@pytest.mark.parametrize("name", list(REFUSED_VALUES))
def test_keys_that_are_refused(tmp_path, name):
    torch_model("bert", "Model").save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, name: None}))
    read_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**content, name: REFUSED_VALUES[name]}))
    with pytest.raises(ModelError, match=f"{name}|decoder"):
        read_folder(tmp_path)


def test_a_key_has_one_rule_and_a_reason():
    for keys in TABLE.values():
        for key in keys.values():
            assert key.rule in (ACTED, REFUSED, NOTHING) and key.why and (not key.fine or key.rule == REFUSED)


def test_unknown_keys_are_noted():
    notes = known_keys.look("config.json", {"model_type": "bert", "hidden_sise": 3, "layers": 2}, "x/config.json")
    assert notes == ["x/config.json has hidden_sise, layers, which is not known here and was not looked at."]
