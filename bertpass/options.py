"""Options are dataclasses; the command line is made from them.

A field made by :func:`flag` becomes ``--name`` with its default, its help and its allowed values. ``bool`` fields are
switches, ``Optional[...]`` fields default to nothing. A dataclass checks its values together in ``__post_init__`` by
raising :class:`~bertpass.errors.UsageError`, which names the flag, the value and what is allowed.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from bertpass.errors import UsageError, nearest

T = TypeVar("T")


def flag(default: Any, help: str, *, group: str = "options", choices: Sequence[str] | None = None,
         aliases: Sequence[str] = (), least: float | None = None, most: float | None = None, positional: bool = False,
         **argparse_options: Any) -> Any:
    """A dataclass field that is also a command-line flag.

    ``least`` and ``most`` bound a number; ``aliases`` are further spellings such as ``--uncased``. With ``positional``
    it is a word of the command line, which has to be given, in the order of the fields; a list is any number of words.
    """
    meta = {"help": help, "group": group, "choices": choices, "aliases": aliases, "least": least, "most": most,
            "positional": positional, "argparse": argparse_options}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def gpu_flag(group: str = "device") -> Any:
    """``--gpu`` alone means device 0, ``--gpu N`` means device N, everywhere."""
    return flag(None, "run on a GPU: alone device 0, with a number that device", group=group, nargs="?", const=0,
                metavar="ID", least=0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        known = [s for a in self._actions for s in a.option_strings]
        hint = ""
        if message.startswith("unrecognized arguments: "):
            hint = nearest(message.split(": ", 1)[1].split()[0].split("=")[0], known)
        raise UsageError(f"{message}.{hint} --help lists the flags.")


def scalar(annotation: Any) -> Any:
    """The type of one value of a field: ``int`` for ``int | None`` or ``list[int]``."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return scalar(next(a for a in args if a is not type(None)))
    return args[0] if origin is list else annotation


def spelled(field: dataclasses.Field) -> tuple[list[str], str, str]:
    """A flag for a page: its spellings, its default as text, its help with the allowed values."""
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    shown = " ".join(map(str, default)) if isinstance(default, list) else "off" if default is False else default
    choices = f" ({', '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
    names = [field.name.upper()] if field.metadata["positional"] else ["--" + field.name, *field.metadata["aliases"]]
    return names, "" if shown is None else str(shown), \
        field.metadata["help"] + choices


def parser_for(cls: type, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """An argument parser with one flag for each field of the dataclass ``cls``."""
    parser = _Parser(description=description, epilog=epilog, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    groups: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        meta = field.metadata
        group = groups.setdefault(meta["group"], None) or parser.add_argument_group(meta["group"])
        groups[meta["group"]] = group
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        names = ["--" + field.name, *meta["aliases"]]
        text = meta["help"].replace("%", "%%")
        if meta["positional"]:
            several = typing.get_origin(hints[field.name]) is list
            many: dict[str, Any] = {"nargs": "*", "default": default} if several else {}
            group.add_argument(field.name, metavar=field.name.upper(), type=scalar(hints[field.name]), help=text,
                               **many)
            continue
        if hints[field.name] is bool:
            group.add_argument(*names, action="store_true", default=default, help=text, dest=field.name)
            continue
        extra = dict(meta["argparse"])
        if typing.get_origin(hints[field.name]) is list:
            extra.setdefault("nargs", "*")
        if default not in (None, "", []):
            text += f" (default: {default})"
        kind = scalar(hints[field.name])
        group.add_argument(*names, type=kind, default=default, help=text, dest=field.name,
                           metavar=extra.pop("metavar", None) or kind.__name__.upper(), **extra)
    return parser


def check(options: Any) -> None:
    """Compare every field with its allowed values; a UsageError names the flag, the value and what is allowed."""
    for field in dataclasses.fields(options):
        value, meta = getattr(options, field.name), field.metadata
        if value is None:
            continue
        if meta.get("choices") and value not in meta["choices"]:
            raise UsageError(f"--{field.name} {value}: not one of {', '.join(meta['choices'])}."
                             + nearest(str(value), meta["choices"]))
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{field.name} {value}: must be a finite number.")
        for bound, wrong, word in (("least", lambda v, b: v < b, "at least"), ("most", lambda v, b: v > b, "at most")):
            limit = meta.get(bound)
            if limit is not None and wrong(value, limit):
                raise UsageError(f"--{field.name} {value}: must be {word} {limit:g}.")


def check_output_folder(name: str, folder: str | os.PathLike[str]) -> None:
    """Refuse, before anything is written, a folder that cannot be made or written to; ``name`` is its flag."""
    for parent in (Path(folder).absolute(), *Path(folder).absolute().parents):
        if parent.is_dir():
            if not os.access(parent, os.W_OK | os.X_OK):
                raise UsageError(f"--{name} {folder}: {parent} cannot be written to; name another folder.")
            return
        if os.path.lexists(parent):
            raise UsageError(f"--{name} {folder}: {parent} is a file, not a folder.")


def parse(cls: type[T], argv: Sequence[str] | None, description: str, epilog: str = "") -> T:
    """Parse ``argv`` (``None``: the process's own) into the dataclass ``cls`` and check the values."""
    values = vars(parser_for(cls, description, epilog).parse_args(argv))
    options = cls(**values)
    check(options)
    return options
