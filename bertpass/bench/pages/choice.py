"""Which engine for which model, length and bound on the error: the fastest within each bound, and who comes next."""

from __future__ import annotations

from collections.abc import Sequence

from bertpass.bench.pages.charts import Bar, BarChart, Shown, as_it_is, colour_of, ratio
from bertpass.bench.pages.result_files import Point
from bertpass.bench.timing import shown

#: bound on the relative L2 error against float32, as :data:`bertpass.bench.variants.BOUNDS` has them -> in words
BOUNDS = {1e-4: "error at most 1e-4", 5e-2: "error at most 0.05", 3e-1: "error at most 0.3"}


def within(points: Sequence[Point], work: str, bound: float) -> list[Point]:
    """What was measured on a workload and is within the bound, the fastest first. The engine of another checkout
    (NAME@FOLDER, see :func:`bertpass.bench.variants.beside`) is nothing to choose."""
    return sorted((p for p in points if p.workload == work and p.error is not None and p.error.value <= bound
                   and "@" not in p.engine), key=lambda p: p.middle.value)


def best(points: Sequence[Point], work: str, bound: float, ours: bool) -> Point | None:
    """The fastest of ours or of the peers."""
    return next((p for p in within(points, work, bound) if p.ours is ours), None)


def _cell(points: Sequence[Point], work: str, bound: float) -> list[Shown | str] | str:
    """The fastest, its time, and how many times as fast it is as the best of the other side."""
    found = within(points, work, bound)
    if not found:
        return "none measured"
    first = found[0]
    other = best(points, work, bound, not first.ours)
    time = as_it_is(first.middle, "~" * first.noisy + shown(first.middle.value))
    cell: list[Shown | str] = [f"{first.engine}: ", time, " ms"]
    if other is not None:
        cell += [", ", ratio(other.middle, first.middle), f" {other.engine}"]
    return cell


def rows(points: Sequence[Point]) -> list[list[str | Sequence[Shown | str]]]:
    """A line for each workload: its name, and a cell for each bound."""
    works = dict.fromkeys(p.workload for p in points)
    return [[work, *(_cell(points, work, bound) for bound in BOUNDS)] for work in works]


def charts(points: Sequence[Point]) -> list[BarChart]:
    """For each bound how many times as fast our fastest is as the peers' fastest, by workload; below 1 a peer is."""
    found = []
    for bound, words in BOUNDS.items():
        bars = []
        for work in dict.fromkeys(p.workload for p in points):
            ours, peer = best(points, work, bound, True), best(points, work, bound, False)
            if ours is not None and peer is not None:
                number = ratio(peer.middle, ours.middle)
                bars.append(Bar(work, number, colour_of("native" if number.value >= 1 else peer.engine),
                                strong=number.value >= 1))
        if bars:
            found.append(BarChart(f"Ours over the best peer, {words}", bars, "x", 1.0))
    return found
