"""The tables that people read, and the JSON from which every number of them can be made again."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bertpass import _native, machine
from bertpass.base.paths import ROOT
from bertpass.bench.cpu.results import Measured, ModelResults
from bertpass.bench.quiet import MOST_LOAD
from bertpass.bench.timing import shown
from bertpass.bench.workloads import Workload
from bertpass.engines.checking import CHECK

WIDTH = 132
PACKAGES = ("onnx", "onnxruntime", "openvino", "nncf", "torch", "apache-tvm", "apache-tvm-ffi")


def environment(threads: int, cpus: Sequence[int], peaks: Mapping[str, float]) -> dict[str, Any]:
    """What decides the figures: machine, versions, threads, ceilings, revision, command."""
    versions = machine.versions()
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"command": machine.command(), "revision": revision(), "machine": machine.describe(), "versions": versions,
            "instruction_set": _native.selected(), "threads": threads, "cpus": list(cpus),
            "peak_gflops": {name: round(value / 1e9, 1) for name, value in peaks.items()}}


def revision() -> str | None:
    """The commit of the source tree, with "+" where files differ from it; None outside a git clone."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True,
                                 check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def show(results: ModelResults, peaks: Mapping[str, float], threads: int, console: Console | None = None) -> None:
    """Print the tables of one model: times, layouts of the ragged batches, ratios."""
    console = console or Console(width=None if Console().is_terminal else WIDTH)
    console.print(_times(results, peaks, threads))
    for entry in results.measured:
        if entry.failure:
            console.print(f"  {entry.variant.name}: {entry.failure}", markup=False, highlight=False)
    console.print(f"  {_agreement(results)}", markup=False, highlight=False)
    nodes = {m.variant.name: sum(m.about["operators"].values()) for m in results.measured if m.about.get("operators")}
    if nodes:
        console.print("  nodes of the graph: " + ", ".join(f"{name} {count}" for name, count in nodes.items()) + ".",
                      markup=False, highlight=False)
    for family, seconds in results.left_out.items():
        console.print(f"  {family}: left out, needs {seconds:.0f} seconds at least; --minutes says how long a run may "
                      "take.", markup=False, highlight=False)
    ragged = [w for w in results.workloads if w.layout and any(w.name in m.timings for m in results.measured)]
    if ragged:
        console.print(_layouts(results, ragged))
    if any(m.variant.ours and m.timings for m in results.measured):
        console.print(_ratios(results))
    if results.others_load > MOST_LOAD:
        console.print(f"  noisy: other processes kept {results.others_load:.1f} processors busy meanwhile; "
                      "repeat on a quiet machine before you use these figures.")


def _times(results: ModelResults, peaks: Mapping[str, float], threads: int) -> Table:
    table = Table(title=f"{results.model} ({results.source}), {threads} threads: milliseconds, median of all calls; "
                  "below it p10-p90 of the rounds (~ noisy) and the share of the measured peak")
    table.add_column("engine")
    table.add_column("error L2 (bound)\nlargest", justify="right")
    for family in results.families:
        table.add_column(family, justify="right")
    for entry in results.measured:
        cells = [entry.variant.name, _error(entry)]
        for family in results.families:
            best = entry.best(results.workloads, family)
            if best is None:
                cells.append("wrong" if (entry.failure or "").startswith("wrong") else "failed" if entry.failure else
                             "left out" if family in results.left_out else "-")
                continue
            workload, timed = best
            share = results.share(workload, timed, peaks.get(entry.variant.precision))
            cells.append(f"{shown(timed.median)}\n[dim]{'~' * timed.noisy}{shown(timed.low)}-{shown(timed.high)}"
                         + (f" {share:.0%}" if share is not None else "") + "[/dim]")
        table.add_row(*cells, style="bold" if entry.variant.ours else None)
    return table


def _layouts(results: ModelResults, ragged: Sequence[Workload]) -> Table:
    table = Table(title="ragged batches by layout, ms: " + "; ".join(
        f"{family}: {len(w.lengths)} rows of {sum(w.lengths) / len(w.lengths):.0f} tokens on average, "
        f"at most {max(w.lengths)}" for family, w in {w.family: w for w in ragged}.items()))
    table.add_column("engine")
    for workload in ragged:
        table.add_column(workload.name, justify="right")
    for entry in results.measured:
        if entry.timings:
            table.add_row(entry.variant.name, *(shown(entry.timings[w.name].median) if w.name in entry.timings else "-"
                                                for w in ragged), style="bold" if entry.variant.ours else None)
    return table


def _ratios(results: ModelResults) -> Table:
    table = Table(title="ours: how many times as fast as the best peer of the same precision / of any precision "
                  "(ragged: / as the best of the same precision that pads to the recipe's length)")
    table.add_column("ours")
    families = [family for family in results.families if family not in results.left_out]
    for family in families:
        table.add_column(family, justify="right")
    for entry in results.measured:
        if not entry.variant.ours or not entry.timings:
            continue
        cells = [entry.variant.name]
        for family in families:
            ratio = results.ratio(entry, family)
            parts = (ratio.same, ratio.overall, ratio.padded) if ratio else ()
            texts = [f"{part[0]:.2f}x" if part else "-" for part in parts]
            if family not in {w.family for w in results.workloads if w.layout}:
                texts = texts[:2]
            peer = ratio.overall[1] if ratio and ratio.overall else ""
            cells.append(" / ".join(texts) + f"\n[dim]{peer}[/dim]")
        table.add_row(*cells)
    return table


def _agreement(results: ModelResults) -> str:
    """A sentence: which engines' outputs are within the bounds of their precision."""
    compared = [m for m in results.measured if m.agrees is not None]
    wrong = [m.variant.name for m in compared if not m.agrees]
    bounds = ", ".join(f"{name} {bound:g}" for name, bound in {m.variant.precision: m.variant.bound for m in compared
                                                               }.items())
    who = f"all {len(compared)} engines agree" if not wrong else \
        f"{len(compared) - len(wrong)} of {len(compared)} engines agree, not {', '.join(wrong)},"
    return f"{who} with {results.reference} on {len(CHECK)} sentences (relative L2 error at most: {bounds})."


def _error(entry: Measured) -> str:
    if entry.relative_error is None:
        return "-"
    return f"{entry.relative_error:.1e} ({entry.variant.bound:.0e})\n[dim]{entry.largest_error:.1e}[/dim]"
