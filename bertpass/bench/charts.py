"""Charts as SVG text: bars, lines and points. Colours come from the page's style sheet, so dark and light both work.

Each mark has the number's value, formula and sources as data attributes and a title for pointers and screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bertpass.bench.result_files import Number
from bertpass.bench.timing import shown

WIDTH, LINE = 420, 22  # of a panel, and of a bar, in SVG units, which are pixels on a wide screen
VALUES = 58  # space right of bars
GAP = 12.5  # between the baselines of labels
NEAR = 9.0  # between a label's middle and that of a mark which it passes
LETTER, BOLD = 6.1, 6.9  # width of a letter of a label, about
MARKS = {"circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "square": "M-3.6,-3.6h7.2v7.2h-7.2z",
         "up": "M0,-4.6l4.4,8h-8.8z", "diamond": "M0,-5l5,5l-5,5l-5,-5z", "down": "M0,4.6l4.4,-8h-8.8z"}
SHAPES = {"native": "circle", "openvino": "square", "onnxruntime": "up", "torch": "diamond", "mxnet": "down"}


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


@dataclass(frozen=True)
class Bar:
    """A bar with its spread, from ``low`` to ``high``, where it is known."""

    label: str
    number: Shown
    colour: str
    strong: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one engine, (x, y)."""

    label: str
    colour: str
    points: Sequence[tuple[Shown, Shown]]


def scientific(number: Number) -> Shown:
    """For errors."""
    return as_it_is(number, f"{number.value:.1e}" if number.value else "0")


def colour_of(engine: str) -> str:
    """The class of an engine's colour and mark: the word before the first hyphen, where it has one of its own."""
    word = engine.partition("-")[0]
    return word if word in SHAPES else {"ours": "native", "control": "torch"}.get(word, "other")


def _open(height: float, title: str) -> str:
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
            f'<text class="title" x="0" y="14">{escape(title)}</text>')


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def bars(title: str, items: Sequence[Bar], unit: str, mark: float | None = None) -> str:
    """Horizontal bars from zero, in the given order; ``mark`` draws a line at a value, such as a baseline's 1."""
    left = 10 + BOLD * max([len(item.label) for item in items], default=0)
    room, height = WIDTH - left - VALUES, 40 + LINE * len(items)
    widest = max([item.high or item.number.value for item in items] + [mark or 0])
    parts = [_open(height, f"{title}, {unit}")]
    for place, item in enumerate(items):
        top, length = 24 + LINE * place, room * item.number.value / widest
        parts.append(_text(left - 6, top + 13, item.label, "strong" if item.strong else "", "end"))
        parts.append(f'<rect x="{left:.1f}" y="{top + 2}" width="{max(length, 0.5):.1f}" height="{LINE - 6}" '
                     f'class="bar c-{item.colour}" {item.number.attributes}>'
                     f'<title>{escape(f"{item.label}: {item.number.text} {unit}")}</title></rect>')
        end = length
        if item.low is not None and item.high is not None:
            end = max(length, room * item.high / widest)
            parts.append(f'<path class="whisker" d="M{left + room * item.low / widest:.1f},{top + LINE / 2 - 1}'
                         f'H{left + room * item.high / widest:.1f}"/>')
        if mark is not None and end < room * mark / widest < end + VALUES:
            end = room * mark / widest  # the line would cross the number
        parts.append(_text(left + end + 5, top + 13, item.number.text, "strong" if item.strong else "", "start",
                           item.number.attributes))
    if mark is not None:
        x = left + room * mark / widest
        parts.append(f'<path class="mark" d="M{x:.1f},22V{height - 14}"/>')
    return "".join(parts) + "</svg>"


class _Axis:
    """A logarithmic or linear scale from values to places."""

    def __init__(self, values: Sequence[float], begin: float, end: float, log: bool) -> None:
        self.log, self.begin, self.end = log, begin, end
        low, high = min(values), max(values)
        if log:
            self.low, self.high = low / 1.15, high * 1.15
        else:
            self.low, self.high = 0.0, high * 1.08
        self.values = values

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


def lines(title: str, series: Sequence[Series], x_unit: str, y_unit: str, *, joined: bool = True, log_x: bool = True,
          ) -> str:
    """Points with a direct label each series, joined by lines if asked for.

    With ``joined`` x has the values of the points as its ticks (lengths, batches) and y is logarithmic; without, x is
    logarithmic and y begins at 0.
    """
    height, left = max(280, 110 + int(GAP * len(series))) + 60 * (not joined), 44
    xs, ys = ([point[n].value for one in series for point in one.points] for n in (0, 1))
    right = 12 + LETTER * max(len(one.label) for one in series)
    x = _Axis(xs, left + 8, WIDTH - right, log_x)
    y = _Axis(ys, height - 42, 30, joined)
    parts = [_open(height, title)]
    for value in sorted(set(xs)) if joined else x.ticks()[::-2][::-1]:  # every second power of ten has room
        parts.append(f'<path class="grid" d="M{x.place(value):.1f},30V{height - 42}"/>')
        parts.append(_text(x.place(value), height - 27, f"{value:g}", "", "middle"))
    for value in y.ticks():
        parts.append(f'<path class="grid" d="M{left},{y.place(value):.1f}H{WIDTH - right:.1f}"/>')
        parts.append(_text(left - 5, y.place(value) + 4, f"{value:g}", "", "end"))
    parts.append(_text((left + WIDTH - right) / 2, height - 8, x_unit, "", "middle"))
    parts.append(f'<text class="" text-anchor="middle" transform="translate(11.5,{height / 2 - 6}) rotate(-90)">'
                 f"{escape(y_unit)}</text>")
    ends: list[tuple[float, float, Series]] = []
    marks: list[tuple[float, float]] = []
    for one in series:
        places = [(x.place(a.value), y.place(b.value)) for a, b in one.points]
        if joined:
            parts.append(f'<polyline class="line s-{one.colour}" points="'
                         + " ".join(f"{a:.1f},{b:.1f}" for a, b in places) + '"/>')
        marks += places
        for (a, b), (_, number) in zip(places, one.points, strict=True):
            parts.append(f'<path class="c-{one.colour}" transform="translate({a:.1f},{b:.1f})" '
                         f'd="{MARKS[SHAPES.get(one.colour, "circle")]}" {number.attributes}>'
                         f"<title>{escape(f'{one.label}: {number.text} {y_unit}')}</title></path>")
        ends.append((*max(places), one))
    for (a, b, one), shifted in zip(ends, _apart(ends, marks, height - 50), strict=True):
        if abs(shifted - b) > 6:
            parts.append(f'<path class="grid" d="M{a + 4:.1f},{b:.1f}L{a + 8:.1f},{shifted:.1f}"/>')
        parts.append(_text(a + 9, shifted + 4, one.label))
    return "".join(parts) + "</svg>"


def _apart(ends: Sequence[tuple[float, float, Series]], marks: Sequence[tuple[float, float]], bottom: float,
           ) -> list[float]:
    """Heights of labels beside their points: moved down until none covers another or a mark, then up to be above
    ``bottom``."""
    def beside(n: int, m: int) -> bool:
        left, right = sorted((ends[n], ends[m]), key=lambda end: end[0])
        return left[0] + LETTER * len(left[2].label) + 6 < right[0]

    def covered(n: int) -> list[float]:
        begin, end = ends[n][0] + 5, ends[n][0] + 13 + LETTER * len(ends[n][2].label)
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
