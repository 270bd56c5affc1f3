"""The command ``bertpass``: finds the command that the first word names; :mod:`bertpass.commands.table` has them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from bertpass import __version__
from bertpass.commands.run import guarded
from bertpass.commands.table import ALIASES, COMMANDS, Command
from bertpass.errors import UsageError, nearest

HELP, VERSION = ("-h", "--help", "help"), ("-V", "--version", "version")
#: words of ``bertpass`` itself, for the nearest name of an unknown one
GENERAL = (*HELP, *VERSION)

USAGE = """usage: bertpass COMMAND [words] [flags]

Run BERT, DistilBERT and RoBERTa models on CPUs from the shell, from Python, over HTTP or from C, without PyTorch.
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
                return _command(words[1]).run(f"bertpass {words[1]}", [*words[2:], "--help"])
            print(USAGE + listed(COMMANDS) + EXAMPLES, end="")
            return 0
        if words[0] in VERSION:
            print(__version__)
            return 0
        return _command(words[0]).run(f"bertpass {words[0]}", words[1:])
    return guarded(job)


def script(name: str) -> int:
    """A script of the published recipe, which is this command; returns the exit code."""
    return guarded(lambda: _command(name).run(f"python {os.path.relpath(sys.argv[0])}", sys.argv[1:]))


def _command(name: str) -> Command:
    command = COMMANDS.get(ALIASES.get(name, name)) or COMMANDS.get(name.replace("_", "-"))
    if command is None:
        raise UsageError(f"unknown command '{name}'.{nearest(name, [*COMMANDS, *ALIASES, *GENERAL])} "
                         f"bertpass --help lists the commands: {', '.join(COMMANDS)}.")
    return command


def listed(commands: Mapping[str, Command]) -> str:
    """The commands under the headings of their groups, in the order of the table."""
    lines: list[str] = []
    heading = ""
    for name, command in commands.items():
        if command.group != heading:
            heading = command.group
            lines += ["", f"{heading}:"]
        lines.append(f"  {name:<21}{command.what}")
    return "\n".join(lines) + "\n"
