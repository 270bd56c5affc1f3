"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bertpass.base import files
from bertpass.errors import ModelError
from bertpass.file_kinds import no_json

# The file by which one knows a folder's kind.
BUNDLE_FILE = "bundle.json"
HUGGINGFACE_FILE = "config.json"
MODULES_FILE = "modules.json"


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file; ModelError with ``what`` it is where it is missing or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path} ({what}): {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        reason = no_json(path.read_bytes(), str(error).splitlines()[0])
        raise ModelError(f"{path} ({what}) is not valid JSON: {reason}.") from error


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; ModelError as in :func:`read_json`, and where it is not an object."""
    content = read_json(path, what)
    if not isinstance(content, dict):
        raise ModelError(f"{path} ({what}) is not an object of fields.")
    return content


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mark: str, what: str) -> Iterator[Path]:
    """Give a new folder to write into, which becomes ``path`` when the block ends without an error.

    An existing folder at ``path`` is replaced if it is empty or holds the file ``mark``, by which one knows that it is
    of the same kind (``what``, in words); it stays as it was until the new one is complete.

    Raises
    ------
    ModelError
        ``path`` is something else, or cannot be written.
    """
    import tempfile  # here, because most programs only read

    target = Path(os.path.abspath(path))
    if target.exists() and not target.is_dir():
        raise ModelError(f"{path} is a file; give a folder to write {what} to.")
    if target.is_dir() and any(target.iterdir()) and not (target / mark).is_file():
        raise ModelError(f"{path} is not empty and is not {what} (it has no {mark}); give another folder.")
    aside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True) as t:
            fresh = Path(t) / "new"
            fresh.mkdir()
            yield fresh
            if target.exists():
                aside = Path(t) / "old"
                os.rename(target, aside)
            try:
                os.rename(fresh, target)
            except BaseException:  # the old one must survive an interrupt as well
                if aside is not None:
                    os.rename(aside, target)
                raise
    except OSError as error:
        raise ModelError(f"cannot write {what} to {path}: {error.strerror or error}.") from error


@contextlib.contextmanager
def replacing_file(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """:func:`bertpass.base.files.replacing_file`; ModelError with ``what`` it is where it cannot be written."""
    try:
        with files.replacing_file(path) as file:
            yield file
    except OSError as error:
        raise ModelError(f"cannot write {what} {path}: {error.strerror or error}.") from error
