"""The formats of a person's own data: tsv, csv and jsonl (each also with .gz), as rows of named fields."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError
from bertpass.file_kinds import of_the_web
from bertpass.text.files import read_lines

KNOWN = ("text", "text_pair", "label", "labels", "id", "group")  # fields with a meaning, in any case in a header
RANKING = {"query": "text", "passage": "text_pair", "relevance": "label"}  # what ranking data may call them
EXPECTED = "text[, text_pair], label"
_INDEX = re.compile(r"|Unnamed: \d+(\.\d+)?|__index_level_\d+__")  # names of columns that only number the rows
_LONGEST = 1 << 30  # characters of a cell; Python's csv module would stop at 131,072
_MARKS = (",", ";", "\t", "|")  # what may stand between the cells of csv
_SAID = re.compile(r"sep=([,;\t|])", re.IGNORECASE)  # a first line for spreadsheets, which is no header
_FROM_CR = "convert the file with: tr '\\r' '\\n'"

Fields = dict[str, Any]


@dataclass(frozen=True)
class _Wanted:
    """Other names of known fields, the field that must be there, whether all columns are read, and the columns that a
    person has chosen for fields."""

    names: Mapping[str, str] = field(default_factory=dict)
    needed: str | None = None
    all_columns: bool = False
    chosen: Mapping[str, str] = field(default_factory=dict)
    may_lack: Collection[str] = ()

    def known(self, name: str) -> str:
        """The name of a column or field, by which it is looked for; "" where another column was chosen for it."""
        lower = name.strip().lower()
        for one, column in self.chosen.items():
            if lower == column.strip().lower():
                return one
        found = self.names.get(lower, lower if lower in KNOWN else name.strip())
        return "" if found in self.chosen else found

    def check_chosen(self, where: str, fields: Collection[str], names: Iterable[str]) -> None:
        """DataError where a column that was chosen is not there."""
        for one, column in self.chosen.items():
            if one not in fields and one not in self.may_lack:
                raise DataError(no_column(where, column, names))


def no_column(where: str, column: str, names: Iterable[str]) -> str:
    """The sentence for a column or field that is not there; it names those that are."""
    return f"{where}: there is no column '{column}'; there are: {', '.join(filter(None, names)) or 'none'}."


def rows(path: Path, names: Mapping[str, str] | None = None, needed: str | None = None, *, all_columns: bool = False,
         chosen: Mapping[str, str] | None = None, may_lack: Collection[str] = ()) -> Iterator[tuple[str, Fields]]:
    """Yield (where, fields by name) of each row.

    The first line of tsv and csv names the columns. tsv has no quoting; csv is quoted as Python's csv module and
    spreadsheets do, with cells apart by commas, or by the semicolons, tabs or bars that its header has or a first line
    such as "sep=;" names. jsonl has one object a line. Columns without a name, and those that pandas calls
    "Unnamed: 0", are left aside.

    Parameters
    ----------
    names
        Other names of known fields.
    needed
        The one field that must be there; by default text, as in data to train with.
    all_columns
        Whether columns without a meaning are read too, so that none of them may be there twice.
    chosen
        Field (text, text_pair, label) -> the column that it is read from, in any case.
    may_lack
        Those of ``chosen`` whose column may be missing.

    Raises
    ------
    UsageError
        The name of the file ends in none of these.
    DataError
        A row is malformed; the text names file, line and what is expected.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file in it.")
    readers = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}
    if ending(path) not in readers:
        raise UsageError(f"{path}: the name has to end in .tsv, .csv or .jsonl (or one of these and .gz).")
    return readers[ending(path)](path, _Wanted(names or {}, needed, all_columns, chosen or {}, may_lack))


def ending(path: Path) -> str:
    """The end of a file's name in lower case, without .gz, as ".csv"."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def count(columns: int) -> str:
    """A number of columns in words."""
    return f"{columns} column{'' if columns == 1 else 's'}"


def _tsv(path: Path, wanted: _Wanted) -> Iterator[tuple[str, Fields]]:
    lines = ((number, line.split("\t")) for number, line in read_lines(path))
    yield from _with_header(path, lines, wanted, tabs=True)


def _csv(path: Path, wanted: _Wanted) -> Iterator[tuple[str, Fields]]:
    number = begin = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in read_lines(path):  # a quoted cell may go on in the next line
            if number > 1 or not _SAID.fullmatch(line):
                yield line + "\n"

    def cells() -> Iterator[tuple[int, list[str]]]:
        nonlocal begin
        csv.field_size_limit(_LONGEST)
        try:
            for row in csv.reader(lines(), delimiter=_delimiter(path, wanted), strict=True):
                yield number, row
                begin = number
        except csv.Error as error:
            raise DataError(_csv_fault(path, begin + 1, number, str(error))) from error

    yield from _with_header(path, cells(), wanted)


def _delimiter(path: Path, wanted: _Wanted) -> str:
    """What stands between the cells: a comma, unless the header has its names apart by something else."""
    header = next((line for _, line in read_lines(path)), "")
    if said := _SAID.fullmatch(header):
        return said[1]
    for mark in _MARKS:
        names = [wanted.known(cell.strip().strip('"')) for cell in header.split(mark)]
        if mark in header and (wanted.needed or "text") in names:
            return mark
    return max(_MARKS, key=header.count) if wanted.chosen else ","  # a column that is not there is told by its header


def _csv_fault(path: Path, begin: int, number: int, error: str) -> str:
    """What is wrong with a row that begins in one line and was read up to another."""
    if "end of data" in error:
        return f"{path}, line {begin}: not csv: a quote opens in this row and is never closed."
    if "new-line character" in error:
        return f"{path}, line {number}: not csv: lines end in CR alone; {_FROM_CR}."
    if "expected after" in error:
        return (f"{path}, line {number}: not csv: something stands between a closing quote and the next cell; inside a "
                'quoted cell a quote is written twice ("").')
    return f"{path}, line {number}: not csv ({error})."


def _with_header(path: Path, lines: Iterator[tuple[int, list[str]]], wanted: _Wanted, tabs: bool = False,
                 ) -> Iterator[tuple[str, Fields]]:
    """(where, fields) of rows of cells; with ``tabs`` nothing else stands between cells."""
    header: list[str] = []
    for number, cells in lines:
        if not header:
            header = [wanted.known(cell) for cell in cells]
            _check_header(f"{path}, line {number}", header, cells, wanted, tabs)
            continue
        if len(cells) != len(header):
            if cells in ([], [""]):
                raise DataError(f"{path}, line {number} is empty; take it out.")
            raise DataError(f"{path}, line {number}: {count(len(cells))}, expected {len(header)} "
                            f"({', '.join(name or '(no name)' for name in header)}).")
        yield f"{path}, line {number}", {name: cell for name, cell in zip(header, cells, strict=True)
                                         if not _INDEX.fullmatch(name)}


def _check_header(where: str, header: list[str], cells: list[str], wanted: _Wanted, tabs: bool) -> None:
    """DataError where a header lacks the field that must be there, or has one twice that is read."""
    if any("\r" in cell for cell in cells):
        raise DataError(f"{where}: lines end in CR alone; {_FROM_CR}.")
    _refuse_twice(where, "column", header, wanted)
    if wanted.chosen and not of_the_web(", ".join(cells).encode("utf-8")):
        wanted.check_chosen(where, header, cells)
    if (wanted.needed or "text") in header:
        return
    line = ", ".join(cells)
    if page := of_the_web(line.encode("utf-8")):
        raise DataError(f"{where}: {page}.")
    mark = next((mark for mark in _MARKS if len(cells) == 1 and mark in line), None)
    hint = "" if mark is None or not tabs else f" Are its cells apart by {mark!r}? Then name it .csv."
    expected = EXPECTED if wanted.needed is None else f"the column {wanted.needed}"
    raise DataError(f"{where}: expected a header line with {expected}; found {line!r:.80}.{hint}")


def _refuse_twice(where: str, what: str, names: list[str], wanted: _Wanted) -> None:
    """DataError where a column or field that is read is there twice."""
    for name in names:
        read = wanted.all_columns or name in KNOWN or name in wanted.chosen or name == wanted.needed
        if names.count(name) > 1 and read and not _INDEX.fullmatch(name):
            raise DataError(f"{where}: the {what} {name} is there twice; take one out or give it another name.")


class _Object(dict[str, Any]):
    """An object of JSON that knows all its names, of which one may be there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _jsonl(path: Path, wanted: _Wanted) -> Iterator[tuple[str, Fields]]:
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if not line:
            raise DataError(f"{where} is empty; take it out.")
        try:
            fields = json.loads(line, object_pairs_hook=_Object)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{where}: not a JSON object ({of_the_web(line.encode('utf-8')) or error}).") from error
        if not isinstance(fields, _Object):
            raise DataError(f"{where}: expected a JSON object with {wanted.needed or EXPECTED}.")
        _refuse_twice(where, "field", list(map(wanted.known, fields.names)), wanted)
        found = {known: value for name, value in fields.items() if (known := wanted.known(name)) or not name}
        wanted.check_chosen(where, found, fields)
        if wanted.needed is not None and wanted.needed not in found:
            raise DataError(f"{where}: there is no '{wanted.needed}'; found {', '.join(fields) or 'nothing'}.")
        yield where, found
