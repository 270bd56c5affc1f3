"""Encoders whose embeddings have another width than their layers: against transformers where it is computed, refused
elsewhere."""

import dataclasses
import json

import numpy as np
import pytest

import bertpass
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.files import tensors
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from bertpass.model.low_precision import numpy_encoder
from bertpass.model.onnx.graph import to_onnx
from tests.helpers import reference
from tests.helpers.against_transformers import (
    SUFFIXES,
    TOLERANCE,
    largest,
    outputs,
    refused_where_only_bert_is_computed,
)
from tests.helpers.tiny_models import ragged_batch, same_arrays, torch_model, torch_outputs

FAMILIES = ["albert", "electra"]
WIDTHS = [7, 50]  # narrower and wider than the layers


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_with_the_same_outputs(tmp_path, family, suffix, width):
    """transformers -> ours -> transformers: bits of every tensor, the class, outputs; in every instruction set."""
    import transformers

    theirs = torch_model(family, suffix, embedding_size=width, **SUFFIXES[suffix])
    theirs.save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    assert (checkpoint.config.embedding_size, checkpoint.config.units) == (width, 24) and len(checkpoint.notes) == 1
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    auto = getattr(transformers, "Auto" + ("Model" if suffix == "Model" else f"Model{suffix}"))
    again, batch = auto.from_pretrained(tmp_path / "ours").eval(), ragged_batch(family)
    wanted = outputs(theirs, family, suffix, batch)
    assert type(again) is type(theirs) and np.array_equal(outputs(again, family, suffix, batch), wanted)
    for isa in reference.instruction_sets():
        found = NativeEngine(checkpoint, threads=1, isa=isa).forward(*batch)[0]
        assert largest(found, wanted, batch[2]) <= TOLERANCE, isa
    if suffix == "Model":
        ids, types, lengths = batch
        rows = [(ids[i, :n], types[i, :n]) for i, n in enumerate(lengths)]
        states = numpy_encoder.states(checkpoint.config, checkpoint.params, rows)
        inside = np.arange(ids.shape[1]) < lengths[:, None]
        assert np.abs(states - wanted[inside]).max() <= TOLERANCE


@pytest.mark.parametrize("engine, package, options", [
    ("onnxruntime", "onnxruntime", {"fusions": True}), ("onnxruntime", "onnxruntime", {"fusions": False}),
    ("openvino", "openvino", {"dtype": "float32"}), ("torch", "torch", {}), ("torch", "torch", {"mode": "script"})],
    ids=["onnxruntime fused", "onnxruntime", "openvino", "torch", "torchscript"])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_engines(tmp_path, family, engine, package, options):
    pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    for suffix in ("Model", "ForSequenceClassification"):
        theirs = torch_model(family, suffix, embedding_size=WIDTHS[0])
        theirs.save_pretrained(tmp_path / suffix)
        batch = ragged_batch(family)
        with bertpass.load(tmp_path / suffix, engine, threads=1, **options) as ours:
            assert largest(ours.forward(*batch)[0], outputs(theirs, family, suffix, batch), batch[2]) <= TOLERANCE


@pytest.mark.parametrize("isa", reference.instruction_sets())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_precision(family, dtype, isa):
    """Against float64 with the engine's rounding; and a row has the same bits alone, in any batch, in two threads."""
    checkpoint = reference.tiny(family, units=96, num_heads=3, max_length=300, embedding_size=33)
    lengths = [250, 1, 30, 2, 300, 17, 299, 200]  # in two threads each takes rows of its own
    inputs = reference.batch(checkpoint.config, lengths)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa)
    found = engine.forward(*inputs)[0]
    wanted = reference.outputs(checkpoint, *inputs, low=reference.precision(dtype, isa))[0]
    # Twice: among so many tokens some value is always rounded the other way, and attention hands it to all others.
    bound = 1e-5 if dtype == "float32" else 2 * reference.flip(dtype, isa)
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    two = NativeEngine(checkpoint, dtype=dtype, threads=2, isa=isa)
    assert np.array_equal(two.forward(*inputs)[0], found)
    ids, types, lengths = inputs
    for row, length in enumerate(lengths):
        alone = engine.forward(ids[row:row + 1, :length], types[row:row + 1, :length], lengths[row:row + 1])[0]
        assert np.array_equal(alone[0], found[row, :length])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_has_no_projection_refuses(tmp_path, family):
    checkpoint = reference.tiny(family, "classification", units=32, num_heads=1)
    words = r"no embeddings of another width than the layers, which this encoder has \(20 and 32\); use engine 'native'"
    refused_where_only_bert_is_computed(tmp_path, checkpoint, words)


def test_files_that_do_not_fit(tmp_path):
    theirs = torch_model("electra", "Model", embedding_size=7)
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, words in [({"embedding_size": 8}, r"has shape \(60, 7\) and the network has \(60, 8\)"),
                          ({"embedding_size": 24}, "holds 'embeddings_project.bias', which is not part"),
                          ({"embedding_size": None}, "lacks embedding_size, which an encoder of type electra needs"),
                          ({"embedding_size": 0}, "embedding_size must be a whole number of at least 1, not 0"),
                          ({"model_type": "bert"}, "embedding_size is 7, but an encoder of the family bert has")]:
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=words):
            read_folder(tmp_path)


def test_the_discriminators_head_is_left_out_with_a_note(tmp_path):
    theirs = torch_model("electra", "ForPreTraining", embedding_size=7)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    assert checkpoint.head.kind == "none"
    assert checkpoint.notes[0] == "ignored 4 tensors that are not used here (discriminator_predictions)."


def test_an_earlier_description_has_none():
    """A packed file from before the field."""
    from bertpass import _native

    encoder = reference.tiny().config.to_dict()
    head = reference.tiny().head.to_dict()
    wanted = _native.parameters(encoder, head)
    del encoder["embedding_size"]
    assert _native.parameters(encoder, head) == wanted
    encoder["embedding_size"] = 12
    named = dict(_native.parameters(encoder, head))
    assert tuple(named[f"bert.{parameters.PROJECTION}.weight"]) == (36, 12)


# -- ALBERT, whose layers are one -------------------------------------------------------------------------------------


def albert(tmp_path, suffix="Model", **fields):
    theirs = torch_model("albert", suffix, num_hidden_layers=4, **fields)
    theirs.save_pretrained(tmp_path)
    return theirs, read_folder(tmp_path)


def test_one_layer_is_all_layers(tmp_path):
    """In memory, in a packed file and in an ONNX file its weights are there once."""
    theirs, checkpoint = albert(tmp_path)
    assert checkpoint.config.activation == "gelu_tanh" and checkpoint.config.num_layers == 4
    cells = "bert.encoder.transformer_cells"
    assert checkpoint.params[f"{cells}.0.proj.weight"] is checkpoint.params[f"{cells}.3.proj.weight"]
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    layers = packed.read(tmp_path / "packed.safetensors").layers
    apart = {name: array.copy() for name, array in checkpoint.params.items()}
    copied = dataclasses.replace(checkpoint, params=apart)
    packed.write(tmp_path / "copied.safetensors", copied, "float32")
    others = packed.read(tmp_path / "copied.safetensors").layers
    assert 3.9 * layers.size < others.size < 4.1 * layers.size
    batch = ragged_batch("albert")
    found = [NativeEngine(one, dtype="float32", threads=1).forward(*batch)[0]
             for one in (checkpoint, copied, packed.read(tmp_path / "packed.safetensors"))]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert largest(found[0], torch_outputs(theirs, "albert", *batch)[0], batch[2]) <= TOLERANCE
    pytest.importorskip("onnx", reason="pip install '.[onnx]' to write the graph")
    for fused in (False, True):
        assert to_onnx(copied, fused).ByteSize() > 2 * to_onnx(checkpoint, fused).ByteSize()
    write_folder(tmp_path / "again", copied)
    same_arrays(tensors.read(tmp_path / "again"), tensors.read(tmp_path))
    apart[f"{cells}.2.proj.bias"][3] += 1
    with pytest.raises(ModelError, match=r"layers of this model differ \('bert.*cells.2.proj.bias'\), and a folder of"):
        write_folder(tmp_path / "third", copied)


def test_layers_in_several_precisions_are_kept_apart(tmp_path):
    _, checkpoint = albert(tmp_path)
    batch = ragged_batch("albert")
    found = {plan: NativeEngine(checkpoint, dtype="bfloat16", keep=keep, threads=1).forward(*batch)[0]
             for plan, keep in (("all", None), ("but 2", {"2": "float32"}))}
    assert not np.array_equal(found["all"], found["but 2"])


def test_the_pooler(tmp_path):
    theirs, _ = albert(tmp_path)
    batch = ragged_batch("albert")
    with bertpass.load(tmp_path, kind="pooled", dtype="float32", threads=1) as ours:
        found = ours.forward(*batch)[1]
    assert np.abs(found - torch_outputs(theirs, "albert", *batch)[1]).max() <= TOLERANCE


def test_a_projection_of_the_same_width(tmp_path):
    """ALBERT has it also there, ELECTRA not."""
    theirs, checkpoint = albert(tmp_path, embedding_size=24)
    assert checkpoint.config.embedding_size == 24
    batch = ragged_batch("albert")
    found = NativeEngine(checkpoint, threads=1).forward(*batch)[0]
    assert largest(found, torch_outputs(theirs, "albert", *batch)[0], batch[2]) <= TOLERANCE


@pytest.mark.parametrize("fields", [{"num_hidden_groups": 2}, {"inner_group_num": 2}], ids=str)
def test_groups_of_layers_are_refused(tmp_path, fields):
    with pytest.raises(ModelError, match=f"{next(iter(fields))} = 2 .layers with weights of their own"):
        albert(tmp_path, **fields)
