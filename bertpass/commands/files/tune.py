"""bertpass tune: the fastest schedules of the TVM engine's kernels on this machine, kept in a file of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import flag, parse
from bertpass.progress import start_logging


@dataclass
class TuneOptions:
    """Words and flags of bertpass tune."""

    models: list[str] = flag([], "published sizes (random weights: speed does not depend on them), minilm or paths",
                             positional=True, required=True)
    shapes: list[str] = flag(["1x64", "1x128", "1x256"], "batch x sequence length")
    minutes: float = flag(5.0, "minutes per model; schedules that do not fit into them are left out", least=0.01,
                          formerly=("--tuning_minutes",))
    threads: int | None = flag(None, "threads of TVM (default: OMP_NUM_THREADS, otherwise all processors)", least=1,
                               most=1024)
    records: str | None = flag(None, "file to write (default: BERTPASS_TVM_RECORDS, otherwise "
                               "~/.cache/bertpass/tvm-records.json); its schedules of other kernels are kept")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(TuneOptions, argv, "Measure the schedules of the TVM engine's kernels and keep the fastest.")
        from bertpass.bench import models, quiet
        from bertpass.commands.bench.scaling import sizes
        from bertpass.engines.tvm import records as tvm_records
        from bertpass.jobs.machines import tvm_tuning

        shapes = sizes(options.shapes)
        path = Path(options.records) if options.records else tvm_records.own_file()
        tvm_records.merge(path, [])  # refuse before any long work what cannot be read or written
        start_logging()
        if options.strict:
            quiet.demand()
        for name in options.models:
            checkpoint = models.checkpoint_for_speed(name)
            longest = max(length for _, length in shapes)
            if longest > checkpoint.config.max_length:
                raise UsageError(f"--shapes: {longest} tokens are more than the {checkpoint.config.max_length} "
                                 f"positions of {name}.")
            found = tvm_tuning.tune(checkpoint, shapes, options.minutes, options.threads or machine.threads())
            tvm_records.merge(path, found)
            Console().print(_table(name, found))
        print(f"wrote {path}")
    return guarded(job)


def _table(name: str, found: Sequence) -> Table:
    table = Table(title=f"{name}: microseconds of a call, the least that was measured")
    for column in ("kernel", "by default", "best", "schedule"):
        table.add_column(column, justify="right" if column in ("by default", "best") else "left")
    for one in found:
        schedule = " ".join(f"{word}={value}" for word, value in one.schedule.items())
        table.add_row(f"{one.kernel} {one.arguments}", f"{one.default_microseconds:.1f}", f"{one.microseconds:.1f}",
                      schedule or "as by default")
    return table
