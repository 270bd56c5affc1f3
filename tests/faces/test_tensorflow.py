"""TensorFlow's operator: the CPU's form against the native engine bit by bit; the GPU's form with the twin library."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import build_cuda
import build_tensorflow
import numpy as np
import pytest

from bertpass.engines.native import NativeEngine
from bertpass.model.layouts import packed
from tests.helpers import reference

SIZES = {"units": 64, "hidden_size": 48, "num_heads": 2}  # a head size that the CUDA engine has
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="needs TensorFlow, in an environment of its own: pip install -c constraints.txt '.[tensorflow]'")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, twin):
    """Name of a call -> its outputs, or what its error says; all calls run in one process."""
    folder = tmp_path_factory.mktemp("tensorflow")
    library = folder / "libbertpass_tensorflow.so"
    build_tensorflow.build(library, device_form_on_cpu=True)
    calls = []

    def add(name, how, file, inputs, **attributes):
        np.savez(folder / f"{name}-inputs.npz", **dict(zip(("ids", "types", "lengths"), inputs, strict=True)))
        calls.append({"name": name, "how": how, "inputs": str(folder / f"{name}-inputs.npz"),
                      "attributes": {"model": str(file), "outputs": 1, "threads": 1, **attributes}})

    states, pooled, batch = model(), model("pooled"), inputs_of()
    packed.write(folder / "states.safetensors", states, "float32")
    packed.write(folder / "pooled.safetensors", pooled, "bfloat16")
    packed.write_unpacked(folder / "states-gpu.safetensors", states)
    packed.write_unpacked(folder / "pooled-gpu.safetensors", pooled)
    for how in ("eager", "function", "saved"):
        add(how, how, folder / "states.safetensors", batch)
    add("pooled", "function", folder / "pooled.safetensors", batch, outputs=2)
    for dtype in ("float32", "float16"):
        add(f"device-{dtype}", "device", folder / "states-gpu.safetensors", batch, dtype=dtype)
    add("device-pooled", "device", folder / "pooled-gpu.safetensors", batch, dtype="float32", outputs=2)
    ids, types, lengths = batch
    add("outputs", "eager", folder / "pooled.safetensors", batch)
    add("file", "eager", folder / "none.safetensors", batch)
    add("unpacked", "eager", folder / "states-gpu.safetensors", batch)
    add("id", "eager", folder / "states.safetensors", (ids + 61, types, lengths))
    add("shape", "eager", folder / "states.safetensors", (ids, types[:, 1:], lengths))
    add("empty", "eager", folder / "states.safetensors", (ids[:0], types[:0], lengths[:0]))
    add("device-packed", "device", folder / "states.safetensors", batch)
    add("device-id", "device", folder / "states-gpu.safetensors", (ids + 61, types, lengths))
    (folder / "jobs.json").write_text(json.dumps({"library": str(library), "calls": calls}))
    child = Path(__file__).with_name("tensorflow_child.py")
    environment = {**os.environ, "BERTPASS_CUDA": str(twin), "BERTPASS_CUBLASLT": str(twin)}
    done = subprocess.run([sys.executable, str(child), str(folder / "jobs.json"), str(folder)], env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def found(name):
        if (folder / f"{name}.txt").exists():
            return (folder / f"{name}.txt").read_text()
        with np.load(folder / f"{name}.npz") as arrays:
            return list(arrays.values())
    return found


def model(head="none"):
    return reference.tiny(head=head, **SIZES)


def inputs_of():
    return reference.batch(model().config, [9, 1, 4, 12], 14)


@needs_tensorflow
@pytest.mark.parametrize("how", ["eager", "function", "saved"])
def test_the_bits_of_the_native_engine(outcome, how):
    wanted = NativeEngine(model(), dtype="float32", threads=1).forward(*inputs_of())
    assert len(outcome(how)) == 1 and np.array_equal(outcome(how)[0], wanted[0])


@needs_tensorflow
def test_two_outputs(outcome):
    wanted = NativeEngine(model("pooled"), dtype="bfloat16", threads=1).forward(*inputs_of())
    assert len(wanted) == 2
    assert all(np.array_equal(got, right) for got, right in zip(outcome("pooled"), wanted, strict=True))


@needs_tensorflow
@pytest.mark.parametrize(("name", "head", "bound"), [
    ("device-float32", "none", 1e-5), ("device-float16", "none", 1e-2), ("device-pooled", "pooled", 1e-5)])
def test_the_form_of_the_gpu_with_the_twin(outcome, name, head, bound):
    wanted = reference.outputs(model(head), *inputs_of())
    for got, right in zip(outcome(name), wanted, strict=True):
        assert got.shape == right.shape and np.linalg.norm(got - right) <= bound * np.linalg.norm(right)


@needs_tensorflow
@pytest.mark.parametrize(("name", "words"), [
    ("outputs", "has 2 outputs; say so: outputs=2"), ("file", "No such file"), ("unpacked", "it is no packed model"),
    ("id", "input_ids must be from 0 to 60"), ("shape", "must have one shape"), ("empty", "at least one row"),
    ("device-packed", "write one with bertpass pack --unpacked"), ("device-id", "input_ids must be from 0 to 60")])
def test_bad_inputs_are_sentences(outcome, name, words):
    kind, _, sentence = outcome(name).partition("\n")
    assert kind == "InvalidArgumentError" and words in sentence


def test_without_tensorflow_the_build_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert build_tensorflow.main(["--output", str(tmp_path / "lib.so")]) == 6
    assert "pip install '.[tensorflow]'" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_compiler_that_fails_is_an_error_of_the_build(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build_cuda.BuildError, match="cannot be run"):
        build_cuda.compile_device_model(tmp_path)
