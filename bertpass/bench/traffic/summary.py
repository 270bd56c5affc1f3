"""What came back: rates, latencies, failures, second by second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass.bench.traffic.client import Sample

#: percentile -> requests without which it says nothing
PERCENTILES = {"p50": (50.0, 1), "p90": (90.0, 10), "p99": (99.0, 100), "p99.9": (99.9, 1000)}


def percentiles(milliseconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99, p99.9 and the largest; None for those that so few values cannot tell."""
    values = np.asarray(milliseconds, float)
    found: dict[str, float | None] = {
        name: round(float(np.percentile(values, at)), 3) if len(values) >= least else None
        for name, (at, least) in PERCENTILES.items()}
    return found | {"max": round(float(values.max()), 3) if len(values) else None}


def answered(samples: Sequence[Sample]) -> list[Sample]:
    """Those that were answered with 200."""
    return [sample for sample in samples if sample.status == 200]


def summary(samples: Sequence[Sample], warmup: float, seconds: float) -> dict[str, Any]:
    """Figures of the requests that were due from ``warmup`` to ``seconds``, in milliseconds and a second.

    ``latency_ms`` is of the answers 200 from the time at which they were due; ``service_ms`` from when they were really
    sent, which leaves out that the generator was late (``lag_ms``). ``answered_per_second`` is of the answers 200 that
    came from ``warmup`` to ``seconds``, whenever they were due.
    """
    counted = [sample for sample in samples if sample.due >= warmup]
    good = answered(counted)
    came = sum(warmup <= sample.ended < seconds for sample in answered(samples))
    return {
        "seconds": round(seconds - warmup, 3), "sent": len(counted),
        "offered_per_second": round(len(counted) / (seconds - warmup), 3),
        "answered_per_second": round(came / (seconds - warmup), 3),
        "statuses": {str(status): count for status, count in Counter(s.status for s in counted).most_common()},
        "latency_ms": percentiles([1e3 * (s.ended - s.due) for s in good]),
        "service_ms": percentiles([1e3 * (s.ended - s.sent) for s in good]),
        "failure_ms": percentiles([1e3 * (s.ended - s.due) for s in counted if s.status != 200]),
        "lag_ms": percentiles([1e3 * (s.sent - s.due) for s in counted]),
    }


def by_second(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """For each second in which requests were due: how many, answers 200, failures, median and p99 of the answers."""
    seconds: dict[int, list[Sample]] = {}
    for sample in samples:
        seconds.setdefault(int(sample.due), []).append(sample)
    rows = []
    for second, found in sorted(seconds.items()):
        good = [1e3 * (s.ended - s.due) for s in answered(found)]
        told = percentiles(good)
        rows.append({"second": second, "due": len(found), "answered": len(good), "failed": len(found) - len(good),
                     "p50_ms": told["p50"], "p99_ms": told["p99"]})
    return rows


def lateness(figures: dict[str, Any]) -> str | None:
    """A sentence where the generator itself was too late for the latencies to be the server's alone."""
    lag, latency = figures["lag_ms"]["p99"], figures["latency_ms"]["p50"]
    if lag is None or latency is None or lag < max(5.0, latency):
        return None
    return (f"the generator was up to {lag:.0f} ms late (p99), as much as the median latency: the latencies are partly "
            "its own; run it on another machine or on cores of its own, or send fewer requests.")


def recovered(samples: Sequence[Sample], limit_ms: float, width: float = 0.1) -> float | None:
    """Seconds from the first due request to the first ``width`` in which all answers are 200 and their median is at
    most ``limit_ms``; None where there is none.
    """
    windows: dict[int, list[Sample]] = {}
    for sample in samples:
        windows.setdefault(int(sample.due / width), []).append(sample)
    for window, found in sorted(windows.items()):
        good = answered(found)
        if len(good) == len(found) and 1e3 * float(np.median([s.ended - s.due for s in good])) <= limit_ms:
            return round(window * width, 3)
    return None
