#!/usr/bin/env python
"""bertpass beside what people choose from today for vectors of texts, interleaved, each in a process of its own.

The peers are in environments of their own (`make peers`, `make infinity`). Their vectors are compared with those of
sentence-transformers with PyTorch first (L2 norm of the difference over the norm); then all take turns on each batch;
then each one's vectors are scored on STS-B's test pairs. `bertpass bench report` makes a page of the result file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.base.paths import cache_folder
from bertpass.bench import quiet
from bertpass.bench.cpu.report import environment
from bertpass.bench.peers import contenders, run
from bertpass.bench.timing import shown
from bertpass.commands.run import guarded
from bertpass.options import check_output_folder, flag, parse

WIDTH = 150


@dataclass
class BackendsOptions:
    """Flags of benchmarks/embedding_backends.py."""

    model: str = flag("minilm", "a model for embeddings, as bertpass.load takes it")
    data_dir: str | None = flag(os.environ.get("BERTPASS_DATA"), "folder with STS-B and SQuAD")
    contenders: list[str] = flag([], "contenders or libraries (default: all): " + ", ".join(
        one.name for one in contenders.KNOWN))
    rounds: int = flag(run.ROUNDS, "interleaved rounds at most", least=1)
    seconds: float = flag(20.0, "for the rounds of one batch", least=0.1)
    threads: int | None = flag(None, "threads of each contender (default: as bertpass.machine counts them)", least=1)
    files: str = flag(str(cache_folder() / "peers"), "folder that keeps the files which the peers load")
    output: str | None = flag(None, "write the figures to this JSON file")


def main(argv: Sequence[str]) -> int:
    return guarded(lambda: compare(parse(BackendsOptions, argv, "bertpass beside other libraries for vectors.")))


def compare(options: BackendsOptions) -> None:
    chosen = contenders.chosen(options.contenders)
    if contenders.REFERENCE not in [one.name for one in chosen]:
        chosen += contenders.chosen([contenders.REFERENCE])
    if options.output:
        check_output_folder("output", Path(options.output).parent)
    data = run.read_data(options.data_dir)
    threads = options.threads or machine.threads()
    cpus, files = quiet.pick(threads), Path(options.files)
    files.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if Console().is_terminal else WIDTH)
    folder = run.folder_of(options.model, files, chosen, data.sentences, cpus)
    works = run.workloads(data, run.counter(folder))
    with run.running(folder, chosen, threads, cpus, lambda note: print(note, file=sys.stderr)) as found:
        about = environment(threads, cpus, {})
        steps = [lambda: found.check(data.sentences[:run.CHECKED]),
                 *(partial(found.time, work, options.rounds, options.seconds) for work in works),
                 lambda: found.score(data)]
        for step in steps:
            step()
            if options.output:  # as soon as it is measured
                run.report(Path(options.output), about, options.model, found, works)
    console.print(table(options.model, threads, found, works))
    for entry in found.entries.values():
        if entry.failure:
            console.print(f"  {entry.contender.name}: {entry.failure}", markup=False, highlight=False)


def table(model: str, threads: int, found: run.Run, works: Sequence[run.Workload]) -> Table:
    """Milliseconds of each batch, errors, quality, memory, start-up."""
    lines = Table(title=f"{model}, {threads} threads: milliseconds, median (~ noisy); MiB after loading; seconds from "
                  "import to the first vector")
    lines.add_column("contender")
    for heading in (*(work.name for work in works), "error", "Spearman", "MiB", "ready, s"):
        lines.add_column(heading, justify="right")
    for entry in found.entries.values():
        times = [entry.timings.get(work.name) for work in works]
        lines.add_row(entry.contender.name, *("-" if t is None else "~" * t.noisy + shown(t.median) for t in times),
                      "-" if entry.error is None else f"{entry.error:.1e}",
                      "-" if entry.spearman is None else f"{100 * entry.spearman:.2f}",
                      f"{entry.resident_bytes / 2**20:.0f}", f"{entry.about.get('ready_seconds', 0):.1f}",
                      style="bold" if entry.contender.ours else None)
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
