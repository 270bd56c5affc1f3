"""SentenceEncoder and CrossEncoder in the place of sentence-transformers' classes, call by call."""

import subprocess
import sys

import numpy as np
import pytest

import bertpass
from bertpass.engines.vectors import SIMILARITIES
from bertpass.errors import UsageError
from tests.helpers.small_tokenizers import TEXTS as SCRIPTS
from tests.helpers.small_tokenizers import save
from tests.helpers.tiny_models import torch_model

REASON = "pip install 'bertpass[reference]' to compare with sentence-transformers"
library = pytest.importorskip("sentence_transformers", reason=REASON)
torch = pytest.importorskip("torch", reason=REASON)
TEXTS = [SCRIPTS[name] for name in ("Latin", "Cyrillic", "Chinese", "empty", "emoji", "Thai")] + ["a longer text " * 9]
PROMPTS = {"query": "query: ", "passage": "Anna "}
FAMILIES = {"bert": "BERT", "xlm-roberta": "XLM-R", "camembert": "CamemBERT", "roberta": "RoBERTa"}
# of the largest number, of vectors and of the states of tokens; twice what ten processes, each with its vocabulary, had
TOLERANCE, STATES = 2e-6, 3e-6


def encoder(folder, family, suffix="Model", **fields):
    """A folder of a random encoder with a tokenizer of its family's kind."""
    tokenizer = save(folder, FAMILIES[family], model_max_length=60)
    model = torch_model(family, suffix, vocab_size=max(tokenizer.get_vocab().values()) + 1, max_position_embeddings=66,
                        **fields)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def both(request, tmp_path_factory):
    """Ours and the library's, of a folder that the library saved."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = tmp_path_factory.mktemp("vectors")
    first = Transformer(str(encoder(folder / "plain", request.param)), max_seq_length=32)
    library.SentenceTransformer(modules=[first, Pooling(24, "mean")], device="cpu", prompts=PROMPTS).save(str(folder))
    return bertpass.SentenceEncoder(folder, threads=1), library.SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="module", params=[("bert", 1), ("xlm-roberta", 1), ("camembert", 3), ("roberta", 1)], ids=str)
def crossed(request, tmp_path_factory):
    family, outputs = request.param
    folder = encoder(tmp_path_factory.mktemp("pairs"), family, "ForSequenceClassification", num_labels=outputs)
    theirs = library.CrossEncoder(str(folder), device="cpu")
    exact(theirs)
    return bertpass.CrossEncoder(folder, threads=1), theirs


def exact(encoder):
    """Let the library compute logits in float64 and round them: in float32 its own error is as large as what is
    allowed, and other vocabularies are trained in each process."""
    encoder.double()
    encoder[0].register_forward_hook(lambda _, __, features: features | {"scores": features["scores"].float()})


def same(found, wanted, tolerance=TOLERANCE):
    """The same types, shapes and number types; the same numbers but for float32's rounding."""
    assert type(found) is type(wanted)
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other, tolerance)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name in wanted:
            same(found[name], wanted[name])
    elif isinstance(wanted, np.ndarray | np.generic | torch.Tensor):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        a, b = np.asarray(found), np.asarray(wanted)
        if a.dtype.kind == "f":
            assert not a.size or np.abs(a - b).max() <= tolerance * max(1.0, np.abs(b).max())
        else:
            assert (a == b).mean() >= 0.98 if a.size else True  # a value may lie on the border of two steps
    else:
        assert found == wanted


CALLS = {
    "plain": {}, "tensor": {"convert_to_tensor": True}, "list": {"convert_to_numpy": False},
    "normalised": {"normalize_embeddings": True}, "cut": {"truncate_dim": 5},
    "cut and normalised": {"truncate_dim": 5, "normalize_embeddings": True}, "batches": {"batch_size": 2},
    "prompt": {"prompt": "Anna: "}, "name of a prompt": {"prompt_name": "query"}, "no precision": {"precision": None},
    "states": {"output_value": "token_embeddings"}, "states with a prompt": {"output_value": "token_embeddings",
                                                                             "prompt_name": "passage"},
    **{precision: {"precision": precision} for precision in ("int8", "uint8", "binary", "ubinary")},
    "bytes as a tensor": {"precision": "uint8", "convert_to_tensor": True, "normalize_embeddings": True},
    "bits as a list": {"precision": "ubinary", "convert_to_numpy": False},
}
GIVEN = {"texts": TEXTS, "one": TEXTS[0], "none": [], "tuple": tuple(TEXTS), "array": np.array(TEXTS), "list of one":
         TEXTS[:1]}


@pytest.mark.parametrize("name", CALLS)
def test_encode(both, name):
    ours, theirs = both
    tolerance = STATES if name.startswith("states") else TOLERANCE
    for texts in GIVEN.values() if name in ("plain", "tensor", "list", "int8") else (TEXTS, TEXTS[0], []):
        same(ours.encode(texts, **CALLS[name]), theirs.encode(texts, **CALLS[name]), tolerance)


def test_encode_query_and_document(both):
    ours, theirs = both
    for texts in (TEXTS, TEXTS[0], []):
        for more in ({}, {"prompt": ""}, {"prompt_name": "passage"}, {"convert_to_tensor": True}):
            same(ours.encode_query(texts, **more), theirs.encode_query(texts, **more))
            same(ours.encode_document(texts, **more), theirs.encode_document(texts, **more))
    assert not np.array_equal(ours.encode_query(TEXTS), ours.encode(TEXTS))


def test_arguments_by_place(both):
    ours, theirs = both
    given = (TEXTS, "query", None, 3, False, "sentence_embedding", "float32", False, True, None, True, 7)
    same(ours.encode(*given), theirs.encode(*given))
    same(ours.encode(sentences=TEXTS), theirs.encode(sentences=TEXTS))


@pytest.mark.parametrize("function", SIMILARITIES)
def test_similarity(both, function):
    ours, theirs = both
    a, b = theirs.encode(TEXTS), theirs.encode(TEXTS[::-1])
    ours.similarity_fn_name = theirs.similarity_fn_name = function
    assert ours.similarity_fn_name == function
    for first, second in ((a, b), (a[0], b), (torch.from_numpy(a), b), (a.tolist(), b), (a, torch.from_numpy(b[:3]))):
        same(ours.similarity(first, second), theirs.similarity(first, second))
    same(ours.similarity_pairwise(a, b), theirs.similarity_pairwise(a, b))
    with pytest.raises(UsageError, match="similarities are of floating numbers"):
        ours.similarity(a.astype(np.int8), b)


def test_attributes(both):
    ours, theirs = both
    assert ours.max_seq_length == theirs.max_seq_length == 32
    assert ours.get_sentence_embedding_dimension() == theirs.get_embedding_dimension() == 24
    assert ours.prompts == theirs.prompts and ours.default_prompt_name == theirs.default_prompt_name
    assert ours.eval() is ours and ours.to("cpu") is ours
    found, wanted = ours.tokenize(TEXTS), theirs.tokenize(TEXTS)
    for name, array in found.items():
        assert np.array_equal(array, wanted[name]), name


def test_the_length_can_be_set(both):
    ours, theirs = both
    for length in (7, 32):
        ours.max_seq_length = theirs.max_seq_length = length
        same(ours.encode(TEXTS), theirs.encode(TEXTS))
        states = {"output_value": "token_embeddings"}
        same(ours.encode(TEXTS, **states), theirs.encode(TEXTS, **states), STATES)
    with pytest.raises(UsageError, match="max_seq_length 999: the model has 6"):
        ours.max_seq_length = 999


def test_the_width_can_be_set(both):
    ours, theirs = both
    ours.truncate_dim = theirs.truncate_dim = 6
    try:
        same(ours.encode(TEXTS), theirs.encode(TEXTS))
        same(ours.encode(TEXTS, truncate_dim=9), theirs.encode(TEXTS, truncate_dim=9))
        assert ours.get_embedding_dimension() == theirs.get_embedding_dimension() == 6
    finally:
        ours.truncate_dim = theirs.truncate_dim = None
    same(ours.encode(TEXTS), theirs.encode(TEXTS))


def test_settings_of_the_folder_and_of_a_person(both, tmp_path):
    _, theirs = both
    theirs.similarity_fn_name, before = "dot", theirs.similarity_fn_name
    try:
        theirs.save(str(tmp_path))
    finally:
        theirs.similarity_fn_name = before
    assert bertpass.SentenceEncoder(tmp_path).similarity_fn_name == "dot"
    named = {"prompts": {"other": "Boris "}, "default_prompt_name": "other", "truncate_dim": 4,
             "similarity_fn_name": "manhattan"}
    ours, theirs = bertpass.SentenceEncoder(tmp_path, **named), library.SentenceTransformer(str(tmp_path), device="cpu",
                                                                                            **named)
    assert ours.similarity_fn_name == theirs.similarity_fn_name
    same(ours.encode(TEXTS), theirs.encode(TEXTS))


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary", "float32"])
def test_quantize_embeddings(precision):
    from sentence_transformers.util import quantize_embeddings

    vectors = np.random.default_rng(0).standard_normal((150, 21)).astype(np.float32)
    vectors[:, 3] = 0.25  # without a range
    few = vectors[:7]
    for more in ({}, {"ranges": np.stack([few.min(0), few.max(0)])}, {"calibration_embeddings": few}):
        for given in (vectors, few, list(few), torch.from_numpy(vectors)):
            found, wanted = (each(given, precision, **more) for each in (bertpass.quantize_embeddings,
                                                                        quantize_embeddings))
            assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    with pytest.raises(UsageError, match="floating numbers"):
        bertpass.quantize_embeddings(vectors.astype(np.int8), precision)


def test_few_vectors_are_told(caplog):
    bertpass.quantize_embeddings(np.eye(3, dtype=np.float32), "int8")
    assert "come from 3 embeddings alone" in caplog.text


@pytest.mark.parametrize("more, words", [
    ({"convert_to_sparse_tensor": True}, "unknown argument of SentenceEncoder.encode 'convert_to_sparse_tensor'"),
    ({"pool": {"processes": []}}, "has no pool: all processors"), ({"chunk_size": 3}, "has no chunk_size"),
    ({"processing_kwargs": {"text": {}}}, "has no processing_kwargs: set max_seq_length"),
    ({"device": "cuda"}, "the model is on cpu"), ({"device": "mps"}, "give 'cpu', 'cuda'"),
    ({"output_value": None}, "output_value None"), ({"precision": "int4"}, "unknown precision of embeddings 'int4'"),
    ({"precision": "int8", "output_value": "token_embeddings"}, "precision is of sentence vectors"),
    ({"prompt_name": "quary"}, "unknown prompt 'quary'. Did you mean 'query'"), ({"batch_size": 0}, "batch_size"),
    ({"truncate_dim": 0}, "truncate_dim")])
def test_what_encode_refuses(both, more, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        both[0].encode(TEXTS, **more)


def test_what_the_classes_refuse(both, crossed):
    vectors, pairs = both[0].model.source, crossed[0].model.source
    for make, path, more, words in (
            (bertpass.SentenceEncoder, vectors, {"trust_remote_code": True}, "has no trust_remote_code"),
            (bertpass.SentenceEncoder, vectors, {"model_kwargs": {"dtype": "bfloat16"}}, "dtype= is the precision"),
            (bertpass.SentenceEncoder, vectors, {"moduls": 1}, "Did you mean 'modules'"),
            (bertpass.SentenceEncoder, vectors, {"backend": "onnx", "engine": "native"}, "backend and engine are one"),
            (bertpass.SentenceEncoder, vectors, {"device": "cuda", "engine": "native"}, "is for engine='cuda'"),
            (bertpass.SentenceEncoder, vectors, {"default_prompt_name": "x"}, "unknown default_prompt_name 'x'"),
            (bertpass.SentenceEncoder, vectors, {"similarity_fn_name": "cos"}, "unknown similarity_fn_name 'cos'"),
            (bertpass.SentenceEncoder, pairs, {}, "use CrossEncoder"),
            (bertpass.CrossEncoder, vectors, {}, "it has no classifier"),
            (bertpass.CrossEncoder, pairs, {"max_length": 999}, "the model has 6")):
        with pytest.raises(UsageError, match=words):
            make(path, **more)
    bertpass.SentenceEncoder(vectors, trust_remote_code=False, cache_folder=None, token=None).close()


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_other_backends(both, backend):
    for package in {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}.get(backend, ("torch",)):
        pytest.importorskip(package, reason=f"pip install '.[{backend}]' to test this engine")
    with_it = bertpass.SentenceEncoder(both[0].model.source, backend=backend, threads=1)
    found, wanted = with_it.encode(TEXTS), both[1].encode(TEXTS)
    assert np.abs(found - wanted).max() <= 5e-6 * np.abs(wanted).max()


PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[4]), (TEXTS[6], TEXTS[6]), ("", TEXTS[0])]
SCORED = {
    "plain": {}, "tensor": {"convert_to_tensor": True}, "list": {"convert_to_numpy": False},
    "softmax": {"apply_softmax": True}, "tanh": {"activation_fn": torch.nn.Tanh()},
    "logits": {"activation_fn": torch.nn.Identity(), "apply_softmax": True}, "batches": {"batch_size": 1},
    "prompt": {"prompt": "Anna: "},
}


@pytest.mark.parametrize("name", SCORED)
def test_predict(crossed, name):
    ours, theirs = crossed
    for pairs in (PAIRS, PAIRS[0], list(PAIRS[0]), [], [list(pair) for pair in PAIRS], np.array(PAIRS[:2])):
        same(ours.predict(pairs, **SCORED[name]), theirs.predict(pairs, **SCORED[name]))
    same(ours.predict(sentences=PAIRS), theirs.predict(sentences=PAIRS))


def test_rank(crossed):
    ours, theirs = crossed
    if ours.num_labels > 1:
        with pytest.raises(UsageError, match=r"rank\(\) is for models of one output"):
            ours.rank(TEXTS[0], TEXTS)
        return
    for more in ({}, {"top_k": 2}, {"return_documents": True}, {"top_k": 3, "return_documents": True, "batch_size": 2},
                 {"convert_to_tensor": True}, {"activation_fn": torch.nn.Identity()}):
        same(ours.rank(TEXTS[0], TEXTS, **more), theirs.rank(TEXTS[0], TEXTS, **more))
    same(ours.rank(TEXTS[0], []), theirs.rank(TEXTS[0], []))


@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
def test_activations_of_the_folder_and_of_a_person(crossed, tmp_path, activation):
    ours, _ = crossed
    function = getattr(torch.nn, activation)()
    theirs = library.CrossEncoder(ours.model.source, device="cpu", activation_fn=function, max_length=9)
    same(bertpass.CrossEncoder(ours.model.source, activation_fn=function, max_length=9).predict(PAIRS),
         theirs.predict(PAIRS))
    theirs.save_pretrained(str(tmp_path))
    again = library.CrossEncoder(str(tmp_path), device="cpu")
    same(bertpass.CrossEncoder(tmp_path).predict(PAIRS), again.predict(PAIRS))


@pytest.mark.parametrize("inputs, words", [
    ("a text", "give pairs of texts"), (None, "give pairs of texts"), ([("a", "b"), ("a",)], "entry 2 is no pair"),
    ([("a", "b", "c")], "entry 1 is no pair"), ([(1, "b")], "entry 1 is no pair")])
def test_what_is_no_pair(crossed, inputs, words):
    with pytest.raises(UsageError, match=words):
        crossed[0].predict(inputs)


def test_vectors_need_no_pytorch(both):
    """Nor do arrays of any precision; a process says so, because this one has it."""
    program = f"""
import sys
import bertpass
assert "numpy" not in sys.modules
model = bertpass.SentenceEncoder({both[0].model.source!r}, threads=1)
model.encode(["a", "b"], precision="int8", normalize_embeddings=True)
assert not {{"torch", "transformers", "mxnet"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
