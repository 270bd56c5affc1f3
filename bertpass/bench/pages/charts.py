"""What a chart of a report shows, and where on it; ``svg.py`` and ``png.py`` draw it, ``contents.py`` makes it.

All places and sizes are in units of which a chart is :data:`WIDTH` wide, pixels on a wide screen; y grows downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

from bertpass.bench import drawing
from bertpass.bench.pages.result_files import Number
from bertpass.bench.timing import shown

WIDTH, LINE = 420, 22  # of a chart, and of a bar
TITLE = 14  # baseline of the title
TOP = 24  # of the first bar
VALUES = 58  # space right of bars
GAP = 12.5  # between the baselines of labels
NEAR = 9.0  # between a label's middle and that of a mark which it passes
LETTER, BOLD = 6.1, 6.9  # width of a letter of a label, about
SHAPES = {"native": "circle", "openvino": "square", "onnxruntime": "up", "torch": "diamond", "mxnet": "down"}
SAVED, LOST = "saved", "lost"  # colours of the steps of a waterfall

#: by theme; the dark theme's colours are the hues of :mod:`bertpass.bench.drawing`, lighter
LIGHT = {"ink": "#1b1f24", "soft": "#57606a", "paper": "#ffffff", "card": "#f6f8fa", "rule": "#d0d7de",
         **drawing.ENGINES, "other": drawing.OTHER, SAVED: drawing.GREEN, LOST: drawing.ORANGE}
DARK = {"ink": "#e6edf3", "soft": "#a3adb8", "paper": "#0f1318", "card": "#181d24", "rule": "#3a424c",
        "native": "#f5802b", "openvino": "#3d9fe0", "onnxruntime": "#8fd0f7", "torch": "#e09ac0", "mxnet": "#9aa1a9",
        "other": "#2cc296", SAVED: "#2cc296", LOST: "#f2c14e"}


@dataclass(frozen=True)
class Shown:
    """A number on a page: its text, its value and how the value follows from numbers of files.

    ``formula`` is arithmetic in a, b, ..., the numbers at ``sources`` in that order.
    """

    text: str
    value: float
    formula: str
    sources: tuple[str, ...]

    @property
    def attributes(self) -> str:
        """For an element of HTML or SVG."""
        return (f'data-value="{self.value!r}" data-formula="{escape(self.formula)}" '
                f'data-sources="{escape(" ".join(self.sources))}"')


def as_it_is(number: Number, text: str | None = None) -> Shown:
    return Shown(shown(number.value) if text is None else text, number.value, "a", (number.place,))


def ratio(over: Number, under: Number) -> Shown:
    value = over.value / under.value
    return Shown(f"{value:.2f}x", value, "a / b", (over.place, under.place))


def scientific(number: Number) -> Shown:
    """For errors."""
    return as_it_is(number, f"{number.value:.1e}" if number.value else "0")


def colour_of(engine: str) -> str:
    """The name of an engine's colour and mark: the word before the first hyphen, where it has one of its own."""
    word = engine.partition("-")[0]
    return word if word in SHAPES else {"ours": "native", "control": "torch"}.get(word, "other")


@dataclass(frozen=True)
class Bar:
    """A bar from ``begin`` on, with its spread, from ``low`` to ``high``, where it is known."""

    label: str
    number: Shown
    colour: str
    strong: bool = False
    low: float | None = None
    high: float | None = None
    begin: float = 0.0

    @property
    def end(self) -> float:
        return self.begin + self.number.value


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars in the given order; ``mark`` draws a line at a value, such as a baseline's 1.

    With ``steps`` each bar is joined to the next one's begin.
    """

    title: str
    items: Sequence[Bar]
    unit: str
    mark: float | None = None
    steps: bool = False

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}"

    @property
    def numbers(self) -> list[Shown]:
        return [item.number for item in self.items]

    @property
    def left(self) -> float:
        """Where zero is."""
        return 10 + BOLD * max([len(item.label) for item in self.items], default=0)

    @property
    def height(self) -> float:
        return 40 + LINE * len(self.items)

    @cached_property
    def scale(self) -> float:
        """Units for one of the numbers' units."""
        most = max([max(item.begin, item.high or item.end) for item in self.items] + [self.mark or 0])
        return (WIDTH - self.left - VALUES) / most

    def place(self, value: float) -> float:
        return self.left + self.scale * value

    def span(self, item: Bar) -> tuple[float, float]:
        """Left side and width of a bar, which is visible however short it is."""
        begin, end = sorted((self.place(item.begin), self.place(item.end)))
        return begin, max(end - begin, 0.5)

    def behind(self, item: Bar) -> float:
        """Where a bar's number begins: behind its spread, and behind the mark where this would cross the number."""
        begin, width = self.span(item)
        end = begin + width
        if item.low is not None and item.high is not None:
            end = max(end, self.place(item.high))
        if self.mark is not None and end < self.place(self.mark) < end + VALUES:
            end = self.place(self.mark)
        return end + 5


@dataclass(frozen=True)
class Series:
    """Points of one engine, (x, y)."""

    label: str
    colour: str
    points: Sequence[tuple[Shown, Shown]]


class _Axis:
    """A logarithmic or linear scale from values to places."""

    def __init__(self, values: Sequence[float], begin: float, end: float, log: bool) -> None:
        self.log, self.begin, self.end = log, begin, end
        low, high = min(values), max(values)
        if log:
            self.low, self.high = low / 1.15, high * 1.15
        else:
            self.low, self.high = 0.0, high * 1.08

    def place(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values: 1, 2, 5 times powers of ten; tenfold steps where these are many, finer ones where few."""
        if not self.log:
            step = 10 ** math.floor(math.log10(self.high))
            step = next(s for s in (step / 5, step / 2, step, 2 * step) if self.high / s <= 6)
            return [n * step for n in range(int(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [f * 10.0 ** d for d in decades for f in factors if self.low <= f * 10.0 ** d <= self.high]
            if len(found) > 2:
                break
        return found


@dataclass(frozen=True)
class LineChart:
    """Points with a direct label each series, joined by lines if asked for.

    With ``joined`` x has the values of the points as its ticks (lengths, batches) and y is logarithmic; without, x is
    logarithmic and y begins at 0.
    """

    title: str
    series: Sequence[Series]
    x_unit: str
    y_unit: str
    joined: bool = True

    left = 44
    top = 30

    @property
    def heading(self) -> str:
        return self.title

    @property
    def numbers(self) -> list[Shown]:
        return [y for one in self.series for _, y in one.points]

    @property
    def height(self) -> float:
        return max(280, 110 + int(GAP * len(self.series))) + 60 * (not self.joined)

    @property
    def bottom(self) -> float:
        """Where the x axis is."""
        return self.height - 42

    @property
    def right(self) -> float:
        """Where lines end and the room for labels begins."""
        return WIDTH - 12 - LETTER * max(len(one.label) for one in self.series)

    @cached_property
    def x(self) -> _Axis:
        return _Axis([a.value for one in self.series for a, _ in one.points], self.left + 8, self.right, True)

    @cached_property
    def y(self) -> _Axis:
        return _Axis([b.value for one in self.series for _, b in one.points], self.bottom, self.top, self.joined)

    def x_ticks(self) -> list[float]:
        if self.joined:
            return sorted({a.value for one in self.series for a, _ in one.points})
        return self.x.ticks()[::-2][::-1]  # every second power of ten has room

    def places(self, one: Series) -> list[tuple[float, float]]:
        return [(self.x.place(a.value), self.y.place(b.value)) for a, b in one.points]

    def labels(self) -> list[tuple[float, float, float]]:
        """Of each series' label: x and y of the point that it names, and the height of its own middle."""
        ends = [max(self.places(one)) for one in self.series]
        marks = [place for one in self.series for place in self.places(one)]
        heights = _apart(ends, [LETTER * len(one.label) for one in self.series], marks, self.height - 50)
        return [(x, y, height) for (x, y), height in zip(ends, heights, strict=True)]


Chart = BarChart | LineChart


def _apart(ends: Sequence[tuple[float, float]], widths: Sequence[float], marks: Sequence[tuple[float, float]],
           bottom: float) -> list[float]:
    """Heights of labels beside their points: moved down until none covers another or a mark, then up to be above
    ``bottom``."""
    def beside(n: int, m: int) -> bool:
        left, right = sorted((n, m), key=lambda k: ends[k][0])
        return ends[left][0] + widths[left] + 6 < ends[right][0]

    def covered(n: int) -> list[float]:
        begin, end = ends[n][0] + 5, ends[n][0] + 13 + widths[n]
        return [y for x, y in marks if begin < x < end]

    heights = [end[1] for end in ends]
    for way in (1, -1):
        placed: list[int] = []
        for n in sorted(range(len(ends)), key=lambda n: way * heights[n]):
            heights[n] = heights[n] if way > 0 else min(heights[n], bottom)
            obstacles = [(heights[m], GAP) for m in placed if not beside(n, m)] + [(y, NEAR) for y in covered(n)]
            while near := [(y, gap) for y, gap in obstacles if abs(heights[n] - y) < gap - 1e-6]:
                heights[n] = near[0][0] + way * near[0][1]  # always further on that way, past all that it would cover
            placed.append(n)
    return heights
