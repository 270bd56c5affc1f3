"""The command line of the table of precisions: ``bertpass bench precision``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.jobs.low_precision.options import TableOptions
from bertpass.options import check_output_folder, parse
from bertpass.progress import start_logging


def main(argv: Sequence[str]) -> int:
    """Measure a fine-tuned model in every precision; returns the exit code."""
    def job() -> None:
        options = parse(TableOptions, argv, "What each precision costs a fine-tuned model.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        start_logging()
        from bertpass.jobs.deployment import precision_table  # starts MXNet

        result = precision_table.run(options)
        precision_table.show(result)
        if options.output:
            write_json(options.output, result)
    return guarded(job)
