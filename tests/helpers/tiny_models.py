"""Tiny encoders of every family, as transformers makes them, with random weights and non-zero biases."""

import json
from pathlib import Path

import numpy as np
import pytest

from bertpass.model.families import FAMILIES
from tests.helpers import plain_encoders

VOCAB = 60
POSITIONS = 24
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "film", "is", "good", "bad", "un", "##able", "##s", ".", ","]
TINY = {"bert": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
                 "vocab_size": VOCAB, "max_position_embeddings": POSITIONS},
        "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "vocab_size": VOCAB,
                       "max_position_embeddings": POSITIONS},
        "roberta": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
                    "vocab_size": VOCAB, "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1,
                    "layer_norm_eps": 1e-5}}
TINY |= {"xlm-roberta": TINY["roberta"], "camembert": TINY["roberta"]}
TINY["mpnet"] = {name: value for name, value in TINY["roberta"].items() if name != "type_vocab_size"}
TINY["albert"] = {**TINY["bert"], "embedding_size": 10}
TINY["electra"] = {**TINY["bert"], "embedding_size": 24}
TINY["deberta-v2"] = {**TINY["bert"], "relative_attention": True, "position_buckets": 8,
                      "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": "p2c|c2p",
                      "position_biased_input": False, "layer_norm_eps": 1e-7}
ON_MXNET = [family for family in TINY if family not in ("albert", "deberta-v2", "mpnet")]
# Layers 0 and 3 attend to all tokens, 1 and 2 to three on either side.
TINY["modernbert"] = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 40,
                      "vocab_size": VOCAB, "max_position_embeddings": POSITIONS, "local_attention": 6,
                      "pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta",
           "camembert": "Camembert", "mpnet": "MPNet", "electra": "Electra", "albert": "Albert",
           "deberta-v2": "DebertaV2",
           "modernbert": "ModernBert", **plain_encoders.CLASSES}
PAD = {"bert": 0, "distilbert": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1, "mpnet": 1, "electra": 0,
       "albert": 0, "deberta-v2": 0, "modernbert": 0, "new": 1, "nomic_bert": 0, "jina_bert": 0}


def token_types(family):
    """Rows of a family's table of token types, as many as it may have."""
    return {"albert": 2, "bert": 2, "electra": 2, "deberta-v2": 0, "distilbert": 0, "mpnet": 0}.get(family, 1)


def torch_model(family, suffix, seed=0, **fields):
    """A transformers model such as BertForQuestionAnswering, every parameter random (none is zero); one of
    plain_encoders where transformers has none."""
    torch = pytest.importorskip("torch", reason="pip install '.[reference]' to compare with transformers")
    if family in plain_encoders.CLASSES:
        return plain_encoders.PlainEncoder(family, suffix, seed, **fields)
    transformers = pytest.importorskip(
        "transformers", reason="pip install '.[reference]' to compare with transformers")
    config = getattr(transformers, f"{CLASSES[family]}Config")(**{**TINY[family], **fields})
    spread = 0.2 if family == "modernbert" else 0.3  # gated layers multiply two numbers, and what was rounded of them
    torch.manual_seed(seed)
    model = getattr(transformers, CLASSES[family] + suffix)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * spread + (1.0 if norm else 0.0))
    return model


def ragged_batch(family, seed=0, rows=4, length=13):
    """ids (rows, length), token types, valid lengths; padding is the family's pad id and text never holds it."""
    random = np.random.default_rng(seed)
    ids = random.integers(5, VOCAB, (rows, length)).astype("int32")
    lengths = np.concatenate([[length, 1], random.integers(2, length, rows - 2)]).astype("int32")
    types = random.integers(0, 2, (rows, length)).astype("int32")
    past = np.arange(length) >= lengths[:, None]
    ids[past], types[past] = PAD[family], 0
    return ids, types, lengths


def torch_outputs(model, family, ids, types, lengths):
    """The outputs of a transformers model as a list of arrays."""
    import torch

    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype("int64")
    inputs = {"input_ids": torch.tensor(ids).long(), "attention_mask": torch.tensor(mask)}
    if FAMILIES[family].takes_token_types:
        inputs["token_type_ids"] = torch.tensor(types).long()
    with torch.no_grad():
        return [output.numpy() for output in model(**inputs, return_dict=True).to_tuple()]


def run(net, config, ids, types, lengths):
    """The outputs of one of our networks as a list of arrays."""
    from bertpass.mx import mx

    arrays = [ids, types, lengths] if config.takes_token_types else [ids, lengths]
    outputs = net(*[mx.nd.array(array, dtype=array.dtype) for array in arrays])
    return [o.asnumpy() for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def same_arrays(left, right):
    """Assert that two dicts hold the same names and the same bits."""
    assert set(left) == set(right)
    for name in left:
        assert left[name].dtype == right[name].dtype and left[name].shape == right[name].shape, name
        assert left[name].tobytes() == right[name].tobytes(), name


def write_vocab(folder: Path) -> None:
    """A small WordPiece vocabulary of VOCAB tokens."""
    tokens = SPECIAL + WORDS + [f"w{i}" for i in range(VOCAB - len(SPECIAL) - len(WORDS))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
