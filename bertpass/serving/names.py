"""What the served models are called: one rule for the words of a command line, for bodies, and for paths of HTTP.

A model has the name of NAME=PATH, else that of its file or folder; it also answers to its path as it was written, where
no other model has that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bertpass.errors import UsageError, unknown
from bertpass.serving.failures import UnknownModel

#: words that begin like these are paths and nothing else
_PATHS = ("/", "./", "../", "~")
#: parts of paths of HTTP that follow a name
_AFTER = {"config", "infer", "ready", "versions"}


def named(word: str) -> tuple[str, str]:
    """Name and path of a word, PATH or NAME=PATH; what is there as a whole is a path, also with a "=" in it.

    Raises
    ------
    UsageError
        A part is missing, a path is not there, or the name cannot stand in a path of HTTP.
    """
    word = word.strip()
    name, equals, path = (part.strip() for part in word.partition("="))
    if not equals or word.startswith(_PATHS) or Path(os.path.expanduser(word)).exists():
        name, path = _last(word), word
    if not name or not path:
        raise UsageError(f"'{word}': write NAME=PATH, or the path alone.")
    if path.startswith(_PATHS) and not Path(os.path.expanduser(path)).exists():
        raise UsageError(f"{path}: there is no such file or folder.")
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or not name.isprintable() or _AFTER & set(parts[1:]):
        raise UsageError(f"'{word}': '{name}' cannot be a name, which stands in paths such as /v2/models/NAME/infer; "
                         "give another: NAME=PATH.")
    return name, path


def _last(path: str) -> str:
    """The name of a file or folder, wherever the person stands."""
    last = Path(path).name
    if last in ("", ".."):
        last = Path(os.path.expanduser(path)).resolve().name
    return last.removesuffix(".safetensors").removesuffix(".params")


def find(name: str, paths: Mapping[str, str]) -> str:
    """The model that a client means, of ``paths`` by their names; UnknownModel where it is none."""
    if name in paths:
        return name
    of_path = [each for each, path in paths.items() if path.rstrip("/") == name.rstrip("/")]
    if len(of_path) == 1:
        return of_path[0]
    raise UnknownModel(unknown("model", name[:200], paths))
