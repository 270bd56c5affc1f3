"""Precisions that are chosen: float16 and "auto"."""

import logging
import time

import numpy as np
import pytest

import bertpass
from bertpass import _native, machine
from bertpass.engines import native, precision
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import UsageError
from bertpass.model.layouts import huggingface, packed
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.reference import batch, tiny

SETS = _native.instruction_sets()


AMD, INTEL = "AuthenticAMD", "GenuineIntel"


class Fake:
    """A model whose token states have an error of their own; it notes that it was made."""

    def __init__(self, error):
        self.error = error

    def states(self, ids, types, lengths):
        return np.full((*ids.shape, 4), 1 + self.error)


def choose(isa, vendor, error=5e-3, max_error=1e-2):
    """What the rule gives, and the precisions in which a model was made for it."""
    made = []

    def make(dtype):
        made.append(dtype)
        return Fake({"float32": 0, "bfloat16": error}[dtype])
    model, choice = precision.choose(make, tiny(), isa, vendor, max_error)
    assert model is None or model.error == (error if choice.dtype == "bfloat16" else 0)
    return choice, made


@pytest.mark.parametrize(("isa", "vendor", "taken"), [
    ("amx", INTEL, "bfloat16"), ("avx512_bf16", AMD, "bfloat16"),
    ("avx512_bf16", INTEL, "float32"), ("avx512_bf16", "", "float32"), ("avx512_bf16", "HygonGenuine", "float32"),
    ("avx512", INTEL, "float32"), ("avx512", AMD, "float32"), ("avx2", AMD, "float32"), ("avx2", INTEL, "float32"),
    ("portable", AMD, "float32"), ("portable", "", "float32"), ("neon", "", "float32"), ("neon_bf16", "", "float32")])
def test_the_rule_is_one_of_processor_and_kernels(isa, vendor, taken):
    choice, made = choose(isa, vendor)
    assert choice.dtype == taken and choice.why.startswith(f"{taken}: ") and isa in choice.why
    assert made == (["float32", "bfloat16"] if taken == "bfloat16" else [])  # nothing is made to find out in vain


@pytest.mark.parametrize(("error", "bound", "taken"), [
    (5e-3, 1e-2, "bfloat16"), (2e-2, 1e-2, "float32"), (2e-2, 3e-2, "bfloat16"), (np.nan, 1e-2, "float32"),
    (np.inf, 0.9, "float32")])
def test_the_error_has_to_be_within_the_bound(error, bound, taken):
    choice, _ = choose("amx", INTEL, error, bound)
    assert choice.dtype == taken and f"within {bound:g}" in choice.why
    assert choice.errors["bfloat16"] == pytest.approx(error, nan_ok=True)


def test_no_clock_decides(monkeypatch):
    """A choice by measuring would differ from start to start: there is no clock to be read on the way."""
    def read(*_):
        raise AssertionError("a clock was read")
    for name in ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "thread_time"):
        monkeypatch.setattr(time, name, read)
    monkeypatch.setattr(precision, "bfloat16_pays", lambda isa, vendor: True)
    told = [NativeEngine(tiny(), dtype="auto", threads=threads).describe() for threads in (1, 1, 2)]
    assert told[0]["dtype"] == "bfloat16" and told[0]["dtype_errors"] == told[1]["dtype_errors"]
    assert told[0]["dtype_errors"] == told[2]["dtype_errors"]


@pytest.mark.parametrize("isa", SETS)
def test_auto_on_a_real_model(isa, caplog, monkeypatch):
    checkpoint = tiny(units=64, hidden_size=256, num_heads=4, max_length=64)
    pays = precision.bfloat16_pays(isa, machine.vendor())
    told = NativeEngine(checkpoint, dtype="auto", threads=1, isa=isa).describe()
    assert told["dtype"] == ("bfloat16" if pays else "float32") and told["dtype_asked"] == "auto"
    monkeypatch.setattr(precision, "bfloat16_pays", lambda isa, vendor: True)
    with caplog.at_level(logging.INFO, logger="bertpass"):
        engine = NativeEngine(checkpoint, dtype="auto", threads=1, isa=isa)
    told = engine.describe()
    assert told["dtype"] == "bfloat16" and caplog.messages == [f"dtype auto is {told['dtype_why']}."]
    inputs = precision.sentence_batch(checkpoint)
    exact = NativeEngine(checkpoint, threads=1, isa=isa).forward(*inputs)[0]
    low = NativeEngine(checkpoint, dtype="bfloat16", threads=1, isa=isa).forward(*inputs)[0]
    error = np.linalg.norm(low - exact) / np.linalg.norm(exact)
    assert told["dtype_errors"] == {"bfloat16": pytest.approx(error, rel=1e-3)}
    assert np.array_equal(engine.forward(*inputs)[0], low)
    strict = NativeEngine(checkpoint, dtype="auto", threads=1, isa=isa, max_error=1e-7)
    assert strict.describe()["dtype"] == "float32" and "not within 1e-07" in strict.describe()["dtype_why"]
    assert np.array_equal(strict.forward(*inputs)[0], exact)


def test_what_is_chosen_for_other_processes_is_what_an_engine_takes(monkeypatch, tmp_path):
    for pays in (False, True):
        monkeypatch.setattr(precision, "bfloat16_pays", lambda isa, vendor, pays=pays: pays)
        for asked in (None, "auto", "float16", "int8", "float32"):
            told = native.from_checkpoint(tiny(), dtype=asked, threads=1).describe()
            assert native.chosen(tiny(), asked).dtype == told["dtype"]
    packed.write(tmp_path / "tiny.safetensors", tiny(), "int8")
    checkpoint = packed.read(tmp_path / "tiny.safetensors")
    assert native.chosen(checkpoint, None).dtype == "int8"
    with pytest.raises(UsageError, match="is packed in int8"):
        native.chosen(checkpoint, "float32")


def test_a_model_tells_its_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "bfloat16_pays", lambda isa, vendor: True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film"]
    checkpoint = tiny(vocab_size=len(words))
    checkpoint.tokenizer = Tokenizer.from_wordpiece(words, lower=True)
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    assert bertpass.load(tmp_path / "folder", engine="native", threads=1).dtype == "bfloat16"
    assert bertpass.load(tmp_path / "folder", engine="native", threads=1, dtype="float32").dtype == "float32"


@pytest.mark.parametrize("isa", SETS)
def test_float16_is_computed_and_said_once(isa, caplog):
    precision.say_once.cache_clear()
    checkpoint = tiny(head="pooled")
    inputs = batch(checkpoint.config, [9, 4])
    engines = [NativeEngine(checkpoint, dtype="float16", threads=1, isa=isa) for _ in range(2)]
    told = engines[0].describe()
    assert told["dtype"] == ("bfloat16" if precision.has_units("bfloat16", isa) else "float32")
    assert told["dtype_asked"] == "float16"
    assert caplog.messages == [f"the kernels for {isa} have no float16 units, so float16 is computed in "
                               f"{told['dtype']}."]
    plain = NativeEngine(checkpoint, dtype=told["dtype"], threads=1, isa=isa).forward(*inputs)
    for found, wanted in zip(engines[1].forward(*inputs), plain, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", ["none", "mean_norm", "qa"])
def test_states_are_those_of_the_encoder_whatever_the_head(head, dtype):
    inputs = batch(tiny().config, [17, 1, 30], 33)
    wanted = NativeEngine(tiny(), dtype=dtype, threads=1).forward(*inputs)[0]
    assert np.array_equal(NativeEngine(tiny(head=head), dtype=dtype, threads=1).model.states(*inputs), wanted)


def test_the_sentences_or_random_ids():
    english = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({c for text in precision.SENTENCES for c in text.lower()})]
    english += [f"##{token}" for token in english[4:]]
    for words, known in ((english, True), (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "猫"], False)):
        checkpoint = tiny(vocab_size=len(words))
        checkpoint.tokenizer = Tokenizer.from_wordpiece(words, lower=True)
        ids, types, lengths = precision.sentence_batch(checkpoint)
        assert (len(ids), ids.shape[1]) == (len(precision.SENTENCES), lengths.max()) and not types.any()
        assert lengths.min() >= 3 and lengths.max() <= checkpoint.config.max_length
        assert ids.min() >= 0 and ids.max() < checkpoint.config.vocab_size
        assert (ids[:, 0] == checkpoint.tokenizer.cls_id).all() == known
    assert precision.sentence_batch(tiny(vocab_size=1, max_length=3))[0].shape == (12, 3)


@pytest.mark.parametrize(("options", "words"), [
    ({"dtype": "flaot16"}, "Did you mean 'float16'"), ({"dtype": "auto", "max_error": 0}, "between 0 and 1"),
    ({"dtype": "auto", "max_error": True}, "between 0 and 1"), ({"dtype": "auto", "max_error": "1"}, "between 0 and 1"),
    ({"dtype": "bfloat16", "max_error": 0.1}, "belongs to dtype='auto'")])
def test_refused_options(options, words):
    with pytest.raises(UsageError, match=words):
        NativeEngine(tiny(), **options)


def test_every_set_explains_every_precision():
    for isa in SETS:
        assert set(precision.explain(isa)) == set(precision.DTYPES)
