"""Requests of different lengths, sent to instances of different sizes.

Requests arrive one by one, independently of whether earlier ones are done (open loop, Poisson), each a batch of one
row. An instance computes one at a time. A policy says on which instances a length may run; requests wait in the order
of their arrival for the first of these to be free.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import numpy as np

from bertpass.bench import workloads
from bertpass.bench.instances.scaling import TURN, while_all
from bertpass.bench.process import Worker
from bertpass.bench.workloads import of_family
from bertpass.errors import UsageError
from bertpass.model.config import EncoderConfig

STEP = 8  # lengths are rounded up to a multiple, as servers do to have few shapes
DISTRIBUTIONS = ("sst", "squad", "mixed")
PERCENTILES = (50, 95, 99)

#: instances on which a length may run
Policy = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class Requests:
    """``arrivals`` in seconds, rising, and ``lengths`` in tokens, both (requests,)."""

    arrivals: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.arrivals)


def drawn_lengths(distribution: str, count: int, longest: int, seed: int = workloads.SEED) -> np.ndarray:
    """Lengths of real data, rounded up to :data:`STEP`, at most ``longest``: "sst", "squad", or "mixed": half each."""
    random = np.random.default_rng(seed)
    parts = [quantiles for name, quantiles in (("sst", workloads.SST), ("squad", workloads.SQUAD))
             if distribution in (name, "mixed")]
    drawn = np.stack([np.interp(random.random(count), *quantiles) for quantiles in parts])
    lengths = drawn[random.integers(0, len(parts), count), np.arange(count)]
    return np.minimum(-(-np.rint(lengths).astype(int) // STEP) * STEP, longest)


def poisson(rate: float, lengths: np.ndarray, seed: int = workloads.SEED) -> Requests:
    """Requests of these lengths at ``rate`` a second on average."""
    gaps = np.random.default_rng(seed + 1).exponential(1 / rate, len(lengths))
    return Requests(np.cumsum(gaps), lengths)


def by_length(bounds: Sequence[int]) -> Policy:
    """The first instance whose bound is not below the length; the last one takes what is longer than all bounds."""
    return lambda length: (min(int(np.searchsorted(bounds, length)), len(bounds) - 1),)


def anywhere(instances: int) -> Policy:
    """Whichever instance is free."""
    everywhere = tuple(range(instances))
    return lambda length: everywhere


def balanced(lengths: np.ndarray, service: Sequence[Callable[[int], float]]) -> list[int]:
    """Bounds for :func:`by_length` that give all instances the same share of work time, as nearly as lengths allow.

    The shortest lengths go to the first instance until it has its share, and so on; the smallest share with which
    everything finds a place is found by bisection.
    """
    values, counts = np.unique(lengths, return_counts=True)

    def cut(share: float) -> list[int] | None:
        bounds, place = [], 0
        for own in service:
            load = 0.0
            while place < len(values) and load + counts[place] * own(values[place]) <= share:
                load += counts[place] * own(values[place])
                place += 1
            bounds.append(int(values[place - 1]) if place else 0)
        return bounds if place == len(values) else None

    low, high = 0.0, max(float(np.dot(counts, [own(v) for v in values])) for own in service)
    best = cut(high)
    for _ in range(60):
        middle = (low + high) / 2
        found = cut(middle)
        low, high, best = (low, middle, found) if found else (middle, high, best)
    assert best is not None  # one instance alone has room for everything
    return best


def capacity(lengths: np.ndarray, service: Sequence[Callable[[int], float]]) -> float:
    """Requests a second that the instances compute when all are always busy with any length."""
    return sum(1 / float(np.mean([own(length) for length in lengths])) for own in service)


def prepare(workers: Sequence[Worker], lengths: Sequence[int], config: EncoderConfig) -> None:
    """Give the workers one row of each length; WorkerError where one fails."""
    for length in lengths:
        for worker in workers:
            worker.begin("prepare", f"1x{length}", of_family(f"1x{length}")[0].batches(config))
        for worker in workers:
            worker.finish()


def curves(workers: Sequence[Worker], lengths: Sequence[int]) -> list[dict[int, float]]:
    """Length -> median seconds of a call, of each worker while all of them compute that length."""
    found: list[dict[int, float]] = [{} for _ in workers]
    for length in lengths:
        for worker in workers:
            worker.begin("run", f"1x{length}", TURN)
        calls = [worker.finish() for worker in workers]
        for own, seconds in zip(found, while_all(calls, settle=True), strict=True):
            own[length] = float(np.median(seconds))
    return found


def interpolated(curve: dict[int, float]) -> Callable[[int], float]:
    """A measured curve for any length, straight between the measured ones."""
    lengths = sorted(curve)
    seconds = [curve[length] for length in lengths]
    return lambda length: float(np.interp(length, lengths, seconds))


def serve(workers: Sequence[Worker], requests: Requests, policy: Policy) -> np.ndarray:
    """Really send the requests at their times; seconds from arrival to answer of each.

    The workers have been given every length by :func:`prepare`. WorkerError where one fails.
    """
    latencies = np.empty(len(requests))
    waiting: deque[int] = deque()
    running: dict[int, int] = {}  # instance -> request
    arrived, start = 0, time.monotonic()
    while arrived < len(requests) or waiting or running:
        now = time.monotonic() - start
        while arrived < len(requests) and requests.arrivals[arrived] <= now:
            waiting.append(arrived)
            arrived += 1
        for request in list(waiting):
            idle = [n for n in policy(requests.lengths[request]) if n not in running]
            if idle:
                waiting.remove(request)
                running[idle[0]] = request
                workers[idle[0]].begin("time", f"1x{requests.lengths[request]}", 1)
        left = max(0.0, requests.arrivals[arrived] - now) if arrived < len(requests) else None
        ready = connection.wait([workers[n].fileno() for n in running], left)
        for instance in [n for n in running if workers[n].fileno() in ready]:
            workers[instance].finish()
            request = running.pop(instance)
            latencies[request] = time.monotonic() - start - requests.arrivals[request]
    return latencies


def summary(latencies: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Milliseconds: percentiles of all, and the 95th of the shorter and of the longer half."""
    half = np.median(lengths)
    found: dict[str, Any] = {f"p{p}_ms": round(float(np.percentile(latencies, p)) * 1e3, 3) for p in PERCENTILES}
    for name, chosen in (("short", lengths <= half), ("long", lengths > half)):
        found[f"{name}_p95_ms"] = round(float(np.percentile(latencies[chosen], 95)) * 1e3, 3) if chosen.any() else None
    return found


def check_bounds(bounds: Sequence[int], instances: int) -> None:
    """UsageError unless there is one bound for each instance, rising."""
    if len(bounds) != instances or list(bounds) != sorted(set(bounds)):
        raise UsageError(f"--bounds {' '.join(map(str, bounds))}: give {instances} rising lengths, one for each "
                         "instance.")
