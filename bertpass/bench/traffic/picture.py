"""A picture of one run: rates and latencies over time, and the distribution of the latencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bertpass.bench.drawing import BLUE, DARK_GREY, SKY, VERMILION, pyplot, save
from bertpass.bench.traffic.client import Sample
from bertpass.bench.traffic.summary import answered, by_second

GOOD, FAILED, MIDDLE = BLUE, VERMILION, SKY


def draw(path: Path, samples: Sequence[Sample], warmup: float, title: str) -> None:
    """Write the picture; MissingDependencyError without matplotlib."""
    plt = pyplot("load")
    rows = by_second(samples)
    seconds = [row["second"] for row in rows]
    figure, (rate, latency, spread) = plt.subplots(3, 1, figsize=(7.5, 8), layout="constrained")
    rate.step(seconds, [row["due"] for row in rows], where="post", color=DARK_GREY, linestyle="--", label="due")
    rate.step(seconds, [row["answered"] for row in rows], where="post", color=GOOD, label="answered with 200")
    rate.step(seconds, [row["failed"] for row in rows], where="post", color=FAILED, linestyle=":", label="failed")
    rate.set_ylabel("requests a second")
    failed = [s for s in samples if s.status != 200]
    for found, colour, mark, name in ((answered(samples), GOOD, ".", "200"), (failed, FAILED, "x", "failed")):
        if found:
            latency.plot([s.due for s in found], [1e3 * (s.ended - s.due) for s in found], mark, color=colour,
                         markersize=2.5, alpha=0.5, label=name)
    latency.set_yscale("log")
    latency.set_ylabel("ms from the due time")
    for axis in (rate, latency):
        axis.set_xlabel("seconds")
        if warmup:
            axis.axvspan(0, warmup, color=DARK_GREY, alpha=0.15, label="warm-up, not counted")
        axis.legend(fontsize=8, frameon=False)
    good = [s for s in answered(samples) if s.due >= warmup]
    for values, colour, style, name in (([s.ended - s.due for s in good], GOOD, "-", "from the due time"),
                                        ([s.ended - s.sent for s in good], MIDDLE, "--", "from sending")):
        if values:
            shares = 1 - (np.arange(len(values)) + 0.5) / len(values)
            spread.plot(shares[::-1], np.sort(values)[::-1] * 1e3, style, color=colour, label=name)
    spread.set_xscale("log")
    spread.invert_xaxis()
    spread.set_xticks([0.5, 0.1, 0.01, 0.001], ["p50", "p90", "p99", "p99.9"])
    spread.set_ylabel("ms, answers 200")
    spread.set_xlabel("share of the answers that are faster")
    spread.legend(fontsize=8, frameon=False)
    save(plt, figure, path, title, 10, 110)
