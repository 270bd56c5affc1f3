"""Cases of the kernel laboratory: a kernel at a shape, its reference in NumPy, what it has to compute or to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass import _native
from bertpass.extras import require
from bertpass.model.config import named

#: largest difference over the reference's largest value that a kernel in this precision may have
BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2, "int8": 5e-2}
ROWS = (128, 1024)  # tokens of a batch: (1, 128) and (8, 128)
LENGTHS = (32, 64, 128, 256, 512)
PART = 0.02  # seconds of one part of a measurement
PARTS = 7
LEAST = 3


@dataclass(frozen=True)
class Case:
    """One kernel at one shape.

    ``build()`` makes its inputs and gives two functions: (instruction set, threads) -> ``_native.Work``, and () -> what
    its result should be. ``operations`` counts multiplications and additions, 0 for a kernel that memory bounds;
    ``bytes`` is what such a one reads and writes.
    """

    kernel: str
    shape: str
    dtype: str
    build: Callable[[], tuple[Callable[[str, int], Any], Callable[[], np.ndarray]]]
    operations: float
    bytes: float


@dataclass(frozen=True)
class Found:
    """One measurement: ``error`` is the largest difference over the reference's largest value; ``seconds`` of a call,
    the median of the parts."""

    case: Case
    isa: str
    error: float
    seconds: float

    @property
    def right(self) -> bool:
        return self.error <= BOUNDS[self.case.dtype]


def cases(models: Sequence[str], dtypes: Sequence[str], tokens: Sequence[int] = ROWS,
          lengths: Sequence[int] = LENGTHS) -> Iterator[Case]:
    """Every kernel at the shapes of the models: linear layers of so many ``tokens``, attention and softmax of so many
    tokens in a row."""
    for model in models:
        config = named(model)
        units, hidden = config.units, config.hidden_size
        for rows in tokens:
            for dtype in dtypes:
                yield linear(rows, 3 * units, units, "none", dtype)
                yield linear(rows, hidden, units, "none", dtype)
                yield linear(rows, hidden, units, "gelu" if dtype == "float32" else "gelu_coarse", dtype)
                yield linear(rows, units, hidden, "none", dtype)
            yield layer_norm(rows, units)
        for length in lengths:
            for dtype in dtypes:
                if dtype != "int8":  # its attention computes in bfloat16
                    yield attention(length, config.num_heads, units // config.num_heads, dtype)
    for length in lengths:
        yield softmax(length)


def measure(case: Case, isa: str, threads: int) -> Found:
    """Check, then time in parts of :data:`PART` seconds."""
    make, reference = case.build()
    work = make(isa, threads)
    expected, got = reference(), work.result()
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    one = max(work.time(LEAST) / LEAST, 1e-9)
    calls = max(1, int(PART / one))
    return Found(case, isa, error, float(np.median([work.time(calls) / calls for _ in range(PARTS)])))


def _random(*shape: int) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(shape).standard_normal(shape, dtype=np.float32)
    return values


def linear(rows: int, columns: int, depth: int, activation: str, dtype: str) -> Case:
    def build() -> Any:
        a, weight, bias = _random(rows, depth), _random(columns, depth) * np.float32(depth ** -0.5), _random(columns)

        def reference() -> np.ndarray:
            x = a.astype(np.float64) @ weight.T.astype(np.float64) + bias
            erf = require("scipy.special", "bench").erf
            return 0.5 * x * (1 + erf(x / np.sqrt(2))) if activation.startswith("gelu") else x

        return lambda isa, threads: _native.linear_work(a, weight, bias, activation=activation, dtype=dtype,
                                                        threads=threads, isa=isa), reference

    return Case("linear" if activation == "none" else f"linear + {activation}", f"{rows} x {columns} x {depth}", dtype,
                build, 2.0 * rows * columns * depth, 0)


def attention(length: int, heads: int, size: int, dtype: str) -> Case:
    def build() -> Any:
        qkv = _random(length, heads * 3 * size)
        qkv.reshape(length, heads, 3, size)[:, :, 0] *= size ** -0.5

        def reference() -> np.ndarray:
            q, k, v = qkv.reshape(length, heads, 3, size).astype(np.float64).transpose(2, 1, 0, 3)
            weights = np.exp(q @ k.transpose(0, 2, 1))
            weights /= weights.sum(-1, keepdims=True)
            return (weights @ v).transpose(1, 0, 2).reshape(length, heads * size)

        return lambda isa, threads: _native.attention_work(qkv, [length], heads, dtype=dtype, threads=threads,
                                                           isa=isa), reference

    return Case("attention", f"{length} tokens, {heads} x {size}", dtype, build, 4.0 * length ** 2 * heads * size, 0)


def layer_norm(rows: int, columns: int) -> Case:
    def build() -> Any:
        x, gamma, beta = _random(rows, columns), _random(columns), _random(columns)

        def reference() -> np.ndarray:
            wide = x.astype(np.float64)
            return (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-12) * gamma + beta

        return lambda isa, threads: _native.layer_norm_work(x, gamma, beta, 1e-12, threads=threads, isa=isa), reference

    return Case("layer norm", f"{rows} x {columns}", "float32", build, 0, 8.0 * rows * columns)


def softmax(length: int) -> Case:
    def build() -> Any:
        x = _random(64, length)

        def reference() -> np.ndarray:
            weights = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
            return weights / weights.sum(1, keepdims=True)

        return lambda isa, _: _native.softmax_work(x, isa=isa), reference

    return Case("softmax, 1 thread", f"64 x {length}", "float32", build, 0, 8.0 * 64 * length)
