"""bertpass compare: two result files of one kind, engine by engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bertpass.base.files import write_text
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import check_output_folder, flag, parse

WIDTH = 140
STYLES = {"faster": "green", "slower": "red"}


@dataclass
class CompareOptions:
    """Words and flags of bertpass compare."""

    first: str = flag("", "file that bertpass bench cpu, scaling, passes or finetuning wrote", positional=True)
    second: str = flag("", "file of the same bench, measured later or elsewhere", positional=True)
    fail_above: float | None = flag(None, "largest ratio by which the second may be slower; beyond it, where the "
                                    "spreads do not overlap, the exit code is 1", least=1)
    output: str | None = flag(None, "write the comparison to this Markdown file")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit code."""
    def job() -> int:
        options = parse(CompareOptions, argv, "Compare two runs of one bench.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
            if Path(options.output).is_dir():
                raise UsageError(f"--output {options.output}: it is a folder; name a file.")
        from bertpass.bench.pages import comparison, result_files

        first, second = (result_files.read(Path(file)) for file in (options.first, options.second))
        found = comparison.compare(first, second)
        console = Console(width=None if Console().is_terminal else WIDTH)
        if found.differences:
            console.print(_table("What differs between the two runs", ("", "first", "second"), found.differences))
        console.print(_table(f"{options.first} and {options.second}: time of the second over the first, above 1 the "
                             "second is slower", comparison.HEADER, [pair.cells for pair in found.pairs]))
        for line in found.alone:
            console.print(f"  {line}", markup=False, highlight=False)
        if options.output:
            write_text(options.output, comparison.markdown(found, options.first, options.second))
        worse = [] if options.fail_above is None else found.above(options.fail_above)
        if worse:
            worst = max(worse, key=lambda pair: pair.ratio)
            console.print(f"{len(worse)} slower by more than {options.fail_above:g} times, the worst "
                          f"{worst.first.engine} on {worst.first.workload}: {worst.ratio:.2f}x.", markup=False,
                          highlight=False)
        return 1 if worse else 0
    return guarded(job)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, justify="right" if name == "ratio" else "left")
    for cells in rows:
        table.add_row(*cells, style=STYLES.get(cells[-1]))
    return table
