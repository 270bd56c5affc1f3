"""Charts as SVG text. Colours come from the page's style sheet, so dark and light both work.

Each mark has the number's value, formula and sources as data attributes and a title for pointers and screen readers.
"""

from __future__ import annotations

from html import escape

from bertpass.bench.pages.charts import LINE, SHAPES, TITLE, TOP, WIDTH, BarChart, Chart, LineChart

MARKS = {"circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "square": "M-3.6,-3.6h7.2v7.2h-7.2z",
         "up": "M0,-4.6l4.4,8h-8.8z", "diamond": "M0,-5l5,5l-5,5l-5,-5z", "down": "M0,4.6l4.4,-8h-8.8z"}


def draw(chart: Chart) -> str:
    """An svg element."""
    parts = bars(chart) if isinstance(chart, BarChart) else lines(chart)
    heading = escape(chart.heading)
    return (f'<svg viewBox="0 0 {WIDTH} {chart.height:.0f}" role="img" aria-label="{heading}">'
            f'<text class="title" x="0" y="{TITLE}">{heading}</text>' + "".join(parts) + "</svg>")


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def bars(chart: BarChart) -> list[str]:
    parts = []
    for place, item in enumerate(chart.items):
        top, (begin, width) = TOP + LINE * place, chart.span(item)
        weight = "strong" if item.strong else ""
        parts.append(_text(chart.left - 6, top + 13, item.label, weight, "end"))
        parts.append(f'<rect x="{begin:.1f}" y="{top + 2}" width="{width:.1f}" height="{LINE - 6}" '
                     f'class="bar c-{item.colour}" {item.number.attributes}>'
                     f'<title>{escape(f"{item.label}: {item.number.text} {chart.unit}")}</title></rect>')
        if item.low is not None and item.high is not None:
            parts.append(f'<path class="whisker" d="M{chart.place(item.low):.1f},{top + LINE / 2 - 1}'
                         f'H{chart.place(item.high):.1f}"/>')
        if chart.steps and place + 1 < len(chart.items):
            parts.append(f'<path class="step" d="M{chart.place(item.end):.1f},{top + LINE - 4}v6"/>')
        parts.append(_text(chart.behind(item), top + 13, item.number.text, weight, "start", item.number.attributes))
    if chart.mark is not None:
        parts.append(f'<path class="mark" d="M{chart.place(chart.mark):.1f},{TOP - 2}V{chart.height - 14}"/>')
    return parts


def lines(chart: LineChart) -> list[str]:
    parts = []
    for value in chart.x_ticks():
        parts.append(f'<path class="grid" d="M{chart.x.place(value):.1f},{chart.top}V{chart.bottom}"/>')
        parts.append(_text(chart.x.place(value), chart.height - 27, f"{value:g}", "", "middle"))
    for value in chart.y.ticks():
        parts.append(f'<path class="grid" d="M{chart.left},{chart.y.place(value):.1f}H{chart.right:.1f}"/>')
        parts.append(_text(chart.left - 5, chart.y.place(value) + 4, f"{value:g}", "", "end"))
    parts.append(_text((chart.left + chart.right) / 2, chart.height - 8, chart.x_unit, "", "middle"))
    parts.append(f'<text class="" text-anchor="middle" transform="translate(11.5,{chart.height / 2 - 6}) rotate(-90)">'
                 f"{escape(chart.y_unit)}</text>")
    for one in chart.series:
        places = chart.places(one)
        if chart.joined:
            parts.append(f'<polyline class="line s-{one.colour}" points="'
                         + " ".join(f"{a:.1f},{b:.1f}" for a, b in places) + '"/>')
        for (a, b), (_, number) in zip(places, one.points, strict=True):
            parts.append(f'<path class="c-{one.colour}" transform="translate({a:.1f},{b:.1f})" '
                         f'd="{MARKS[SHAPES.get(one.colour, "circle")]}" {number.attributes}>'
                         f"<title>{escape(f'{one.label}: {number.text} {chart.y_unit}')}</title></path>")
    for one, (x, y, height) in zip(chart.series, chart.labels(), strict=True):
        if abs(height - y) > 6:
            parts.append(f'<path class="leader" d="M{x + 4:.1f},{y:.1f}L{x + 8:.1f},{height:.1f}"/>')
        parts.append(_text(x + 9, height + 4, one.label))
    return parts
