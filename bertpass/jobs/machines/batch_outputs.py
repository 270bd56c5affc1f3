"""What a batch writes: parts, and the whole file that they become, as Parquet, csv or jsonl.

Each new column has a kind, from which its type in Parquet and its form in the text files follow.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from bertpass.errors import UsageError
from bertpass.extras import require
from bertpass.jobs.machines.batch_inputs import TABLES, Columns, Input
from bertpass.text.data import own_files

_WRITTEN = (".csv", ".jsonl")
_CUT = b"bertpass.cut"  # in the metadata of a Parquet part: texts that were too long

#: kind of a new column -> its type in Arrow
_ARROW: dict[str, Callable[[Any], Any]] = {
    "text": lambda arrow: arrow.string(), "texts": lambda arrow: arrow.list_(arrow.string()),
    "number": lambda arrow: arrow.float32(), "numbers": lambda arrow: arrow.list_(arrow.float32()),
    "place": lambda arrow: arrow.int32(), "places": lambda arrow: arrow.list_(arrow.int32()),
    "entities": lambda arrow: arrow.list_(arrow.struct([
        ("label", arrow.string()), ("text", arrow.string()), ("score", arrow.float32()), ("start", arrow.int32()),
        ("end", arrow.int32())]))}

#: new columns with their kinds
Kinds = Mapping[str, str]


class Output(Protocol):
    """How parts and the whole file are written."""

    def write(self, file: BinaryIO, kept: Columns, values: Columns, cut: int) -> None:
        """A part: kept columns, new columns, and how many texts were cut."""

    def join(self, parts: Sequence[Path], file: BinaryIO) -> int:
        """Parts as one file, in their order; returns how many texts were cut."""


def writing(path: str, source: Input, kept: Sequence[str], kinds: Kinds) -> Output:
    """How an output of that name is written: .csv or .jsonl by its ending, anything else is Parquet.

    Raises
    ------
    UsageError
        A kept column of the input has no form in it.
    MissingDependencyError
        It is Parquet and pyarrow is not installed.
    """
    ending = Path(path).suffix.lower()
    if ending in _WRITTEN:
        source.check_plain(path)
        return (_Csv if ending == ".csv" else _Lines)([*kept, *kinds])
    return _Parquet(source.schema(), kinds)


def check_name(path: str) -> None:
    """UsageError for the name of a file that is read and not written."""
    if own_files.ending(Path(path)) in TABLES and Path(path).suffix.lower() not in _WRITTEN:
        raise UsageError(f"{path}: {Path(path).suffix} files are read and not written; name a .csv, .jsonl or .parquet "
                         "file.")


class _Parquet:
    def __init__(self, kept: Any, kinds: Kinds) -> None:
        self._arrow, self._parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
        self._kept, self._new = kept, [self._arrow.field(name, _ARROW[kind](self._arrow))
                                       for name, kind in kinds.items()]

    def write(self, file: BinaryIO, kept: Columns, values: Columns, cut: int) -> None:
        schema = self._arrow.schema([*self._kept, *self._new],
                                    metadata={**(self._kept.metadata or {}), _CUT: str(cut).encode()})
        columns = {**kept, **values}
        arrays = [self._arrow.array(columns[field.name], field.type) if isinstance(columns[field.name], list)
                  else columns[field.name] for field in schema]
        self._parquet.write_table(self._arrow.table(arrays, schema), file)

    def join(self, parts: Sequence[Path], file: BinaryIO) -> int:
        cut, schema = 0, self._arrow.schema([*self._kept, *self._new], metadata=self._kept.metadata)
        with self._parquet.ParquetWriter(file, schema) as writer:
            for part in parts:
                table = self._parquet.read_table(part)
                cut += int(table.schema.metadata[_CUT])
                writer.write_table(table.replace_schema_metadata(self._kept.metadata))
        return cut


@dataclass
class _Text:
    """Lines of text; the first line of a part is how many texts were cut."""

    names: Sequence[str]

    def write(self, file: BinaryIO, kept: Columns, values: Columns, cut: int) -> None:
        columns = [column if isinstance(column, list) else column.to_pylist() for column in kept.values()]
        columns += [[_plain(value) for value in column] for column in values.values()]
        file.write(b"%d\n" % cut)
        for row in zip(*columns, strict=True):
            file.write(self.line(row))

    def join(self, parts: Sequence[Path], file: BinaryIO) -> int:
        cut = 0
        file.write(self.header())
        for part in parts:
            with part.open("rb") as stream:
                cut += int(stream.readline())
                shutil.copyfileobj(stream, file)
        return cut

    def header(self) -> bytes:
        return b""

    def line(self, row: Sequence[Any]) -> bytes:
        raise NotImplementedError


class _Lines(_Text):
    """jsonl: an object per row."""

    def line(self, row: Sequence[Any]) -> bytes:
        return _json(dict(zip(self.names, row, strict=True))).encode() + b"\n"


class _Csv(_Text):
    """csv with lines that end in CR LF, as RFC 4180 and Python's csv module have it; lists and objects are JSON."""

    def header(self) -> bytes:
        return self.line(self.names)

    def line(self, row: Sequence[Any]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(["" if value is None else value if isinstance(value, str) else _json(value)
                                   for value in row])
        return text.getvalue().encode()


def _plain(value: Any) -> Any:
    """A new value as JSON has it: numbers of float32 with the digits that tell them apart."""
    if isinstance(value, float):
        return float(f"{np.float32(value):.9g}")
    if isinstance(value, np.ndarray):
        return [float(f"{each:.9g}") for each in value] if value.dtype == np.float32 else value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def _json(value: Any) -> str:
    """JSON; of a kept column NaN and infinity, which JSON does not have, are null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half a character somewhere inside
        return json.dumps(value)
    except ValueError:
        return _json(_finite(value))
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
