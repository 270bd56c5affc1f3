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

from bertpass import progress
from bertpass.errors import UsageError, nearest
from bertpass.words import Parser, Word, usage

T = TypeVar("T")


def flag(default: Any, help: str, *, group: str = "options", choices: Sequence[str] | None = None,
         aliases: Sequence[str] = (), formerly: Sequence[str] = (), least: float | None = None,
         most: float | None = None, positional: bool = False, required: bool = False, rare: bool = False,
         **argparse_options: Any) -> Any:
    """A dataclass field that is also a command-line flag.

    Parameters
    ----------
    default
        Value without the flag; of one that is ``required`` the value that counts as not given.
    help
        What it means, as words that can be read alone.
    group
        Heading under which ``--help`` shows it; the ``rare`` ones only ``--help all`` shows.
    choices, least, most
        Allowed values; bounds of a number.
    positional
        A word of the command line, in the order of the fields. It has to be given where its default is "". A list is
        any number of words, none too unless it is ``required``.
    aliases
        Further spellings, such as ``--uncased``. Dashes and underscores are the same everywhere and need none.
    formerly
        Spellings of earlier versions, which are still taken and shown nowhere; flags that give a positional, too.
    """
    meta = {"help": help, "group": group, "choices": choices, "aliases": aliases, "formerly": formerly, "least": least,
            "most": most, "positional": positional, "required": required, "rare": rare, "argparse": argparse_options}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def gpu_flag(group: str = "device") -> Any:
    """``--gpu`` alone means device 0, ``--gpu N`` means device N, everywhere."""
    return flag(None, "run on a GPU: alone device 0, with a number that device", group=group, nargs="?", const=0,
                metavar="ID", least=0)


def overwrite_flag() -> Any:
    """``--overwrite``, for :func:`check_new`."""
    return flag(False, "replace the output if it is there already", group="output")


def check_new(output: str | os.PathLike[str], overwrite: bool, holds: Sequence[str] = ("config.json", "bundle.json"),
              ) -> None:
    """Refuse to replace a file, or a folder that ``holds`` one of these, unless ``--overwrite`` was given."""
    there = [output] if os.path.isfile(output) else [os.path.join(output, name) for name in holds
                                                     if os.path.exists(os.path.join(output, name))]
    if there and not overwrite:
        raise UsageError(f"{there[0]} is there already; name another output, or give --overwrite to replace it.")


def scalar(annotation: Any) -> Any:
    """The type of one value of a field: ``int`` for ``int | None`` or ``list[int]``."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return scalar(next(a for a in args if a is not type(None)))
    return args[0] if origin is list else annotation


def spelled(field: dataclasses.Field) -> tuple[list[str], str, str]:
    """A flag for a page: its spellings, its default as text, its help with the allowed values."""
    default, meta = _default(field), field.metadata
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    if isinstance(default, bool):
        shown = "on" if default else "off"
    choices = f" ({', '.join(meta['choices'])})" if meta["choices"] else ""
    names = [field.name.upper()] if meta["positional"] else ["--" + field.name, *_aliases(field)]
    return names, "needed" if is_needed(field) else "" if shown is None else str(shown), meta["help"] + choices


def parser_for(cls: type, description: str, epilog: str = "") -> Parser:
    """An argument parser with one flag for each field of the dataclass ``cls``; its ``parse_args`` names all that is
    missing at once."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    words = [Word(f.name, typing.get_origin(hints[f.name]) is list, is_needed(f), scalar(hints[f.name]), _help(f),
                  f.metadata["argparse"].get("metavar")) for f in fields if f.metadata["positional"]]
    needed = {f.name: _default(f) for f in fields if f.metadata["required"] and not f.metadata["positional"]}
    parser = Parser(words, needed, description=description, epilog=epilog, usage=usage(words, needed, cls))
    parser.rare = {f.name for f in fields if f.metadata["rare"]}
    groups: dict[str, Any] = {}
    for field in sorted(fields, key=lambda f: (not f.metadata["required"], f.metadata["rare"])):
        meta, kind = field.metadata, scalar(hints[field.name])
        several = {"nargs": "*"} if typing.get_origin(hints[field.name]) is list else {}
        if meta["formerly"]:
            how = {"action": "store_true"} if kind is bool else {"type": kind, **several}
            parser.add_argument(*meta["formerly"], dest=field.name, default=argparse.SUPPRESS, help=argparse.SUPPRESS,
                                **how)  # type: ignore[arg-type]
        if meta["positional"]:
            continue
        title = "needed" if meta["required"] else meta["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        names, text = ["--" + field.name, *_aliases(field)], _help(field)
        if kind is bool:
            groups[title].add_argument(*names, action="store_true", default=_default(field), help=text, dest=field.name)
            continue
        extra = {**several, **meta["argparse"]}
        groups[title].add_argument(*names, type=kind, default=_default(field), help=text, dest=field.name,
                                   metavar=extra.pop("metavar", None) or _METAVARS.get(kind, "NAME"), **extra)
    parser.add_general([field.name for field in fields])
    return parser


_METAVARS = {int: "N", float: "X"}


def _default(field: dataclasses.Field) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def is_needed(field: dataclasses.Field) -> bool:
    """Whether a flag or a word has to be given."""
    return bool(field.metadata["required"] or (field.metadata["positional"] and _default(field) == ""))


def _aliases(field: dataclasses.Field) -> list[str]:
    """Spellings that differ in more than dashes and underscores."""
    return [a for a in field.metadata["aliases"] if a.replace("-", "_") != "__" + field.name]


def _help(field: dataclasses.Field) -> str:
    """The help of a flag with its allowed values and its default."""
    meta, default = field.metadata, _default(field)
    told = ["one of: " + ", ".join(meta["choices"])] if meta["choices"] else []
    if default not in (None, "", [], False):
        told.append(f"default: {' '.join(map(str, default)) if isinstance(default, list) else default}")
    return str(meta["help"] + (f" ({'; '.join(told)})" if told else "")).replace("%", "%%")


def check(options: Any) -> None:
    """Compare every field with its allowed values; a UsageError names the flag, the value and what is allowed."""
    for field in dataclasses.fields(options):
        value, meta = getattr(options, field.name), field.metadata
        if value is None:
            continue
        name = field.name.upper() if meta["positional"] else f"--{field.name}"
        if meta.get("choices") and value not in meta["choices"]:
            raise UsageError(f"{name} {value}: not one of {', '.join(meta['choices'])}."
                             + nearest(str(value), meta["choices"]))
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} {value}: must be a finite number.")
        for bound, wrong, word in (("least", lambda v, b: v < b, "at least"), ("most", lambda v, b: v > b, "at most")):
            limit = meta.get(bound)
            if limit is not None and wrong(value, limit):
                raise UsageError(f"{name} {value}: must be {word} {limit:g}.")


def check_paths(options: Any, *names: str) -> None:
    """UsageError where one of these flags names a file or folder that is not there."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not Path(value).exists():
            raise UsageError(f"--{name} {value}: no such file or folder.")


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
    return made(cls, parser_for(cls, description, epilog).parse_args(argv))


def made(cls: type[T], namespace: argparse.Namespace) -> T:
    """The options that a parser's values are, checked; --quiet and --verbose are acted upon."""
    values = vars(namespace)
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    general = {key: values.pop(key) for key in set(values) - names}
    progress.set_level(quiet=general.get("quiet", False), verbose=general.get("verbose", False))
    options = cls(**values)
    check(options)
    return options
