"""What a batch reads, part by part: Parquet files, and csv, tsv and jsonl files without further packages.

A part is columns by name: of a Parquet file as Arrow has them, of the others as lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bertpass.errors import DataError, UsageError, unknown
from bertpass.extras import require
from bertpass.text.data import own_files
from bertpass.text.files import check_text

TABLES = (".csv", ".tsv", ".jsonl")

#: types of JSON that a kept column has all through -> the one type that it has in Parquet
_KEPT = {(): "null", ("str",): "string", ("bool",): "bool_", ("int",): "int64", ("float",): "float64",
         ("float", "int"): "float64"}

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """The columns that are read: ``texts``, which hold texts or nothing, and ``keep``, which go to the output."""

    texts: tuple[str, ...]
    keep: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys([*self.keep, *self.texts]))


class Input(Protocol):
    """A file that was looked through: all that is wrong with it was said when it was opened."""

    rows: int

    def read(self, start: int, stop: int) -> Columns:
        """Columns of these rows."""

    def schema(self) -> Any:
        """Arrow's schema of the kept columns."""

    def check_plain(self, output: str) -> None:
        """UsageError where a kept column has no form in the text file ``output``."""


def opened(path: str, wanted: Wanted) -> Input:
    """The input of that name; one that is neither .csv, .tsv nor .jsonl (or one of these and .gz) is Parquet.

    Raises
    ------
    DataError, UsageError
        The file cannot be read, a column is missing, or a row has something else than a text; file and line say where.
    MissingDependencyError
        It is Parquet and pyarrow is not installed.
    """
    if own_files.ending(Path(path)) in TABLES:
        return _Table(Path(path), wanted)
    return _Parquet(path, wanted)


class _Parquet:
    """Row groups of Parquet; one is read once for all parts in it."""

    def __init__(self, path: str, wanted: Wanted) -> None:
        self._arrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
        self._wanted, self._path = wanted, path
        try:
            self._file = parquet.ParquetFile(path)
            self._schema = self._file.schema_arrow
        except (OSError, self._arrow.ArrowException) as error:
            said = " ".join(str(error).split())
            raise DataError(f"{path} is not a Parquet file that can be read ({said}); the names of other files end in "
                            f"{', '.join(TABLES)}.") from error
        for name in wanted.all:
            if name not in self._schema.names:
                raise UsageError(f"{path}: {unknown('column', name, self._schema.names)}")
        types = self._arrow.types
        for name in wanted.texts:
            kind = self._schema.field(name).type
            of = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_string(of) or types.is_large_string(of) or types.is_null(of)
                    or str(of) == "string_view"):
                raise DataError(f"{path}: column {name} holds {kind} and not texts.")
        self.rows = int(self._file.metadata.num_rows)
        counts = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._group: tuple[int, Any] = (-1, None)

    def read(self, start: int, stop: int) -> Columns:
        pieces = []
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        for group in range(int(first), int(last) + 1):
            if self._group[0] != group:
                self._group = group, self._file.read_row_group(group, columns=self._wanted.all)
            begin = int(self._ends[group - 1]) if group else 0
            low = max(start - begin, 0)
            pieces.append(self._group[1].slice(low, stop - begin - low))
        table = self._arrow.concat_tables(pieces)
        return {name: table.column(name) for name in self._wanted.all}

    def schema(self) -> Any:
        fields = [self._schema.field(name) for name in self._wanted.keep]
        return self._arrow.schema(fields, metadata=self._schema.metadata)

    def check_plain(self, output: str) -> None:
        types = self._arrow.types

        def plain(kind: Any) -> bool:
            if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind):
                return plain(kind.value_type)
            if types.is_struct(kind):
                return all(plain(kind.field(at).type) for at in range(kind.num_fields))
            return any(getattr(types, f"is_{each}")(kind)
                       for each in ("string", "large_string", "boolean", "integer", "floating", "null"))

        for name in self._wanted.keep:
            kind = self._schema.field(name).type
            if not plain(kind):
                raise UsageError(f"--keep {name}: {output} has no form for {kind}; write a .parquet file, or leave the "
                                 "column out.")


class _Table:
    """csv, tsv and jsonl, read from the beginning to the end; parts come in their order, or it begins again."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path, self._wanted, self.rows = path, wanted, 0
        self._kinds: dict[str, set[str]] = {name: set() for name in wanted.keep}
        self._rows, self._at = self._begin(), 0
        for where, fields in self._begin():
            self._check(where, fields)
            self.rows += 1

    def _begin(self) -> Iterator[tuple[str, own_files.Fields]]:
        return own_files.rows(self._path, {}, self._wanted.texts[0], chosen={name: name for name in self._wanted.all})

    def _check(self, where: str, fields: own_files.Fields) -> None:
        """DataError for what is no text and has to be one, or cannot be written."""
        for name in self._wanted.texts:
            if fields[name] is not None:
                check_text(fields[name], f"{where}, {name}")
        for name in self._wanted.keep:
            value = fields[name]
            if isinstance(value, str):
                check_text(value, f"{where}, {name}")
            if value is not None:
                large = type(value) is int and not -2**63 <= value < 2**63
                kind = "object" if isinstance(value, dict) else type(value).__name__
                self._kinds[name].add("a number beyond 64 bits" if large else kind)

    def read(self, start: int, stop: int) -> Columns:
        if start < self._at:
            self._rows, self._at = self._begin(), 0
        rows = [fields for _, fields in itertools.islice(self._rows, start - self._at, stop - self._at)]
        if len(rows) < stop - start:
            raise DataError(f"{self._path} was changed while it was read; start again.")
        self._at = stop
        return {name: [fields[name] for fields in rows] for name in self._wanted.all}

    def schema(self) -> Any:
        arrow = require("pyarrow", "batch")
        fields = []
        for name in self._wanted.keep:
            kinds = tuple(sorted(self._kinds[name]))
            if kinds not in _KEPT:
                raise UsageError(f"--keep {name}: its values are {', '.join(kinds)}, and a column of Parquet has one "
                                 "type; write a .jsonl file, or leave the column out.")
            fields.append((name, getattr(arrow, _KEPT[kinds])()))
        return arrow.schema(fields)

    def check_plain(self, output: str) -> None:
        """Whatever is read from such a file can be written into one."""
