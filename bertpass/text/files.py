"""Reading text files, plain or gzip, the strict way: UTF-8, lines end at LF alone, faults have a line number."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bertpass.errors import DataError
from bertpass.file_kinds import kind, no_json

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UTF16 = "UTF-16; convert it with: iconv -f UTF-16 -t UTF-8"
_NO_TEXT = {b"PK\x03\x04": "a zip archive (an .xlsx, perhaps); save it as csv",
            b"\xff\xfe": _UTF16, b"\xfe\xff": _UTF16,
            b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"}
_PARQUET = b"PAR1"


def check_text(text: object, where: str) -> str:
    """Return ``text`` if it is a string that UTF-8 can carry.

    Raises
    ------
    DataError
        Not a string, or it holds half of a UTF-16 pair (a lone surrogate, as ``"\\ud800"`` in JSON gives).
    """
    if not isinstance(text, str):
        raise DataError(f"{where}: expected text, found {type(text).__name__} ({text!r:.40}).")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: character {error.start + 1} is a lone surrogate (U+{ord(text[error.start]):04X}), "
                        "which is half a character; write the text as UTF-8.") from error
    return text


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes; gzip is unpacked on the way, under any name."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    file = path.open("rb")
    if file.peek(2)[:2] != _GZIP:
        return file
    return gzip.open(file, "rb")  # type: ignore[return-value]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of a UTF-8 file, plain or gzip.

    Only LF ends a line: U+2028, U+2029, U+0085, a form feed or a lone CR stay part of the text (``str.splitlines``
    would cut at all of them). A CR before the LF and a byte order mark at the start are dropped. Empty lines at the end
    of the file are left out; an empty line before a line that is not empty is yielded as "".

    Raises
    ------
    DataError
        The file is missing, cannot be read, is a damaged gzip file, or a line is not UTF-8.
    """
    empty: list[int] = []
    for number, raw in _raw_lines(path):
        if number == 1:
            raw = raw.removeprefix(_BOM)
            _refuse_other_kinds(path, raw)
        raw = raw.rstrip(b"\n")
        if raw.endswith(b"\r"):
            raw = raw[:-1]
        if not raw:
            empty.append(number)
            continue
        yield from ((at, "") for at in empty)
        empty.clear()
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if number == 1 and raw.startswith(_PARQUET):
                raise DataError(f"{path} is Parquet; save it as jsonl or csv.") from error
            if number == 1 and (what := kind(raw)):
                raise DataError(f"{path} is no text: {what}.") from error
            raise DataError(f"{path}, line {number}: byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is "
                            "not UTF-8; convert the file with: iconv -f ENCODING -t UTF-8.") from error


def _refuse_other_kinds(path: Path, start: bytes) -> None:
    """DataError for a first line that no text has."""
    for begin, what in _NO_TEXT.items():
        if start.startswith(begin):
            raise DataError(f"{path} is {what}.")
    if start and not start.strip(b"\x00"):
        raise DataError(f"{path} is no text: {kind(start)}.")


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with open_bytes(path) as stream:
            yield from enumerate(stream, start=1)
    except FileNotFoundError as error:
        raise DataError(f"no file at {path}.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or not a gzip file ({error}); get it again.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; name the file in it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file, plain or .gz; every fault is a DataError with the line where it is."""
    data = b"".join(raw for _, raw in _raw_lines(path)).removeprefix(_BOM)
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        reason = no_json(data, f"byte {error.start + 1} is not UTF-8; JSON is always UTF-8")
        raise DataError(f"{path}: {reason}.") from error
    except json.JSONDecodeError as error:
        if what := no_json(data, ""):
            raise DataError(f"{path} is no JSON: {what}.") from error
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno}).") from error
    except RecursionError as error:
        raise DataError(f"{path}: the JSON is nested too deeply to be a data file.") from error
