"""What the page of ``bench report`` shows: sections with charts and tables from result files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bertpass.bench.pages import choice, waterfall
from bertpass.bench.pages.charts import (
    SHAPES,
    Bar,
    BarChart,
    Chart,
    LineChart,
    Series,
    Shown,
    as_it_is,
    colour_of,
    ratio,
    scientific,
)
from bertpass.bench.pages.cost import Offer
from bertpass.bench.pages.prices import PriceList
from bertpass.bench.pages.result_files import SAMPLES, Point, ResultFile, pointer
from bertpass.bench.timing import shown
from bertpass.errors import UsageError, unknown

Cell = str | Sequence[Shown | str]
PRICES = "prices"  # the name under which the page itself holds the price list
TOP_OFFERS = 12
PASSES = (" Each pass was measured alone, and all together: what one gains depends on those before it (native_encoder "
          "leaves the others nothing to rewrite), so these are bars over a baseline and not steps of a waterfall.")


@dataclass
class Table:
    """Cells are text, or numbers and text in a row; the first column names the line."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass
class Section:
    title: str
    note: str
    charts: Sequence[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def sections(files: Sequence[ResultFile], baseline: str | None = None) -> list[Section]:
    """What the files show; UsageError where no file has the engine ``baseline``."""
    names = {p.engine for f in files for p in f.points}
    if baseline is not None and baseline not in names:
        raise UsageError(f"--baseline: {unknown('engine', baseline, sorted(names))}")
    found = []
    for file in files:
        for model in dict.fromkeys(p.model for p in file.points):
            points = [p for p in file.points if p.model == model]
            where = f"{model} ({file.name})"
            if file.kind == "finetuning":
                found.append(_finetuning(points, where))
            else:
                found += [*_choice(points, where), _latency(points, where), *_growth(points, where),
                          *_waterfall(points, where),
                          *_speedup(points, where, baseline, PASSES if file.kind == "passes" else "")]
    return found


def _choice(points: Sequence[Point], where: str) -> list[Section]:
    """Which engine is the fastest within a bound on the error, where ours and peers were measured on one machine."""
    charts = choice.charts(points)
    if not charts or any(p.configuration.partition(" ")[0] not in ("", "1") for p in points):
        return []
    return [Section(f"Which engine: {where}", "The fastest whose error against float32 is within the bound (relative "
                    "L2: of the token states, in a file of other libraries of the vectors), its milliseconds, and how "
                    "many times as fast it is as the fastest of the other side (ours or a peer). Right of the dashed "
                    "line ours is faster; other colours mark where a peer is. What is in no bound stands in the next "
                    "section.", charts,
                    [Table("The fastest within each bound", ["workload", *choice.BOUNDS.values()],
                           choice.rows(points))])]


def _name(point: Point) -> str:
    return f"{point.engine}, {point.configuration}" if point.configuration else point.engine


def _lines(points: Sequence[Point]) -> dict[str, dict[str, Point]]:
    """Engine (and configuration) -> workload -> point."""
    found: dict[str, dict[str, Point]] = {}
    for p in points:
        found.setdefault(_name(p), {})[p.workload] = p
    return found


def _workloads(points: Iterable[Point]) -> list[str]:
    return list(dict.fromkeys(p.workload for p in points))


def _latency(points: Sequence[Point], where: str) -> Section:
    works = _workloads(points)
    rows: list[list[Cell]] = [[name, *(_spread(line[w]) if w in line else "not measured" for w in works)]
                              for name, line in _lines(points).items()]
    ordered = sorted(points, key=lambda p: p.middle.value)
    charts = [BarChart(f"Latency, {work}", [_bar(p, as_it_is(p.middle, "~" * p.noisy + shown(p.middle.value)))
                                        for p in ordered if p.workload == work], "ms") for work in works]
    return Section(f"Latency: {where}", "Milliseconds of one batch (rows x tokens): the median; the thin line in a "
                   "bar, in the table the parentheses, is its spread; ~ marks a noisy figure. Shorter is better.",
                   charts,
                   [Table("Latency in milliseconds by batch x sequence length", ["engine", *works], rows)])


def _bar(p: Point, number: Shown) -> Bar:
    low, high = (p.low.value, p.high.value) if p.low and p.high else (None, None)
    return Bar(_name(p), number, colour_of(p.engine), p.ours, low, high)


def _spread(p: Point) -> Cell:
    middle = as_it_is(p.middle)
    head: list[Shown | str] = ["~", middle] if p.noisy else [middle]
    return head if p.low is None or p.high is None else [*head, " (", as_it_is(p.low), "–", as_it_is(p.high), ")"]


def rate(p: Point) -> Shown:
    """Sequences a second: the file's own, else rows over the median."""
    if p.rate is not None:
        return as_it_is(p.rate)
    value = p.rows * 1000 / p.middle.value
    return Shown(shown(value), value, f"{p.rows} * 1000 / a", (p.middle.place,))


def _growth(points: Sequence[Point], where: str) -> list[Section]:
    """Latency by sequence length and throughput by batch, where there are at least two of them."""
    full = [p for p in points if p.length is not None]
    lengths = _panels(full, lambda p: (p.rows, p.precision, p.configuration), lambda p: p.length or 0)
    batches = _panels(full, lambda p: (p.length, p.precision, p.configuration), lambda p: p.rows)
    found = []
    if lengths:
        found.append(Section(f"Latency by sequence length: {where}", "Median milliseconds of a batch, logarithmic.", [
            LineChart(_title(f"Latency by length, batch {key[0]}", key), series, "sequence length, tokens", "ms")
            for key, series in ((key, _series(group, lambda p: p.length or 0, lambda p: as_it_is(p.middle)))
                                for key, group in lengths.items())]))
    if batches:
        table = Table("Sequences a second by batch x sequence length", ["engine", *_workloads(full)],
                      [[name, *([rate(line[w])] if w in line else "not measured" for w in _workloads(full))]
                       for name, line in _lines(full).items()])
        found.append(Section(f"Throughput by batch: {where}", "Sequences a second, logarithmic. Higher is better.", [
            LineChart(_title(f"Throughput, {key[0]} tokens", key), series, "batch size", "sequences a second")
            for key, series in ((key, _series(group, lambda p: p.rows, rate)) for key, group in batches.items())],
            [table]))
    return found


def _title(first: str, key: tuple) -> str:
    return ", ".join(str(word) for word in (first, *key[1:]) if word)


def _panels(points, key_of, x_of) -> dict[tuple, list[Point]]:  # type: ignore[no-untyped-def]
    """Points by key; only keys with at least two values of x."""
    found: dict[tuple, list[Point]] = {}
    for p in points:
        found.setdefault(key_of(p), []).append(p)
    return {key: group for key, group in found.items() if len({x_of(p) for p in group}) > 1}


def _series(points, x_of, y_of) -> list[Series]:  # type: ignore[no-untyped-def]
    by_engine: dict[str, list[Point]] = {}
    for p in sorted(points, key=x_of):
        by_engine.setdefault(p.engine, []).append(p)
    colours = {name: colour_of(name) for name in by_engine}
    if set(colours.values()) == {"other"}:  # passes: they are told apart by colour and mark too
        colours = dict(zip(by_engine, itertools.cycle(["other", *SHAPES]), strict=False))
    return [Series(name, colours[name], [(Shown(str(x_of(p)), float(x_of(p)), str(x_of(p)), ()), y_of(p))
                                           for p in own]) for name, own in by_engine.items()]


def _waterfall(points: Sequence[Point], where: str) -> list[Section]:
    """From plain MXNet to our engine in int8, where the steps between them were measured."""
    ladder = waterfall.ladder(points)
    if not ladder:
        return []
    names = [", ".join(filter(None, key)) for key in ladder]
    columns = [waterfall.cells(steps) for steps in ladder.values()]
    rows: list[list[Cell]] = [
        [f"{label} ({engine})", *(column[n] if n < len(column) else "not measured" for column in columns)]
        for n, (engine, label) in enumerate(waterfall.LADDER.items()) if n < max(map(len, columns))]
    return [Section(
        f"Waterfall of the optimisations: {where}", "Median milliseconds of one batch (rows x tokens): plain MXNet's, "
        "what each step adds to it (below zero: saves), and what is left. Each step changes one thing of the one "
        "before; ~ where the spreads of the two overlap. What bfloat16 and int8 cost in error stands with the "
        "speed-ups.",
        [waterfall.chart(f"Waterfall, {name}", steps) for name, steps in zip(names, ladder.values(), strict=True)],
        [Table("Milliseconds after each step (change by the step, times as fast as before it)", ["step", *names],
               rows)])]


def _speedup(points: Sequence[Point], where: str, baseline: str | None, remark: str) -> list[Section]:
    """Times of the baseline over times, within one workload and configuration."""
    engines = list(dict.fromkeys(p.engine for p in points))
    if baseline is None:
        plain = [p.engine for p in points if not p.ours and p.precision == "float32"]
        baseline = next((name for name in ("mxnet-plain", "no pass") if name in engines), (plain or engines)[0])
    if baseline not in engines or len(engines) < 2:
        return []
    base = {(p.workload, p.configuration): p.middle for p in points if p.engine == baseline}
    pairs = [(p, ratio(base[p.workload, p.configuration], p.middle)) for p in points
             if (p.workload, p.configuration) in base]
    works, numbers = _workloads(p for p, _ in pairs), {(_name(p), p.workload): r for p, r in pairs}
    rows: list[list[Cell]] = []
    for name, line in _lines([p for p, _ in pairs]).items():
        error = next(iter(line.values())).error
        rows.append([name, [scientific(error)] if error else "not measured",
                     *([numbers[name, w]] if (name, w) in numbers else "not measured" for w in works)])
    charts = [BarChart(f"Speed-up, {work}", [Bar(_name(p), r, colour_of(p.engine), p.ours) for p, r in pairs
                                         if p.workload == work], f"times {baseline}", 1.0) for work in works]
    found = [Section(f"Speed-up over {baseline}: {where}", f"The median of {baseline} over the median of each, on the "
                     f"same batch (rows x tokens) and the same cores. The dashed line is the baseline.{remark}", charts,
                     [Table(f"Times as fast as {baseline}, and error against float32", ["engine", "error", *works],
                            rows)])]
    scatter = []
    for work in works:
        inside = [(p, r) for p, r in pairs if p.workload == work and p.error is not None and p.error.value > 0]
        if len({p.error.value for p, _ in inside if p.error}) > 1:
            scatter.append(LineChart(f"Error and speed, {work}", [
                Series(_name(p), colour_of(p.engine), [(scientific(p.error), r)]) for p, r in inside if p.error],
                "error of the token states, logarithmic", f"times {baseline}", joined=False))
    if scatter:
        found.append(Section(f"Error against speed: {where}", "Up is faster, left is nearer to float32. What has no "
                             "error at all is not drawn.", scatter))
    return found


def _finetuning(points: Sequence[Point], where: str) -> Section:
    rows: list[list[Cell]] = []
    for work in _workloads(points):
        ours, control = (next(p for p in points if p.workload == work and p.ours is side) for side in (True, False))
        rows.append([work, *([as_it_is(p.score, f"{p.score.value:.4g}")] if p.score else "not measured"
                             for p in (ours, control)), [as_it_is(ours.middle)], [as_it_is(control.middle)],
                     [ratio(ours.middle, control.middle)]])
    charts = [BarChart(f"Training, {work}", [_bar(p, as_it_is(p.middle)) for p in points if p.workload == work],
                       SAMPLES) for work in _workloads(points)]
    return Section(f"Fine-tuning: {where}", "The same start, data and steps by bertpass and by PyTorch. Samples a "
                   "second: higher is better.", charts,
                   [Table("Metric on the development rows and training samples a second",
                          ["task", "ours", "PyTorch", "ours, samples/s", "PyTorch, samples/s", "speed"], rows)])


def costs(offers: Sequence[Offer], prices: PriceList) -> list[Section]:
    """Dollars for a million requests, the cheapest first, by kind of request."""
    found = []
    for model, request in dict.fromkeys((o.measurement.model, o.measurement.request) for o in offers):
        chosen = [o for o in offers if (o.measurement.model, o.measurement.request) == (model, request)][:TOP_OFFERS]
        items: list[Bar] = []
        rows: list[list[Cell]] = []
        for offer in chosen:
            m = offer.measurement
            number = _dollars(offer, rate(m.point))
            label = f"{m.engine}, batch {m.rows}"
            items.append(Bar(label, number, colour_of(m.engine)))
            rows.append([label, [number], offer.price.name, m.configuration])
        found.append(Section(f"Cost of a million requests: {model}, {request}", "Dollars, computing alone, all the "
                             f"time busy; the {len(chosen)} cheapest. Prices: {prices.source}, {prices.date}.",
                             [BarChart(f"Cost, {request}", items, "dollars a million")],
                             [Table("Dollars for a million requests", ["engine", "dollars", "machine",
                                                                       "instances x cores"], rows)]))
    return found


def _dollars(offer: Offer, speed: Shown) -> Shown:
    return Shown(f"{offer.dollars:#.3g}".rstrip("."), offer.dollars, f"b / 3600 / ({speed.formula}) * 1e6",
                 (*speed.sources, f"{PRICES}#{pointer((offer.price.name, 'dollars_per_hour'))}"))
