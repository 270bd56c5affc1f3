"""What each optimisation takes off the latency, one after another: from plain MXNet to our engine in int8.

A file of ``bench cpu`` has every step: each engine of :data:`LADDER` differs from the one before it in one thing, and
all are measured in turn on the same weights. A file of ``bench passes`` has each pass alone and all together, but no
pass on top of others; their gains do not add up, so the report shows these as bars over a baseline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from bertpass.bench.pages.charts import LOST, SAVED, Bar, BarChart, Shown, as_it_is, colour_of, ratio
from bertpass.bench.pages.result_files import Point
from bertpass.bench.timing import shown

#: engine -> what is new in it; a step whose engine was not measured is left out, and so are all after it
LADDER = {"mxnet-plain": "plain MXNet", "mxnet-encoder-float32": "with native_encoder",
          "native-float32": "without MXNet around it", "native-bfloat16": "in bfloat16", "native-int8": "in int8"}
LEAST = 3  # engines


def ladder(points: Iterable[Point]) -> dict[tuple[str, str], list[Point]]:
    """(workload, configuration) -> points in the order of the steps, where there are enough of them."""
    found: dict[tuple[str, str], dict[str, Point]] = {}
    for p in points:
        found.setdefault((p.workload, p.configuration), {})[p.engine] = p
    climbed = {}
    for key, engines in found.items():
        names = list(LADDER)
        missing = next((n for n, name in enumerate(names) if name not in engines), len(names))
        if missing >= LEAST:
            climbed[key] = [engines[name] for name in names[:missing]]
    return climbed


def change(before: Point, after: Point) -> Shown:
    """Milliseconds that a step adds, below zero what it saves; ~ where the two spreads overlap."""
    value = after.middle.value - before.middle.value
    text = shown(abs(value))
    unsure = after.low and after.high and before.low and before.high \
        and after.low.value <= before.high.value and before.low.value <= after.high.value
    return Shown("~" * bool(unsure) + ("-" if value < 0 else "+") + text, value, "b - a",
                 (before.middle.place, after.middle.place))


def chart(title: str, points: Sequence[Point]) -> BarChart:
    """The first engine's time, what each step changes of it, and the last one's time."""
    first, last = points[0], points[-1]
    items = [_total(first)]
    for before, after in itertools.pairwise(points):
        number = change(before, after)
        items.append(Bar(LADDER[after.engine], number, SAVED if number.value < 0 else LOST,
                         begin=before.middle.value))
    return BarChart(title, [*items, _total(last)], "ms", steps=True)


def _total(p: Point) -> Bar:
    return Bar(p.engine, as_it_is(p.middle), colour_of(p.engine), p.ours)


def cells(points: Sequence[Point]) -> list[list[Shown | str]]:
    """For each step: milliseconds, (what it changed, times as fast as the step before)."""
    found: list[list[Shown | str]] = [[as_it_is(points[0].middle)]]
    for before, after in itertools.pairwise(points):
        found.append([as_it_is(after.middle), " (", change(before, after), ", ",
                      ratio(before.middle, after.middle), ")"])
    return found
