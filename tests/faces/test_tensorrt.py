"""TensorRT's plugin, run by a program that does what TensorRT does (tensorrt_host.cc), with the twin library."""

import os
import subprocess
from pathlib import Path

import build_cuda
import build_tensorrt
import numpy as np
import pytest

from bertpass.model.layouts import packed
from tests.helpers import reference

SIZES = {"units": 64, "hidden_size": 48, "num_heads": 2}  # a head size that the CUDA engine has
BOUND = {"float32": 1e-5, "float16": 1e-2}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The host and the plugin."""
    folder = tmp_path_factory.mktemp("tensorrt")
    try:
        headers = build_tensorrt.header_flags()
    except build_cuda.BuildError as error:
        pytest.skip(str(error))
    build_tensorrt.build(folder / "libbertpass_tensorrt.so")
    build_cuda.run([*build_cuda.compiler(), "-std=c++17", "-Wall", "-Wextra", *headers,
                    str(Path(__file__).with_name("tensorrt_host.cc")), "-o", str(folder / "host"), "-ldl"])
    return folder / "host", folder / "libbertpass_tensorrt.so"


@pytest.fixture
def host(programs, twin, tmp_path):
    """A function that runs the host: how it ended, and the bytes that it wrote."""
    def run(model, dtype, batch):
        ids, types, lengths = batch
        parts = [np.array(ids.shape, np.int32), ids, types, lengths]
        (tmp_path / "inputs").write_bytes(b"".join(part.tobytes() for part in parts))
        done = subprocess.run([*programs, model, dtype, tmp_path / "inputs", tmp_path / "outputs"],
                              env={**os.environ, "BERTPASS_CUDA": str(twin), "BERTPASS_CUBLASLT": str(twin)},
                              capture_output=True, text=True, check=False)
        written = (tmp_path / "outputs").read_bytes() if done.returncode == 0 else b""
        return done, np.frombuffer(written, np.float32)
    return run


@pytest.mark.parametrize(("head", "dtype"), [("none", "float32"), ("none", "float16"), ("pooled", "float32"),
                                             ("qa", "float32"), ("classification", "float16")])
def test_it_computes_the_model(host, tmp_path, head, dtype):
    checkpoint = reference.tiny(head=head, **SIZES)
    ids, types, lengths = reference.batch(checkpoint.config, [9, 1, 4, 12], 14)
    packed.write_unpacked(tmp_path / "x.safetensors", checkpoint)
    done, found = host(tmp_path / "x.safetensors", dtype, (ids, types, lengths))
    assert done.returncode == 0, done.stderr
    exchanged = lengths[[3, 1, 2, 0]]
    wanted = [out for valid in (lengths, exchanged) for out in reference.outputs(checkpoint, ids, types, valid)]
    assert done.stdout.splitlines() == [" ".join(map(str, out.shape)) for out in wanted[:len(wanted) // 2]]
    assert found.size == sum(out.size for out in wanted)
    for right in wanted:
        got, found = found[:right.size].reshape(right.shape), found[right.size:]
        assert np.linalg.norm(got - right) <= BOUND[dtype] * np.linalg.norm(right)


@pytest.mark.parametrize(("dtype", "longest", "words"), [
    ("float8", 14, "unknown value 'float8'"), ("float32", 41, "longer than the model's 40"),
    (None, 14, "write one with bertpass pack --unpacked")])
def test_errors_are_sentences_in_the_log(host, tmp_path, dtype, longest, words):
    checkpoint = reference.tiny(**SIZES)
    if dtype:
        packed.write_unpacked(tmp_path / "x.safetensors", checkpoint)
    else:
        packed.write(tmp_path / "x.safetensors", checkpoint, "float32")
    done, _ = host(tmp_path / "x.safetensors", dtype or "float32", reference.batch(checkpoint.config, [9, 4], longest))
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 2, done.stderr


def test_without_headers_the_build_says_what_to_name(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TENSORRT_INCLUDE", str(tmp_path))
    assert build_tensorrt.main(["--output", str(tmp_path / "lib.so")]) == 6
    assert "name their folder in TENSORRT_INCLUDE" in capsys.readouterr().err and not list(tmp_path.iterdir())
