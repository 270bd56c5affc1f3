"""Packed models: the same bits as the model that was packed, memory that is mapped, and damaged files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import bertpass
from bertpass import _native
from bertpass.commands.main import main
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.errors import ModelError, UsageError
from bertpass.model.files import mapping, safetensors_file
from bertpass.model.layouts import huggingface, packed
from bertpass.model.record import PackedCheckpoint
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import ROOT
from tests.helpers.reference import HEADS, NETWORKS, batch, tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad", "?"]


def with_words(head="none", **fields):
    checkpoint = tiny(head=head, vocab_size=len(WORDS), **fields)
    checkpoint.tokenizer = Tokenizer.from_wordpiece(WORDS, lower=True)
    return checkpoint


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", NETWORKS)
def test_the_same_bits(family, head, dtype, tmp_path):
    checkpoint = tiny(family, head)
    packed.write(tmp_path / "x.safetensors", checkpoint, dtype)
    read = packed.read(tmp_path / "x.safetensors")
    assert (read.head, read.labels, read.max_length, read.dtype) == \
        (checkpoint.head, checkpoint.labels, checkpoint.max_length, dtype)
    inputs = batch(checkpoint.config, [17, 1, 30], 33)
    engine = NativeEngine(read, threads=1)
    assert engine.describe()["dtype"] == dtype
    for found, wanted in zip(engine.forward(*inputs), NativeEngine(checkpoint, dtype=dtype, threads=1).forward(*inputs),
                             strict=True):
        assert np.array_equal(found, wanted)


def test_command_and_texts(tmp_path, capsys):
    checkpoint = with_words("classification")
    checkpoint.labels = ["no", "perhaps", "yes"]
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    file = tmp_path / "x.safetensors"
    assert main(["pack", str(tmp_path / "folder"), str(file), "--dtype", "float32"]) == 0
    assert str(file) in capsys.readouterr().out
    one = bertpass.load(file, engine="native")
    other = bertpass.load(tmp_path / "folder", engine="native", dtype="float32")
    assert one.labels == checkpoint.labels and one.tokenizer.tokens == other.tokenizer.tokens
    texts = ["the film was good", "bad ?"]
    assert one.predict(texts) == other.predict(texts)


def test_special_tokens_with_odd_names(tmp_path):
    checkpoint = tiny(vocab_size=6)
    names = {"pad": "<0>", "unk": "<1>", "cls": "<2>", "sep": "<3>"}
    checkpoint.tokenizer = Tokenizer.from_wordpiece([*names.values(), "a", "b"], lower=True, special=names)
    packed.write(tmp_path / "x.safetensors", checkpoint, "float32")
    read = packed.read(tmp_path / "x.safetensors").tokenizer
    assert read.special == names and read.encode(["a b c"])[0].ids.tolist() == [2, 4, 5, 1, 3]


def test_nothing_is_copied(tmp_path):
    packed.write(tmp_path / "x.safetensors", with_words(), "bfloat16")
    read = packed.read(tmp_path / "x.safetensors")
    assert isinstance(read, PackedCheckpoint) and read.layers.ctypes.data % 64 == 0
    engine = NativeEngine(read, threads=1)
    before = engine.forward(*batch(read.config, [3]))[0]
    mapping.release([read.layers])
    del read
    assert np.array_equal(engine.forward(*batch(tiny(vocab_size=len(WORDS)).config, [3]))[0], before)


def test_released_pages_leave_the_process(tmp_path):
    safetensors_file.write(tmp_path / "x", {"a": np.ones(16 << 20, np.uint8), "b": np.ones(3, np.float32)}, {})

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    found, _ = safetensors_file.read(tmp_path / "x")
    assert found["a"].sum() == 16 << 20
    before = resident()
    mapping.release([found["b"], np.ones(3), found["a"][:5].reshape(5, 1)])
    assert before - resident() > 14 << 20
    assert found["a"].sum() == 16 << 20


def test_what_a_packed_model_is_not_for(tmp_path, capsys):
    file = tmp_path / "x.safetensors"
    packed.write(file, with_words(), "bfloat16")
    with pytest.raises(UsageError, match="packed in bfloat16; leave dtype out"):
        bertpass.load(file, engine="native", dtype="float32")
    assert bertpass.load(file, engine="native", dtype="bfloat16").engine.describe()["dtype"] == "bfloat16"
    with pytest.raises(ModelError, match="for the native engine alone"):
        bertpass.load(file, engine="mxnet")
    assert main(["convert", "--input", str(file), "--output", str(tmp_path / "y")]) == ModelError.exit_code
    assert main(["pack", str(file), str(tmp_path / "y.safetensors")]) == ModelError.exit_code
    assert main(["pack", str(file), str(tmp_path / "y.bin")]) == UsageError.exit_code
    assert main(["pack", str(file)]) == UsageError.exit_code
    assert "OUTPUT" in capsys.readouterr().err
    huggingface.write_folder(tmp_path / "folder", with_words())
    with pytest.raises(ModelError, match="no packed model; give the folder"):
        bertpass.load(tmp_path / "folder" / "model.safetensors", engine="native")


def rewrite(file, change):
    """The file once more after ``change(tensors, metadata, model)``."""
    tensors, metadata = safetensors_file.read(file)
    tensors, model = dict(tensors), json.loads(metadata["model"])
    change(tensors, metadata, model)
    if metadata["model"][0] == "{":
        metadata["model"] = json.dumps(model)
    safetensors_file.write(file, tensors, metadata)


@pytest.mark.parametrize(("change", "words"), [
    (lambda t, d, m: d.update(format_version="9"), "format version 9"),
    (lambda t, d, m: d.update(format="x"), "no packed"),
    (lambda t, d, m: d.update(model="no"), "damaged"),
    (lambda t, d, m: m.pop("head"), "damaged"),
    (lambda t, d, m: m["config"].update(units=35), "multiple of num_heads"),
    (lambda t, d, m: t.pop("layers"), "no packed"),
    (lambda t, d, m: m["config"].update(hidden_size=51), "do not belong"),
    (lambda t, d, m: m.update(labels=[1]), "labels"),
    (lambda t, d, m: m.update(max_length="9"), "damaged"),
    (lambda t, d, m: m.update(max_length=99), "max_length"),
    (lambda t, d, m: t.update(layers=t["layers"][:-64]), "cut short"),
    (lambda t, d, m: t.update(layers=np.zeros(64, np.uint8)), "no packed layers"),
    (lambda t, d, m: t.pop("bert.encoder.layer_norm.beta"), "missing"),
    (lambda t, d, m: t.update(x=t["layers"]), "not part"),
    (lambda t, d, m: t.update({"tokenizer.json": np.zeros(9, np.uint8)}), "tokenizer"),
    (lambda t, d, m: t.update({"tokenizer.json": np.full(9, 255, np.uint8)}), "damaged"),
])
def test_damaged_files(change, words, tmp_path):
    file = tmp_path / "x.safetensors"
    packed.write(file, with_words(), "float32")
    rewrite(file, change)
    with pytest.raises(ModelError, match=words):
        bertpass.load(file, engine="native")


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_one_file_for_every_instruction_set(isa, tmp_path):
    packed.write(tmp_path / "x.safetensors", tiny(), "int8")
    inputs = batch(tiny().config, [17, 1, 30], 33)
    found = NativeEngine(packed.read(tmp_path / "x.safetensors"), threads=1, isa=isa).forward(*inputs)[0]
    assert np.array_equal(found, NativeEngine(tiny(), dtype="int8", threads=1, isa=isa).forward(*inputs)[0])


def test_loading_imports_little(tmp_path):
    packed.write(tmp_path / "x.safetensors", with_words(), "bfloat16")
    code = ("import sys, bertpass\n"
            f"bertpass.load({str(tmp_path / 'x.safetensors')!r}, engine='native').encode('film')\n"
            "layouts = {'bertpass.model.layouts.huggingface', 'bertpass.model.layouts.bundle'}\n"
            "assert not {'mxnet', *layouts} & set(sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
