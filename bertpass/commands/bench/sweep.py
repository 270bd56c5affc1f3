"""``bertpass bench sweep engine=... batch_size=1,8 --multirun``, or without the word ``sweep``."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertpass.base.files import write_json
from bertpass.bench.cpu.sweep import MOST_ROUNDS, Part, SweepOptions, configurations, described, kept, parts, run
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError
from bertpass.options import check_output_folder, spelled
from bertpass.progress import start_logging

USAGE = """usage: bertpass bench sweep NAME=VALUE ... [--multirun]

Measure every combination of the values as bertpass bench cpu does. Several values of a NAME, as batch_size=1,8, need
--multirun (-m). What an interrupted sweep has measured is kept: the same command goes on after it.

words:
"""


def main(argv: Sequence[str]) -> int:
    """Run the sweep; returns the exit code, 1 where no engine could be measured."""
    def job() -> None:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(USAGE + "\n".join(_help()))
            return
        _sweep(argv)
    return guarded(job)


def _help() -> Iterator[str]:
    for field in dataclasses.fields(SweepOptions):
        _, default, text = spelled(field)
        yield from textwrap.wrap(text + (f" (default: {default})" if default not in ("", "off") else ""), 96,
                                 initial_indent=f"  {field.name + '=':<22}", subsequent_indent=" " * 24)


def _sweep(words: Sequence[str]) -> None:
    wanted = parts(configurations(words))
    folder = Path(wanted[0][0].output)
    check_output_folder("output", folder)
    from bertpass.bench import ceiling, quiet, variants, workloads
    from bertpass.bench.cpu import report
    from bertpass.bench.cpu import run as cpu

    for _, names in wanted:
        cpu.reference_of(variants.chosen(names))
    if wanted[0][0].strict:
        quiet.demand()
    most = max(one.num_threads or 1 for one, _ in wanted)
    peaks = {n: ceiling.peaks(n) for n in dict.fromkeys([most, *(one.num_threads or 1 for one, _ in wanted)])}
    about, sweep = report.environment(most, quiet.pick(most), peaks[most]), described(wanted)
    file = folder / "sweep.json"
    done = kept(file, sweep, about)
    if done:
        print(f"{file}: {len(done)} of {len(wanted)} parts are there already.")
    start_logging()

    def measure(part: Part) -> dict[str, Any]:
        one, names = part
        chosen, threads = variants.chosen(names), one.num_threads or 1
        plan = cpu.Plan(chosen, workloads.of_family(f"{one.batch_size}x{one.sequence_length}"), MOST_ROUNDS,
                        one.benchmark_duration * len(chosen), threads, quiet.pick(threads), one.warmup_runs)
        results = cpu.compare(plan, one.model)
        report.show(results, peaks[threads], threads)
        return {**results.to_dict(peaks[threads]), "threads": threads}

    def keep(entries: list[dict[str, Any]]) -> None:
        write_json(file, {"environment": about, "sweep": sweep, "models": entries})

    entries = run(wanted, done, measure, keep)
    print(f"wrote {file}")
    if not any(engine["timings"] for entry in entries for engine in entry["engines"]):
        raise BertpassError("no engine could be measured; the reasons stand below the tables.")
