"""bertpass.load and Model as a person meets them: signature, spellings, mistakes, progress, copies."""

import copy
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from multiprocessing import get_context

import numpy as np
import pytest

import bertpass
from bertpass import engines
from bertpass.engines import native
from bertpass.engines.base import options_of
from bertpass.errors import BertpassError, DataError, ModelError, UsageError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.model.record import Checkpoint
from bertpass.text.tokens.new_vocabulary import learn

TEXTS = ["a film about bread", "", "two words", "a much longer text about a film, bread, and two or three words more"]
CONFIG = EncoderConfig(num_layers=1, units=32, hidden_size=64, num_heads=4, max_length=40, vocab_size=200)


def folder(path, kind="none", labels=None):
    """A random model in Hugging Face's layout with the head of a kind."""
    tokenizer = learn(TEXTS * 3, 200)
    head = HeadConfig(kind, len(labels) if labels else {"qa": 2}.get(kind, 0))
    shapes = {**parameters.encoder_shapes(CONFIG), **parameters.head_shapes(CONFIG, head)}
    made = Checkpoint(CONFIG, head, parameters.random(shapes, 0), tokenizer, labels)
    huggingface.write_folder(path, made)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"plain": folder(root / "plain"), "classes": folder(root / "classes", "classification", ["no", "yes"]),
            "tags": folder(root / "tags", "tokens", ["O", "B-PER", "I-PER"]), "answers": folder(root / "answers", "qa")}


@pytest.fixture(scope="module")
def models(places):
    return {name: bertpass.load(place, dtype="float32") for name, place in places.items()}


def test_native_is_the_default_and_starts_nothing_else(places):
    code = (f"import sys, bertpass\nmodel = bertpass.load({str(places['plain'])!r})\nmodel.encode('a film')\n"
            "assert model.engine.name == 'native'\n"
            "assert not {'mxnet', 'gluonnlp', 'torch', 'rich'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_signature_shows_every_option():
    """What an editor completes and help() shows; every option of an engine that people choose is there."""
    seen = inspect.signature(bertpass.load).parameters
    assert seen["engine"].default == "native"
    assert seen["dtype"].annotation == str | None, "annotations are types, not strings"
    for options in (options_of(native.from_checkpoint), ("gpu", "dtype", "passes"), ("dtype", "device")):
        assert set(options) <= set(seen)
    for name in seen:
        assert name in (bertpass.load.__doc__ or "")
    for method in ("encode", "predict", "answer", "tag", "rerank"):
        assert getattr(engines.Model, method).__doc__


def test_an_engines_options_are_the_keywords_of_what_makes_it():
    from bertpass.engines.cuda import engine as cuda_engine
    from bertpass.engines.frameworks import onnxruntime_engine, torch_engine
    from bertpass.engines.tvm import engine as tvm_engine

    assert {module.__name__.rpartition(".")[2]: options_of(module.from_checkpoint) for module in (
        native, torch_engine, onnxruntime_engine)} == {
            "native": ("dtype", "keep", "threads", "max_error"), "torch_engine": ("dtype", "threads", "mode"),
            "onnxruntime_engine": ("dtype", "threads", "fusions", "device")}
    assert options_of(tvm_engine.from_checkpoint) == ("dtype", "threads")
    assert options_of(cuda_engine.from_checkpoint) == ("dtype", "device", "exact_gelu", "measure", "graphs")


def test_type_checkers_see_the_annotations(tmp_path):
    assert resources.files("bertpass").joinpath("py.typed").is_file()
    mypy = pytest.importorskip("mypy.api", reason="mypy is not installed: pip install '.[lint]'")
    (tmp_path / "use.py").write_text(
        "import bertpass\nmodel = bertpass.load('m', dtype='int8')\n"
        "reveal_type(model.predict('a'))\nreveal_type(model.predict(['a']))\nreveal_type(model.tag('a'))\n")
    out, _, _ = mypy.run(["--follow-imports=silent", "--ignore-missing-imports", "--cache-dir", str(tmp_path / "cache"),
                          str(tmp_path / "use.py")])
    shown = [line.split('"')[1] for line in out.splitlines() if "Revealed type" in line]
    assert [text.replace("bertpass.engines.results.", "").replace("builtins.", "") for text in shown] == [
        "Prediction", "list[Prediction]", "list[Entity]"], out


def test_repr(models, places):
    shown = repr(models["classes"])
    for word in ("classes", "bert", "1 layers x 32", "head classification", "2 labels", "native engine", "float32"):
        assert word in shown


def test_with_closes(places):
    with bertpass.load(places["plain"], dtype="float32") as model:
        assert model.encode("a").shape == (32,)
    with pytest.raises(UsageError, match="closed; load the model again"):
        model.encode("a")


@pytest.mark.parametrize("way", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy],
                         ids=["pickle", "deepcopy", "copy"])
@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"dtype": "int8", "keep": {"0.up": "float32"}}, {}])
def test_copies_compute_the_same(way, options, places, tmp_path, monkeypatch):
    monkeypatch.chdir(places["plain"].parent)
    model = bertpass.load("plain", threads=1, **options)
    monkeypatch.chdir(tmp_path)  # a relative path is remembered as a whole one
    again = way(model)
    assert np.array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert again.engine.describe() == model.engine.describe() and again.engine is not model.engine


def test_a_spawned_pool_takes_a_model(places):
    model = bertpass.load(places["plain"], dtype="float32", threads=1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(model.encode, TEXTS).result(120), model.encode(TEXTS))


def test_a_model_of_memory_says_that_it_cannot_be_copied(models):
    model = models["plain"]
    alone = engines.Model(model.engine, model.config, model.head, model.tokenizer)
    with pytest.raises(UsageError, match="write it to a folder"):
        pickle.dumps(alone)
    assert "in memory" in repr(alone)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_changes_no_number(terminal, models, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("bertpass.progress.EVERY", 0.0)
    many = [f"{text} {n}" for n in range(90) for text in TEXTS]
    shown = models["plain"].encode(many, batch_size=2, show_progress_bar=True)
    assert np.array_equal(shown, models["plain"].encode(many))
    assert models["plain"].encode([], show_progress_bar=True).shape == (0, 32)
    assert models["plain"].encode("one", show_progress_bar=True).shape == (32,)


@pytest.mark.parametrize(("given", "meant"), [
    ({"dtype": "fp32"}, "float32"), ({"dtype": "bf16"}, "bfloat16"), ({"dtype": "bfloat16"}, "bfloat16"),
    ({"dtype": "int8"}, "int8"), ({"dtype": "fp32", "threads": 1, "gpu": None}, "float32")])
def test_spellings_of_precisions(given, meant, places):
    assert bertpass.load(places["plain"], **given).dtype == meant


def test_float16_is_fp16(places, caplog):
    assert bertpass.load(places["plain"], dtype="fp16").dtype == bertpass.load(places["plain"], dtype="float16").dtype


@pytest.mark.parametrize(("engine", "package"), [("onnx", "onnxruntime"), ("pytorch", "torch"), ("torch", "torch")])
def test_spellings_of_engines(engine, package, places):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[{package}]'")
    assert np.abs(bertpass.load(places["plain"], engine=engine).encode(TEXTS[:1])
                  - bertpass.load(places["plain"], dtype="float32").encode(TEXTS[:1])).max() <= 1e-5


@pytest.mark.parametrize(("name", "call", "words"), [
    ("plain", lambda m: m.encode(None), "texts must be a text or a list of texts, not NoneType"),
    ("plain", lambda m: m.encode(b"abc"), "not bytes; decode them first"),
    ("plain", lambda m: m.encode(bytearray(b"abc")), "not bytes"),
    ("plain", lambda m: m.encode(7), "not int"), ("plain", lambda m: m.encode({"a": 1}), "not dict"),
    ("plain", lambda m: m.encode(["a", None]), "entry 2: expected a text, found NoneType"),
    ("plain", lambda m: m.encode(["a", b"b"]), "entry 2: expected a text, found bytes"),
    ("plain", lambda m: m.encode([["a"]]), "expected text, found list"),
    ("plain", lambda m: m.encode([1.5]), "expected text, found float"),
    ("plain", lambda m: m.encode("a", batch_size="x"), "batch_size must be a whole number of at least 1, not 'x'"),
    ("plain", lambda m: m.encode("a", batch_size=0), "batch_size must be"),
    ("plain", lambda m: m.encode("a", batch_size=True), "batch_size must be"),
    ("plain", lambda m: m.encode("a", batch_size=2.0), "batch_size must be"),
    ("plain", lambda m: m.encode("a", normalize="yes"), "normalize must be True or False, not 'yes'"),
    ("plain", lambda m: m.encode("a", show_progress_bar="yes"), "show_progress_bar must be True or False"),
    ("plain", lambda m: m.predict("a"), "bertpass finetune classifier"),
    ("plain", lambda m: m.tag("a"), "bertpass finetune classifier"),
    ("plain", lambda m: m.answer("a", "b"), "bertpass finetune squad"),
    ("plain", lambda m: m.rerank("a", ["b"]), "bertpass finetune classifier"),
    ("classes", lambda m: m.predict(None), "texts must be"), ("classes", lambda m: m.predict(["a"], 3), "pairs must "
                                                              "be"),
    ("classes", lambda m: m.predict(["a"], [None]), "pairs, entry 1"),
    ("classes", lambda m: m.predict(b"a"), "not bytes"), ("classes", lambda m: m.encode("a"), "use predict()"),
    ("tags", lambda m: m.tag(None), "texts must be"), ("tags", lambda m: m.tag([None]), "entry 1"),
    ("answers", lambda m: m.answer(None, "b"), "question must be a text, not NoneType"),
    ("answers", lambda m: m.answer("a", ["b"]), "context must be a text, not list"),
])
def test_mistakes_are_sentences(name, call, words, models):
    with pytest.raises((UsageError, DataError)) as caught:
        call(models[name])
    assert words in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("",), UsageError, "give the name or the path of a model"), ((" ",), UsageError, "give the name"),
    ((None,), UsageError, "give the name"), ((7,), UsageError, "give the name"),
    (("bert-base-uncased",), ModelError, "Did you mean 'google-bert/bert-base-uncased'"),
    (("roberta-base",), ModelError, "Did you mean 'FacebookAI/roberta-base'"),
    (("distilbert-base-uncased",), ModelError, "'distilbert/distilbert-base-uncased'"),
    (("bge-small-en-v1.5",), ModelError, "'BAAI/bge-small-en-v1.5'"), (("e5-base-v2",), ModelError,
                                                                       "'intfloat/e5-base-v2'"),
    (("all-MiniLM-L6-v2",), ModelError, "Did you mean 'minilm'"),
    (("all-MiniLM-L12-v2",), ModelError, "'sentence-transformers/all-MiniLM-L12-v2'"),
    (("bert_12_768_13",), ModelError, "Did you mean 'bert_12_768_12'"), (("m", "nativ"), UsageError, "Did you mean "
                                                                         "'native'"),
    (("m", 3), UsageError, "unknown engine '3'"),
])
def test_names_of_models_and_engines(arguments, error, words):
    with pytest.raises(error) as caught:
        bertpass.load(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1, 1000, 10**9, 1.0, "2", True])
def test_threads_have_a_bound(threads, places):
    with pytest.raises(BertpassError, match="usable processors"):
        bertpass.load(places["plain"], dtype="float32", threads=threads)


def test_an_empty_text_is_a_text(models):
    """It is computed as [CLS] [SEP], as sentence-transformers does it, alone and in a list."""
    model = models["plain"]
    tokenizer = model.tokenizer
    wanted = model.forward([[tokenizer.cls_id, tokenizer.sep_id]])[0][0].mean(axis=0)
    assert np.abs(model.encode("") - wanted).max() <= 1e-6
    assert np.array_equal(model.encode(["a", ""])[1], model.encode(""))
    assert models["tags"].tag("") == [] and models["classes"].predict("").label in ("no", "yes")
