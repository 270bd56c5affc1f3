"""docs/flags.md as text: every flag, exit code and environment variable, from the code that defines them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass import errors
from bertpass.base.variables import VARIABLES
from bertpass.commands.table import Command, commands
from bertpass.jobs.published.options import ExportPairOptions, WordVectorOptions
from bertpass.options import spelled

INTRODUCTION = """# Flags, exit codes, environment variables

Made by `scripts/write_flags.py`; do not edit. `bertpass COMMAND --help all` shows the same; without
`all` it leaves out the flags that are rarely needed.

- Words in capitals stand without a flag; those that are *needed* have to be given.
- Flags that several commands have in the same words stand once, below the commands.
- Dashes and underscores are the same: `--allow-pickle` is `--allow_pickle`.
- Every command has `--help`, `--quiet` (warnings and errors only) and `--verbose` (more messages, tracebacks).
- `--gpu` alone means device 0 and `--gpu N` device N, in every command.
- Published flags keep their meaning. Those that differ, and why, are in [recipe.md](recipe.md).
"""

MANY = 3  # flags that the same commands share, from which on they have a section of their own
SEVERAL = "Flags of several commands"


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"


def sections() -> dict[str, type]:
    """Heading -> options of every command, in the order of the page."""
    found = {_heading(f"bertpass {name}", command): command.options_class() for name, command in commands()}
    return {**found, "scripts/export.py": ExportPairOptions, "scripts/embedding.py": WordVectorOptions}


def _heading(name: str, command: Command) -> str:
    return f"{name} ({command.published})" if command.published else name


def _link(heading: str) -> str:
    anchor = "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")
    return f"[{heading}](#{anchor})"


@dataclass(frozen=True)
class _Flag:
    """A row of a table; two commands with equal ones have the same flag."""

    names: str
    default: str
    meaning: str
    word: bool  #: it stands without a flag

    def row(self, *more: str) -> str:
        return _row((self.names, self.default, self.meaning, *more))


def _flags(options: type) -> list[_Flag]:
    """The rows of a dataclass: words, needed flags, usual ones, rare ones."""
    found = []
    for field in sorted(dataclasses.fields(options), key=lambda f: (
            not f.metadata["positional"], not f.metadata["required"], f.metadata["rare"])):
        names, default, meaning = spelled(field)
        names = [field.name + "="] if getattr(options, "HYDRA", False) else names
        found.append(_Flag(" ".join(f"`{n}`" for n in names), default,
                           meaning + (" (rarely needed)" if field.metadata["rare"] else ""),
                           field.metadata["positional"]))
    return found


def _short(heading: str) -> str:
    """The name of a command in a list of several."""
    return heading.partition(" (")[0].removeprefix("bertpass ")


def _shared(known: Mapping[str, Sequence[_Flag]]) -> dict[tuple[str, ...], list[_Flag]]:
    """Commands -> the flags that just these have in the same words."""
    users: dict[_Flag, list[str]] = {}
    for heading, flags in known.items():
        for one in flags:
            if not one.word:
                users.setdefault(one, []).append(heading)
    found: dict[tuple[str, ...], list[_Flag]] = {}
    for one, headings in users.items():
        if len(headings) > 1:
            found.setdefault(tuple(headings), []).append(one)
    return found


def _together(headings: Sequence[str]) -> str:
    """Heading of the flags that these commands share."""
    names = [_short(heading) for heading in headings]
    return f"Flags of {', '.join(names[:-1])} and {names[-1]}"


def _tables() -> dict[str, list[str]]:
    """Heading -> lines of each section about flags."""
    known = {heading: _flags(options) for heading, options in sections().items()}
    shared = _shared(known)
    groups = {headings: flags for headings, flags in shared.items() if len(flags) >= MANY}
    few = {one: headings for headings, flags in shared.items() if headings not in groups for one in flags}
    head = [_row(("flag", "default", "meaning")), "|---|---|---|"]
    lines: dict[str, list[str]] = {}
    for heading, flags in known.items():
        own = [one for one in flags if not any(one in some for some in shared.values())]
        also = [_link(_together(headings)) for headings in groups if heading in headings]
        rest = [one.names for one in flags if one in few]
        if rest:
            also.append(f"{', '.join(rest)} in {_link(SEVERAL)}")
        lines[heading] = [*head, *(one.row() for one in own)] if own else []
        if also:
            lines[heading] += [*([""] if own else []), f"{'Also' if own else 'It has'} {'; '.join(also)}."]
    for headings, flags in groups.items():
        lines[_together(headings)] = [*head, *(one.row() for one in flags)]
    lines[SEVERAL] = [_row(("flag", "default", "meaning", "commands")), "|---|---|---|---|",
                      *(one.row(", ".join(map(_short, headings))) for one, headings in few.items())]
    return lines


def _types() -> list[type[errors.BertpassError]]:
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.BertpassError)]
    return sorted(found, key=lambda t: t.exit_code)


def page() -> str:
    """The whole page."""
    tables = _tables()
    lines = [INTRODUCTION, "## Contents", "", *(f"- {_link(heading)}" for heading in tables),
             "- [Exit codes](#exit-codes)", "- [Environment variables](#environment-variables)", ""]
    for heading, table in tables.items():
        lines += [f"## {heading}", "", *table, ""]
    lines += ["## Exit codes", "", _row(("code", "error", "meaning")), "|---|---|---|", _row((0, "", "done"))]
    for kind in _types():
        lines.append(_row((kind.exit_code, kind.__name__, (kind.__doc__ or "").split("\n")[0])))
    lines += [_row((130, "", "stopped by Ctrl-C; the last checkpoint is kept")), "",
              "What is wrong with one request to a server is an answer with an HTTP status and ends no command.", "",
              "## Environment variables", "", _row(("variable", "meaning")), "|---|---|"]
    lines += [_row((f"`{name}`", meaning)) for name, meaning in VARIABLES.items()]
    return "\n".join(lines) + "\n"
