"""The command lines scripts/export.py and scripts/embedding.py, as published."""

from __future__ import annotations

from collections.abc import Sequence

from bertpass.commands.run import guarded
from bertpass.jobs.published.options import ExportPairOptions, WordVectorOptions
from bertpass.options import parse
from bertpass.progress import start_logging


def export(argv: Sequence[str] | None = None) -> int:
    """Run scripts/export.py with ``argv``; returns the exit code."""
    def main() -> None:
        options = parse(ExportPairOptions, argv, "Export a model as MXNet's symbol and parameters, without passes.")
        start_logging()
        from bertpass.jobs.published.export_pair import run
        print(run(options))
    return guarded(main)


def embedding(argv: Sequence[str] | None = None) -> int:
    """Run scripts/embedding.py with ``argv``; returns the exit code."""
    def main() -> None:
        options = parse(WordVectorOptions, argv, "A vector for each word of texts.")
        start_logging()
        from bertpass.jobs.published.word_vectors import lines, run
        for line in lines(run(options)):
            print(line)
    return guarded(main)
