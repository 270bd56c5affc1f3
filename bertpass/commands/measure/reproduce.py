"""The command `bertpass reproduce`: published tables and figures beside what this machine measures."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bertpass import machine
from bertpass.base.files import write_json, write_text
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, DeviceError, UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import log, start_logging

if TYPE_CHECKING:
    from bertpass.bench.reproduce.session import Entry, Instance, Settings

WIDTH = 150
MODEL, QUICK_MODEL = "bert_12_768_12", "bert_12_768_12:2"
EVERY = "all"


@dataclass
class ReproduceOptions:
    """Words and flags of bertpass reproduce."""

    tables: list[str] = flag([], "entries of --list, or all", positional=True)
    list_tables: bool = flag(False, "show the entries, what each needs, and which of them this machine can run",
                             aliases=("--list",))
    quick: bool = flag(False, "a model of two layers and the smallest batches: shows that an entry works")
    model: str | None = flag(None, f"model to measure, random weights for a published size (default: {MODEL}, "
                                  f"with --quick {QUICK_MODEL})", formerly=("--bert_model",))
    minutes: float | None = flag(None, "minutes per entry; what does not fit is left out and marked (default: the "
                                 "entry's own)", least=0.1)
    threads: int | None = flag(None, "threads of every engine (default: OMP_NUM_THREADS, otherwise all processors)",
                               least=1, most=1024)
    price: list[str] = flag([], "further instances for the entry cost, as NAME=DOLLARS_PER_HOUR or "
                            "NAME=DOLLARS_PER_HOUR:PROCESSORS", metavar="NAME=DOLLARS")
    results: list[str] = flag([], "result files of bertpass bench finetuning or precision, for the entry scores",
                              metavar="FILE")
    resume: bool = flag(False, "continue with the result file that is there; what it holds is not measured again")
    redraw: bool = flag(False, "measure nothing: write page and picture again from the result file")
    output: str = flag("bench_output/reproduce", "folder for NAME.json, NAME.md, NAME.png and the index README.md")

    def __post_init__(self) -> None:
        if self.resume and self.redraw:
            raise UsageError("--redraw measures nothing, and --resume measures what is missing: give one of "
                             "them.")

    def instances(self) -> list[Instance]:
        """The prices; UsageError for what is none."""
        from bertpass.bench.reproduce.session import Instance

        found = []
        for text in self.price:
            match = re.fullmatch(r"([^=]+)=(\d+(?:\.\d+)?)(?::([1-9]\d*))?", text)
            if match is None or float(match[2]) == 0:
                raise UsageError(f"--price {text}: write NAME=DOLLARS_PER_HOUR or NAME=DOLLARS_PER_HOUR:PROCESSORS, as "
                                 "in c7i.xlarge=0.1785:4.")
            found.append(Instance(match[1], float(match[2]), int(match[3]) if match[3] else None))
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the entries; returns the exit code, 1 where one of several failed."""
    def job() -> None:
        options = parse(ReproduceOptions, argv, "Published tables and figures beside what this machine measures.")
        from bertpass.bench import reproduce

        if options.list_tables:
            return _show(reproduce.names())
        if not options.tables:
            raise UsageError(f"name a table or {EVERY}; --list shows them: {', '.join(reproduce.names())}.")
        words = reproduce.names() if EVERY in options.tables else list(dict.fromkeys(options.tables))
        entries = [reproduce.entry(word) for word in words]
        instances = options.instances()
        check_output_folder("output", options.output)
        from bertpass.bench.reproduce.session import Settings

        settings = Settings(options.model or (QUICK_MODEL if options.quick else MODEL), options.quick,
                            options.threads or machine.threads(), instances, options.results)
        start_logging()
        _run(entries, options, settings)
    return guarded(job)


def _run(entries: Sequence[Entry], options: ReproduceOptions, settings: Settings) -> None:
    """Every entry in turn; what one of several cannot do does not keep the others from running."""
    from bertpass.bench import ceiling, quiet
    from bertpass.bench.cpu import report

    if len(entries) == 1 and not options.redraw:
        entries[0].device()  # before anything is measured
    cpus = quiet.pick(settings.threads)
    about: dict[str, Any] = {}
    if not options.redraw:
        about = report.environment(settings.threads, cpus, ceiling.peaks(settings.threads))
    failures, lacking = [], []
    for entry in entries:
        try:
            if not options.redraw:  # which needs what draws, and nothing of what was measured
                entry.check()
                entry.device()
                _measure(entry, options, settings, cpus, about)
            _write(entry, Path(options.output))
        except BertpassError as error:
            if len(entries) == 1:
                raise
            if isinstance(error, DeviceError):
                lacking.append(str(error))
                log.info("left out: %s", error)
                continue
            failures.append(f"{entry.name}: {error}")
    if len(lacking) == len(entries):
        raise DeviceError(" | ".join(lacking))
    if failures:
        raise BertpassError(f"{len(failures)} of {len(entries)} entries failed: {' | '.join(failures)}")


def _measure(entry: Entry, options: ReproduceOptions, settings: Settings, cpus: Sequence[int],
             about: Mapping[str, Any]) -> None:
    from bertpass.bench.reproduce import published, session

    file = Path(options.output) / f"{entry.name}.json"
    kept = session.resumed(file, settings, about["machine"]["cpu"]) if options.resume and file.is_file() else {}
    one = session.Session(entry, settings, published.read()[entry.name], cpus, options.minutes or entry.minutes, file,
                          {"entry": entry.name, "title": entry.title, "date": session.today(), "environment": about},
                          kept)
    log.info("%s: %s, budget %g minutes", entry.name, entry.title, one.minutes)
    entry.measure(one)
    one.keep(complete=True)


def _write(entry: Entry, folder: Path) -> None:
    """Page, picture and index from the result file."""
    from bertpass.bench import reproduce
    from bertpass.bench.reproduce import page, published, session

    everything = published.read()
    figures = everything[entry.name]
    content = session.read(folder / f"{entry.name}.json")
    tables = entry.tables(figures, content["measured"])
    write_json(folder / f"{entry.name}.json", {**content, "tables": [table.to_dict() for table in tables]})
    text = page.page(entry, published.source(everything, entry.name), content, tables)
    write_text(folder / f"{entry.name}.md", text)
    entry.draw(folder / f"{entry.name}.png", figures, content["measured"], page.subtitle(content))
    index = page.index([reproduce.entry(name) for name in reproduce.names()], folder)
    write_text(folder / "README.md", index)
    log.info("wrote %s.md, .json and .png in %s", entry.name, folder)


def _show(names: Sequence[str]) -> None:
    """The table of --list."""
    from bertpass.bench import reproduce
    from bertpass.bench.reproduce import published

    everything = published.read()
    table = Table(title="published tables and figures; sources: bertpass/bench/published.toml", show_lines=True)
    for heading in ("entry", "what it shows", "published by", "needs", "here", "minutes"):
        table.add_column(heading)
    for name in names:
        entry = reproduce.entry(name)
        absent = [f"pip install '.[{extra}]'" for package, extra in entry.packages.items()
                  if importlib.util.find_spec(package) is None]
        state = f"no: {absent[0]}" if absent else \
            "partly; not " + "; not ".join(entry.missing()) if entry.missing() else "yes"
        cells = [name, entry.title, published.source(everything, name)["publisher"], entry.needs, state,
                 f"{entry.minutes:g}"]
        table.add_row(*map(escape, cells))
    Console(width=None if Console().is_terminal else WIDTH).print(table)
