"""Reading labelled text: the files of the tasks (tab-separated, no quoting) and a person's own tsv, csv and jsonl."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError
from bertpass.text.data import labels as label_cells
from bertpass.text.data import own_files
from bertpass.text.data.conll import read_conll
from bertpass.text.data.number_columns import NumberColumns, number_columns
from bertpass.text.data.own_files import EXPECTED, count
from bertpass.text.data.tagging import label_names
from bertpass.text.data.tasks import Columns, Kind, Task, find_split, own_task
from bertpass.text.example import Example, Label
from bertpass.text.files import check_text, read_lines
from bertpass.text.squad.ranking import read_paragraphs

__all__ = ["Example", "doubts", "read_own", "read_split", "read_task_file", "refuse_other_pairs"]


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
    if task.layout == "conll":
        return read_conll(path, need_tags=not split.startswith("test"))
    if task.layout == "paragraphs":
        return read_paragraphs(path, split)
    return _read_columns(task, Path(path), split)


def _read_columns(task: Task, path: Path, split: str) -> list[Example]:
    columns = task.columns_of(split)
    rows: list[Example] = []
    bad: list[int] = []
    width = 0
    for number, line in read_lines(path):
        cells = line.split("\t")
        if not width:
            width = len(cells)
            if width < columns.least:
                raise DataError(f"{path}, line {number}: {count(width)}, expected {_layout(columns)}.")
            if columns.header:
                continue
        if len(cells) != width:
            if not line:
                raise DataError(f"{path}, line {number} is empty; take it out.")
            if task.skip_bad_rows:
                bad.append(number)
                continue
            raise DataError(f"{path}, line {number}: {count(len(cells))}, expected {width} as in the first line.")
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
    return label_cells.read(task, cells[column], where)


def _layout(columns: Columns) -> str:
    parts = [f"text in column {columns.text + 1}"]
    if columns.pair is not None:
        parts.append(f"second text in column {columns.pair + 1}")
    if columns.label is not None:
        parts.append(f"label in column {columns.label + 1}")
    return "tab-separated " + ", ".join(parts) + (", after a header line" if columns.header else ", no header line")


# -- a person's own data -----------------------------------------------------------------------------------------------


def read_own(path: str | Path, kind: Kind = "classification", labels: Sequence[str] | None = None,
             need_labels: bool = True, separator: str = label_cells.SEPARATOR, word_column: int | None = None,
             tag_column: int | None = None, columns: Mapping[str, str] | None = None,
             ) -> tuple[list[Example], tuple[str, ...]]:
    """Read own data: .tsv, .csv or .jsonl (each also with .gz) with fields text, label, and optionally text_pair, id.

    The first line of tsv and csv names the columns; other columns are left aside. tsv has no quoting; csv is quoted as
    Python's csv module and spreadsheets do. jsonl has one object a line.

    =============  ====================================================================================================
    kind           what differs
    =============  ====================================================================================================
    ranking        text, text_pair and label may be called query, passage and relevance (0 to 1); optionally group,
                   else the rows of one query are those with the same text
    regression     label holds a number, or a list of them as JSON writes it; or several columns are chosen for it, with
                   commas between their names, and each holds a number
    multilabel     label holds names with ``separator`` between them, or nothing; in jsonl also a list. Where there is
                   no label, every other column is a label of that name and holds 0 or 1
    tokens         a CoNLL file with any ending, see :func:`bertpass.text.data.conll.read_conll`
    =============  ====================================================================================================

    Parameters
    ----------
    labels
        The classes in order, or the names of several outputs of a regression. None: the labels of this file, sorted (as
        numbers if all are whole numbers); give what comes back for the training file when reading the others.
    need_labels
        False for files to predict: a missing or empty label is then no error.
    columns
        Field (text, text_pair, label) -> name of the column that it is read from, in any case. Such a column is named
        in the place of the field's own name.
    word_column, tag_column
        Of a CoNLL file, see :func:`bertpass.text.data.conll.read_conll`.

    Returns
    -------
    examples, labels
        ``labels`` is empty for the kinds of numbers, except a regression with several per row.

    Raises
    ------
    UsageError
        The name of the file ends in none of these, or its columns are not those of the model's outputs.
    DataError
        A row is malformed; the text names file, line and what is expected.
    """
    path = Path(path)
    if kind == "tokens":
        if columns:
            raise UsageError(f"{path}: a CoNLL file has no names of columns; give --word_column and --tag_column.")
        sentences = read_conll(path, need_labels, word_column=word_column, tag_column=tag_column)
        return sentences, label_names(t for e in sentences for t in e.tags or ()) if labels is None else tuple(labels)
    task = own_task(path.name, kind, tuple(labels or ()), separator=separator)
    numbers = number_columns(columns or {}, labels) if kind == "regression" else None
    rows = list(_own_rows(task, path, need_labels, columns or {}, numbers))
    if not rows:
        raise DataError(f"{path} has no rows; expected {EXPECTED}.")
    if len({example.text_pair is None for _, example, _ in rows}) == 2:
        where = next(where for where, example, _ in rows if example.text_pair is None)
        raise DataError(f"{where}: no text_pair, but other rows have one; give it to all rows or to none.")
    if kind == "ranking" and rows[0][1].text_pair is None:
        raise DataError(f"{path} has no passages; expected query, passage, relevance[, group].")
    if labels is None and numbers is not None and numbers.names:
        task = dataclasses.replace(task, labels=numbers.names)
    elif labels is None:
        task = dataclasses.replace(task, labels=label_cells.names_in(task, (c for _, _, c in rows if c is not None)))
    least = {"classification": 2, "multilabel": 1}.get(kind, 0)
    if need_labels and len(task.labels) < least:
        raise DataError(f"{path}: found only the label {', '.join(task.labels)}; classification needs at least two."
                        if least == 2 else f"{path} names no label in any row; expected {EXPECTED}.")
    return [example if cell is None else dataclasses.replace(example, label=label_cells.read(task, cell, where))
            for where, example, cell in rows], task.labels


def refuse_other_pairs(path: str, rows: Sequence[Example], other: str, others: Sequence[Example]) -> None:
    """DataError where one file has pairs of texts and another has single texts; both are of one kind of row each."""
    if rows and others and (rows[0].text_pair is None) != (others[0].text_pair is None):
        pairs, single = (path, other) if others[0].text_pair is None else (other, path)
        raise DataError(f"{pairs} has pairs of texts and {single} has single ones (no column text_pair); both need the "
                        "same.")


def doubts(task: Task, rows: Sequence[Example]) -> list[str]:
    """Sentences on labels of training data that may not be meant so."""
    found = []
    same: dict[str, list[str]] = {}
    for label in task.labels:
        same.setdefault(label.casefold(), []).append(label)
    for several in same.values():
        if len(several) > 1 and task.kind not in ("tokens", "regression"):
            found.append(f"the labels {', '.join(several)} differ in upper and lower case alone and are {len(several)} "
                         "classes; write them in one way if one is meant.")
    if task.kind == "classification" and label_cells.are_numbers(task.labels) and len(task.labels) > max(
            10, len(rows) // 2):
        found.append(f"{len(rows)} rows have {len(task.labels)} different numbers as labels, each a class of its own; "
                     "for values give --task_kind regression.")
    return found


def _own_rows(task: Task, path: Path, need_labels: bool, columns: Mapping[str, str],
              numbers: NumberColumns | None = None) -> Iterator[tuple[str, Example, Any]]:
    """(where, example without its label, cell of the label or None) of each row."""
    names = own_files.RANKING if task.kind == "ranking" else None
    several = task.kind == "multilabel"
    may_lack: Collection[str] = () if need_labels else ("label",)
    if numbers is not None:
        columns, may_lack = numbers.chosen, numbers.may_lack(need_labels)
    rows = own_files.rows(path, names, all_columns=several, chosen=columns, may_lack=may_lack)
    for at, (where, fields) in enumerate(rows):
        if fields.get("text") is None:
            raise DataError(f"{where}: no text; expected {EXPECTED}.")
        if several:
            cell = _several(fields, where, need_labels)
        else:
            cell = fields.get("label") if numbers is None else numbers.cell(fields, where)
            cell = cell if isinstance(cell, list) and numbers is not None else _plain(cell, where)
        if cell is None and need_labels:
            raise DataError(f"{where}: no label; expected {EXPECTED}.")
        text, pair = check_text(fields["text"], where), fields.get("text_pair")
        group, own = fields.get("group"), fields.get("id")
        yield where, Example(text, None if pair is None else check_text(pair, where), None,
                             str(at if own is None else own), group=text if group is None else str(group)), cell


def _plain(label: Any, where: str) -> str | None:
    """A label as a string, None for none; JSON may hold a number."""
    if label is None or str(label).strip().lower() in ("", "nan"):  # nan is how pandas writes a cell without a value
        return None
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise DataError(f"{where}: the label is {label!r:.60}, expected text or a number.")
    return check_text(label.strip(), where) if isinstance(label, str) else str(label)


def _several(fields: dict[str, Any], where: str, need_labels: bool) -> str | list[str] | None:
    """The labels of one row: a cell with separators, a list, or the names of the columns that hold 1; None for none."""
    for name in ("label", "labels"):
        value = fields.get(name)
        if isinstance(value, list):
            return [check_text(part, where) for part in value]
        if value is not None:
            return _plain(value, where) or []
    marks = {name: label_cells.plain(str(value).strip().lower()) for name, value in fields.items()
             if name not in own_files.KNOWN}
    for name, value in marks.items():
        if value not in ("0", "1", "false", "true"):
            if not need_labels:
                return None
            raise DataError(f"{where}: {name} is {fields[name]!r:.40}, expected 0 or 1, or a column label with names.")
    return [name for name, value in marks.items() if value in ("1", "true")] if marks else None
