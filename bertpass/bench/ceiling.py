"""The machine's ceilings, measured by the native loops of bertpass/csrc/python/peak.cc."""

from __future__ import annotations

from collections.abc import Mapping

from bertpass import _native

PRECISIONS = ("float32", "bfloat16", "int8")
SECONDS = 0.4  # of each measurement


def reads(threads: int, isa: str, sizes: Mapping[str, int]) -> dict[str, float]:
    """Name -> bytes a second that ``threads`` threads read together, each its part of that many bytes."""
    return {name: _native.read_bandwidth(size, threads=threads, seconds=SECONDS, isa=isa)
            for name, size in sizes.items()}


def peaks(threads: int, isa: str = "") -> dict[str, float]:
    """Precision -> operations a second, a multiplication and an addition being two, of ``threads`` threads.

    For the instruction set that our engine would take, or ``isa``; bfloat16 is float32's where the set has no products
    of bfloat16.
    """
    return {name: _native.peak(name, threads=threads, seconds=SECONDS, isa=isa) for name in PRECISIONS}
