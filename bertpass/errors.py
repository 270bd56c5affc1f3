"""Every error that ends a command of bertpass on purpose: one type per cause, one exit code per type.

A person meets these as one sentence on standard error; a program meets them as exceptions. The exit codes are part of
the command-line contract (see docs/flags.md) and the HTTP codes are those a server answers with for the same cause.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BertpassError(Exception):
    """Base of all errors raised on purpose; its text is a sentence that says what to do next."""

    exit_code = 1
    http_status = 500


class UsageError(BertpassError):
    """A flag or an argument has a value that cannot be used."""

    exit_code = 2
    http_status = 422


class DataError(BertpassError):
    """A data file is missing, empty or malformed."""

    exit_code = 3
    http_status = 422


class ModelError(BertpassError):
    """A checkpoint, bundle, vocabulary or exported model is missing, malformed or does not fit."""

    exit_code = 4


class PassError(BertpassError):
    """A graph pass or its library failed, is unknown, or produced a graph that does not verify."""

    exit_code = 5


class GraphError(PassError):
    """A symbol file is not a graph that can be read, or a graph does not verify."""

    exit_code = 10


class MissingDependencyError(BertpassError):
    """A package is not installed; the text names the extra that brings it."""

    exit_code = 6


class DeviceError(BertpassError):
    """The device that was asked for is not there or cannot run what was asked.

    With ``lost`` it has failed so that every later call of this process fails too: start another process.
    """

    exit_code = 7
    lost = False


class DownloadError(BertpassError):
    """Something had to be downloaded and could not be."""

    exit_code = 8


class NoServerError(DownloadError):
    """No server answers at the address, or it answers that such requests are wrong."""

    exit_code = 11


class PrecisionError(BertpassError):
    """A model in low precision is further from its metrics in float32 than was allowed."""

    exit_code = 9


class TrainingError(BertpassError):
    """Training cannot go on: the loss or the gradients are no longer finite numbers."""

    exit_code = 12


class ServerError(BertpassError):
    """A server that a command starts for itself does not start, or gives no embeddings."""

    exit_code = 13


def nearest(name: str, known: Iterable[str], alike: float = 0.5) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to ``name``, or an empty string where none is at least
    so much ``alike`` (0 to 1). The dashes or the slash that all of them begin with do not count."""
    known = list(known)
    same = min(len(each) - len(each.lstrip("-/")) for each in (name, *known))
    folded = {k.lower()[same:]: k for k in known}
    hit = difflib.get_close_matches(name.lower()[same:], list(folded), n=1, cutoff=alike)
    return f" Did you mean '{folded[hit[0]]}'?" if hit else ""


def unknown(what: str, name: str, known: Iterable[str], meant: str = "") -> str:
    """One sentence for an unknown name: what it is, what there is, what was probably meant (``meant``, else "
    "nearest)."""
    known = list(known)
    hint = f" Did you mean '{meant}'?" if meant else nearest(name, known)
    return f"unknown {what} '{name}'.{hint} Known: {', '.join(known)}."
