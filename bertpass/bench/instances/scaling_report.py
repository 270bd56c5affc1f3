"""What a scaling run found, as tables and as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bertpass.bench.cpu.report import WIDTH
from bertpass.bench.drawing import ENGINES, HATCHES, OTHER, pyplot, save
from bertpass.bench.instances.scaling import Cell, Results
from bertpass.bench.quiet import MOST_LOAD
from bertpass.bench.timing import shown


def rate(value: float) -> str:
    """Sequences a second, three digits."""
    return shown(value) if value < 1000 else f"{value:,.0f}"


def show(results: Results, console: Console | None = None) -> None:
    """Print a table for each batch, and the best configurations."""
    console = console or Console(width=None if Console().is_terminal else WIDTH)
    console.print("By instances x cores: milliseconds of one batch, split over the instances, of which the slowest "
                  "counts; below it sequences a second with a batch for each instance; ~ noisy")
    for shape in results.plan.shapes:
        console.print(_configurations(results, shape))
    console.print(_best(results))
    failed: dict[tuple[str, str], list[str]] = {}
    for (name, configuration), sentence in results.failures.items():
        failed.setdefault((name, sentence), []).append(str(configuration))
    for (name, sentence), configurations in failed.items():
        console.print(f"  {name}, {', '.join(configurations)}: {sentence}", markup=False, highlight=False)
    if results.others_load > MOST_LOAD:
        console.print(f"  noisy: other processes kept {results.others_load:.1f} processors busy meanwhile; "
                      "repeat on a quiet machine before you use these figures.")


def _configurations(results: Results, shape: tuple[int, int]) -> Table:
    rows, length = shape
    table = Table(title=f"{results.model}: {rows}x{length}")
    table.add_column("engine")
    for configuration in results.plan.configurations:
        table.add_column(str(configuration), justify="right")
    for name in results.variants:
        cells = []
        for configuration in results.plan.configurations:
            split = results.split(name, configuration, shape)
            own = results.cell(name, configuration, rows, length)
            if split is None and own is None:
                cells.append("failed")
                continue
            latency = f"{'~' * split.timing.noisy}{shown(split.timing.median)}" if split else "-"
            cells.append(f"{latency}\n[dim]{'~' * own.timing.noisy}{rate(own.throughput)}/s[/dim]" if own else latency)
        table.add_row(name, *cells)
    return table


def _best(results: Results) -> Table:
    table = Table(title=f"{results.model}: the best configuration by batch and length")
    for name in ("batch", "length", "engine", "lowest latency", "ms", "highest throughput", "a second"):
        table.add_column(name, justify="right" if name in ("batch", "length", "ms", "a second") else "left")
    for rows, length in results.plan.shapes:
        for number, name in enumerate(results.variants):
            fast, busy = results.fastest((rows, length), name), results.busiest((rows, length), name)
            if fast and busy:
                table.add_row(str(rows) if not number else "", str(length) if not number else "", name,
                              described(fast), shown(fast.timing.median), described(busy), rate(busy.throughput))
        table.add_section()
    return table


def described(cell: Cell) -> str:
    """A configuration in words: "2 x 1 cores, batches of 4"."""
    return f"{cell.configuration} core{'s' * (cell.configuration.cores > 1)}, batches of {cell.rows}"


def draw(path: Path, models: Sequence[Results], title: str) -> None:
    """Write the picture: a row for each model, for each shape latency and throughput by configuration."""
    plt = pyplot()
    columns = max(len(m.plan.shapes) for m in models)
    figure, axes = plt.subplots(2 * len(models), columns, squeeze=False, layout="constrained",
                                figsize=(1.4 + 3.6 * columns, 5.6 * len(models) + 0.6))
    for number, results in enumerate(models):
        for column in range(columns):
            above, below = axes[2 * number][column], axes[2 * number + 1][column]
            if column >= len(results.plan.shapes):
                above.set_visible(False)
                below.set_visible(False)
                continue
            _panels(above, below, results, results.plan.shapes[column])
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))), frameon=False,
                  fontsize=8)
    save(plt, figure, path, title)


def _panels(above, below, results: Results, shape: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    configurations = results.plan.configurations
    width = 0.8 / len(results.variants)
    for number, (name, variant) in enumerate(results.variants.items()):
        split = [results.split(name, c, shape) for c in configurations]
        own = [results.cell(name, c, *shape) for c in configurations]
        for axis, values in ((above, [None if cell is None else cell.timing.median for cell in split]),
                             (below, [None if cell is None else cell.throughput for cell in own])):
            shift = (number - (len(results.variants) - 1) / 2) * width
            bars = axis.bar([n + shift for n in range(len(configurations))], [value or 0.0 for value in values],
                            0.9 * width, label=name, color=ENGINES.get(variant.engine, OTHER), linewidth=0.6,
                            hatch=HATCHES[variant.precision], edgecolor="#333333")
            axis.bar_label(bars, ["-" if value is None else rate(value) for value in values], fontsize=6, padding=1,
                           rotation=90 if len(configurations) * len(results.variants) > 12 else 0)
    for axis, text in ((above, "ms, the batch split over the instances"), (below, "sequences a second, all instances")):
        axis.set_xticks(range(len(configurations)), [str(c) for c in configurations], fontsize=8)
        axis.set_xlabel("instances x cores", fontsize=7)
        axis.set_ylabel(text, fontsize=7)
        axis.tick_params(axis="y", labelsize=7)
        axis.margins(y=0.14)
        axis.grid(axis="y", linewidth=0.4, alpha=0.5)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    above.set_title(f"{results.model}: {shape[0]}x{shape[1]}", fontsize=9)
