"""docs/flags.md as text: every flag, exit code and environment variable, from the code that defines them."""

from __future__ import annotations

import dataclasses
from typing import Any

from bertpass import errors
from bertpass.base.variables import VARIABLES
from bertpass.commands.table import Command, commands
from bertpass.jobs.low_precision.options import LowPrecisionOptions
from bertpass.jobs.published.options import ExportPairOptions, WordVectorOptions
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.options import spelled

INTRODUCTION = """# Flags, exit codes, environment variables

Made by `scripts/write_flags.py`; do not edit. `bertpass COMMAND --help` shows the same.

- Words in capitals stand without a flag; those that are *needed* have to be given.
- Dashes and underscores are the same: `--allow-pickle` is `--allow_pickle`.
- Every command has `--help`, `--quiet` (warnings and errors only) and `--verbose` (more messages, tracebacks).
- `--gpu` alone means device 0 and `--gpu N` device N, in every command.
- Published flags keep their meaning. Those that differ, and why, are in [recipe.md](recipe.md).
"""

#: flags that several commands have in the same words: heading, dataclass
SHARED = (("Flags of low precision", LowPrecisionOptions), ("Flags of both fine-tuning commands", FinetuneOptions))


def _types() -> list[type[errors.BertpassError]]:
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.BertpassError)]
    return sorted(found, key=lambda t: t.exit_code)


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"


def sections() -> dict[str, type]:
    """Heading -> options of every section about flags, in the order of the page."""
    found = {_heading(f"bertpass {name}", command): command.options_class() for name, command in commands()}
    return {**found, "scripts/export.py": ExportPairOptions, "scripts/embedding.py": WordVectorOptions,
            **dict(SHARED)}


def _heading(name: str, command: Command) -> str:
    return f"{name} ({command.published})" if command.published else name


def _link(heading: str) -> str:
    anchor = "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")
    return f"[{heading}](#{anchor})"


def _flags(options: type) -> list[str]:
    """The table of a dataclass, usual flags first; a line names the shared flags that it has as well."""
    shared = [(heading, cls) for heading, cls in SHARED if issubclass(options, cls) and options is not cls]
    elsewhere = [(field.name, spelled(field)) for _, cls in shared for field in dataclasses.fields(cls)]
    fields = [field for field in dataclasses.fields(options) if (field.name, spelled(field)) not in elsewhere]
    lines = [_row(("flag", "default", "meaning")), "|---|---|---|"]
    for field in sorted(fields, key=lambda f: (not f.metadata["positional"], not f.metadata["required"],
                                               f.metadata["rare"])):
        names, default, help_text = spelled(field)
        if getattr(options, "HYDRA", False):
            names = [field.name + "="]
        rare = " (rarely needed)" if field.metadata["rare"] else ""
        lines.append(_row((" ".join(f"`{n}`" for n in names), default, help_text + rare)))
    also = ["", f"Also: {', '.join(_link(heading) for heading, _ in shared)}."] if shared else []
    return [*lines, *also, ""]


def page() -> str:
    """The whole page."""
    known = sections()
    lines = [INTRODUCTION, "## Contents", "", *(f"- {_link(heading)}" for heading in known),
             "- [Exit codes](#exit-codes)", "- [Environment variables](#environment-variables)", ""]
    for heading, options in known.items():
        lines += [f"## {heading}", "", *_flags(options)]
    lines += ["## Exit codes", "", _row(("code", "error", "meaning")), "|---|---|---|", _row((0, "", "done"))]
    for kind in _types():
        lines.append(_row((kind.exit_code, kind.__name__, (kind.__doc__ or "").split("\n")[0])))
    lines += [_row((130, "", "stopped by Ctrl-C; the last checkpoint is kept")), "", "## Environment variables", "",
              _row(("variable", "meaning")), "|---|---|"]
    lines += [_row((f"`{name}`", meaning)) for name, meaning in VARIABLES.items()]
    return "\n".join(lines) + "\n"
