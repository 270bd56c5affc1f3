"""One picture of a run: a panel for each model and batch, a bar for each engine, the shortest on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertpass.bench.cpu.results import ModelResults
from bertpass.bench.drawing import ENGINES, HATCHES, LIGHT_GREY, OTHER, pyplot, save
from bertpass.bench.timing import shown


def draw(path: Path, models: Sequence[ModelResults], title: str) -> None:
    """Write the picture; MissingDependencyError without matplotlib."""
    plt = pyplot()
    columns = max(len(m.families) for m in models)
    rows = max(sum(bool(e.timings) for e in m.measured) for m in models)
    figure, axes = plt.subplots(len(models), columns, squeeze=False, layout="constrained",
                                figsize=(1.2 + 3.4 * columns, (0.9 + 0.29 * rows) * len(models) + 0.7))
    for line, results in zip(axes, models, strict=True):
        for axis in line[len(results.families):]:
            axis.set_visible(False)
        for axis, family in zip(line, results.families, strict=False):
            panel(axis, results, family)
    used = {e.variant.precision for m in models for e in m.measured}
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=LIGHT_GREY, edgecolor="#333333", hatch=hatch, label=name)
               for name, hatch in HATCHES.items() if name in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    save(plt, figure, path, title)


def panel(axis, results: ModelResults, family: str) -> None:  # type: ignore[no-untyped-def]
    found = [(best[1], entry.variant) for entry in results.measured
             if (best := entry.best(results.workloads, family)) is not None]
    found.sort(key=lambda pair: pair[0].median, reverse=True)
    axis.set_title(f"{results.model}: {family}", fontsize=9)
    if not found:
        axis.set_axis_off()
        words = "left out: it would have\ngone over --minutes" if family in results.left_out else "not measured"
        axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=8, transform=axis.transAxes)
        return
    ours = min((timed.median for timed, variant in found if variant.ours), default=None)
    widest = max(timed.high for timed, _ in found)
    for place, (timed, variant) in enumerate(found):
        axis.barh(place, timed.median, color=ENGINES.get(variant.engine, OTHER), hatch=HATCHES[variant.precision],
                  edgecolor="#333333", linewidth=0.6)
        axis.plot([timed.low, timed.high], [place, place], color="black", linewidth=1.2)
        ratio = f"  {timed.median / ours:.1f}x" if ours and not variant.ours else ""
        axis.text(max(timed.median, timed.high) + 0.02 * widest, place, shown(timed.median) + ratio, va="center",
                  fontsize=7)
    axis.set_yticks(range(len(found)), [variant.name for _, variant in found], fontsize=7)
    for label, (_, variant) in zip(axis.get_yticklabels(), found, strict=True):
        label.set_fontweight("bold" if variant.ours else "normal")
    axis.set_xlim(0, 1.3 * widest)
    axis.set_xlabel("ms; x: times our fastest", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
