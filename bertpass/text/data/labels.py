"""What stands in the cell of a label, by kind of task: names or numbers to what a model learns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bertpass.errors import DataError, nearest
from bertpass.text.data.tasks import Task
from bertpass.text.example import Label

SEPARATOR = ","
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_EXACT = 2 ** 53  # up to here a float is one whole number


def read(task: Task, cell: Any, where: str) -> Label:
    """The label in a cell: text, a number, or for a multi-label task also a list of names.

    Raises
    ------
    DataError
        It is none of the task's; the text begins with ``where`` and says what is expected.
    """
    return _READERS[task.kind](task, cell, where)


def names_in(task: Task, cells: Iterable[Any]) -> tuple[str, ...]:
    """The labels that these cells name, sorted (as numbers if all are whole numbers); none for tasks of one number.

    Several numbers per row have no names of their own: they are called LABEL_0 and so on.

    Where all are numbers, "1.0" is "1": a table with a gap in it has its whole numbers written so.
    """
    if task.kind == "regression":
        first = next(iter(cells), None)
        return tuple(placeholders(len(first))) if isinstance(first, list) and len(first) > 1 else ()
    if task.kind == "classification":
        found = _spellings(str(cell) for cell in cells)
    elif task.kind == "multilabel":
        found = {name for cell in cells for name in _several(task, cell)}
    else:
        return ()
    try:
        return tuple(sorted(found, key=lambda name: (int(name), name)))  # "1" and "01" are two, in one order
    except ValueError:
        return tuple(sorted(found))


def placeholders(count: int) -> list[str]:
    """Names of outputs that have none, as transformers gives them: LABEL_0 and so on."""
    return [f"LABEL_{at}" for at in range(count)]


def number(task: Task, cell: Any, where: str) -> float:
    """A finite number."""
    try:
        # Python alone reads 1_000 and true as numbers
        value = math.nan if "_" in str(cell) or isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: the label is {cell!r:.60}, expected a number.")
    return value


def _values(task: Task, cell: Any, where: str) -> float | tuple[float, ...]:
    """A number, or one per output where the task has several."""
    if not isinstance(cell, list):
        cell = [cell]
    if len(cell) != task.outputs:
        raise DataError(f"{where}: the label has {len(cell)} numbers, expected {task.outputs} as in the first row or "
                        "the model.")
    names = task.labels or ("",)
    found = tuple(number(task, value, f"{where}{name and ', ' + name}")
                  for name, value in zip(names, cell, strict=True))
    return found if len(found) > 1 else found[0]


def _one(task: Task, cell: Any, where: str) -> int:
    try:
        return task.label_index(str(cell).strip())
    except KeyError:
        if are_numbers(task.labels):
            same = [at for at, label in enumerate(task.labels) if plain(label) == plain(str(cell).strip())]
            if same:
                return same[0]
        raise _unknown(cell, task.labels, where) from None


def plain(label: str) -> str:
    """A whole number as "1", which programs also write as "1.0", "+1" or "1e+00"; any other label as it is."""
    value = float(label) if _NUMBER.fullmatch(label) else math.nan
    return str(int(value)) if abs(value) < _EXACT and value.is_integer() else label


def _spellings(found: Iterable[str]) -> set[str]:
    """Labels of which those that are one whole number are one, if all are numbers."""
    names = set(found)
    if not are_numbers(names):
        return names
    by_value: dict[str, set[str]] = {}
    for name in names:
        by_value.setdefault(plain(name), set()).add(name)
    return {next(iter(same)) if len(same) == 1 else value for value, same in by_value.items()}


def are_numbers(labels: Iterable[str]) -> bool:
    """Whether every label can be read as a finite number."""
    return all(map(_is_number, labels))


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def _relevance(task: Task, cell: Any, where: str) -> float:
    value = number(task, cell, where)
    if not 0 <= value <= 1:
        raise DataError(f"{where}: the relevance is {cell!r:.60}, expected a number from 0 (none) to 1.")
    return value


def _several(task: Task, cell: Any) -> list[str]:
    parts = cell.split(task.separator) if isinstance(cell, str) else cell
    return [name for part in parts if (name := str(part).strip())]


def _indicators(task: Task, cell: Any, where: str) -> tuple[int, ...]:
    names = _several(task, cell)
    for name in names:
        if name not in task.labels:
            raise _unknown(name, task.labels, where)
    return tuple(int(label in names) for label in task.labels)


def _unknown(label: Any, labels: Sequence[str], where: str) -> DataError:
    values = len(labels) > 10 and are_numbers([*labels, str(label)])
    hint = " For numbers as values give --task_kind regression." if values else nearest(str(label), labels)
    return DataError(f"{where}: unknown label {label!r:.60}.{hint} "
                     f"Expected {'one of ' if labels else ''}{', '.join(labels) or 'no label'}.")


_READERS: dict[str, Callable[[Task, Any, str], Label]] = {
    "classification": _one, "regression": _values, "embedding": number, "ranking": _relevance,
    "multilabel": _indicators,
}
