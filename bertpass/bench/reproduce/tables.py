"""The tables that an entry makes, and the words for what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Published = Mapping[str, Any]  # an entry's part of published.toml
Kept = Mapping[str, Any]  # what an entry measured, as its result file holds it
NEEDS_GPU = "needs a GPU"  # in conditions
Row = Mapping[str, Any]  # key of a column -> number, text, or None where there is nothing


@dataclass(frozen=True)
class Table:
    """Rows under ``columns``: key -> heading with its unit. A note stands below.

    Numbers have three digits, or with ``decimals`` so many behind the point.
    """

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Row]
    note: str = ""
    decimals: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        return {"title": self.title, "columns": dict(self.columns), "rows": [dict(r) for r in self.rows],
                "note": self.note}


def shown(value: Any, decimals: int | None = None) -> str:
    """A cell: numbers with three digits, or with ``decimals``; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    size = abs(value)
    if decimals is None:
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{decimals}f}"


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b, None where one of them is missing."""
    return a / b if a is not None and b else None
