"""Table and picture of fine-tuning beside its PyTorch control."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bertpass.bench.cpu.report import WIDTH
from bertpass.bench.drawing import ENGINES, LIGHT_GREY, pyplot, save

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One task: its main metric in percent by seed, and samples a second, of ours and of the control."""

    task: str
    metric: str
    ours: tuple[float, ...]
    control: tuple[float, ...]
    ours_speed: float
    control_speed: float
    seeds: tuple[int, ...]

    @property
    def difference(self) -> float:
        """Mean of ours minus mean of the control, in points."""
        return statistics.fmean(self.ours) - statistics.fmean(self.control)

    @property
    def noise(self) -> float | None:
        """Standard deviation over the seeds, in points: the root of the mean variance of both sides; None for one."""
        if len(self.seeds) < 2:
            return None
        return statistics.fmean([statistics.variance(self.ours), statistics.variance(self.control)]) ** 0.5


def lines(results: Sequence[Result]) -> list[Line]:
    """One line for each task, in the order of the results; seeds of a task that share their settings go together."""
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result["task"], str(result["settings"])), []).append(result)
    return [_line(found) for found in grouped.values()]


def _line(found: Sequence[Result]) -> Line:
    metric = found[0]["main_metric"]

    def values(side: str) -> tuple[float, ...]:
        return tuple(_percent(result[side]["metrics"], metric) for result in found)

    def speed(side: str) -> float:
        return statistics.median(result[side]["samples_per_second"] for result in found)

    return Line(found[0]["task"], metric, values("ours"), values("control"), speed("ours"), speed("control"),
                tuple(result["seed"] for result in found))


def _percent(metrics: Mapping[str, float], name: str) -> float:
    """SQuAD's metrics are percent already, the others are parts of 1."""
    return metrics[name] if "exact" in metrics else 100 * metrics[name]


def rows(found: Sequence[Line]) -> list[list[str]]:
    """The cells of the table."""
    def shown(values: Sequence[float]) -> str:
        return f"{statistics.fmean(values):.2f}"

    return [[line.task, line.metric, str(len(line.seeds)), shown(line.ours), shown(line.control),
             f"{line.difference:+.2f}", "" if line.noise is None else f"{line.noise:.2f}", f"{line.ours_speed:.1f}",
             f"{line.control_speed:.1f}", f"{line.ours_speed / line.control_speed:.2f}x"] for line in found]


HEADER = ["task", "metric, %", "seeds", "ours", "PyTorch", "difference", "noise", "ours samples/s",
          "PyTorch samples/s", "speed"]


def show(found: Sequence[Line], title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(HEADER):
        table.add_column(name, justify="left" if place < 2 else "right")
    for cells in rows(found):
        table.add_row(*cells)
    Console(width=None if Console().is_terminal else WIDTH).print(table)


def markdown(found: Sequence[Line]) -> str:
    """The table for a page."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in
                   (HEADER, ["---"] * 2 + ["---:"] * (len(HEADER) - 2), *rows(found)))


def draw(path: Path, found: Sequence[Line], title: str) -> None:
    """Two panels: the metric of both, each seed a point; samples a second of both."""
    plt = pyplot()
    figure, (metric, speed) = plt.subplots(1, 2, layout="constrained", sharey=True,
                                           figsize=(10, 1.6 + 0.42 * len(found)))
    places = range(len(found))
    sides = (("ours", ENGINES["native"], "o", -0.15), ("PyTorch", ENGINES["openvino"], "s", 0.15))
    for name, colour, marker, shift in sides:
        for place, line in zip(places, found, strict=True):
            values = line.ours if name == "ours" else line.control
            first = name if place == 0 else None
            metric.plot(values, [place + shift] * len(values), marker, color=colour, markersize=6, label=first)
            rate = line.ours_speed if name == "ours" else line.control_speed
            speed.barh(place + shift, rate, height=0.28, color=colour, label=first)
    metric.set_yticks(places, [f"{line.task} ({line.metric})" for line in found])
    metric.invert_yaxis()
    metric.set_xlabel("metric on the development rows, %")
    speed.set_xlabel("training samples a second")
    for axis in (metric, speed):
        axis.grid(axis="x", color=LIGHT_GREY, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    metric.legend(frameon=False, loc="best")
    save(plt, figure, path, title)
