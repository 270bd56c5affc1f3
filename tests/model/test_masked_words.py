"""Heads of masked words, as transformers' ForMaskedLM: logits and weights of words, in every engine, in and out."""

import itertools
import json

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.engines.frameworks import torch_engine
from bertpass.engines.native import NativeEngine
from bertpass.errors import ModelError, UsageError
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.export import export_bundle
from bertpass.model.families import FAMILIES
from bertpass.model.files import safetensors_file, tensors
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.tiny_models import CLASSES, VOCAB, ragged_batch, same_arrays, torch_model, torch_outputs

FAMILY = list(FAMILIES)
ENGINES = {"native": (), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx"), "torch": ("torch",)}
OTHERS = {"mxnet": "a network of MXNet", "tensorflow": "the tensorflow engine", "tvm": "the tvm engine"}
POOLED = [("max", ""), ("sum", ""), ("max", "log1p_relu"), ("sum", "log1p_relu")]
TOLERANCE = 1e-5  # of the largest number


@pytest.fixture(scope="module", params=FAMILY)
def model(request, tmp_path_factory):
    """The family, transformers' model, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = saved(folder, request.param)
    return request.param, theirs, folder


def saved(folder, family, **fields):
    theirs = torch_model(family, "ForMaskedLM", **fields)
    theirs.save_pretrained(folder)
    return theirs


def batch_of(family):
    ids, types, lengths = ragged_batch(family)
    return ids, types if FAMILIES[family].takes_token_types else np.zeros_like(types), lengths


def near(found, wanted):
    assert found.shape == wanted.shape and wanted.size
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())


def weights(logits, lengths, pooling, activation):
    """What the papers say: of the logits (rows, tokens, words) the weights (rows, words), in float64."""
    rows = []
    for row, length in zip(logits.astype(np.float64), lengths, strict=True):
        values = np.log1p(np.maximum(row[:length], 0))
        values = np.log1p(values) if activation else values
        rows.append(values.max(axis=0) if pooling == "max" else values.sum(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine(model, engine):
    family, theirs, folder = model
    for package in ENGINES[engine]:
        pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    batch = batch_of(family)
    inside = np.arange(batch[0].shape[1]) < batch[2][:, None]
    wanted = torch_outputs(theirs, family, *batch)[0]
    with bertpass.load(folder, engine, dtype="float32", threads=1, kind="mlm") as ours:
        near(ours.forward(*batch)[0][inside], wanted[inside])
    module = __import__(bertpass.engines.ENGINES[engine], fromlist=["x"])
    for pooling, activation in POOLED if family in ("bert", "electra", "mpnet") else POOLED[:1]:
        checkpoint = load_checkpoint(folder, given=bertpass.engines.Given("sparse"))
        checkpoint.head = type(checkpoint.head)("sparse", pooling=pooling, activation=activation)
        made = module.from_checkpoint(checkpoint, dtype="float32", threads=1)
        near(made.forward(*batch)[0], weights(wanted, batch[2], pooling, activation))
        made.close()


@pytest.mark.parametrize("tied", [True, False])
def test_in_every_layout(tmp_path, tied):
    """A folder that transformers opens, and a packed file, which has the table of words once where the words are it."""
    import transformers

    theirs = saved(tmp_path / "theirs", "roberta", tie_word_embeddings=tied)
    batch = batch_of("roberta")
    wanted = torch_outputs(theirs, "roberta", *batch)[0]
    checkpoint = load_checkpoint(tmp_path / "theirs", given=bertpass.engines.Given("mlm"))
    assert checkpoint.head.tied == tied and not any("ignored" in note for note in checkpoint.notes)
    write_folder(tmp_path / "ours", checkpoint)
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again) is type(theirs)
    assert np.array_equal(torch_outputs(again, "roberta", *batch)[0], wanted)
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    stored, _ = safetensors_file.read(tmp_path / "packed.safetensors")
    tables = [name for name, array in stored.items() if array.size >= VOCAB * 24 and array.ndim == 2]
    assert len(tables) == (1 if tied else 2)
    bits = []
    for path in ("theirs", "ours", "packed.safetensors"):
        dtype = None if path.endswith(".safetensors") else "float32"
        with bertpass.load(tmp_path / path, dtype=dtype, threads=1, kind="mlm") as ours:
            bits.append(ours.forward(*batch)[0])
    inside = np.arange(batch[0].shape[1]) < batch[2][:, None]
    near(bits[0][inside], wanted[inside])
    assert bits[0].tobytes() == bits[1].tobytes() == bits[2].tobytes()
    with bertpass.load(tmp_path / "packed.safetensors", kind="sparse") as ours:  # the same weights
        near(ours.forward(*batch)[0], weights(wanted, batch[2], "max", ""))


def test_torchscript(tmp_path):
    import torch

    theirs = saved(tmp_path / "theirs", "distilbert")
    batch = batch_of("distilbert")
    checkpoint = load_checkpoint(tmp_path / "theirs", given=bertpass.engines.Given("sparse"))
    torch_engine.save(tmp_path / "words.pt", checkpoint)
    found = torch.jit.load(str(tmp_path / "words.pt"))(*map(torch.from_numpy, batch))[0].numpy()
    near(found, weights(torch_outputs(theirs, "distilbert", *batch)[0], batch[2], "max", ""))


def test_a_row_has_the_same_bits_in_any_batch(tmp_path):
    """And with any number of threads: 200 tokens are more than a block of the head, 1,000 words more than a range."""
    theirs = saved(tmp_path, "bert", vocab_size=1000, max_position_embeddings=210)
    random = np.random.default_rng(1)
    rows = [random.integers(5, 1000, length).astype(np.int32) for length in (200, 1, 63, 64, 65, 3, 130)]
    logits = torch_outputs(theirs, "bert", rows[0][None], 0 * rows[0][None], np.array([200]))[0]
    for (pooling, activation), isa in itertools.product(POOLED, _native.instruction_sets()):
        checkpoint = load_checkpoint(tmp_path, given=bertpass.engines.Given("sparse"))
        checkpoint.head = type(checkpoint.head)("sparse", pooling=pooling, activation=activation)
        one, three = (NativeEngine(checkpoint, threads=threads, isa=isa) for threads in (1, 3))
        alone = [one.rows(ids, 0 * ids, np.array([0, len(ids)]))[0].values[0] for ids in rows]
        near(alone[0], weights(logits, [200], pooling, activation)[0])
        offsets = np.cumsum([0, *map(len, rows)])
        ids = np.concatenate(rows)
        for engine in (one, three):
            assert np.stack(alone).tobytes() == engine.rows(ids, 0 * ids, offsets)[0].values.tobytes()
        padded, lengths = np.zeros((len(rows), 200), np.int32), np.array([*map(len, rows)])
        padded[np.arange(200) < lengths[:, None]] = ids
        assert np.stack(alone).tobytes() == three.forward(padded, 0 * padded, lengths)[0].tobytes()


def test_the_encoder_alone_is_the_default(model):
    """Folders of pretraining are opened for their encoders, as before; the head is left out with a note."""
    _, _, folder = model
    checkpoint = load_checkpoint(folder)
    assert checkpoint.head.kind == "none" and "tensors that are not used here" in checkpoint.notes[0]
    assert not any(name.startswith("decoder") for name in checkpoint.params)
    with pytest.raises(UsageError, match="a none model and gives no weights of words"):
        bertpass.load(folder).encode_sparse("good")


@pytest.mark.parametrize("engine", OTHERS)
def test_engines_without_the_head(model, engine):
    _, _, folder = model
    packages = {"mxnet": ("mxnet",), "tensorflow": ("tensorflow",), "tvm": ("tvm",)}[engine]
    for package in packages:
        pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    if parameters.more_than_bert(load_checkpoint(folder).config):
        return  # refused for another reason
    with pytest.raises(ModelError, match=f"{OTHERS[engine]}.* has no logits of words .* use engine 'native'"):
        bertpass.load(folder, engine, kind="sparse")


def test_files_without_the_head(tmp_path, model):
    _, _, folder = model
    checkpoint = load_checkpoint(folder, given=bertpass.engines.Given("sparse"))
    if parameters.more_than_bert(checkpoint.config):
        return
    pytest.importorskip("mxnet", reason="pip install '.[cpu]' to write bundles")
    for write in (lambda: export_bundle(checkpoint, tmp_path / "bundle"),
                  lambda: packed.write_unpacked(tmp_path / "unpacked", checkpoint)):
        with pytest.raises(ModelError, match="has no logits of words"):
            write()
    assert not list(tmp_path.iterdir())


def change(folder, **fields):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **fields}))


def test_names_of_other_versions(tmp_path):
    """The words' bias by its other name, the table of words twice, and the names of norms before 2019."""
    theirs = saved(tmp_path, "bert")
    batch = batch_of("bert")
    found = tensors.read(tmp_path)
    found["cls.predictions.decoder.bias"] = found.pop("cls.predictions.bias")
    found["cls.predictions.decoder.weight"] = found["bert.embeddings.word_embeddings.weight"].copy()
    for part in ("weight", "bias"):
        name = f"cls.predictions.transform.LayerNorm.{part}"
        found[name.replace("weight", "gamma").replace("bias", "beta")] = found.pop(name)
    tensors.write(tmp_path / tensors.SAFETENSORS, found)
    with bertpass.load(tmp_path, dtype="float32", kind="mlm") as ours:
        inside = np.arange(batch[0].shape[1]) < batch[2][:, None]
        near(ours.forward(*batch)[0][inside], torch_outputs(theirs, "bert", *batch)[0][inside])


def test_what_is_refused(tmp_path):
    saved(tmp_path, "bert")
    found = {**tensors.read(tmp_path)}
    other = {**found, "cls.predictions.decoder.weight": found["bert.embeddings.word_embeddings.weight"] + 1}
    tensors.write(tmp_path / tensors.SAFETENSORS, other)
    with pytest.raises(ModelError, match="are one tensor and differ; write tie_word_embeddings false"):
        read_folder(tmp_path, kind="mlm")
    change(tmp_path, tie_word_embeddings=False)
    assert not read_folder(tmp_path, kind="mlm").head.tied
    tensors.write(tmp_path / tensors.SAFETENSORS, {**found, "cls.predictions.decoder.bias": np.ones(VOCAB, np.float32)})
    with pytest.raises(ModelError, match=r"'cls\.predictions\.decoder\.bias' and '.*', which are one"):
        read_folder(tmp_path, kind="mlm")
    tensors.write(tmp_path / tensors.SAFETENSORS, found)
    with pytest.raises(ModelError, match=r"lacks 1 of the .* 'cls\.predictions\.decoder\.weight'"):
        read_folder(tmp_path, kind="mlm")
    plain = {name: array for name, array in found.items() if not name.startswith("cls.")}
    tensors.write(tmp_path / tensors.SAFETENSORS, plain)
    with pytest.raises(ModelError, match=r"no weights of a head of masked words .* the folder of a BertForMaskedLM"):
        bertpass.load(tmp_path, kind="sparse")


def test_another_head_is_not_one_of_words(tmp_path):
    torch_model("bert", "ForSequenceClassification", num_labels=3).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="has the weights of a 'classification' head"):
        bertpass.load(tmp_path, kind="mlm")


@pytest.mark.parametrize("version", ["published v3", "legacy false", "both"])
def test_the_other_form_of_debertas_head(tmp_path, version):
    """Published v3 models have it beside a head of pretraining and say nothing; what is written opens as the same.

    transformers 4.57 itself would tie a layer of this form to the table of words, were they to be tied.
    """
    import transformers

    theirs = saved(tmp_path / "theirs", "deberta-v2", legacy=False, tie_word_embeddings=False)
    batch = batch_of("deberta-v2")
    wanted = torch_outputs(theirs, "deberta-v2", *batch)[0]
    found = tensors.read(tmp_path / "theirs")
    assert "lm_predictions.lm_head.dense.weight" in found
    more = {"mask_predictions.dense.weight": np.ones((3, 3), np.float32)}
    if version == "both":
        old = tensors.read(saved_folder(tmp_path / "old", "deberta-v2"))
        more |= {name: array for name, array in old.items() if name.startswith("cls.")}
        more["cls.predictions.decoder.bias"] = more["cls.predictions.bias"]
    tensors.write(tmp_path / "theirs" / tensors.SAFETENSORS, {**found, **more})
    if version == "published v3":
        content = json.loads((tmp_path / "theirs" / "config.json").read_text())
        del content["legacy"]
        (tmp_path / "theirs" / "config.json").write_text(json.dumps(content))
    checkpoint = read_folder(tmp_path / "theirs", kind="mlm")
    write_folder(tmp_path / "ours", checkpoint)
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    near(torch_outputs(again, "deberta-v2", *batch)[0], wanted)
    inside = np.arange(batch[0].shape[1]) < batch[2][:, None]
    with bertpass.load(tmp_path / "theirs", dtype="float32", kind="mlm") as ours:
        near(ours.forward(*batch)[0][inside], wanted[inside])
    if version == "both":  # transformers takes the first form unless legacy is false
        change(tmp_path / "theirs", legacy=True, tie_word_embeddings=True)
        with bertpass.load(tmp_path / "theirs", dtype="float32", kind="mlm") as ours:
            assert np.abs(ours.forward(*batch)[0][inside] - wanted[inside]).max() > 1


def saved_folder(folder, family):
    saved(folder, family, seed=1)
    return folder


@pytest.mark.parametrize("family", ["nomic_bert", "new", "jina_bert"])
def test_heads_of_own_code_there_and_back(tmp_path, family):
    """Every tensor bit for bit; biases that Nomic's code does not have are not written either."""
    saved(tmp_path / "theirs", family)
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs", kind="mlm"))
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"][0].endswith("ForMaskedLM")


def test_every_family_is_compared():
    assert set(FAMILY) == set(CLASSES)
