"""Precisions that are chosen: float16 and "auto"."""

import gc
import logging
import time
import weakref
from typing import ClassVar

import numpy as np
import pytest
from reference import batch, tiny

from bertpass import _native
from bertpass.engines import precision
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import UsageError
from bertpass.text.tokenizer import Tokenizer

SETS = _native.instruction_sets()


class Fake:
    """A model with an error and a duration of its own."""

    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()
    most: ClassVar[int] = 0

    def __init__(self, error, milliseconds):
        self.error, self.milliseconds = error, milliseconds
        Fake.alive.add(self)
        Fake.most = max(Fake.most, len(Fake.alive))

    def states(self, ids, types, lengths):
        time.sleep(self.milliseconds / 1e3)
        return np.full((*ids.shape, 4), 1 + self.error)


@pytest.mark.parametrize(("models", "bound", "taken"), [
    ({"float32": (0, 8), "bfloat16": (5e-3, 2), "int8": (2e-2, 1)}, 1e-2, "bfloat16"),
    ({"float32": (0, 8), "bfloat16": (5e-3, 3), "int8": (2e-2, 1)}, 3e-2, "int8"),
    ({"float32": (0, 3), "bfloat16": (5e-3, 8), "int8": (2e-2, 9)}, 3e-2, "float32"),
    ({"float32": (0, 8), "bfloat16": (5e-3, 1), "int8": (2e-2, 5)}, 3e-2, "bfloat16"),
    ({"float32": (0, 3), "bfloat16": (np.nan, 1), "int8": (np.inf, 1)}, 1e-2, "float32"),
])
def test_the_fastest_that_is_near_enough(models, bound, taken):
    Fake.most = 0
    model, choice = precision.fastest(lambda dtype: Fake(*models[dtype]), tiny(), bound, ["bfloat16", "int8"])
    assert choice.dtype == taken and (model.error, model.milliseconds) == models[taken]
    assert choice.why.startswith(f"{taken} is the fastest within an error of {bound:g} (")
    for name, (error, milliseconds) in models.items():
        assert name in choice.why
        assert choice.measured[name]["error"] == pytest.approx(error, nan_ok=True)
        if error <= bound and name in choice.measured and "seconds" in choice.measured[name]:
            assert choice.measured[name]["seconds"] >= milliseconds / 1e3
        else:
            assert "seconds" not in choice.measured[name]
    assert Fake.most == 2
    del model
    gc.collect()
    assert not Fake.alive


def test_a_tie_stays_with_float32():
    _, choice = precision.fastest(lambda dtype: Fake(0, 20), tiny())
    assert choice.dtype == "float32"


@pytest.mark.parametrize("isa", SETS)
def test_auto_on_a_real_model(isa, caplog):
    checkpoint = tiny(units=64, hidden_size=256, num_heads=4, max_length=64)
    with caplog.at_level(logging.INFO, logger="bertpass"):
        engine = NativeEngine(checkpoint, dtype="auto", threads=1, isa=isa, max_error=0.9)
    told = engine.describe()
    assert told["dtype"] in DTYPES and told["dtype_asked"] == "auto"
    assert caplog.messages == [f"dtype auto: {told['dtype_why']}."]
    inputs = precision.sentence_batch(checkpoint)
    exact = NativeEngine(checkpoint, threads=1, isa=isa).forward(*inputs)[0]
    for name in DTYPES:
        other = NativeEngine(checkpoint, dtype=name, threads=1, isa=isa).forward(*inputs)[0]
        error = np.linalg.norm(other - exact) / np.linalg.norm(exact)
        assert told["dtype_measured"][name]["error"] == pytest.approx(error, rel=1e-3)
        if told["dtype"] == name:
            assert np.array_equal(engine.forward(*inputs)[0], other)
    strict = NativeEngine(checkpoint, dtype="auto", threads=1, isa=isa, max_error=1e-7).describe()
    assert strict["dtype"] == "float32" and "refused" in strict["dtype_why"]


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
    assert np.array_equal(NativeEngine(tiny(head=head), dtype=dtype, threads=1)._model.states(*inputs), wanted)


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
