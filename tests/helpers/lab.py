"""The CUDA library through ctypes, the GPU's or its twin: each kernel alone, on arrays of NumPy."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from tests.helpers import reference

DTYPES = ("float32", "float16", "bfloat16")
#: what rounding a number of about one to the type changes at most
UNIT = {"float32": 2.0 ** -24, "float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}


def stored(x: np.ndarray, dtype: str) -> np.ndarray:
    """Float values as the library has them in memory: bfloat16 as uint16."""
    x = np.ascontiguousarray(x, np.float32)
    if dtype == "bfloat16":
        return (reference.to_bfloat16(x).view(np.uint32) >> 16).astype(np.uint16)
    return x.astype(np.float16 if dtype == "float16" else np.float32)


def values(x: np.ndarray, dtype: str) -> np.ndarray:
    """The opposite: float64."""
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """Values as the type holds them, float64."""
    return values(stored(x, dtype), dtype)


class Lab:
    """A library that is loaded. Outputs are full of NaN before a kernel runs."""

    def __init__(self, path: Path, cublaslt: str | None) -> None:
        self.library, self.cublaslt = ctypes.CDLL(str(path)), cublaslt
        self.library.bertpass_cuda_error.restype = ctypes.c_char_p

    def call(self, name: str, *arguments) -> None:
        """Arrays and None are pointers, text is text, float numbers are float; RuntimeError where it fails."""
        given = [self._argument(a) for a in arguments]
        if getattr(self.library, f"bertpass_cuda_lab_{name}")(*given):
            raise RuntimeError(self.library.bertpass_cuda_error().decode())

    @staticmethod
    def _argument(value):
        if value is None:
            return None
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            return value.ctypes.data_as(ctypes.c_void_p)
        if isinstance(value, str):
            return value.encode()
        return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int32(value)

    def embed(self, dtype, ids, types, lengths, tables, gamma, beta, epsilon):
        words, positions, type_table = (None if t is None else stored(t, dtype) for t in tables)
        out = stored(np.zeros((lengths.sum(), words.shape[1])), dtype)
        self.call("embed", dtype, ids, types, lengths, *ids.shape, words, len(words), positions, len(positions),
                  type_table, 0 if type_table is None else len(type_table), gamma, beta, float(epsilon),
                  words.shape[1], out)
        return values(out, dtype)

    def norm(self, dtype, x, gamma, beta, epsilon):
        out = stored(np.zeros(x.shape), dtype)
        self.call("norm", dtype, stored(x, dtype), gamma, beta, float(epsilon), *x.shape, out)
        return values(out, dtype)

    def activate(self, dtype, activation, x):
        out = stored(np.zeros(x.shape), dtype)
        self.call("activate", dtype, activation, stored(x, dtype), *x.shape, out)
        return values(out, dtype)

    def activate_gated(self, dtype, activation, x):
        out = stored(np.zeros((len(x), x.shape[1] // 2)), dtype)
        self.call("activate_gated", dtype, activation, stored(x, dtype), *out.shape, out)
        return values(out, dtype)

    def rotate(self, dtype, qkv, lengths, cosines, sines):
        _, heads, _, size = qkv.shape
        out = stored(qkv, dtype)
        self.call("rotate", dtype, out, lengths, len(lengths), heads, size, cosines, sines, len(cosines))
        return values(out, dtype)

    def attend(self, dtype, qkv, lengths, bias=None, window=0):
        tokens, heads, _, size = qkv.shape
        out = stored(np.zeros((tokens, heads, size)), dtype)
        in_powers_of_two = None if bias is None else np.float32(np.log2(np.e)) * bias
        self.call("attend", dtype, stored(qkv, dtype), lengths, len(lengths), heads, size, in_powers_of_two,
                  0 if bias is None else (bias.shape[1] + 1) // 2, window, out)
        return values(out, dtype)

    def product(self, dtype, epilogue, x, weight, bias, residual=None):
        out = stored(np.zeros((len(x), len(weight))), dtype)
        self.call("product", dtype, self.cublaslt, epilogue, stored(x, dtype), stored(weight, dtype),
                  stored(bias, dtype), None if residual is None else stored(residual, dtype), *x.shape, len(weight),
                  out)
        return values(out, dtype)

    def unpack(self, dtype, states, lengths, length):
        out = np.empty((len(lengths), length, states.shape[1]), np.float32)
        self.call("unpack", dtype, stored(states, dtype), lengths, len(lengths), length, states.shape[1], out)
        return out

    def pool(self, dtype, states, lengths, pooling, normalize):
        out = np.empty((len(lengths), states.shape[1]), np.float32)
        self.call("pool", dtype, stored(states, dtype), lengths, len(lengths), states.shape[1], pooling,
                  int(normalize), out)
        return out

    def token_logits(self, dtype, states, lengths, length, weight, bias):
        out = np.empty((len(lengths), length, len(weight)), np.float32)
        self.call("token_logits", dtype, stored(states, dtype), lengths, len(lengths), length, states.shape[1],
                  weight, bias, len(weight), out)
        return out

    def dense(self, x, weight, bias, activation):
        out = np.empty((len(x), len(weight)), np.float32)
        self.call("dense", x, weight, bias, *x.shape, len(weight), activation, out)
        return out
