"""The safetensors format: named arrays in one file, read as views of the mapped file and so without a copy.

Layout: the length of the header (uint64, little-endian), the header, the data. The header is JSON: for each tensor its
``dtype``, ``shape`` and ``data_offsets`` (first byte and the one after the last, counted from the end of the header),
and under ``__metadata__`` texts by name. The tensors fill the data without gaps and may stand in any order.
Source: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from bertpass.errors import ModelError
from bertpass.model import mapping
from bertpass.model.folders import replacing_file

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
           "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}
_METADATA = "__metadata__"
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the reference implementation
#: where :func:`write` lets the first tensor begin, counted from the start of the file: a page of memory
ALIGNMENT = 4096


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors by name, in the order in which they stand in the file, and the metadata.

    Returns
    -------
    Read-only views of the mapped file, which keep the mapping open. bfloat16 is the exception: NumPy does not have it,
    and those tensors are float32 arrays of the same values.

    Raises
    ------
    ModelError
        The file is missing, damaged or holds a type that NumPy does not have. Every offset was checked before use.
    """
    try:
        data = mapping.view(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read as a safetensors file: {error.strerror or error}.") from error
    try:
        header, start = _header(data)
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not texts by name")
        return _tensors(header, data[start:]), metadata
    except (ValueError, OverflowError) as error:
        raise ModelError(f"{path} cannot be read as a safetensors file: {error}.") from error


def write(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write tensors in their order; the first begins at a multiple of :data:`ALIGNMENT` bytes in the file.

    The file appears whole or not at all. ModelError where it cannot be written or an array has another type.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        little = tensor.dtype.newbyteorder("<")
        if little not in _NAMES:
            raise ModelError(f"'{name}' has type {tensor.dtype}, which a safetensors file cannot hold.")
        header[name] = {"dtype": _NAMES[little], "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)  # the format allows spaces after the header
    with replacing_file(path, "the safetensors file") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)


def _header(data: memoryview) -> tuple[dict[str, Any], int]:
    """The header and where the data begin; ValueError where there is none."""
    if len(data) < 8:
        raise ValueError(f"it has {len(data)} bytes")
    length, = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, _LONGEST_HEADER):
        raise ValueError(f"it announces a header of {length} bytes and has {len(data) - 8}")
    try:
        header = json.loads(bytes(data[8:8 + length]).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    return header, 8 + length


def _tensors(header: Mapping[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    places: list[tuple[int, int, str, str, list[int]]] = []
    for name, entry in header.items():
        fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
        if not (isinstance(dtype, str) and _counts(shape) and _counts(offsets) and len(offsets) == 2):
            raise ValueError(f"its header has no dtype, shape and offsets for '{name}'")
        places.append((offsets[0], offsets[1], name, dtype, shape))
    tensors: dict[str, np.ndarray] = {}
    at = 0
    for first, last, name, dtype, shape in sorted(places):
        if first != at or last < first:
            raise ValueError(f"the bytes of '{name}' do not follow those before them")
        if dtype != "BF16" and dtype not in _DTYPES:
            raise ValueError(f"'{name}' has the type {dtype}, which NumPy does not have")
        code = np.dtype("<u2" if dtype == "BF16" else _DTYPES[dtype])
        if math.prod(shape) * code.itemsize != last - first:
            raise ValueError(f"'{name}' has {last - first} bytes, which is not its shape {tuple(shape)} of {dtype}")
        if last > len(data):
            raise ValueError(f"it ends before the data of '{name}'")
        tensor: np.ndarray = np.ndarray(shape, code, buffer=data, offset=first)
        if dtype == "BF16":  # the upper half of a float32
            tensor = (tensor.astype(np.uint32) << 16).view(np.float32)
        tensors[name], at = tensor, last
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow its last tensor")
    return tensors


def _counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)

