"""An entry, and one run of it: settings, a time budget, and the result file that grows with every piece measured."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bertpass.base.files import write_json
from bertpass.bench.quiet import Others
from bertpass.bench.reproduce.tables import Kept, Published, Table
from bertpass.errors import DataError, UsageError
from bertpass.extras import require


@dataclass(frozen=True)
class Instance:
    """A machine to rent: dollars an hour, and its virtual processors where they are known."""

    name: str
    dollars_per_hour: float
    vcpus: int | None = None


@dataclass(frozen=True)
class Settings:
    """What a run was asked for; ``results`` are files of fine-tuning, ``prices`` instances besides the published."""

    bert_model: str
    quick: bool
    threads: int
    prices: Sequence[Instance] = ()
    results: Sequence[str] = ()


#: pieces measured under other values of these do not belong into one file
SAME = ("bert_model", "quick", "threads")


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


@dataclass
class Session:
    """What an entry measures with.

    ``kept`` holds every piece by its key and is the part "measured" of the result file; ``others`` adds up what other
    processes use meanwhile; ``minutes`` is the budget.
    """

    entry: Entry
    settings: Settings
    published: Mapping[str, Any]
    cpus: Sequence[int]
    minutes: float
    file: Path
    about: Mapping[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)
    others: Others = field(default_factory=Others)
    _start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.minutes * 60 - (time.monotonic() - self._start)

    def part(self, name: str) -> dict[str, Any]:
        """A dict of pieces within ``kept``, made where it is not there; call :meth:`keep` once it has changed."""
        found: dict[str, Any] = self.kept.setdefault(name, {})
        return found

    def keep(self, complete: bool = False) -> None:
        """Write the file with what is there so far."""
        write_json(self.file, {
            **self.about, "complete": complete, "settings": asdict(self.settings), "minutes": self.minutes,
            "others_load": round(self.others.load, 3), "measured": self.kept,
            "tables": [table.to_dict() for table in self.entry.tables(self.published, self.kept)]})


def today() -> str:
    """The date, as 2026-11-22."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def read(file: Path) -> dict[str, Any]:
    """A result file; DataError where it is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a result file ({error}); measure again without --resume.") from error
    if not isinstance(content, dict) or not {"settings", "measured", "environment"} <= content.keys():
        raise DataError(f"{file} is no result file of reproduce; measure again without --resume.")
    return content


def resumed(file: Path, settings: Settings, cpu: str) -> dict[str, Any]:
    """What an earlier run measured; UsageError where it ran on another machine or with other settings."""
    content = read(file)
    before = {**{name: content["settings"].get(name) for name in SAME},
              "cpu": content["environment"]["machine"]["cpu"]}
    now = {**{name: getattr(settings, name) for name in SAME}, "cpu": cpu}
    for name, value in now.items():
        if before[name] != value:
            raise UsageError(f"--resume: {file} was measured with {name} {before[name]} and this run has {value}; take "
                             "the same, or leave --resume out.")
    kept: dict[str, Any] = content["measured"]
    return kept
