"""Measuring: interleaved rounds, so that a spell of noise on the machine meets every candidate alike.

Speeds are only ever compared inside one run; each figure is the median of rounds A B C A B C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Latency of one call in milliseconds over ``count`` calls."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    least: float

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        """From a list of durations in seconds (at least one)."""
        ms = np.asarray(seconds) * 1e3
        p50, p90, p99 = (float(v) for v in np.percentile(ms, [50, 90, 99]))
        return cls(len(ms), float(ms.mean()), p50, p90, p99, float(ms.min()))

    def to_dict(self) -> dict[str, Any]:
        """All fields, rounded to a microsecond."""
        return {k: round(v, 3) for k, v in asdict(self).items()}


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 2) -> dict[str, Latency]:
    """Time each candidate once a round, in turn, after ``warmup`` untimed rounds.

    Parameters
    ----------
    candidates
        Name -> a call that returns only when its result is ready.
    """
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if turn >= warmup:
                spent[name].append(time.perf_counter() - start)
    return {name: Latency.of(seconds) for name, seconds in spent.items()}
