"""What an entry is, and the tables that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpass.extras import require

if TYPE_CHECKING:
    from bertpass.bench.reproduce.session import Session

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


@dataclass(frozen=True)
class Entry:
    """One published table or figure.

    Parameters
    ----------
    name, title
        Its name on the command line and in published.toml; what it shows.
    needs
        What it runs here, in a few words.
    minutes
        Its budget by default, for two cores.
    measure
        Measures what the session does not hold yet and gives it to :meth:`Session.keep` piece by piece.
    tables
        The page's tables from the published figures and what was measured; also from a part of it.
    draw
        Writes the picture, with a line below its title that says where and when it was measured.
    missing
        What of the publication this machine cannot run, a phrase each; empty where it runs everything.
    packages
        Packages without which it cannot run: name -> the extra that installs it.
    device
        Raises DeviceError on a machine that can measure nothing of it.
    """

    name: str
    title: str
    needs: str
    minutes: float
    measure: Callable[[Session], None]
    tables: Callable[[Published, Kept], list[Table]]
    draw: Callable[[Path, Published, Kept, str], None]
    missing: Callable[[], list[str]]
    packages: Mapping[str, str] = field(default_factory=dict)
    device: Callable[[], None] = lambda: None

    def check(self) -> None:
        """MissingDependencyError, which names the extra, for the first package that is not there."""
        for package, extra in {**self.packages, "matplotlib": "bench"}.items():
            require(package, extra)


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
