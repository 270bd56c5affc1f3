"""Safetensors files as views of the mapped file, and writing them with the first tensor on a page of memory.

The library ``safetensors`` reads and checks the header; it gives copies of tensors only, so the views are made here.
Layout: the length of the header (uint64, little-endian), the header (JSON), the tensors without gaps.
Source: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from bertpass.errors import ModelError
from bertpass.file_kinds import because
from bertpass.model.files import mapping
from bertpass.model.files.folders import replacing_file

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
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
        The file is missing, damaged or holds a type that NumPy does not have.
    """
    from safetensors import SafetensorError, safe_open  # here, because other formats do without

    try:
        data = mapping.view(path)
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            found = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
        tensors, at = {}, 8 + struct.unpack("<Q", data[:8])[0]
        for name, (dtype, shape) in found.items():
            if dtype not in _DTYPES:
                raise ValueError(f"'{name}' has the type {dtype}, which NumPy does not have")
            tensor: np.ndarray = np.ndarray(shape, _DTYPES[dtype], buffer=data, offset=at)
            at += tensor.nbytes
            # bfloat16 is the upper half of a float32
            tensors[name] = (tensor.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else tensor
        return tensors, metadata
    except OSError as error:
        raise ModelError(f"{path} cannot be read as a safetensors file: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, TypeError, struct.error) as error:
        reason = because(path, error)
        if reason == "it is a safetensors file":
            reason = f"it is cut off or damaged ({error}); fetch it again"
        raise ModelError(f"{path} cannot be read as a safetensors file: {reason}.") from error


def write(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """:func:`dump` to a file that appears whole or not at all; ModelError where it cannot be written as well."""
    with replacing_file(path, "the safetensors file") as file:
        dump(file, tensors, metadata)


def dump(file: BinaryIO, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write tensors in their order; the first begins at a multiple of :data:`ALIGNMENT` bytes in the file.

    The library's own writer chooses another order and does not align. ModelError where an array has another type.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        little = tensor.dtype.newbyteorder("<")
        if little not in _NAMES:
            raise ModelError(f"'{name}' has type {tensor.dtype}, which a safetensors file cannot hold.")
        header[name] = {"dtype": _NAMES[little], "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)  # the format allows spaces after the header
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors.values():
        little_endian = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
        file.write(little_endian.reshape(-1).view(np.uint8).data)
