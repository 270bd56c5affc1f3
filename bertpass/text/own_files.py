"""The formats of a person's own data: tsv, csv and jsonl (each also with .gz), as rows of named fields."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError
from bertpass.text.files import read_lines

KNOWN = ("text", "text_pair", "label", "labels", "id", "group")  # fields with a meaning, in any case in a header
RANKING = {"query": "text", "passage": "text_pair", "relevance": "label"}  # what ranking data may call them
EXPECTED = "text[, text_pair], label"


def rows(path: Path, names: dict[str, str] | None = None, needed: str | None = None,
         ) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, fields by name) of each row; ``names`` are other names of known fields.

    ``needed`` is the one field that must be there; by default text, as in data to train with.

    The first line of tsv and csv names the columns. tsv has no quoting; csv is quoted as Python's csv module and
    spreadsheets do; jsonl has one object a line.

    Raises
    ------
    UsageError
        The name of the file ends in none of these.
    DataError
        A row is malformed; the text names file, line and what is expected.
    """
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}
    if ending not in readers:
        raise UsageError(f"{path}: the name has to end in .tsv, .csv or .jsonl (or one of these and .gz).")
    return readers[ending](path, names or {}, needed)


def _known(name: str, names: dict[str, str]) -> str:
    lower = name.strip().lower()
    return names.get(lower, lower if lower in KNOWN else name.strip())


def count(columns: int) -> str:
    """A number of columns in words."""
    return f"{columns} column{'' if columns == 1 else 's'}"


def _tsv(path: Path, names: dict[str, str], needed: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = ((number, line.split("\t")) for number, line in read_lines(path))
    yield from _with_header(path, lines, names, needed)


def _csv(path: Path, names: dict[str, str], needed: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in read_lines(path):  # noqa: B007 (a quoted cell may go on in the next line)
            yield line + "\n"

    def cells() -> Iterator[tuple[int, list[str]]]:
        try:
            for row in csv.reader(lines(), strict=True):
                yield number, row
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: not csv ({error}); quote cells that hold commas.") from error

    yield from _with_header(path, cells(), names, needed)


def _with_header(path: Path, lines: Iterator[tuple[int, list[str]]], names: dict[str, str],
                 needed: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    header: list[str] = []
    for number, cells in lines:
        if not header:
            header = [_known(cell, names) for cell in cells]
            if (needed or "text") not in header or len(set(header)) != len(header):
                expected = EXPECTED if needed is None else f"the column {needed}"
                raise DataError(f"{path}, line {number}: expected a header line with {expected}; found "
                                f"{', '.join(cells)!r:.80}.")
            continue
        if len(cells) != len(header):
            if cells in ([], [""]):
                raise DataError(f"{path}, line {number} is empty; take it out.")
            raise DataError(f"{path}, line {number}: {count(len(cells))}, expected {len(header)} "
                            f"({', '.join(header)}).")
        yield f"{path}, line {number}", dict(zip(header, cells, strict=True))


def _jsonl(path: Path, names: dict[str, str], needed: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if not line:
            raise DataError(f"{where} is empty; take it out.")
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{where}: not a JSON object ({error}).") from error
        if not isinstance(fields, dict):
            raise DataError(f"{where}: expected a JSON object with {needed or EXPECTED}.")
        found = {_known(name, names): value for name, value in fields.items()}
        if needed is not None and needed not in found:
            raise DataError(f"{where}: there is no '{needed}'; found {', '.join(fields) or 'nothing'}.")
        yield where, found
