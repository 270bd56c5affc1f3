"""Bodies of the KServe v2 protocol (Open Inference Protocol): tensors as JSON, and as bytes behind the JSON.

The bytes are those of the binary tensor data extension (Triton's documentation, protocol/extension_binary_data): a
header tells where the JSON ends; then come the tensors in their order, numbers little-endian, strings each behind its
length in 4 bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from bertpass.errors import UsageError, unknown
from bertpass.serving.received.fields import Body, Side, checked, parsed, shown

#: the header with the length of the JSON
LENGTH = "inference-header-content-length"
_NUMBERS = {"INT64": "<i8", "INT32": "<i4", "FP32": "<f4"}
#: datatypes of inputs
TAKEN = ("BYTES", "INT64", "INT32")


class TensorParameters(Body):
    binary_data_size: int | None = Field(default=None, ge=0, description="bytes of the tensor behind the JSON")


class Tensor(Body):
    name: str
    shape: list[int]
    datatype: str = Field(description=", ".join(TAKEN))
    parameters: TensorParameters = TensorParameters()
    data: Any = Field(
        default=None, description="elements in row-major order, nested or flat; none with binary_data_size")


class WantedParameters(Body):
    binary_data: bool | None = Field(default=None, description="as bytes behind the JSON")


class Wanted(Body):
    name: str
    parameters: WantedParameters = WantedParameters()


class Parameters(Body):
    """Of the whole request; what the model's kind does not look at is refused."""

    binary_data_output: bool = Field(default=False, description="all outputs as bytes behind the JSON")
    truncate: bool | None = Field(default=None, description="cut texts that are too long, instead of answering 413")
    truncation_direction: Side | None = Field(default=None, description="the end at which they are cut")
    normalize: bool | None = Field(default=None, description="scale embeddings to length 1 (default: true)")
    dimensions: int | None = Field(default=None, ge=1, description="so many numbers from the front of each embedding")
    max_answer_length: int | None = Field(default=None, ge=1, description="tokens of the longest answer (default: 30)")
    handle_impossible_answer: bool | None = Field(default=None, description="the answer may be empty (SQuAD 2.0)")


class Infer(Body):
    """A request of the protocol."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[Wanted] | None = Field(default=None, description="default: all")
    parameters: Parameters = Parameters()


def read(body: bytes, length: str | None) -> tuple[Infer, dict[str, np.ndarray]]:
    """A body as its JSON and its input tensors: int64, or objects of type str.

    Parameters
    ----------
    length
        Bytes of the JSON, where tensors follow it.

    Raises
    ------
    Unreadable, InvalidBody
        There is no JSON, or it is not a request.
    UsageError
        A tensor's elements, shape and datatype do not fit together.
    """
    if length is not None and not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise UsageError(f"{LENGTH}: write how many bytes of the body are JSON.")
    end = len(body) if length is None else int(length)
    request, tail, found = checked(Infer, parsed(body[:end])), memoryview(body)[end:], {}
    for tensor in request.inputs:
        size, raw = tensor.parameters.binary_data_size, None
        if tensor.name in found:
            raise UsageError(f"the input '{shown(tensor.name)}' is there twice; send it once.")
        if size is not None:
            if size > len(tail):
                raise UsageError(f"{shown(tensor.name)}: binary_data_size {size}, but {len(tail)} bytes are left.")
            if tensor.data is not None:
                raise UsageError(f"{shown(tensor.name)}: send data or binary_data_size, and not both.")
            raw, tail = bytes(tail[:size]), tail[size:]
        found[tensor.name] = _array(tensor, raw)
    if len(tail):
        raise UsageError(f"{len(tail)} bytes of the body belong to no tensor.")
    return request, found


def _array(tensor: Tensor, raw: bytes | None) -> np.ndarray:
    name, shape = shown(tensor.name), tensor.shape
    if tensor.datatype not in TAKEN:
        raise UsageError(f"{name}: " + unknown("datatype", tensor.datatype, TAKEN))
    if not shape or min(shape) < 0:
        raise UsageError(f"{name}: the shape {shape} must be one or more whole numbers from 0.")
    if tensor.datatype == "BYTES":
        flat = _flat(tensor.data) if raw is None else _strings(name, raw)
        if not all(isinstance(each, str) for each in flat):
            raise UsageError(f"{name}: elements of BYTES must be strings.")
        array = np.empty(len(flat), object)
        array[:] = flat
    elif raw is None:
        array = _integers(name, _flat(tensor.data))
    else:
        width = np.dtype(_NUMBERS[tensor.datatype]).itemsize
        if len(raw) % width:
            raise UsageError(f"{name}: {len(raw)} bytes are no whole number of {tensor.datatype}.")
        array = np.frombuffer(raw, _NUMBERS[tensor.datatype]).astype(np.int64)
    if array.size != math.prod(shape):
        raise UsageError(f"{name}: the shape {shape} has {math.prod(shape)} elements, and {array.size} came.")
    return array.reshape(shape)


def _integers(name: str, flat: list[Any]) -> np.ndarray:
    if not all(type(each) is int and -2**63 <= each < 2**63 for each in flat):
        raise UsageError(f"{name}: elements must be whole numbers of 64 bits.")
    return np.array(flat, np.int64)


def _flat(data: Any) -> list[Any]:
    """The elements of lists in lists, in their order."""
    rows = data if isinstance(data, list) else [data]
    while any(isinstance(each, list) for each in rows):
        rows = [part for each in rows for part in (each if isinstance(each, list) else [each])]
    return rows


def _strings(name: str, raw: bytes) -> list[str]:
    found, at = [], 0
    while at < len(raw):
        end = at + 4 + (struct.unpack_from("<I", raw, at)[0] if at + 4 <= len(raw) else len(raw))
        if end > len(raw):
            raise UsageError(f"{name}: its bytes end within a string; each stands behind its length in 4 bytes.")
        try:
            found.append(raw[at + 4:end].decode())
        except UnicodeDecodeError:
            raise UsageError(f"{name}: string {len(found) + 1} is not UTF-8.") from None
        at = end
    return found


def write(answer: dict[str, Any], outputs: Mapping[str, np.ndarray], request: Infer) -> tuple[bytes, int | None]:
    """The body of an answer with the outputs that were asked for, and the length of its JSON where bytes follow it.

    Raises
    ------
    UsageError
        An output is unknown, or asked for twice.
    """
    wanted = request.outputs or [Wanted(name=name) for name in outputs]
    tensors, tail = [], []
    for each in wanted:
        if each.name not in outputs:
            raise UsageError(unknown("output", shown(each.name), outputs))
        if sum(other.name == each.name for other in wanted) > 1:
            raise UsageError(f"the output {each.name} is there twice; ask for it once.")
        array = outputs[each.name]
        tensor: dict[str, Any] = {"name": each.name, "datatype": datatype(array), "shape": list(array.shape)}
        binary = each.parameters.binary_data
        if request.parameters.binary_data_output if binary is None else binary:
            tail.append(_bytes(array))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    told = json.dumps({**answer, "outputs": tensors}).encode()
    return b"".join([told, *tail]), len(told) if tail else None


def datatype(array: np.ndarray) -> str:
    """The protocol's name of an output's type."""
    return {"f": "FP32", "i": "INT64", "O": "BYTES"}[array.dtype.kind]


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype.kind != "O":
        return array.astype(_NUMBERS[datatype(array)]).tobytes()
    encoded = [text.encode() for text in array.ravel()]
    return b"".join(struct.pack("<I", len(each)) + each for each in encoded)
