"""libbertpass_cuda.so through ctypes (bertpass/include/bertpass_cuda.h): found and loaded on first use.

Environment: ``BERTPASS_CUDA`` names another library, ``BERTPASS_CUBLASLT`` libcublasLt.so and
``BERTPASS_CUDA_MEASUREMENTS`` the file of measured algorithms.
"""

from __future__ import annotations

import ctypes
import json
import os
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.paths import cache_folder, cuda_engine
from bertpass.base.variables import value
from bertpass.errors import BertpassError, DeviceError, MissingDependencyError, ModelError, UsageError
from bertpass.model.config import EncoderConfig, HeadConfig

ABI = 3
BUILD = "make cuda (or python scripts/build_cuda.py; pip install '.[cuda]' brings the compiler)"
_LOST = 6
_ERRORS: dict[int, type[BertpassError]] = {1: ModelError, 2: UsageError, 5: DeviceError, _LOST: DeviceError}


class _Tensor(ctypes.Structure):
    _fields_ = (("name", c_char_p), ("data", c_void_p), ("size", c_int64))


class _Config(ctypes.Structure):
    _fields_ = (("model", c_char_p), ("dtype", c_char_p), ("device", c_int32), ("exact_gelu", c_int32),
                ("measure", c_int32), ("measurements", c_char_p), ("cublaslt", c_char_p))


class _Info(ctypes.Structure):
    _fields_ = (("device", c_char * 256), ("major", c_int32), ("minor", c_int32), ("multiprocessors", c_int32),
                ("memory", c_int64), ("driver", c_int32), ("runtime", c_int32), ("cublaslt", c_int64),
                ("weights", c_int64))


class _Shape(ctypes.Structure):
    _fields_ = (("axes", c_int32), ("sizes", c_int64 * 3))


_loaded: dict[str, Library] = {}
_lock = threading.Lock()


def library() -> Library:
    """The library that ``BERTPASS_CUDA`` names, else the package's own.

    Raises
    ------
    MissingDependencyError
        It is not built, does not load, or belongs to another version of bertpass.
    """
    path = str(cuda_engine())
    with _lock:
        if path not in _loaded:
            _loaded[path] = Library(path)
        return _loaded[path]


def measurements() -> Path:
    """The file that keeps which algorithm was fastest for each product, by device and version of cuBLASLt (JSON)."""
    return Path(value("BERTPASS_CUDA_MEASUREMENTS") or cache_folder() / "cuda-algorithms.json")


def cublaslt() -> str | None:
    """Path of cuBLASLt: ``BERTPASS_CUBLASLT``, else that of an installed package; None: where the loader finds one."""
    if named := value("BERTPASS_CUBLASLT"):
        return named
    site = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    found = [path for pattern in ("cu1*/lib/libcublasLt.so.1[23]", "cublas/lib/libcublasLt.so.12")
             for path in sorted(site.glob(pattern), reverse=True)]
    return str(found[0]) if found else None


class Library:
    """The C functions, with statuses as errors."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise MissingDependencyError(f"the CUDA engine is not built ({path} is not there); build it with: {BUILD}.")
        try:
            self._c = ctypes.CDLL(path)
            self._c.bertpass_cuda_abi.restype = c_int32
            abi = self._c.bertpass_cuda_abi()
        except (OSError, AttributeError) as error:
            raise MissingDependencyError(f"the CUDA engine does not load ({error}); build it again with: {BUILD}."
                                         ) from error
        if abi != ABI:
            raise MissingDependencyError(f"{path} has interface {abi} and this bertpass needs {ABI}; build it again "
                                         f"with: {BUILD}.")
        self._c.bertpass_cuda_error.restype = c_char_p
        self._c.bertpass_cuda_free.argtypes = [c_void_p]
        self._c.bertpass_cuda_context_free.argtypes = [c_void_p]

    def call(self, name: str, *arguments: Any) -> None:
        """Call ``bertpass_cuda_NAME``; UsageError, ModelError or DeviceError with the library's sentence."""
        status = getattr(self._c, f"bertpass_cuda_{name}")(*arguments)
        if status:
            sentence = self._c.bertpass_cuda_error().decode("utf-8", "replace")
            error = _ERRORS.get(status, BertpassError)(sentence)
            if isinstance(error, DeviceError):
                error.lost = status == _LOST
            raise error

    def load(self, config: EncoderConfig, head: HeadConfig, params: Mapping[str, np.ndarray], *, dtype: str,
             device: int, exact_gelu: bool, measure: bool) -> Model:
        """A model on the device; ``params`` are not needed afterwards."""
        floats = {name: np.require(array, np.float32, ["C", "ALIGNED"]) for name, array in params.items()}
        tensors = (_Tensor * len(floats))(*(_Tensor(name.encode(), array.ctypes.data, array.size)
                                            for name, array in floats.items()))
        file = measurements()
        if measure:
            _make_folder(file)
        path = cublaslt()
        model = json.dumps({"config": config.to_dict(), "head": head.to_dict()})
        given = _Config(model.encode(), dtype.encode(), device, int(exact_gelu), int(measure), os.fsencode(file),
                        os.fsencode(path) if path else None)
        handle = c_void_p()
        self.call("load", byref(given), tensors, c_int32(len(floats)), byref(handle))
        return Model(self, handle)

    def describe(self, model: Model) -> dict[str, Any]:
        """The GPU, and versions."""
        info = _Info()
        self.call("describe", model.handle, byref(info))
        return {"device": info.device.decode("utf-8", "replace"), "compute_capability": f"{info.major}.{info.minor}",
                "multiprocessors": info.multiprocessors, "memory_gib": round(info.memory / 2 ** 30, 1),
                "driver": _version(info.driver), "cuda": _version(info.runtime), "cublaslt": info.cublaslt,
                "weights_mib": round(info.weights / 2 ** 20, 3)}

    def output_shapes(self, model: Model, rows: int, length: int) -> list[tuple[int, ...]]:
        """Of a batch of this shape; UsageError for an empty one."""
        shapes, count = (_Shape * 2)(), c_int32()
        self.call("output_shapes", model.handle, c_int32(rows), c_int32(length), shapes, byref(count))
        return [tuple(shape.sizes[:shape.axes]) for shape in shapes[:count.value]]

    def workspace_bytes(self, model: Model, rows: int, tokens: int) -> int:
        """Device memory that a context needs."""
        size = c_size_t()
        self.call("workspace", model.handle, c_int32(rows), c_int32(tokens), byref(size))
        return size.value

    def context(self, model: Model, rows: int, tokens: int, graphs: bool) -> Context:
        """Working memory for batches of at most ``rows`` rows and ``tokens`` tokens, padding included."""
        handle = c_void_p()
        self.call("context_create", model.handle, c_int32(rows), c_int32(tokens), None, c_int32(graphs), byref(handle))
        return Context(self, model, handle, rows, tokens)

    def free(self, kind: str, handle: c_void_p) -> None:
        """Free what :meth:`load` or :meth:`context` made."""
        getattr(self._c, f"bertpass_cuda_{kind}")(handle)


class Model:
    """A model's memory on the device, freed with this object."""

    def __init__(self, made_by: Library, handle: c_void_p) -> None:
        self._library, self.handle = made_by, handle

    def __del__(self) -> None:
        self._library.free("free", self.handle)


class Context:
    """What one forward at a time needs; keeps its model."""

    def __init__(self, made_by: Library, model: Model, handle: c_void_p, rows: int, tokens: int) -> None:
        self._library, self._model, self._handle = made_by, model, handle
        self.rows, self.tokens = rows, tokens

    def __del__(self) -> None:
        self._library.free("context_free", self._handle)

    def forward_host(self, ids: np.ndarray, types: np.ndarray, lengths: np.ndarray, outputs: Sequence[np.ndarray],
                     ) -> None:
        """From and to arrays of NumPy, int32 and float32; waits for the result."""
        pointers = _pointers([output.ctypes.data for output in outputs])
        self._library.call("forward_host", self._handle, _of(ids), _of(types), _of(lengths), *map(c_int32, ids.shape),
                           pointers)

    def forward(self, ids: int, types: int | None, lengths: np.ndarray, shape: tuple[int, ...], outputs: Sequence[int],
                stream: int) -> None:
        """On pointers of the device, on a stream; does not wait."""
        self._library.call("forward", self._handle, c_void_p(ids), c_void_p(types), _of(lengths), *map(c_int32, shape),
                           c_int32(1), _pointers(outputs), c_void_p(stream))


def _of(array: np.ndarray) -> Any:
    return array.ctypes.data_as(POINTER(c_int32))


def _pointers(addresses: Sequence[int]) -> Any:
    return (c_void_p * len(addresses))(*addresses)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _make_folder(file: Path) -> None:
    """The folder of the measurements; where it cannot be made they are kept in memory only."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
