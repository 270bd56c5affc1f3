"""The charts of a report as PNG files, drawn by matplotlib in the light theme at twice the size of the page's.

A picture stands alone: below the chart it says how to read it and what it is of. Its text chunk "Numbers" (JSON) has
every number with its value, formula and sources, as the page's attributes have them.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertpass.bench.pages.charts import LIGHT, LINE, SHAPES, TITLE, TOP, WIDTH, BarChart, Chart, LineChart
from bertpass.extras import require

UNITS = 100  # of a chart, in one inch
DPI = 2 * UNITS
POINT = 72 / UNITS  # of one unit, in points of typography
TEXT, HEADING, NOTE = 9.8 * POINT, 12 * POINT, 8.8 * POINT
NOTE_LINE, NOTE_LETTERS = 12, 84
MARGIN = 10
MARKS = {"circle": "o", "square": "s", "up": "^", "diamond": "D", "down": "v"}
NAME = re.compile(r"\d{2,}-[a-z0-9-]+\.png")


def name_of(number: int, chart: Chart) -> str:
    """A file's name: the chart's place on the page, from 1, and its title."""
    return f"{number:02d}-" + re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-") + ".png"


def write(folder: Path, charts: Sequence[tuple[Chart, str]]) -> list[Path]:
    """Draw charts, each with the text below it, into a folder of their own; its pictures of an earlier page go.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed; nothing was written.
    """
    figure_of = require("matplotlib.figure", "bench").Figure
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if NAME.fullmatch(old.name):
            old.unlink()
    paths = []
    for number, (chart, note) in enumerate(charts, 1):
        path = folder / name_of(number, chart)
        numbers = [{"text": n.text, "value": n.value, "formula": n.formula, "sources": n.sources}
                   for n in chart.numbers]
        draw(figure_of, chart, note).savefig(path, dpi=DPI, metadata={
            "Software": "bertpass", "Title": chart.heading, "Description": note, "Numbers": json.dumps(numbers)})
        paths.append(path)
    return paths


def draw(figure_of: Any, chart: Chart, note: str) -> Any:
    """A figure of matplotlib, ``figure_of(figsize=...)``, with the chart in its own units on all of it."""
    below = [line for part in note.split("\n") for line in textwrap.wrap(part, NOTE_LETTERS)]
    width, height = WIDTH + 2 * MARGIN, chart.height + 2 * MARGIN + NOTE_LINE * (len(below) + 0.3)
    figure = figure_of(figsize=(width / UNITS, height / UNITS), facecolor=LIGHT["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-MARGIN, WIDTH + MARGIN)
    axes.set_ylim(height - MARGIN, -MARGIN)
    _text(axes, 0, TITLE, chart.heading, size=HEADING, weight="bold")
    if isinstance(chart, BarChart):
        bars(axes, chart)
    else:
        lines(axes, chart)
    for place, line in enumerate(below):
        _text(axes, 0, chart.height + NOTE_LINE * (place + 1), line, size=NOTE, color=LIGHT["soft"])
    return figure


def _text(axes: Any, x: float, y: float, text: str, **how: Any) -> None:
    axes.text(x, y, text, **{"size": TEXT, "color": LIGHT["ink"], "parse_math": False, **how})


def bars(axes: Any, chart: BarChart) -> None:
    for place, item in enumerate(chart.items):
        top, (begin, width) = TOP + LINE * place, chart.span(item)
        weight = "bold" if item.strong else "normal"
        _text(axes, chart.left - 6, top + 13, item.label, weight=weight, ha="right")
        axes.bar(begin, LINE - 6, width, top + 2, align="edge", color=LIGHT[item.colour], edgecolor=LIGHT["ink"],
                 linewidth=0.4)
        if item.low is not None and item.high is not None:
            axes.plot([chart.place(item.low), chart.place(item.high)], [top + LINE / 2 - 1] * 2, color=LIGHT["ink"],
                      linewidth=1)
        if chart.steps and place + 1 < len(chart.items):
            axes.plot([chart.place(item.end)] * 2, [top + LINE - 4, top + LINE + 2], color=LIGHT["ink"], linewidth=0.8)
        _text(axes, chart.behind(item), top + 13, item.number.text, weight=weight)
    if chart.mark is not None:
        axes.plot([chart.place(chart.mark)] * 2, [TOP - 2, chart.height - 14], color=LIGHT["ink"], linewidth=0.8,
                  linestyle=(0, (4, 4)))


def lines(axes: Any, chart: LineChart) -> None:
    grid = {"color": LIGHT["rule"], "linewidth": 0.7, "zorder": 1}
    for value in chart.x_ticks():
        axes.plot([chart.x.place(value)] * 2, [chart.top, chart.bottom], **grid)
        _text(axes, chart.x.place(value), chart.height - 27, f"{value:g}", ha="center")
    for value in chart.y.ticks():
        axes.plot([chart.left, chart.right], [chart.y.place(value)] * 2, **grid)
        _text(axes, chart.left - 5, chart.y.place(value), f"{value:g}", ha="right", va="center_baseline")
    _text(axes, (chart.left + chart.right) / 2, chart.height - 8, chart.x_unit, ha="center")
    _text(axes, 7, (chart.top + chart.bottom) / 2, chart.y_unit, ha="center", va="center", rotation=90)
    for one in chart.series:
        places = chart.places(one)
        axes.plot([x for x, _ in places], [y for _, y in places], color=LIGHT[one.colour], linewidth=1.3,
                  linestyle="-" if chart.joined else "none", marker=MARKS[SHAPES.get(one.colour, "circle")],
                  markersize=4.8, markeredgecolor=LIGHT["ink"], markeredgewidth=0.4, zorder=3)
    for one, (x, y, height) in zip(chart.series, chart.labels(), strict=True):
        if abs(height - y) > 6:
            axes.plot([x + 4, x + 8], [y, height], color=LIGHT["soft"], linewidth=0.4, zorder=2)
        _text(axes, x + 9, height, one.label, va="center_baseline")
