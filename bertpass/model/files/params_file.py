"""MXNet's NDArray file (``.params``) with NumPy alone.

The layout, as `mx.nd.save`_ of MXNet 1.x writes it (all numbers little-endian)::

    list:   uint64 0x112, uint64 0, uint64 count, count arrays, uint64 count, count names (uint64 length, bytes)
    array:  uint32 magic, [int32 storage type], shape, int32 device type, int32 device id, int32 dtype, bytes

``magic`` says how to go on: 0xF993fac9 (V2) and 0xF993faca (V3) have a storage type, 0xF993fac8 (V1) has none, and any
other number is the oldest layout, where it is itself the number of dimensions and dimensions are uint32. Elsewhere a
shape is int32 dimensions and int64 each. V2 says "no array" by 0 dimensions; V3 by -1, and 0 means a scalar.

.. _mx.nd.save: src/ndarray/ndarray.cc of apache/mxnet, NDArray::Save and NDArray::Load
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping

import numpy as np

from bertpass.errors import ModelError
from bertpass.file_kinds import looks_like
from bertpass.model.files import mapping
from bertpass.model.files.folders import replacing_file

PathLike = str | os.PathLike[str]

_LIST = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_MAX_DIMENSIONS = 32  # as in NumPy 1.x
_DTYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64"}
_FLAGS = {name: flag for flag, name in _DTYPES.items()}
_UNREADABLE = {7: "bool", 8: "int16", 9: "uint16", 10: "uint32", 11: "uint64", 12: "bfloat16"}


class _Reader:
    """A cursor over the file's bytes that never reads past their end."""

    def __init__(self, data: memoryview, path: PathLike):
        self.data, self.path, self.at = data, path, 0

    def error(self, what: str) -> ModelError:
        return ModelError(f"{self.path} is not a usable MXNet parameter file: {what}; "
                          "give a .params file written by MXNet or by bertpass.")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise self.error(f"it ends at byte {len(self.data)} where {count} more are due at byte {self.at}")
        self.at += count
        return self.data[self.at - count:self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        form = "<" + form
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def number(self, form: str) -> int:
        return self.numbers(form)[0]

    def count(self, smallest: int) -> int:
        """A count of things of at least ``smallest`` bytes each: it cannot exceed what the file has left."""
        value = self.number("Q")
        if value * smallest > len(self.data) - self.at:
            raise self.error(f"it announces {value} entries and has {len(self.data) - self.at} bytes left")
        return value

    def shape(self, dimensions: int, form: str) -> tuple[int, ...]:
        if not 0 <= dimensions <= _MAX_DIMENSIONS:
            raise self.error(f"an array announces {dimensions} dimensions")
        shape = self.numbers(f"{dimensions}{form}")
        if any(size < 0 for size in shape):
            raise self.error(f"an array announces the shape {shape}")
        return shape

    def array(self) -> np.ndarray:
        magic = self.number("I")
        if magic in (_V2, _V3):
            if self.number("i") != _DENSE:
                raise self.error("it holds a sparse array and only dense ones can be used")
            dimensions = self.number("i")
            if dimensions == (0 if magic == _V2 else -1):
                raise self.error("it holds an array without a shape (one that was never filled)")
            shape = self.shape(dimensions, "q")
        elif magic == _V1:
            shape = self.shape(self.number("i"), "q")
        else:
            shape = self.shape(magic, "I")
        _, _, flag = self.numbers("3i")
        if flag not in _DTYPES:
            raise self.error(f"it holds an array of type {_UNREADABLE.get(flag, flag)}, which is not one of "
                             f"{', '.join(_DTYPES.values())}")
        dtype = np.dtype(_DTYPES[flag]).newbyteorder("<")
        raw = self.take(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(raw, dtype=dtype).reshape(shape)


def read(path: PathLike, mmap: bool = False) -> dict[str, np.ndarray]:
    """Read every array of an NDArray file, under the names in the file (``arg:x``, ``aux:x`` or plain ``x``).

    Parameters
    ----------
    path : path of the ``.params`` file
    mmap : give read-only views of the mapped file instead of copies; the views keep the mapping open

    Returns
    -------
    dict of arrays of float32, float64, float16, uint8, int32, int8 or int64, in the order of the file

    Raises
    ------
    ModelError
        The file is missing, truncated, not an NDArray file, or holds sparse, unnamed or unsupported arrays. Nothing is
        allocated from a count in the file before it was checked against the file's size.
    """
    try:
        data = mapping.view(path)
    except OSError as error:
        raise ModelError(f"cannot read the parameter file {path}: {error.strerror or error}.") from error
    if not data:
        raise ModelError(f"{path} is empty; give a .params file written by MXNet or by bertpass.")
    reader = _Reader(data, path)
    if bytes(data[:8]) == struct.pack("<Q", _LIST) and len(data) < 24:
        raise reader.error("it ends within its first 24 bytes")
    if len(data) < 24 or reader.numbers("2Q")[0] != _LIST:
        raise reader.error(looks_like(path) or "it does not start as one")
    views = [reader.array() for _ in range(reader.count(smallest=16))]
    names = []
    for _ in range(reader.count(smallest=8)):
        try:
            names.append(bytes(reader.take(reader.count(smallest=1))).decode("utf-8"))
        except UnicodeDecodeError:
            raise reader.error("a parameter's name is not text") from None
    if len(names) != len(views):
        raise reader.error(f"it holds {len(views)} arrays and {len(names)} names")
    if len(set(names)) != len(names):
        raise reader.error("a name occurs twice in it")
    if reader.at != len(data):
        raise reader.error(f"{len(data) - reader.at} bytes follow its end")
    return {name: view if mmap else view.copy() for name, view in zip(names, views, strict=True)}


def write(path: PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named dense arrays so that ``mx.nd.load`` of any MXNet 1.x reads them.

    The file appears whole or not at all: it is written beside its place and renamed. Arrays without dimensions are
    written with shape (1,), as MXNet has no scalars in this layout.

    Raises
    ------
    ModelError
        An array has a dtype that the format does not have, or the file cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _FLAGS:
            raise ModelError(f"parameter '{name}' has type {array.dtype}; a .params file takes "
                             f"{', '.join(_FLAGS)} only.")
    with replacing_file(path, "the parameter file") as file:
        file.write(struct.pack("<3Q", _LIST, 0, len(arrays)))
        for array in arrays.values():
            shape = array.shape or (1,)
            file.write(struct.pack(f"<Iii{len(shape)}q3i", _V2, _DENSE, len(shape), *shape, 1, 0,
                                   _FLAGS[array.dtype.name]))
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            encoded = name.encode("utf-8")
            file.write(struct.pack("<Q", len(encoded)) + encoded)
