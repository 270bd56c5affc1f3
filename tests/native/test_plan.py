"""Precision plans: each matrix product in the type that the plan gives it, on every processor and in every file."""

import itertools
import random

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.commands.main import main
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import ModelError, UsageError
from bertpass.model.files import safetensors_file
from bertpass.model.layouts import huggingface, packed
from bertpass.model.low_precision.plan import PRODUCTS, base_of, kept_by, plan_text, products
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import reference
from tests.helpers.reference import batch, tiny

SETS = reference.instruction_sets()
LENGTHS = [17, 1, 30, 2, 13]


@pytest.mark.parametrize(("text", "types"), [
    ("int8", ["int8"] * 8), ("float32,1=int8", ["float32"] * 4 + ["int8"] * 4),
    ("int8,0=bfloat16,0.down=float32", ["bfloat16"] * 3 + ["float32"] + ["int8"] * 4),
    ("bfloat16,1.qkv=int8,1.qkv=float32", ["bfloat16"] * 4 + ["float32"] + ["bfloat16"] * 3)])
def test_words_of_a_plan(text, types):
    assert list(products(text, 2).values()) == types
    assert list(products(text, 2)) == [f"{layer}.{name}" for layer in (0, 1) for name in PRODUCTS]
    assert plan_text(base_of(text), kept_by(text)) == text or text.count("1.qkv") == 2


@pytest.mark.parametrize("text", [
    "", "float8", "int8,,0=int8", "int8,2=bfloat16", "int8,-1=float32", "int8,0", "int8,0=", "int8,0=float8",
    "int8,0.out=float32", "int8,.qkv=float32", "int8,0.=float32", "int8,99999999999999999999=float32", "int8 ",
    "int8,0 =float32"])
def test_refused_plans(text):
    with pytest.raises(UsageError, match=r"is not known|names no part of a model of 2 layers"):
        _native.plan(text, 2)


def mixtures(count=10):
    """Plans in which every pair of types follows one another, from layer to layer and within one."""
    chance = random.Random(5)
    fixed = ["int8,0.qkv=bfloat16", "bfloat16,1.qkv=int8", "float32,1.up=int8,0.proj=int8", "int8,0=float32",
             "int8,1.down=float32,0.down=bfloat16", "float32,0.qkv=bfloat16,1.proj=bfloat16"]
    parts = [f"{layer}.{name}" for layer in (0, 1) for name in PRODUCTS]
    return [*fixed, *(plan_text("int8", {part: chance.choice(DTYPES) for part in parts}) for _ in range(count))]


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("plan", mixtures())
def test_every_product_has_its_own_type(plan, isa):
    checkpoint = tiny()
    inputs = batch(checkpoint.config, LENGTHS, 33)
    types = products(plan, 2)
    wanted = reference.outputs(checkpoint, *inputs, low=lambda part: reference.precision(types[part], isa))[0]
    engine = NativeEngine(checkpoint, dtype=plan, threads=1, isa=isa)
    found = engine.forward(*inputs)[0]
    flip = max(reference.flip(dtype, isa) for dtype in types.values())
    assert np.linalg.norm(found - wanted) <= flip * np.linalg.norm(wanted)
    assert np.median(reference.row_errors(found, wanted, inputs[2])) <= reference.AGREEING
    alone = [engine.forward(inputs[0][i:i + 1, :n], inputs[1][i:i + 1, :n], inputs[2][i:i + 1])[0][0]
             for i, n in enumerate(LENGTHS)]
    assert all(np.array_equal(found[i, :n], row) for i, (n, row) in enumerate(zip(LENGTHS, alone, strict=True)))


@pytest.mark.parametrize(("first", "then"), list(itertools.permutations(DTYPES, 2)))
def test_layers_of_other_types_in_batches_of_many_tokens(first, then):
    """Several groups of sequences go through each layer: what one writes must not reach what another reads."""
    checkpoint = tiny(max_length=700)
    inputs = batch(checkpoint.config, [700, 1, 600, 424, 30, 5, 7])
    engine = NativeEngine(checkpoint, dtype=first, keep={"1": then}, threads=1)
    together = engine.forward(*inputs)[0]
    for i, n in enumerate(inputs[2]):
        alone = engine.forward(inputs[0][i:i + 1, :n], inputs[1][i:i + 1, :n], inputs[2][i:i + 1])[0]
        assert np.array_equal(alone[0], together[i, :n])


def test_a_plan_of_one_type_is_that_type():
    inputs = batch(tiny().config, LENGTHS, 33)
    for dtype, other in itertools.permutations(DTYPES, 2):
        plain, named = (NativeEngine(tiny(), dtype=d, keep=keep, threads=1).forward(*inputs)[0]
                        for d, keep in ((dtype, None), (other, {"0": dtype, "1": dtype})))
        assert np.array_equal(plain, named)


def test_keeping_parts_lowers_the_error():
    checkpoint = tiny(units=64, hidden_size=256, num_heads=4)
    inputs = batch(checkpoint.config, LENGTHS, 33)
    exact, low, half = (NativeEngine(checkpoint, dtype=plan, threads=1).forward(*inputs)[0]
                        for plan in ("float32", "int8", "int8,0=float32"))
    assert 0 < np.linalg.norm(half - exact) < 0.9 * np.linalg.norm(low - exact)


def test_describe_tells_what_is_kept():
    keep = {"0.qkv": "bfloat16", "1": "float32"}
    told = NativeEngine(tiny(), dtype="int8", keep=keep, threads=1).describe()
    assert told["dtype"] == "int8" and told["keep"] == keep
    assert "keep" not in NativeEngine(tiny(), dtype="int8", threads=1).describe()


@pytest.mark.parametrize(("options", "words"), [
    ({"dtype": "int8", "keep": {"2": "float32"}}, "'2=float32' names no part of a model of 2 layers"),
    ({"dtype": "int8", "keep": {"0": "float16"}}, "precision 'float16' is not known"),
    ({"dtype": "auto", "keep": {"0": "float32"}}, "chooses a precision by itself"),
    ({"dtype": "float16", "keep": {"0": "float32"}}, "chooses a precision by itself")])
def test_refused_options(options, words):
    with pytest.raises(UsageError, match=words):
        NativeEngine(tiny(), **options)


def with_words():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good"]
    checkpoint = tiny(vocab_size=len(words))
    checkpoint.tokenizer = Tokenizer.from_wordpiece(words, lower=True)
    return checkpoint


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_packed_files_keep_the_plan(isa, tmp_path):
    checkpoint, plan = with_words(), "int8,0.up=bfloat16,1.qkv=float32"
    packed.write(tmp_path / "x.safetensors", checkpoint, plan)
    inputs = batch(checkpoint.config, LENGTHS, 33)
    read = packed.read(tmp_path / "x.safetensors")
    engine = NativeEngine(read, threads=1, isa=isa)
    assert engine.describe()["keep"] == kept_by(plan) and read.dtype == plan
    assert np.array_equal(engine.forward(*inputs)[0],
                          NativeEngine(checkpoint, dtype=plan, threads=1, isa=isa).forward(*inputs)[0])


def test_pack_on_the_command_line(tmp_path, capsys):
    huggingface.write_folder(tmp_path / "folder", with_words())
    argv = ["pack", str(tmp_path / "folder"), str(tmp_path / "x.safetensors"), "--overwrite", "--dtype", "int8"]
    assert main([*argv, "--keep", "0=bfloat16", "1.down=float32"]) == 0
    model = bertpass.load(tmp_path / "x.safetensors", engine="native")
    assert model.engine.describe()["keep"] == {"0": "bfloat16", "1.down": "float32"}
    assert main([*argv, "--keep", "5=bfloat16"]) == UsageError.exit_code
    assert "model of 2 layers" in capsys.readouterr().err
    (tmp_path / "texts").write_text("the film was good\n\ngood film\n")
    assert main([*argv, "--calibration_file", str(tmp_path / "texts")]) == 0
    assert main([*argv[:4], "--calibration_file", str(tmp_path / "texts")]) == UsageError.exit_code


@pytest.mark.parametrize(("change", "words"), [
    (lambda raw: raw.__setitem__(7, ord("1")), "of this version"), (lambda raw: raw.__setitem__(64, 3), "types"),
    (lambda raw: raw.__setitem__(71, 255), "types"), (lambda raw: raw.__setitem__(65, 0), "cut short")])
def test_older_and_damaged_layers_are_refused(change, words, tmp_path):
    packed.write(tmp_path / "x.safetensors", with_words(), "int8")
    tensors, metadata = safetensors_file.read(tmp_path / "x.safetensors")
    layers = tensors["layers"].copy()
    change(layers)
    safetensors_file.write(tmp_path / "x.safetensors", {**tensors, "layers": layers}, metadata)
    with pytest.raises(ModelError, match=words):
        bertpass.load(tmp_path / "x.safetensors", engine="native")
