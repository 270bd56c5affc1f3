"""The Python of an engine's worker: another one where the engine's packages clash with MXNet's or the others'."""

from __future__ import annotations

import shutil
import sys

from bertpass.base.paths import ROOT
from bertpass.base.variables import value
from bertpass.errors import UsageError

#: engine, or group of libraries -> variable that names the Python of its environment, "" where there is none
APART = {"tensorflow": "BERTPASS_TENSORFLOW_PYTHON", "peers": "", "infinity": ""}


def python_of(engine: str) -> str:
    """The program that runs an engine's worker.

    For an engine of :data:`APART` what its variable names, else that of the environment ``.venv-ENGINE`` beside the
    package, which ``make ENGINE`` makes, and this one where there is none; for every other engine this one. It has to
    be of this Python's version, for which the native modules were built.

    Raises
    ------
    UsageError
        The variable names no program.
    """
    if engine not in APART:
        return sys.executable
    named = value(APART[engine]) if APART[engine] else ""
    if named:
        if not shutil.which(named):
            raise UsageError(f"{APART[engine]}={named}: there is no such program; name the Python of an environment "
                             f"with {engine}, or take it back for the one of `make {engine}`.")
        return named
    own = ROOT / f".venv-{engine}" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def provided(engine: str) -> bool:
    """Whether somebody has given the engine what it needs: for one of :data:`APART` its environment."""
    return engine not in APART or python_of(engine) != sys.executable
