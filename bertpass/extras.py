"""Packages that only some parts need: imported here, so that a missing one is a sentence that names its extra."""

from __future__ import annotations

import importlib
from typing import Any

from bertpass.errors import MissingDependencyError


def command(extra: str) -> str:
    """The command that installs an extra; bertpass is in no package index, so it runs where its source is."""
    return f"pip install '.[{extra}]' in the source folder of bertpass"


def require(module: str, extra: str) -> Any:
    """The module of that name, which the extra ``bertpass[extra]`` installs.

    Raises
    ------
    MissingDependencyError
        It is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"does not load ({error})"
        raise MissingDependencyError(
            f"{module.partition('.')[0]} {reason}; install it with: {command(extra)}.") from error
