"""Files that appear whole or not at all, and their checksums."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    import hashlib  # here, because most programs need none

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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


@contextlib.contextmanager
def replacing_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder to write files into; all of them, or none, come to ``folder`` when the block ends.

    ``folder`` is made where it is missing; what has the same names in it is replaced, and stays as it was where the
    block ends with an error. OSError where something cannot be written.
    """
    import tempfile

    target, moved = Path(folder), []
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".bertpass-") as name:
        new, old = Path(name, "new"), Path(name, "old")
        new.mkdir()
        old.mkdir()
        yield new
        try:
            for file in sorted(new.iterdir()):
                moved.append(file.name)
                with contextlib.suppress(FileNotFoundError):
                    os.replace(target / file.name, old / file.name)
                os.replace(file, target / file.name)
        except BaseException:  # the old ones must survive an interrupt as well
            for one in moved:
                if (old / one).exists():
                    os.replace(old / one, target / one)
                elif not (new / one).exists():
                    (target / one).unlink(missing_ok=True)
            raise


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
