"""The command ``bertpass``: runs what the first words name; :mod:`bertpass.commands.table` has all commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from bertpass import __version__
from bertpass.commands.run import guarded
from bertpass.commands.table import HELP, SECTIONS, VERSION, Command, Group, find

USAGE = """usage: bertpass COMMAND [words] [flags]

Run BERT-type encoders (BERT, DistilBERT, RoBERTa, XLM-R, MPNet) on CPUs, without PyTorch: shell, Python, HTTP, C.
"""
EXAMPLES = """
examples:
  bertpass embed minilm "A man is eating food." "Somebody eats."
  bertpass info FOLDER
  bertpass serve minilm

general:
  -h, --help           show this help; bertpass COMMAND --help (or bertpass help COMMAND) shows a command's
  -V, --version        show the version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)

    def job() -> int:
        if not words or words[0] in HELP:
            if words[1:]:
                return _run([*words[1:], "--help"])
            sections = (f"\n{heading}:\n{_listed(section)}" for heading, section in SECTIONS.items())
            print(USAGE + "".join(sections) + EXAMPLES, end="")
            return 0
        if words[0] in VERSION:
            print(__version__)
            return 0
        return _run(words)
    return guarded(job)


def script(name: str) -> int:
    """A script of the published recipe, which is the command of this name; returns the exit code."""
    _, command, words = find([*name.split(), *sys.argv[1:]])
    assert isinstance(command, Command)
    return guarded(lambda: command.run(f"python {os.path.relpath(sys.argv[0])}", words))


def _run(words: Sequence[str]) -> int:
    name, one, rest = find(words)
    if isinstance(one, Command):
        return one.run(f"bertpass {name}", rest)
    if rest[1:] and rest[1] in one.words:  # bertpass bench help cpu
        return _run([name, rest[1], "--help"])
    print(f"usage: bertpass {name} WORD [words] [flags]; bertpass {name} WORD --help shows the flags\n\n"
          f"{one.what[0].upper()}{one.what[1:]}.\n\nwords:\n{_listed(one.words)}", end="")
    return 0


def _listed(found: Mapping[str, Command | Group] | Mapping[str, Command]) -> str:
    """A line for each command."""
    words = {name: f": {', '.join(one.words)}" if isinstance(one, Group) else "" for name, one in found.items()}
    return "".join(f"  {name:<21}{one.what}{words[name]}\n" for name, one in found.items())
