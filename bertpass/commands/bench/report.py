"""The command line ``bertpass bench report``: result files as one page that people look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpass.base.files import write_text
from bertpass.commands.run import guarded
from bertpass.errors import MissingDependencyError, UsageError
from bertpass.options import check_output_folder, flag, parse

if TYPE_CHECKING:
    from bertpass.bench.pages.charts import Chart

SUFFIXES = (".html", ".md")


@dataclass
class ReportOptions:
    """Words and flags of bertpass bench report."""

    results: list[str] = flag([], "files that bench cpu, scaling, passes, finetuning or "
                              "benchmarks/embedding_backends.py wrote", positional=True, required=True)
    output: str = flag("report.html", "page to write: .html, complete in itself, with its charts as PNG files in a "
                       "folder next to it, or .md, the tables alone")
    title: str = flag("Measured with bertpass", "title of the page")
    baseline: str | None = flag(None, "engine that the speed-ups are over (default: mxnet-plain, no pass or the first "
                                "other engine in float32)")
    prices: str | None = flag(None, "price list for the costs (YAML, as of bertpass plan)")
    machine: list[str] = flag([], "the machine of the price list on which the results were measured: NAME, or "
                              "FILE=NAME for each file; draws the costs")

    def __post_init__(self) -> None:
        if Path(self.output).suffix not in SUFFIXES:
            raise UsageError(f"--output {self.output}: give a name that ends in {' or '.join(SUFFIXES)}.")
        names = [Path(file).name for file in self.results]
        if len(set(names)) < len(names):
            raise UsageError(f"{' '.join(self.results)}: give the files different names; figures are traced by them.")
        if self.prices and not self.machine:
            raise UsageError("--prices needs --machine: the machine of the list on which the results were measured.")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit code."""
    def job() -> None:
        options = parse(ReportOptions, argv, "Write result files as one page.")
        output = Path(options.output)
        check_output_folder("output", output.parent)
        if output.is_dir():
            raise UsageError(f"--output {output}: it is a folder; name a file.")
        pictures = output.with_name(f"{output.stem}-charts") if output.suffix == ".html" else None
        if pictures is not None:
            check_output_folder("output", pictures)
        from bertpass.bench.pages import contents, cost, page, prices, result_files

        files = [result_files.read(Path(file)) for file in options.results]
        found = contents.sections(files, options.baseline)
        listed = None
        if options.machine:
            listed = prices.read(Path(options.prices)) if options.prices else prices.read()
            priced = [file for file in files if file.kind in ("cpu", "scaling")]
            if not priced:
                raise UsageError("--machine: only files of bench cpu and scaling have costs; leave it out.")
            owned = cost.owners(options.machine, [file.name for file in priced], listed)
            measured = [m for file in priced for m in cost.measurements(file)]
            offers = cost.offers(measured, owned, listed, extrapolate=False)
            found += contents.costs(offers, listed)
        text = page.markdown(options.title, found, files) if output.suffix == ".md" else \
            page.html(options.title, found, files, listed)
        write_text(output, text)
        print(f"wrote {output}")
        if pictures is not None:
            _write(pictures, page.pictures(found))
    return guarded(job)


def _write(folder: Path, charts: Sequence[tuple[Chart, str]]) -> None:
    """The charts as PNG files; without matplotlib a line says what to install."""
    from bertpass.bench.pages import png

    try:
        count = len(png.write(folder, charts))
    except MissingDependencyError as error:
        print(f"no PNG files of the charts: {error}")
    else:
        print(f"wrote {folder}: {count} charts as PNG files")
