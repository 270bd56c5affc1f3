"""The kinds of pictures that entries draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass.bench.drawing import (
    BLUE,
    DARK_GREY,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    pyplot,
    save,
)
from bertpass.bench.reproduce.tables import shown

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW, GREY)
DARK = (BLUE, VERMILION, GREEN, DARK_GREY)
PUBLISHED = DARK_GREY
MARKERS = "osD^vP"

def _colours(names: Sequence[str]) -> dict[str, str]:
    """What is published is dark grey, whatever else there is."""
    rest = iter(COLOURS)
    return {name: PUBLISHED if name.startswith("published") else next(rest) for name in names}


def _legend_below(figure: Any, handles: Mapping[str, Any]) -> None:
    """As many entries side by side as the width has room for."""
    if not handles:
        return
    fitting = 13 * figure.get_figwidth() // (max(map(len, handles)) + 7)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", frameon=False, fontsize=9,
                  ncols=int(max(1, min(len(handles), fitting))))


def bars(path: Path, subtitle: str, title: str, xlabel: str,
         panels: Mapping[str, Mapping[str, Mapping[str, float | None]]], *, log: bool = False, unit: str = "",
         line: float | None = None) -> None:
    """Groups of horizontal bars.

    Parameters
    ----------
    panels : panel's title -> label of a group -> name of a bar -> its length; None leaves a remark in its place
    log : a logarithmic axis
    unit : behind the numbers
    line : where a line goes from top to bottom, such as 1 for ratios
    """
    plt = pyplot()
    names = list(dict.fromkeys(name for groups in panels.values() for bars_ in groups.values() for name in bars_))
    colours = _colours(names)
    handles: dict[str, Any] = {}
    heights = [sum(len(bars_) + 0.7 for bars_ in groups.values()) or 1.0 for groups in panels.values()]
    figure, axes = plt.subplots(len(panels), 1, squeeze=False, layout="constrained", height_ratios=heights,
                                figsize=(9.5, 1.5 + 0.27 * sum(heights) + 0.5 * len(panels)))
    for (axis,), (panel, groups) in zip(axes, panels.items(), strict=True):
        values = [v for bars_ in groups.values() for v in bars_.values() if v is not None and v > 0]
        most, least = max(values, default=1.0), min(values, default=1.0)
        left = least / 2.5 if log else 0.0
        place, ticks = 0.0, []
        for label, bars_ in groups.items():
            ticks.append((place + (len(bars_) - 1) / 2, label))
            for name, value in bars_.items():
                if value is None:
                    absent = "  no figure published" if name.startswith("published") else "  not run here"
                    axis.text(left, place, absent, va="center", fontsize=8, color="#777777", style="italic")
                else:
                    drawn = axis.barh(place, value - left, left=left, height=0.9, color=colours[name])
                    handles.setdefault(name, drawn[0])
                    axis.text(value * 1.04 if log else value + 0.01 * most, place, shown(float(value)) + unit,
                              va="center", fontsize=8)
                place += 1
            place += 0.7
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlim(left, most * 2.2 if log else most * 1.13)
        axis.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=9)
        axis.set_ylim(max(place, 1.7) - 1.1, -0.6)
        axis.set_title(panel, fontsize=10, loc="left")
        axis.tick_params(axis="x", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if line is not None:
            axis.axvline(line, color="#222222", linewidth=1, linestyle="--")
    axes[-1][0].set_xlabel(xlabel, fontsize=9)
    if len(handles) > 1:
        _legend_below(figure, handles)
    save(plt, figure, path, f"{title}\n{subtitle}", 10)


def lines(path: Path, subtitle: str, title: str, xlabel: str, ylabel: str,
          panels: Mapping[str, Mapping[str, Mapping[int, float]]], ticks: Sequence[int]) -> None:
    """Curves on logarithmic axes: panel's title -> curve's name -> x -> y; the x axis names ``ticks``."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(panels), squeeze=False, layout="constrained", sharey=True,
                                figsize=(1.5 + 3.6 * len(panels), 4.6))
    handles: dict[str, Any] = {}
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = _colours(names)
    for axis, (panel, curves) in zip(axes[0], panels.items(), strict=True):
        for name, points in curves.items():
            if points:
                handles[name], = axis.plot(list(points), list(points.values()), color=colours[name], linewidth=1.6,
                                           marker=MARKERS[names.index(name) % len(MARKERS)], markersize=5)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_xlim(min(ticks) / 1.3, max(ticks) * 1.3)
        axis.set_xticks(ticks, [str(t) for t in ticks], fontsize=8)
        axis.minorticks_off()
        axis.tick_params(axis="y", labelsize=8)
        axis.set_title(panel, fontsize=10)
        axis.set_xlabel(xlabel, fontsize=9)
        axis.grid(color=LIGHT_GREY, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel(ylabel, fontsize=9)
    _legend_below(figure, handles)
    save(plt, figure, path, f"{title}\n{subtitle}", 10)


def shares(path: Path, subtitle: str, title: str, panels: Mapping[str, Mapping[str, Mapping[str, float]]],
           colours: Mapping[str, str]) -> None:
    """Bars of 100 % in parts: panel's title -> bar's label -> part's name -> share from 0 to 1; a colour for each part.
    """
    plt = pyplot()
    heights = [len(bars_) + 1.6 for bars_ in panels.values()]
    figure, axes = plt.subplots(len(panels), 1, squeeze=False, layout="constrained", height_ratios=heights,
                                figsize=(10, 0.8 + 0.5 * sum(heights)))
    for (axis,), (panel, bars_) in zip(axes, panels.items(), strict=True):
        names = list(dict.fromkeys(name for parts in bars_.values() for name in parts))
        handles: dict[str, Any] = {}
        for place, parts in enumerate(bars_.values()):
            left = 0.0
            for name in names:
                share = parts.get(name, 0.0)
                drawn = axis.barh(place, share, left=left, height=0.72, color=colours[name], edgecolor="white",
                                  linewidth=0.8)
                handles.setdefault(name, drawn[0])
                if share >= 0.035:
                    axis.text(left + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=8,
                              color="white" if colours[name] in DARK else "black")
                left += share
        axis.set_yticks(range(len(bars_)), list(bars_), fontsize=9)
        axis.invert_yaxis()
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"], fontsize=8)
        axis.set_title(panel, fontsize=10, loc="left")
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.legend(list(handles.values()), list(handles), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False,
                    fontsize=8)
    save(plt, figure, path, f"{title}\n{subtitle}", 10)
