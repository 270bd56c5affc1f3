"""DeBERTa-v2 and v3, whose attention has embeddings of distances: against transformers where it is computed, refused
elsewhere."""

import json

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.files import tensors
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from bertpass.model.low_precision import numpy_encoder
from tests.helpers import against_transformers, reference
from tests.helpers.against_transformers import (
    LENGTHS,
    SUFFIXES,
    TOLERANCE,
    long_batch,
    refused_where_only_bert_is_computed,
)
from tests.helpers.tiny_models import same_arrays, torch_model, torch_outputs

POSITIONS = 180
#: ranges by the logarithm up to all positions and up to fewer; a row for each distance
FORMS = [{"position_buckets": 16}, {"position_buckets": 32, "max_relative_positions": 90},
         {"position_buckets": -1, "max_relative_positions": 50}]


def model(suffix="Model", **fields):
    return torch_model("deberta-v2", suffix, **{"max_position_embeddings": POSITIONS, **FORMS[0], **fields})


def batch():
    return long_batch(0)


def outputs(theirs, suffix):
    return against_transformers.outputs(theirs, "deberta-v2", suffix, batch())


def largest(found, wanted):
    return against_transformers.largest(found, wanted, batch()[2])


@pytest.mark.parametrize("buckets, most", [(256, 512), (256, 1024), (32, 90), (16, 180), (2, 5), (7, 40), (0, 50)])
def test_ranges_of_distances_are_those_of_transformers(buckets, most):
    import torch
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    length, span = 1300, buckets or most
    states = torch.zeros((1, length, 1))
    wanted = build_relative_position(states, states, buckets, most)[0].numpy() + span
    rows = np.array(_native.relative_rows(buckets, most, length))
    place = np.arange(length)
    assert np.array_equal(rows[length - 1 + place - place[:, None]], np.clip(wanted, 0, 2 * span - 1))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_numpy_encoder(tmp_path, form):
    theirs = model(**form)
    theirs.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    ids, types, lengths = batch()
    states = numpy_encoder.states(checkpoint.config, checkpoint.params,
                                  [(ids[i, :n], types[i, :n]) for i, n in enumerate(lengths)])
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    assert np.abs(states - outputs(theirs, "Model")[inside]).max() <= TOLERANCE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back(tmp_path, suffix):
    """transformers -> ours -> transformers: bits of every tensor, the class, outputs."""
    import transformers

    theirs = model(suffix, **SUFFIXES[suffix])
    theirs.save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    assert checkpoint.config.max_length == POSITIONS and len(checkpoint.notes) == 1
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    auto = getattr(transformers, "Auto" + ("Model" if suffix == "Model" else f"Model{suffix}"))
    again, wanted = auto.from_pretrained(tmp_path / "ours").eval(), outputs(theirs, suffix)
    assert type(again) is type(theirs) and np.array_equal(outputs(again, suffix), wanted)


@pytest.mark.parametrize("engine, package, options", [
    ("onnxruntime", "onnxruntime", {"fusions": True}), ("onnxruntime", "onnxruntime", {"fusions": False}),
    ("openvino", "openvino", {"dtype": "float32"}), ("torch", "torch", {}), ("torch", "torch", {"mode": "script"})],
    ids=["onnxruntime fused", "onnxruntime", "openvino", "torch", "torchscript"])
def test_other_engines(tmp_path, engine, package, options):
    pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    for suffix, form in (("Model", FORMS[0]), ("ForSequenceClassification", FORMS[2])):
        theirs = model(suffix, **form)
        theirs.save_pretrained(tmp_path / suffix)
        with bertpass.load(tmp_path / suffix, engine, threads=1, **options) as ours:
            assert largest(ours.forward(*batch())[0], outputs(theirs, suffix)) <= TOLERANCE
            short = batch()[0][:1, :7], batch()[1][:1, :7], np.array([7], "int32")  # no row is padded
            assert np.abs(ours.forward(*short)[0] - torch_outputs(theirs, "deberta-v2", *short)[0]).max() <= TOLERANCE


OTHERS = {"relative_attention": False, "share_att_key": False, "position_biased_input": True, "norm_rel_ebd": "none",
          "pos_att_type": ["c2p"], "conv_kernel_size": 3, "pooler_hidden_act": "tanh", "type_vocab_size": 2,
          "embedding_size": 12, "position_buckets": 400}


@pytest.mark.parametrize("name", OTHERS)
def test_other_forms_are_refused_by_name(tmp_path, name):
    model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, name: OTHERS[name]}))
    with pytest.raises(ModelError, match=name):
        read_folder(tmp_path)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("isa", reference.instruction_sets())
def test_the_native_engine(tmp_path, isa, form):
    """Every head against transformers, where keys are far away and where they are near."""
    for suffix, fields in SUFFIXES.items():
        theirs = model(suffix, **form, **fields)
        theirs.save_pretrained(tmp_path / suffix)
        ours = NativeEngine(read_folder(tmp_path / suffix), threads=1, isa=isa)
        assert largest(ours.forward(*batch())[0], outputs(theirs, suffix)) <= TOLERANCE, suffix
        short = batch()[0][:1, :7], batch()[1][:1, :7], np.array([7], "int32")
        found, wanted = ours.forward(*short)[0], torch_outputs(theirs, "deberta-v2", *short)
        wanted = np.stack(wanted, axis=-1) if suffix == "ForQuestionAnswering" else wanted[0]
        assert found.shape == wanted.shape and np.abs(found - wanted).max() <= TOLERANCE


@pytest.mark.parametrize("isa", reference.instruction_sets())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("buckets", [16, 0])
def test_every_precision(isa, dtype, buckets):
    """Against float64 with the engine's rounding; a row has the same bits alone, in any batch, in two threads; and a
    packed model has them too."""
    checkpoint = reference.tiny("deberta-v2", units=96, num_heads=3, max_length=POSITIONS, position_buckets=buckets,
                                relative_positions=100)
    inputs = reference.batch(checkpoint.config, LENGTHS)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa)
    found = engine.forward(*inputs)[0]
    wanted = reference.outputs(checkpoint, *inputs, low=reference.precision(dtype, isa))[0]
    # Thrice: an embedding of a distance that is rounded the other way is in the scores of every token, in every layer.
    bound = 1e-5 if dtype == "float32" else 3 * reference.flip(dtype, isa)
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    assert np.array_equal(NativeEngine(checkpoint, dtype=dtype, threads=2, isa=isa).forward(*inputs)[0], found)
    ids, types, lengths = inputs
    for row, length in enumerate(lengths):
        alone = engine.forward(ids[row:row + 1, :length], types[row:row + 1, :length], lengths[row:row + 1])[0]
        assert np.array_equal(alone[0], found[row, :length])


def test_what_has_no_such_attention_refuses(tmp_path):
    checkpoint = reference.tiny("deberta-v2", "classification", units=32, num_heads=1)
    words = "no attention with embeddings of distances, which encoders of the family deberta-v2 have; use engine"
    refused_where_only_bert_is_computed(tmp_path / "ours", checkpoint, words)
    with pytest.raises(ModelError, match=words):
        packed.write_unpacked(tmp_path / "x", checkpoint)
    with pytest.raises(ModelError, match=words):
        bertpass.load(tmp_path / "ours" / "folder", "cuda")


def test_a_description_whose_distances_do_not_fit_is_refused():
    encoder, head = reference.tiny("deberta-v2").config.to_dict(), reference.tiny().head.to_dict()
    assert _native.parameters(encoder, head)
    for change in ({"relative_positions": 0}, {"position_buckets": 1}, {"position_buckets": 38}, {"family": "bert"}):
        with pytest.raises(ModelError, match="position_buckets and relative_positions do not fit"):
            _native.parameters({**encoder, **change}, head)
    named = dict(_native.parameters(encoder, head))
    assert tuple(named[f"bert.{parameters.RELATIVE}.weight"]) == (16, 36)
