"""Late interaction: folders as PyLate saves them, and MultiVectorEncoder in the place of its ColBERT class.

The right vectors come from transformers, by the definition of ColBERT (arXiv:2004.12832) and of PyLate's keys.
"""

import json
import tempfile

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.engines.native import NativeEngine
from bertpass.errors import ModelError, UsageError
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.json_files import change
from tests.helpers.late_models import folder_of, right, stanford_folder_of, stanford_right
from tests.helpers.tiny_models import VOCAB, torch_model

REASON = "pip install 'bertpass[reference]' to compare with transformers"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
TEXTS = ["the film is good .", " bad, un able ", "w1 w2 w3 w4 w5 w6", "good " * 40, "", "un ; w3 . w4"]
TOLERANCE = 1e-5


def near(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == np.float32
        assert np.abs(one - other).max() <= TOLERANCE * max(1.0, np.abs(other).max())


CASES = {
    "all attend to [MASK]": {}, "none attends to [MASK]": {"attend_to_expansion_tokens": False},
    "without expansion": {"do_query_expansion": False, "attend_to_expansion_tokens": False},
    "without marks": {"query_prefix": "", "document_prefix": ""}, "nothing is left out": {"skiplist_words": []},
    "words that are no tokens": {"skiplist_words": ["!", "."]},
    "two layers": {"layers": ((24, 16, True), (16, 6, False))}, "DistilBERT": {"family": "distilbert"},
}


@pytest.mark.parametrize("name", CASES)
def test_vectors_of_tokens(tmp_path, name):
    path = folder_of(tmp_path / "theirs", **CASES[name])
    ours = bertpass.MultiVectorEncoder(path, threads=1)
    assert not ours.model.notes
    wanted = right(path, TEXTS, True), right(path, TEXTS, False)
    near(ours.encode_query(TEXTS), wanted[0])
    near(ours.encode_document(TEXTS), wanted[1])
    near(ours.encode_document(TEXTS, normalize_embeddings=False, batch_size=2), right(path, TEXTS, False, False))
    near([ours.encode(TEXTS[0], is_query=False)], wanted[1][:1])
    assert ours.get_embedding_dimension() == wanted[0][0].shape[1]
    checkpoint = read_folder(path)
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    write_folder(tmp_path / "ours", checkpoint)
    near(right(tmp_path / "ours", TEXTS, True), wanted[0])
    for other in ("ours", "packed.safetensors"):
        again = bertpass.MultiVectorEncoder(tmp_path / other, threads=1, dtype=None if "." in other else "float32")
        for is_query in (True, False):
            both = again.encode(TEXTS, is_query=is_query), ours.encode(TEXTS, is_query=is_query)
            assert all(np.array_equal(one, two) for one, two in zip(*both, strict=True))
    kept = ("query_prefix", "document_prefix", "query_length", "document_length", "attend_to_expansion_tokens",
            "do_query_expansion", "skiplist_words", "similarity_fn_name", "model_type", "prompts")
    said = [json.loads((tmp_path / each / SETTINGS_FILE).read_text()) for each in ("theirs", "ours")]
    assert [said[0][key] for key in kept] == [said[1][key] for key in kept]


@pytest.mark.parametrize("settings", [{}, {"attend_to_mask_tokens": True}, {"mask_punctuation": False}], ids=str)
def test_folders_of_colberts_authors(tmp_path, settings):
    path = stanford_folder_of(tmp_path / "theirs", **settings)
    ours = bertpass.MultiVectorEncoder(path, threads=1)
    assert not ours.model.notes and ours.get_embedding_dimension() == 8
    near(ours.encode_query(TEXTS), stanford_right(path, TEXTS, True))
    near(ours.encode_document(TEXTS), stanford_right(path, TEXTS, False))
    write_folder(tmp_path / "ours", read_folder(path))  # in PyLate's form
    near(right(tmp_path / "ours", TEXTS, True), stanford_right(path, TEXTS, True))
    near(bertpass.MultiVectorEncoder(tmp_path / "ours", threads=1, dtype="float32").encode_document(TEXTS),
         stanford_right(path, TEXTS, False))


@pytest.mark.parametrize("settings, words", [
    ({"similarity": "l2"}, "has similarity = 'l2'"), ({"interaction": "flipr"}, "has interaction = 'flipr'"),
    ({"dim": 16}, r"'linear.weight' of shape \(16, 24\).*one of shape \(8, 24\)"),
    ({"mask_punctuation": "no"}, "mask_punctuation 'no', which is neither true nor false"),
    ({"doc_maxlen": 2}, r"artifact.metadata: doc_maxlen is 2; it has to be a whole number of at least 4")], ids=str)
def test_folders_of_colberts_authors_that_are_refused(tmp_path, settings, words):
    with pytest.raises(ModelError, match=words):
        read_folder(stanford_folder_of(tmp_path / "theirs", **settings))


def test_similarity(tmp_path):
    path = folder_of(tmp_path)
    ours = bertpass.MultiVectorEncoder(path, threads=1)
    queries, documents = ours.encode_query(TEXTS[:3]), ours.encode_document(TEXTS[1:])
    wanted = [[float((torch.tensor(q) @ torch.tensor(d).T).max(dim=1).values.sum()) for d in documents]
              for q in queries]
    found = ours.similarity(queries, documents)
    assert found.shape == (3, 5) and found.dtype == np.float32 and np.allclose(found, wanted, atol=1e-5)
    assert np.allclose(ours.similarity(queries[0], documents[2]), wanted[0][2], atol=1e-5)
    tensors = ours.encode_query(TEXTS[:3], convert_to_tensor=True)
    assert all(isinstance(one, torch.Tensor) for one in tensors)
    assert np.array_equal(ours.similarity(tensors, documents), found)
    with pytest.raises(UsageError, match=r"an array .tokens, width. each"):
        ours.similarity(queries[0][0], documents)


def test_prompts(tmp_path):
    path = folder_of(tmp_path, prompts={"query": "w1 ", "document": "bad "}, default_prompt_name="query")
    ours = bertpass.MultiVectorEncoder(path, threads=1)
    near(ours.encode(TEXTS), right(path, ["w1 " + text for text in TEXTS], True))
    near(ours.encode_document(TEXTS, prompt_name="document"), right(path, ["bad " + text for text in TEXTS], False))
    near(ours.encode_document(TEXTS, prompt=""), right(path, TEXTS, False))


SETTINGS_FILE = "config_sentence_transformers.json"
REFUSED = {
    "another module": (change("modules.json", type="sentence_transformers.models.Normalize"), "with Dense after it"),
    "a residual": (change("1_Dense/config.json", use_residual=True), "has use_residual = True"),
    "no length": (change(SETTINGS_FILE, query_length="32"), "query_length is '32'"),
    "no switch": (change(SETTINGS_FILE, do_query_expansion="no"), "do_query_expansion is 'no', which is no true"),
    "no words": (change(SETTINGS_FILE, skiplist_words=[1]), "skiplist_words has to be a list of words"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_are_refused(tmp_path, name):
    spoil, words = REFUSED[name]
    spoil(folder_of(tmp_path))
    with pytest.raises(ModelError, match=words):
        read_folder(tmp_path)


@pytest.mark.parametrize("settings, error, words", [
    ({"query_prefix": "[X] "}, ModelError, r"no token '\[X\] ', which marks queries"),
    ({"query_length": 400}, ModelError, "queries have 400 tokens and the encoder 24 positions")])
def test_queries_that_are_refused(tmp_path, settings, error, words):
    path = folder_of(tmp_path, **settings)
    ours = bertpass.MultiVectorEncoder(path, threads=1)
    near(ours.encode_document(TEXTS), right(path, TEXTS, False))
    with pytest.raises(error, match=words):
        ours.encode_query(TEXTS)


@pytest.mark.parametrize("more, words", [
    ({"precision": "int8"}, "has precision='float32' alone"), ({"pool_factor": 2}, "has pool_factor=1 alone"),
    ({"padding": True}, "has padding=False alone"), ({"output_value": None}, "has output_value='token_embeddings'"),
    ({"convert_to_tensr": True}, "unknown argument of MultiVectorEncoder.encode"), ({"device": "cuda"}, "is on cpu"),
    ({"prompt_name": "quary"}, "quary"), ({"batch_size": 0}, "batch_size")])
def test_what_encode_refuses(tmp_path, more, words):
    with pytest.raises(UsageError, match=words):
        bertpass.MultiVectorEncoder(folder_of(tmp_path), threads=1).encode(TEXTS, **more)


def test_other_classes(tmp_path):
    path = folder_of(tmp_path / "late")
    with pytest.raises(UsageError, match=r"this is a late-interaction model, .* use encode_tokens"):
        bertpass.load(path).encode("good")
    with pytest.raises(UsageError, match="has a vector for every token; use MultiVectorEncoder"):
        bertpass.SentenceEncoder(path)
    torch_model("bert", "Model").save_pretrained(tmp_path / "plain")
    with pytest.raises(UsageError, match="no vectors of tokens"):
        bertpass.MultiVectorEncoder(tmp_path / "plain")
    with pytest.raises(UsageError, match=r"no vectors of tokens for late interaction; use encode"):
        bertpass.load(tmp_path / "plain").encode_tokens(["good"], is_query=True)


@pytest.mark.parametrize("isa", _native.instruction_sets())
@pytest.mark.parametrize("family", ["bert", "modernbert", "mpnet"])
def test_tokens_that_are_not_attended_to(family, isa):
    """As transformers with a mask, in every instruction set and precision; alone and in any batch the same bits."""
    lengths, keys = [24, 1, 24, 13, 20], np.array([7, 1, 24, 12, 1])
    window = {"local_attention": 64} if family == "modernbert" else {}
    theirs = torch_model(family, "Model", num_attention_heads=2, hidden_size=64, **window)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        checkpoint = read_folder(folder)
        random = np.random.default_rng(0)
        rows = [random.integers(5, VOCAB, length).astype(np.int32) for length in lengths]
        wanted = []
        for ids, seen in zip(rows, keys, strict=True):
            mask = torch.from_numpy((np.arange(len(ids)) < seen).astype(np.int64))[None]
            with torch.no_grad():
                wanted.append(theirs(torch.from_numpy(ids).long()[None], attention_mask=mask)[0][0].numpy())
        ids, offsets = np.concatenate(rows), np.cumsum([0, *lengths])
        exact = np.concatenate(wanted)
        for dtype, tolerance in (("float32", 1e-5), ("bfloat16", 0.1)):  # as large as without a mask: large weights
            together = []
            for threads in (1, 3):
                engine = NativeEngine(checkpoint, dtype=dtype, threads=threads, isa=isa)
                together.append(engine.attended_rows(ids, 0 * ids, offsets, keys)[0].values)
                assert np.linalg.norm(together[-1] - exact) <= tolerance * np.linalg.norm(exact)
            alone = np.concatenate([
                engine.attended_rows(row, 0 * row, np.array([0, len(row)]), np.array([seen]))[0].values
                for row, seen in zip(rows, keys, strict=True)])
            assert together[0].tobytes() == together[1].tobytes() == alone.tobytes()
            every = engine.attended_rows(ids, 0 * ids, offsets, np.array(lengths))[0].values
            assert every.tobytes() == engine.rows(ids, 0 * ids, offsets)[0].values.tobytes()
        for wrong in ([0, 1, 1, 1, 1], [1, 1, 1, 1, 21], [1, 2, 1, 1, 1]):
            with pytest.raises(UsageError, match="the tokens that are attended to must be from 1 to"):
                engine.attended_rows(ids, 0 * ids, offsets, np.array(wrong))
        with pytest.raises(UsageError, match=r"must be .rows,."):
            engine.attended_rows(ids, 0 * ids, offsets, keys[1:])


def test_a_window_that_leaves_tokens_nothing_to_attend_to(tmp_path):
    torch_model("modernbert", "Model", local_attention=8).save_pretrained(tmp_path)
    engine, ids = NativeEngine(read_folder(tmp_path), threads=1), np.arange(5, 15, dtype=np.int32)
    with pytest.raises(UsageError, match="has at most 5 tokens, not 10"):
        engine.attended_rows(ids, 0 * ids, np.array([0, 10]), np.array([3]))
    whole = engine.attended_rows(ids, 0 * ids, np.array([0, 10]), np.array([10]))[0].values
    assert whole.tobytes() == engine.rows(ids, 0 * ids, np.array([0, 10]))[0].values.tobytes()


def test_engines_in_which_all_tokens_are_attended_to(tmp_path):
    path = folder_of(tmp_path, attend_to_expansion_tokens=False)
    ours = bertpass.MultiVectorEncoder(path, backend="torch", threads=1)
    near(ours.encode_document(TEXTS), right(tmp_path, TEXTS, False))
    with pytest.raises(UsageError, match="in the torch engine all tokens of a row are attended to"):
        ours.encode_query(TEXTS)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_other_backends(tmp_path, backend):
    for package in {"onnx": ("onnx", "onnxruntime")}.get(backend, ("torch",)):
        pytest.importorskip(package, reason=f"pip install '.[{backend}]' to test this engine")
    path = folder_of(tmp_path)
    ours = bertpass.MultiVectorEncoder(path, backend=backend, threads=1)
    near(ours.encode_query(TEXTS), right(path, TEXTS, True))
    near(ours.encode_document(TEXTS), right(path, TEXTS, False))
