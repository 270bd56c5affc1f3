"""The machine's ceilings, measured by the native loops of bertpass/csrc/python/peak.cc."""

from __future__ import annotations

from bertpass import _native

PRECISIONS = ("float32", "bfloat16", "int8")


def peaks(threads: int, isa: str = "", seconds: float = 0.5) -> dict[str, float]:
    """Precision -> operations a second, a multiplication and an addition being two, of ``threads`` threads.

    For the instruction set that our engine would take, or ``isa``; bfloat16 is float32's where the set has no products
    of bfloat16.
    """
    return {name: _native.peak(name, threads=threads, seconds=seconds, isa=isa) for name in PRECISIONS}
