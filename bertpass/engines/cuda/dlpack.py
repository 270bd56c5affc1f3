"""Memory of other frameworks' tensors, by DLPack: its address, shape and type, without a copy.

Structures: dlpack.h of github.com/dmlc/dlpack, the unversioned DLManagedTensor that every producer gives.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, Structure, c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.errors import UsageError

CPU, CUDA = 1, 2  # DLDeviceType
_CODES = {"i": 0, "u": 1, "f": 2}  # DLDataTypeCode by NumPy's kinds


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = c_void_p, [py_object, c_char_p]


class _Tensor(Structure):
    _fields_ = (("data", c_void_p), ("device_type", c_int32), ("device", c_int32), ("axes", c_int32), ("code", c_uint8),
                ("bits", c_uint8), ("lanes", c_uint16), ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)),
                ("offset", c_uint64))


@dataclass(frozen=True)
class Borrowed:
    """Where a tensor's numbers are; valid for as long as the tensor. ``device``: DLPack's type and number."""

    pointer: int
    shape: tuple[int, ...]
    device: tuple[int, int]


def borrow(name: str, tensor: Any, dtype: Any, axes: int) -> Borrowed:
    """Address and shape of a tensor, row after row in memory.

    Parameters
    ----------
    name : of the argument, for errors
    dtype, axes : that it must have

    Raises
    ------
    UsageError
        It has no DLPack, another type or number of axes, or is not row after row.
    """
    if not hasattr(tensor, "__dlpack__"):
        raise UsageError(f"{name} must be a tensor with DLPack (of PyTorch, CuPy, ...), not {type(tensor).__name__}.")
    try:
        # No stream: the caller's work and ours are on the stream that the caller names, so nothing has to wait.
        capsule = tensor.__dlpack__(stream=-1) if tensor.__dlpack_device__()[0] != CPU else tensor.__dlpack__()
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        raise UsageError(f"{name} cannot be read by DLPack ({error}); give a plain tensor without gradient.") from error
    found = ctypes.cast(_pointer_of(capsule, b"dltensor"), POINTER(_Tensor)).contents
    shape = tuple(found.shape[:found.axes])
    wanted = np.dtype(dtype)
    if (found.code, found.bits, found.lanes) != (_CODES[wanted.kind], wanted.itemsize * 8, 1) or found.axes != axes:
        raise UsageError(f"{name} must be {wanted.name} with {axes} axes; cast it or change its shape.")
    if found.strides and not _by_rows(shape, tuple(found.strides[:found.axes])):
        raise UsageError(f"{name} must be contiguous, row after row; call its contiguous() first.")
    # The capsule goes, and with it its hold on the tensor.
    return Borrowed(int(found.data or 0) + found.offset, shape, (found.device_type, found.device))


def torch_of(tensor: Any) -> Any:
    """PyTorch where the tensor is one of its, else None; never imports it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(tensor, torch.Tensor) else None


def _by_rows(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True
