"""Reading labelled text: the files of the tasks (tab-separated, no quoting) and a person's own tsv, csv and jsonl."""

from __future__ import annotations

import csv
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError, nearest
from bertpass.text.files import check_text, read_lines
from bertpass.text.tasks import Columns, Kind, Task, find_split

Label = int | float


@dataclass(frozen=True)
class Example:
    """One row: its text, its second text or None, its label (class number, or a score for regression), its id.

    ``label`` is None where the file has none; ``id`` is the number of the row from 0 unless the file has ids.
    """

    text: str
    text_pair: str | None
    label: Label | None
    id: str


def read_split(task: Task, data_dir: str | Path, split: str) -> list[Example]:
    """All rows of a split of a task; the rows of two files (MNLI's dev) follow one another.

    Raises
    ------
    DataError
        No file, or a row that is not as declared; the text names file, line and what is expected.
    """
    rows: list[Example] = []
    for path in find_split(task, data_dir, split):
        rows += read_task_file(task, path, split)
    return rows


def read_task_file(task: Task, path: str | Path, split: str = "train") -> list[Example]:
    """All rows of one file in a task's layout. Labels are required in every split but test; see :func:`read_split`."""
    path = Path(path)
    columns = task.columns_of(split)
    rows: list[Example] = []
    bad: list[int] = []
    width = 0
    for number, line in read_lines(path):
        cells = line.split("\t")
        if not width:
            width = len(cells)
            if width < columns.least:
                raise DataError(f"{path}, line {number}: {_count(width)}, expected {_layout(columns)}.")
            if columns.header:
                continue
        if len(cells) != width:
            if not line:
                raise DataError(f"{path}, line {number} is empty; take it out.")
            if task.skip_bad_rows:
                bad.append(number)
                continue
            raise DataError(f"{path}, line {number}: {_count(len(cells))}, expected {width} as in the first line.")
        where = f"{path}, line {number}"
        rows.append(Example(
            cells[columns.text], None if columns.pair is None else cells[columns.pair],
            _task_label(task, cells, columns.label, split, where), str(len(rows))))
    if not rows:
        raise DataError(f"{path} has no rows; expected {_layout(columns)}.")
    if bad:
        warnings.warn(f"{path}: left out {len(bad)} rows with a wrong number of columns, the first in line {bad[0]}.",
                      stacklevel=2)
    return rows


def _task_label(task: Task, cells: list[str], column: int | None, split: str, where: str) -> Label | None:
    if column is None or column >= len(cells):
        if column is None or split.startswith("test"):
            return None
        raise DataError(f"{where}: no label; expected it in column {column + 1}.")
    if task.kind != "classification":
        return _score(cells[column], where)
    try:
        return task.label_index(cells[column].strip())
    except KeyError:
        raise _unknown_label(cells[column], task.labels, where) from None


def _unknown_label(label: str, labels: Sequence[str], where: str) -> DataError:
    return DataError(f"{where}: unknown label {label!r:.60}.{nearest(label, labels)} "
                     f"Expected one of {', '.join(labels)}.")


def _score(text: Any, where: str) -> float:
    try:
        score = float(text)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{where}: the label is {text!r:.60}, expected a number.")
    return score


def _count(columns: int) -> str:
    return f"{columns} column{'' if columns == 1 else 's'}"


def _layout(columns: Columns) -> str:
    parts = [f"text in column {columns.text + 1}"]
    if columns.pair is not None:
        parts.append(f"second text in column {columns.pair + 1}")
    if columns.label is not None:
        parts.append(f"label in column {columns.label + 1}")
    return "tab-separated " + ", ".join(parts) + (", after a header line" if columns.header else ", no header line")


# -- a person's own data -----------------------------------------------------------------------------------------------


def read_own(path: str | Path, kind: Kind = "classification", labels: Sequence[str] | None = None,
             need_labels: bool = True) -> tuple[list[Example], tuple[str, ...]]:
    """Read own data: .tsv, .csv or .jsonl (each also with .gz) with fields text, label, and optionally text_pair, id.

    The first line of tsv and csv names the columns; other columns are left aside. tsv has no quoting; csv is quoted as
    Python's csv module and spreadsheets do. jsonl has one object a line.

    Parameters
    ----------
    labels
        The classes in order. None: the labels of this file, sorted (as numbers if all are whole numbers); give what
        comes back for the training file when reading the others.
    need_labels
        False for files to predict: a missing or empty label is then no error.

    Returns
    -------
    examples, labels
        ``labels`` is empty unless ``kind`` is "classification".

    Raises
    ------
    UsageError
        The name of the file ends in none of these.
    DataError
        A row is malformed; the text names file, line and what is expected.
    """
    path = Path(path)
    rows = list(_own_rows(path, need_labels))
    if not rows:
        raise DataError(f"{path} has no rows; expected text[, text_pair], label.")
    if len({pair is None for _, _, pair, _, _ in rows}) == 2:
        where = next(where for where, _, pair, _, _ in rows if pair is None)
        raise DataError(f"{where}: no text_pair, but other rows have one; give it to all rows or to none.")
    known: tuple[str, ...] = ()
    if kind == "classification":
        known = tuple(labels) if labels is not None else _sorted_labels(r[3] for r in rows if r[3] is not None)
        if need_labels and len(known) < 2:
            raise DataError(f"{path}: found only the label {', '.join(known)}; classification needs at least two.")
    index = {label: at for at, label in enumerate(known)}
    examples = []
    for at, (where, text, pair, label, name) in enumerate(rows):
        value: Label | None = None
        if label is not None:
            if kind == "classification":
                if label not in index:
                    raise _unknown_label(label, known, where)
                value = index[label]
            elif kind == "regression":
                value = _score(label, where)
        examples.append(Example(text, pair, value, str(at) if name is None else name))
    return examples, known


_Row = tuple[str, str, "str | None", "str | None", "str | None"]  # where, text, text_pair, label, id


def _own_rows(path: Path, need_labels: bool) -> Iterator[_Row]:
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers = {".tsv": _tsv_fields, ".csv": _csv_fields, ".jsonl": _jsonl_fields}
    if ending not in readers:
        raise UsageError(f"{path}: the name has to end in .tsv, .csv or .jsonl (or one of these and .gz).")
    for where, fields in readers[ending](path):
        if fields.get("text") is None:
            raise DataError(f"{where}: no text; expected text[, text_pair], label.")
        label = fields.get("label")
        if label is None or label == "":
            if need_labels:
                raise DataError(f"{where}: no label; expected text[, text_pair], label.")
            label = None
        pair = fields.get("text_pair")
        yield (where, check_text(fields["text"], where), None if pair is None else check_text(pair, where),
               None if label is None else _plain(label, where), None if fields.get("id") is None else str(fields["id"]))


def _plain(label: Any, where: str) -> str:
    """A label as a string; JSON may hold a number."""
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise DataError(f"{where}: the label is {label!r:.60}, expected text or a number.")
    return check_text(label.strip(), where) if isinstance(label, str) else str(label)


def _sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    found = set(labels)
    try:
        return tuple(sorted(found, key=int))
    except ValueError:
        return tuple(sorted(found))


def _tsv_fields(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = ((number, line.split("\t")) for number, line in read_lines(path))
    yield from _with_header(path, lines)


def _csv_fields(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in read_lines(path):  # noqa: B007 (a quoted cell may go on in the next line)
            yield line + "\n"

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in csv.reader(lines(), strict=True):
                yield number, cells
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: not csv ({error}); quote cells that hold commas.") from error

    yield from _with_header(path, rows())


def _with_header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    header: list[str] = []
    for number, cells in rows:
        if not header:
            header = [cell.strip().lower() for cell in cells]
            if "text" not in header or len(set(header)) != len(header):
                raise DataError(f"{path}, line {number}: expected a header line with text[, text_pair], label; found "
                                f"{', '.join(cells)!r:.80}.")
            continue
        if len(cells) != len(header):
            if cells in ([], [""]):
                raise DataError(f"{path}, line {number} is empty; take it out.")
            raise DataError(f"{path}, line {number}: {_count(len(cells))}, expected {len(header)} "
                            f"({', '.join(header)}).")
        yield f"{path}, line {number}", dict(zip(header, cells, strict=True))


def _jsonl_fields(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if not line:
            raise DataError(f"{where} is empty; take it out.")
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{where}: not a JSON object ({error}).") from error
        if not isinstance(fields, dict):
            raise DataError(f"{where}: expected a JSON object with text[, text_pair], label.")
        yield where, fields
