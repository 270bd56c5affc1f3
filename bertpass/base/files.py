"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def replacing_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a new file to write into, which becomes ``path`` when the block ends without an error.

    The folder of ``path`` is made where it is missing. A process that has the old file open or mapped keeps it. OSError
    where the file cannot be written, or where ``path`` is something else than a plain file.
    """
    import tempfile  # here, because most programs only read

    target, temporary = Path(path), None
    if target.exists() and not target.is_file():
        raise OSError("it is there and is no plain file")  # /dev/null, a folder
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            yield file  # type: ignore[misc]
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of text in UTF-8, as :func:`replacing_file`; to a device, such as /dev/stdout, it is sent."""
    target, content = Path(path), text.encode("utf-8", "backslashreplace")  # a command line may hold what is no text
    if target.is_relative_to("/dev") or (target.exists() and not target.is_file() and not target.is_dir()):
        target.write_bytes(content)
        return
    with replacing_file(os.path.realpath(target)) as file:
        file.write(content)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write readable JSON with a final newline, as :func:`write_text`."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
