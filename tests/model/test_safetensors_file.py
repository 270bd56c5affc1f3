"""The safetensors format against its reference implementation, and damaged files."""

import json
import os
import struct

import numpy as np
import pytest
import safetensors.numpy

from bertpass.errors import ModelError
from bertpass.model.files import safetensors_file

TYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
         "bool"]


def tensors():
    source = np.random.default_rng(4)
    made = {f"t {name} ü": source.integers(0, 2, (3, 5)).astype(name) for name in TYPES}
    return {**made, "scalar": np.array(2.5, np.float32), "none": np.zeros((0, 4), np.float32),
            "odd": np.arange(7, dtype=np.uint8), "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T}


def same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array) and \
            found[name].shape == array.shape, name


def test_the_reference_reads_what_we_write_and_we_what_it_writes(tmp_path):
    ours, theirs, meta = tmp_path / "ours", tmp_path / "theirs", {"format": "pt", "äöü": "{}"}
    safetensors_file.write(ours, tensors(), meta)
    same(safetensors.numpy.load_file(ours), tensors())
    with safetensors.safe_open(ours, framework="numpy") as file:
        assert file.metadata() == meta
    found, metadata = safetensors_file.read(ours)
    same(found, tensors())
    assert metadata == meta
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors().items()}
    safetensors.numpy.save_file(contiguous, theirs)
    same(safetensors_file.read(theirs)[0], tensors())


def test_the_first_tensor_begins_on_a_page_and_nothing_is_copied(tmp_path):
    safetensors_file.write(tmp_path / "x", {"a": np.arange(64, dtype=np.uint8), "b": np.ones(3, np.float32)}, {})
    found, _ = safetensors_file.read(tmp_path / "x")
    assert found["a"].ctypes.data % safetensors_file.ALIGNMENT == 0
    assert found["b"].ctypes.data == found["a"].ctypes.data + 64
    assert not any(array.flags.writeable or array.flags.owndata for array in found.values())


def test_bfloat16_becomes_float32(tmp_path):
    halves = np.array([0x3F80, 0xC020, 0x7F80], "<u2")
    safetensors_file.write(tmp_path / "x", {"a": halves}, {})
    data = (tmp_path / "x").read_bytes().replace(b'"U16"', b'"BF16"').replace(b"} ", b"}", 1)
    (tmp_path / "x").write_bytes(data)
    found = safetensors_file.read(tmp_path / "x")[0]["a"]
    assert found.dtype == np.float32 and found.tolist() == [1.0, -2.5, np.inf]


def test_types_that_the_format_does_not_have(tmp_path):
    with pytest.raises(ModelError, match="'a' has type complex64"):
        safetensors_file.write(tmp_path / "x", {"a": np.zeros(2, np.complex64)}, {})
    assert list(tmp_path.iterdir()) == []


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("header", [
    [], {"a": 1}, {"a": entry(shape=[-2])}, {"a": entry(shape=[True, 2])}, {"a": entry(offsets=(0, 8, 9))},
    {"a": entry(offsets=(4, 8))}, {"a": entry(offsets=(8, 0))}, {"a": entry(), "b": entry(offsets=(4, 12))},
    {"a": entry("F9")}, {"a": entry(shape=(3,))}, {"a": entry(shape=(4,), offsets=(0, 16))},
    {"a": entry(shape=(1,), offsets=(0, 4))}, {"a": entry(shape=(0, 2**80), offsets=(0, 0))},
    {"a": entry(shape=[1] * 60 + [2])}, {"a": entry(), "__metadata__": {"x": 1}},
], ids=str)
def test_damaged_headers(header, tmp_path):
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(ModelError, match="cannot be read as a safetensors file"):
        safetensors_file.read(tmp_path / "x")


def test_a_type_that_numpy_does_not_have(tmp_path):
    text = json.dumps({"a": entry("F8_E4M3", (8,))}).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(ModelError, match="'a' has the type F8_E4M3"):
        safetensors_file.read(tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"123", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}",
                                     struct.pack("<Q", 2) + b"\xff\xff", struct.pack("<Q", 9) + b"[" * 9])
def test_damaged_beginnings(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a safetensors file"):
        safetensors_file.read(tmp_path / "x")
    with pytest.raises(ModelError, match="cannot be read as a safetensors file"):
        safetensors_file.read(tmp_path / "none")


def test_files_cut_off_anywhere(tmp_path):
    safetensors_file.write(tmp_path / "x", tensors(), {"format": "pt"})
    data = (tmp_path / "x").read_bytes()
    for length in [*range(0, 200, 7), *range(len(data) - 300, len(data), 13)]:
        (tmp_path / "y").write_bytes(data[:length])
        with pytest.raises(ModelError):
            safetensors_file.read(tmp_path / "y")


def test_what_is_no_plain_file_is_not_replaced(tmp_path):
    """As /dev/null, which a superuser could replace by a file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ModelError, match="no plain file"):
            safetensors_file.write(tmp_path / name, tensors(), {})
    assert (tmp_path / "pipe").is_fifo() and sorted(p.name for p in tmp_path.iterdir()) == ["folder", "pipe"]
