"""Progress on long work: a live bar on a terminal, a line now and then in a log.

``rich`` draws the bar; where standard error is no terminal (a log file, CI) one plain line is written every
``EVERY`` seconds, so that a log stays readable.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
EVERY = 15.0

log = logging.getLogger("bertpass")
_level = logging.INFO


def set_level(quiet: bool = False, verbose: bool = False) -> None:
    """What standard error gets from here on: warnings only, everything, or the usual messages."""
    global _level
    _level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO


def level() -> int:
    """What standard error gets, as a level of :mod:`logging`."""
    return _level


def note(text: str) -> None:
    """A remark on standard error, unless --quiet was given."""
    if _level <= logging.INFO:
        print(f"note: {text}", file=sys.stderr)


def start_logging(file: Path | None = None, verbose: bool = True) -> None:
    """Send the messages of ``bertpass`` to standard error and, with times, to ``file`` as well.

    --quiet and --verbose change what standard error gets, not what the file gets.
    """
    log.setLevel(min(_level, logging.INFO))
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    if verbose:
        stream = logging.StreamHandler(sys.stderr)
        stream.setLevel(_level)
        stream.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(stream)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setLevel(logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    log.propagate = False


def _clock(seconds: float) -> str:
    seconds = int(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class Bar:
    """A progress bar as a context manager; ``advance(1, "loss 0.31")`` moves it and shows the note.

    A ``silent`` one shows nothing on a terminal.
    """

    def __init__(self, description: str, total: int, unit: str = "", silent: bool = False) -> None:
        self.description, self.total, self.unit, self.silent = description, total, unit, silent
        self.done = self._before = 0
        self._live: Progress | None = None

    def __enter__(self) -> Bar:
        self.start = self._told = time.monotonic()
        if self.silent or _level > logging.INFO or not sys.stderr.isatty():
            return self
        from rich.console import Console  # on use: it takes longer than a short command
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        if console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(self.unit),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
                console=console, transient=False)
            self._task = self._live.add_task(self.description, total=self.total, note="")
            self._live.start()
        return self

    def begin_at(self, done: int) -> None:
        """So many steps were done before this run: they do not count in its rate."""
        self.done = self._before = done
        if self._live is not None:
            self._live.reset(self._task, completed=done, start=True)

    def advance(self, step: int = 1, note: str = "") -> None:
        """Move by ``step`` and show ``note`` beside the bar."""
        self.done += step
        if self._live is not None:
            self._live.update(self._task, advance=step, note=note)
            return
        now = time.monotonic()
        if now - self._told >= EVERY:
            self._told = now
            spent = now - self.start
            left = spent / max(self.done - self._before, 1) * max(self.total - self.done, 0)
            log.info("%s %d/%d %s  %s, left %s  %s", self.description, self.done, self.total, self.unit,
                     _clock(spent), _clock(left), note)

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()


def track(items: Iterable[T], description: str, total: int, unit: str = "") -> Iterator[T]:
    """Iterate over ``items`` under a :class:`Bar`."""
    with Bar(description, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
