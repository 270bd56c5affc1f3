"""Measuring: interleaved rounds, so that a spell of noise on the machine meets every candidate alike.

Speeds are only ever compared inside one run; each figure is the median of rounds A B C A B C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpass.jobs.tasks.predict import Dataset
from bertpass.progress import Bar
from bertpass.text.tokens.batching import batches

if TYPE_CHECKING:
    from bertpass.engines.frameworks.mxnet_engine import MXNetEngine

WARMUP = 2  # calls that are not timed


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


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = WARMUP) -> dict[str, Latency]:
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


@dataclass
class Timing:
    """Seconds per batch of one engine: on the device alone, and with making and copying the batch."""

    compute: list[float]
    total: list[float]

    def speed(self, rows: int, batch: int) -> dict[str, Any]:
        """Latency and throughput of a run of ``rows``; a last batch with fewer rows counts for the throughput only."""
        full = self.compute[:-1] if rows % batch and len(self.compute) > 1 else self.compute
        return {"latency_ms": Latency.of(full).to_dict(),
                "throughput_samples_per_s": round(rows / sum(self.compute), 2),
                "throughput_with_data_loading": round(rows / sum(self.total), 2)}


def over_batches(engines: Mapping[str, MXNetEngine], data: Dataset, batch_size: int, length: int, pad_id: int,
                 most: int | None = None) -> tuple[dict[str, list[np.ndarray]], dict[str, Timing]]:
    """Run every batch, or ``most`` of them, padded to ``length``, on every engine in turn; the order of the engines
    alternates from batch to batch. Gives the first output of every row and the timings, by engine."""
    plan = batches(data.encodings, batch_size, pad_id=pad_id, pad_to=length, sort="none")
    count = min(len(plan), most or len(plan))
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    timings = {name: Timing([], []) for name in engines}
    first = next(iter(plan))
    for _ in range(WARMUP):
        for engine in engines.values():
            engine.forward(first.input_ids, first.token_types, first.valid_length)
    names = list(engines)
    iterator = iter(plan)
    with Bar("inference", count, "batches") as bar:
        for turn in range(count):
            began = time.perf_counter()
            batch = next(iterator)
            made = time.perf_counter() - began
            for name in names if turn % 2 == 0 else names[::-1]:
                start = time.perf_counter()
                arrays = engines[name].arrays(batch.input_ids, batch.token_types, batch.valid_length)
                ready = time.perf_counter()
                result = engines[name].run(arrays)
                done = time.perf_counter()
                table = result[0].astype("float32").asnumpy()
                timings[name].compute.append(done - ready)
                timings[name].total.append(made + time.perf_counter() - start)
                for row, valid in zip(table, batch.valid_length, strict=True):
                    outputs[name].append(row[:valid] if data.per_token else row)
            bar.advance(1, f"{np.median(timings[names[0]].compute) * 1e3:.1f} ms a batch")
    return outputs, timings
