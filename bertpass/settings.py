"""Options from a file, from environment variables and from the command line: the later wins.

A key of the file is a flag's name (dashes count as underscores); a variable is a prefix and the name in capitals.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bertpass import extras
from bertpass.errors import UsageError, nearest, unknown
from bertpass.options import made, parser_for, scalar

T = TypeVar("T")

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_KINDS: dict[type, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def parse(cls: type[T], argv: Sequence[str], prefix: str, environment: Mapping[str, str], extra: str,
          description: str, epilog: str = "") -> T:
    """Options of the dataclass ``cls``, whose flag --config names the file; every switch can also be turned off by
    --no_NAME.

    Raises
    ------
    UsageError
        A value is of the wrong kind or not allowed, or the file has an unknown key.
    MissingDependencyError
        There is a file and PyYAML is not installed; ``extra`` brings it.
    """
    parser = parser_for(cls, description, epilog)
    hints = typing.get_type_hints(cls)
    for name in (name for name, kind in hints.items() if kind is bool):
        parser.add_argument(f"--no_{name}", action="store_false", dest=name, default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)
    variables = from_environment(cls, prefix, environment)
    file = parser.parse_known_args(argv)[0].config or variables.get("config")
    parser.set_defaults(**{**(from_file(cls, file, extra) if file is not None else {}), **variables})
    return made(cls, parser.parse_args(argv))


def from_environment(cls: type, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Values that variables give; words of a list are divided by spaces. UsageError for one of the wrong kind."""
    found: dict[str, Any] = {}
    for name, hint in _fields(cls).items():
        variable = prefix + name.upper()
        if variable not in environment:
            continue
        text, kind = environment[variable].strip(), scalar(hint)  # a secret's file often ends with a line break
        if kind is bool:
            if text.lower() not in _ON + _OFF:
                raise UsageError(f"{variable}={text}: write 1 or 0.")
            found[name] = text.lower() in _ON
            continue
        try:
            found[name] = [kind(word) for word in text.split()] if _several(hint) else kind(text)
        except ValueError:
            raise UsageError(f"{variable}={text}: --{name} must be {_KINDS[kind]}.") from None
    return found


def unknown_variables(cls: type, prefix: str, environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable of the prefix that is no flag; they are no errors, for others may have set them."""
    known = [prefix + name.upper() for name in _fields(cls)]
    return [f"the variable {name} is no flag.{nearest(name, known)}" for name in environment
            if name.startswith(prefix) and name not in known]


def from_file(cls: type, path: str, extra: str) -> dict[str, Any]:
    """Values of a YAML file, checked for their kind; see :func:`parse` for the errors."""
    yaml = extras.require("yaml", extra)
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--config {path}: not YAML: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: write a flag a line, as port: 8080.")
    hints, found = {name: hint for name, hint in _fields(cls).items() if name != "config"}, {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in hints:
            raise UsageError(f"--config {path}: {unknown('key', str(key), hints)}")
        if value is None:
            continue
        kind, several = scalar(hints[name]), _several(hints[name])
        values = value if several and isinstance(value, list) else [value]
        if not all(type(each) is kind or (kind is float and type(each) is int) for each in values):
            raise UsageError(f"--config {path}: {name}: {value!r} must be {_KINDS[kind]}"
                             f"{' or a list of such' if several else ''}.")
        found[name] = values if several else value
    return found


def _fields(cls: type) -> dict[str, Any]:
    """The names of the flags and their types."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _several(hint: Any) -> bool:
    return typing.get_origin(hint) is list
