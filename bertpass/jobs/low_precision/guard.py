"""The guard of low precision: keeps parts of a model in higher precision until its metric holds.

What hurts is found by measuring, on calibration rows, the error that each part's low precision makes alone. The parts
with the largest errors are kept, as few of them as hold the metric; how many is found by bisection, which takes for
granted that keeping more of them is not worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bertpass.errors import PrecisionError
from bertpass.progress import log, track

Metrics = dict[str, float]


@dataclass(frozen=True)
class Guarded:
    """What the guard found.

    ``kept`` are the parts in higher precision, the worst first; ``full`` and ``low`` the metrics in float32 and of what
    it settled on; ``drop`` the main metric's, as a share of its range, in the file of the split where it is largest
    (``metric`` is its name there); ``errors`` each part's error alone, empty where nothing had to be kept; ``tried``
    the number of parts kept and the drop of each attempt.
    """

    metric: str
    allowed: float
    full: Metrics
    low: Metrics
    drop: float
    kept: list[str]
    errors: dict[str, float]
    tried: list[tuple[int, float]]

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        return asdict(self)


def worst(full: Metrics, low: Metrics, metric: str) -> tuple[float, str]:
    """The largest drop of a metric, and what the metric is called there.

    Where a split has several files, each says its name behind the metric's, as in "accuracy (dev_matched)"; every one
    of them counts.
    """
    return max((full[name] - low[name], name) for name in full if name == metric or name.startswith(f"{metric} ("))


def hold(parts: Sequence[str], evaluate: Callable[[Sequence[str]], Metrics], error_alone: Callable[[str], float],
         full: Metrics, metric: str, allowed: float, *, span: float = 1.0, name: str = "low precision") -> Guarded:
    """Find the parts to keep.

    Parameters
    ----------
    parts : names of all parts that are in low precision
    evaluate : metrics of the model with the given parts kept
    error_alone : the error of a model with this part alone in low precision
    full : metrics in float32
    metric, allowed : the metric that has to hold, in every file of the split, and by how much it may drop, as a share
        of ``span``
    span : the metric's range: 100 for percentages

    Raises
    ------
    PrecisionError
        It does not hold even with all parts kept.
    """
    seen: dict[int, Metrics] = {}
    errors: dict[str, float] = {}
    order: list[str] = []

    def drop(count: int) -> float:
        if count not in seen:
            seen[count] = evaluate(order[:count])
            hit = worst(full, seen[count], metric)[1]
            log.info("%s with %d of %d parts kept in higher precision: %s %.4f, %.4f in float32", name, count,
                     len(parts), hit, seen[count][hit], full[hit])
        return worst(full, seen[count], metric)[0] / span

    count = 0
    if drop(0) > allowed:
        errors = {part: error_alone(part) for part in track(parts, "error of each part", len(parts), "parts")}
        order = sorted(parts, key=lambda part: -errors[part])
        fails, count = 0, len(order)
        if drop(count) > allowed:
            hit = worst(full, seen[0], metric)[1]
            raise PrecisionError(f"{hit} drops by {drop(0):.4f} in {name} and still by {drop(count):.4f} with every "
                                 f"part of it kept in higher precision, where --max_metric_drop {allowed:g} is "
                                 "allowed; deploy in a higher --dtype, or allow more.")
        while count - fails > 1:
            middle = (fails + count) // 2
            if drop(middle) > allowed:
                fails = middle
            else:
                count = middle
        log.info("kept in higher precision: %s",
                 ", ".join(f"{part} (error alone {errors[part]:.1e})" for part in order[:count]))
    return Guarded(worst(full, seen[count], metric)[1], allowed, full, seen[count], drop(count), order[:count], errors,
                   [(kept, drop(kept)) for kept in seen])
