"""Families with rotary positions, slopes, windows and gated layers: every engine, their folders, what is refused.

ModernBERT against transformers; Nomic's, GTE's and Jina's against tests/helpers/plain_encoders.py.
"""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

import bertpass
from bertpass.errors import ModelError
from bertpass.model.checkpoint import adapt
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files import tensors
from bertpass.model.layouts.huggingface import read_folder, tensor_name, write_folder
from bertpass.model.low_precision import calibration, numpy_encoder
from bertpass.model.onnx.graph import to_onnx
from tests.helpers.against_transformers import SUFFIXES, TOLERANCE, outputs, refused_where_only_bert_is_computed
from tests.helpers.plain_encoders import CONFIGS
from tests.helpers.tiny_models import FAMILIES, POSITIONS, ragged_batch, same_arrays, torch_model, torch_outputs

NEWER = ["modernbert", "nomic_bert", "new", "jina_bert"]
WAYS = [("native", {}), ("onnxruntime", {}), ("onnxruntime", {"fusions": False}), ("openvino", {}), ("torch", {}),
        ("torch", {"mode": "script"})]


def inputs(family):
    ids, types, lengths = ragged_batch(family, rows=5, length=POSITIONS - 1)
    return ids, types if FAMILIES[family].takes_token_types else np.zeros_like(types), lengths


def error(found, wanted, lengths):
    """Largest difference as a part of the largest value, of outputs per token on the tokens alone."""
    if found.ndim == 3:
        inside = np.arange(found.shape[1]) < lengths[:, None]
        assert not found[~inside].any() or found.shape[2] < 24  # logits of padding are the bias
        found, wanted = found[inside], wanted[inside]
    assert found.shape == wanted.shape and np.abs(wanted).max() > 0.5
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def changed(folder, **fields):
    """config.json with other values; None leaves a key out."""
    content = {**json.loads((folder / "config.json").read_text()), **fields}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items()
                                                    if key not in fields or fields[key] is not None}))


@pytest.mark.parametrize("engine, options", WAYS, ids=lambda value: str(value))
@pytest.mark.parametrize("family", NEWER)
def test_every_engine(tmp_path, family, engine, options):
    """Rows longer than the window, and a batch without padding."""
    for package in {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx"),
                    "torch": ("torch",)}.get(engine, ()):
        pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    batch = inputs(family)
    short = tuple(array[:1, :7] for array in batch[:2]) + (np.array([7], "int32"),)
    for suffix, fields in SUFFIXES.items():
        theirs = torch_model(family, suffix, **fields)
        theirs.save_pretrained(tmp_path / suffix)
        with bertpass.load(tmp_path / suffix, engine, dtype="float32", threads=1, **options) as model:
            assert model.config.family == family
            for each in (batch, short):
                wanted = outputs(theirs, family, suffix, each)
                assert error(model.forward(*each)[0], wanted, each[2]) <= TOLERANCE, suffix


@pytest.mark.parametrize("family", NEWER)
def test_there_and_back(tmp_path, family):
    """Every tensor bit for bit, and everything that config.json said; what one tensor holds is not copied."""
    for suffix, fields in SUFFIXES.items():
        torch_model(family, suffix, **fields).save_pretrained(tmp_path / suffix)
        checkpoint = read_folder(tmp_path / suffix)
        assert checkpoint.notes == ["the folder has no tokenizer (none of tokenizer.json, vocab.txt, vocab.json)."]
        write_folder(tmp_path / "ours", checkpoint)
        same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / suffix))
        said, written = (json.loads((tmp_path / name / "config.json").read_text()) for name in (suffix, "ours"))
        names = [name for name in said if name not in ("transformers_version", "dtype", "torch_dtype")]
        assert {name: written.get(name) for name in names} == {name: said[name] for name in names}
        assert read_folder(tmp_path / "ours").config == checkpoint.config
        parts = [array for name, array in checkpoint.params.items() if "cells.1.ffn.ffn_" in name and "2" not in name]
        assert len(parts) >= 2 and (family == "nomic_bert" or parts[0].base is parts[1].base is not None)


def test_what_is_written_opens_in_transformers(tmp_path):
    transformers = pytest.importorskip("transformers", reason="pip install '.[reference]'")
    theirs, batch = torch_model("modernbert", "Model"), inputs("modernbert")
    theirs.save_pretrained(tmp_path / "theirs")
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs"))
    again = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    assert type(again).__name__ == "ModernBertModel"
    assert np.array_equal(*(torch_outputs(model, "modernbert", *batch)[0] for model in (again, theirs)))


@pytest.mark.parametrize("fields", [{"local_rope_theta": None}, {"global_attn_every_n_layers": 1},
                                    {"hidden_activation": "silu"}, {"num_hidden_layers": 1}], ids=str)
def test_other_settings_of_modernbert(tmp_path, fields):
    pytest.importorskip("torch", reason="pip install '.[torch]'")
    theirs, batch = torch_model("modernbert", "Model", **fields), inputs("modernbert")
    theirs.save_pretrained(tmp_path / "theirs")
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs"))
    for folder in ("theirs", "ours"):
        with bertpass.load(tmp_path / folder, "torch", threads=1) as model:
            wanted = outputs(theirs, "modernbert", "Model", batch)
            assert error(model.forward(*batch)[0], wanted, batch[2]) <= TOLERANCE


@pytest.mark.parametrize("family, fields", [("nomic_bert", {"activation_function": "geglu"}),
                                            ("new", {"rope_scaling": None}), ("new", {"type_vocab_size": 0})], ids=str)
def test_other_settings(tmp_path, family, fields):
    pytest.importorskip("torch", reason="pip install '.[torch]'")
    theirs, batch = torch_model(family, "Model", **fields), inputs(family)
    theirs.save_pretrained(tmp_path)
    with bertpass.load(tmp_path, "torch", threads=1) as model:
        assert error(model.forward(*batch)[0], outputs(theirs, family, "Model", batch), batch[2]) <= TOLERANCE


@pytest.mark.parametrize("family", NEWER)
def test_sentence_vectors(tmp_path, family):
    pytest.importorskip("torch", reason="pip install '.[torch]'")
    from bertpass.engines.frameworks.torch_engine import TorchEngine

    theirs, batch = torch_model(family, "Model"), inputs(family)
    theirs.save_pretrained(tmp_path)
    states = outputs(theirs, family, "Model", batch)
    for pooling in ("mean", "cls"):
        head = HeadConfig("embedding", pooling=pooling)
        wanted = np.stack([rows[:count].mean(0) if pooling == "mean" else rows[0]
                           for rows, count in zip(states, batch[2], strict=True)])
        engine = TorchEngine(dataclasses.replace(read_folder(tmp_path), head=head), threads=1)
        assert error(engine.forward(*batch)[0], wanted, batch[2]) <= TOLERANCE


@pytest.mark.parametrize("family", NEWER)
def test_the_encoder_in_numpy_and_calibration(tmp_path, family):
    theirs, (ids, types, lengths) = torch_model(family, "Model"), inputs(family)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    rows = [(ids[i, :n], types[i, :n]) for i, n in enumerate(lengths)]
    wanted = outputs(theirs, family, "Model", (ids, types, lengths))[np.arange(ids.shape[1]) < lengths[:, None]]
    assert error(numpy_encoder.states(checkpoint.config, checkpoint.params, rows), wanted, lengths) <= TOLERANCE
    low = calibration.calibrated(checkpoint, rows)
    names = {name for name in low.params if not name.endswith(".int8_factors")}
    assert names == set(checkpoint.params)
    moved = {name.partition("cells.0.")[2] for name in names if low.params[name] is not checkpoint.params[name]}
    assert {"ffn.ffn_1.weight", "ffn.ffn_3.weight", "proj.weight"} <= moved
    assert ("proj.bias" in moved) == (family in ("new", "jina_bert"))
    found = numpy_encoder.states(checkpoint.config, low.params, rows)
    assert np.linalg.norm(found - wanted) <= 0.05 * np.linalg.norm(wanted)


def test_what_transformers_5_writes(tmp_path):
    """Its form of ModernBERT's and Nomic's configurations says the same encoders."""
    torch_model("modernbert", "Model").save_pretrained(tmp_path)
    older = json.loads((tmp_path / "config.json").read_text())
    newer = {name: value for name, value in older.items() if "rope_theta" not in name and "every_n" not in name}
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    newer |= {"layer_types": kinds, "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}
    assert EncoderConfig.from_huggingface(newer) == EncoderConfig.from_huggingface(older)
    nomic = {"model_type": "nomic_bert", "hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3,
             "num_hidden_layers": 3, "max_position_embeddings": 24, "vocab_size": 60, "type_vocab_size": 2,
             "layer_norm_eps": 1e-12, "hidden_act": "silu", "hidden_dropout_prob": 0.0,
             "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}
    assert EncoderConfig.from_huggingface(nomic) == EncoderConfig.from_huggingface(CONFIGS["nomic_bert"])
    written = EncoderConfig.from_huggingface(nomic).to_huggingface()
    assert {name: written[name] for name in nomic} == nomic


def as_transformers_5(folder, scaled):
    """GTE's folder as transformers 5 has it: `new`'s tensors under its own prefix, angles as rope_parameters."""
    arrays = {name.replace("new.", "gte.", 1): array for name, array in tensors.read(folder).items()}
    tensors.write(folder / "model.safetensors", arrays)
    said = json.loads((folder / "config.json").read_text())
    angles = {"rope_type": "default", "rope_theta": 20000.0}
    if scaled:  # by 8, which a head of 8 columns divides up as the base and a factor
        angles = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8.0 ** (2 / 8)}
    changed(folder, model_type="gte", rope_parameters=angles, **dict.fromkeys((
        "rope_theta", "rope_scaling", "position_embedding_type", "auto_map", "layer_norm_type", "pack_qkv",
        "logn_attention_scale", "logn_attention_clip1", "unpad_inputs", "use_memory_efficient_attention")),
        architectures=[said["architectures"][0].replace("New", "Gte")])


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_gte_as_transformers_5_writes_it(tmp_path, suffix, scaled):
    fields = {**SUFFIXES[suffix], **({} if scaled else {"rope_scaling": None})}
    theirs, batch = torch_model("new", suffix, **fields), inputs("new")
    theirs.save_pretrained(tmp_path / "theirs")
    as_transformers_5(tmp_path / "theirs", scaled)
    checkpoint = read_folder(tmp_path / "theirs")
    assert not [note for note in checkpoint.notes if "tokenizer" not in note]
    write_folder(tmp_path / "ours", checkpoint)
    for folder in ("theirs", "ours"):
        with bertpass.load(tmp_path / folder, dtype="float32", threads=1) as model:
            assert model.config.family == "new"
            assert error(model.forward(*batch)[0], outputs(theirs, "new", suffix, batch), batch[2]) <= TOLERANCE
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    said, written = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("theirs", "ours"))
    for name in ("model_type", "architectures"):
        assert written[name] == said[name]
    assert written["rope_parameters"] == pytest.approx(said["rope_parameters"])
    assert written.get("rope_theta") is written.get("rope_scaling") is None


@pytest.mark.parametrize("angles", [{"rope_type": "yarn", "rope_theta": 10000.0}, {"rope_type": "linear"}, "default",
                                    {"rope_theta": "10000"}, {"rope_type": "linear", "rope_theta": 1e4, "factor": -1},
                                    {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}], ids=str)
def test_other_angles_of_gte_are_refused(tmp_path, angles):
    torch_model("new", "Model").save_pretrained(tmp_path)
    as_transformers_5(tmp_path, False)
    changed(tmp_path, rope_parameters=angles)
    with pytest.raises(ModelError, match=r"says rope_parameters .*; only the types 'default' and 'linear'"):
        read_folder(tmp_path)


@pytest.mark.parametrize("family, fields, words", [
    ("nomic_bert", {"moe_every_n_layers": 2, "activation_function": "gelu"}, "moe_every_n_layers = 2"),
    ("nomic_bert", {"prenorm": True}, "prenorm = True"),
    ("nomic_bert", {"use_rms_norm": True}, "use_rms_norm = True"),
    ("nomic_bert", {"parallel_block": True}, "parallel_block = True"),
    ("nomic_bert", {"causal": True}, "causal = True"),
    ("nomic_bert", {"qkv_proj_bias": True}, "qkv_proj_bias = True"),
    ("nomic_bert", {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction 0.5"),
    ("nomic_bert", {"rotary_emb_interleaved": True}, "rotary_emb_interleaved True"),
    ("nomic_bert", {"rotary_scaling_factor": 2}, "rotary_scaling_factor 2"),
    ("nomic_bert", {"activation_function": "gelu"}, "activation 'gelu'; only swiglu, geglu"),
    ("nomic_bert", {"activation_function": "glu"}, "activation 'glu'; only swiglu, geglu"),
    ("nomic_bert", {"rope_parameters": {"rope_theta": 7.0}}, "rotary_emb_base 1000 and rope_theta 7.0"),
    ("new", {"logn_attention_scale": True}, "logn_attention_scale = True"),
    ("new", {"layer_norm_type": "rms_norm"}, "layer_norm_type = 'rms_norm'"),
    ("new", {"pack_qkv": False}, "pack_qkv = False"),
    ("new", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "only the type 'ntk'"),
    ("new", {"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.6}}, "only the type 'ntk'"),
    ("new", {"position_embedding_type": "absolute"}, "position_embedding_type 'absolute'; only 'rope'"),
    ("new", {"auto_map": {"AutoModel": "modeling.OtherModel"}}, "code of the model's own"),
    ("jina_bert", {"feed_forward_type": "reglu"}, "feed_forward_type = 'reglu'"),
    ("jina_bert", {"hidden_act": "relu"}, "activation 'relu'; only gelu"),
    ("jina_bert", {"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
    ("modernbert", {"attention_bias": True}, "attention_bias = True"),
    ("modernbert", {"norm_bias": True}, "norm_bias = True"),
    ("modernbert", {"mlp_bias": True}, "mlp_bias = True"),
    ("modernbert", {"local_attention": 1}, "local_attention 1"),
    ("modernbert", {"layer_types": ["sliding_attention"] * 4}, "every Nth layer"),
    ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'yarn' for full"),
    ("modernbert", {"auto_map": {"AutoModel": "modeling.ModernBertModel"}}, "code of the model's own"),
], ids=str)
def test_refused(tmp_path, family, fields, words):
    torch_model(family, "Model").save_pretrained(tmp_path)
    changed(tmp_path, **fields)
    with pytest.raises(ModelError, match=words):
        read_folder(tmp_path)


@pytest.mark.parametrize("family, name, shape, words", [
    ("modernbert", "layers.1.attn.Wqkv.bias", 72, "layers.1.attn.Wqkv.bias"),
    ("modernbert", "layers.0.attn_norm.weight", 24, "layers.0.attn_norm.weight"),
    ("modernbert", "final_norm.bias", 24, "final_norm.bias"),
    ("nomic_bert", "encoder.layers.1.mlp.experts.mlp.w1", 24, "a mixture of experts"),
    ("nomic_bert", "emb_ln.other", 24, "emb_ln.other"),
    ("jina_bert", "encoder.layer.0.attention.self.layer_norm_q.weight", 24, "normalisation of queries and keys"),
    ("new", "encoder.layer.0.mlp.up_gate_proj.bias", 80, "up_gate_proj.bias"),
    ("new", "encoder.layer.0.mlp.up_gate_proj.bias", 81, r"shape \(81,\), which is not 2 parts")])
def test_other_tensors_are_refused(tmp_path, family, name, shape, words):
    torch_model(family, "Model").save_pretrained(tmp_path)
    tensors.write(tmp_path / "model.safetensors", {**tensors.read(tmp_path), name: np.ones(shape, "float32")})
    with pytest.raises(ModelError, match=words):
        read_folder(tmp_path)


@pytest.mark.parametrize("family", NEWER)
def test_what_computes_bert_alone_refuses(tmp_path, family):
    torch_model(family, "Model").save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    refused_where_only_bert_is_computed(tmp_path / "ours", checkpoint,
                                        f"which encoders of the family {family} have; use engine 'native'")
    if importlib.util.find_spec("onnx") is not None:
        with pytest.raises(ModelError, match=f"do not compute encoders of the family {family}"):
            to_onnx(checkpoint, fused=True)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_what_a_modernbert_classifier_computes_from(tmp_path, pooling):
    """As config.json says it; a folder that is written says it too, also of a fresh head."""
    transformers = pytest.importorskip("transformers", reason="pip install '.[reference]' to compare with transformers")
    theirs = torch_model("modernbert", "ForSequenceClassification", num_labels=3, classifier_pooling=pooling)
    theirs.save_pretrained(tmp_path / "theirs")
    batch, checkpoint = inputs("modernbert"), read_folder(tmp_path / "theirs")
    wanted = torch_outputs(theirs, "modernbert", *batch)[0]
    for engine in ("native", "onnxruntime", "torch"):
        with bertpass.load(tmp_path / "theirs", engine, dtype="float32", threads=1) as model:
            assert error(model.forward(*batch)[0], wanted, batch[2]) <= TOLERANCE, engine
    write_folder(tmp_path / "ours", checkpoint)
    auto = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    assert auto.config.classifier_pooling == pooling
    assert np.array_equal(torch_outputs(auto, "modernbert", *batch)[0], wanted)

    fresh = adapt(checkpoint, HeadConfig("tokens", num_labels=4))
    write_folder(tmp_path / "fresh", fresh)
    auto = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "fresh").eval()
    with bertpass.load(tmp_path / "fresh", dtype="float32", threads=1) as model:
        assert np.abs(model.forward(*batch)[0][0] - torch_outputs(auto, "modernbert", *batch)[0][0]).max() <= TOLERANCE


def test_a_modernbert_head_without_the_name_of_its_class_is_refused(tmp_path):
    """All of them have the same tensors."""
    torch_model("modernbert", "ForTokenClassification", num_labels=3).save_pretrained(tmp_path)
    changed(tmp_path, architectures=None)
    with pytest.raises(ModelError, match=r"has the weights of a head, and its config\.json says architectures nothing"):
        read_folder(tmp_path)


@pytest.mark.parametrize("suffix", ["ForSequenceClassification", "ForTokenClassification"])
@pytest.mark.parametrize("family", list(CONFIGS))
def test_gradients(tmp_path, family, suffix):
    """Of every parameter of the network that is trained, as PyTorch has them of the plain one."""
    torch = pytest.importorskip("torch", reason="pip install '.[torch]'")
    from bertpass.engines.frameworks.torch_engine import network, trained_name

    theirs = torch_model(family, suffix, num_labels=3)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    plain = dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, dropout=0.0))
    ours = network(torch, plain, torch.float32, trainable=True).train()
    ids, types, lengths = (torch.tensor(array).long() for array in inputs(family))
    inside = torch.arange(ids.shape[1]) < lengths[:, None]
    for tensor in theirs.tensors.values():
        tensor.requires_grad_()
    given = {"token_type_ids": types} if plain.config.takes_token_types else {}
    (wanted,), (found,) = theirs(ids, inside.long(), **given).to_tuple(), ours(ids, types, lengths, True)
    factors = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    for out in (wanted, found):
        (out * factors)[inside if out.ndim == 3 else ...].sum().backward()
    of = {name.removeprefix("bert.").removeprefix("new."): tensor.grad for name, tensor in theirs.tensors.items()}
    names = checkpoint.network()[1]
    for name in names:
        whole, _, part = tensor_name(plain.config, name).partition("[")
        right, mine = of[whole], getattr(ours, trained_name(name)).grad
        if part:
            right = right.split(len(mine))[int(part[0])]
        assert right.abs().max() > 0 and (mine - right).abs().max() <= 1e-4 * max(1.0, right.abs().max()), name
    assert len(names) == len(list(ours.parameters()))


def test_silu_in_layers_like_berts(tmp_path):
    theirs, batch = torch_model("bert", "Model", hidden_act="silu"), inputs("bert")
    theirs.save_pretrained(tmp_path)
    for engine in ("torch", "onnxruntime"):
        pytest.importorskip(engine, reason=f"pip install '.[{engine}]'")
        with bertpass.load(tmp_path, engine, threads=1) as model:
            assert error(model.forward(*batch)[0], outputs(theirs, "bert", "Model", batch), batch[2]) <= TOLERANCE
    with pytest.raises(ModelError, match="no activation function silu, which this encoder has"):
        bertpass.load(tmp_path, "mxnet")
