"""Several numbers per row of a regression, in columns or in one cell, and what does not fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.data.readers import read_own


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def rows(folder: Path, ending: str, table: list[list[str]]) -> Path:
    """A file of its own with a header and rows."""
    path = folder / f"{len(list(folder.iterdir()))}{ending}"
    with path.open("w", newline="") as out:
        if ending == ".jsonl":
            out.writelines(json.dumps(dict(zip(table[0], row, strict=True))) + "\n" for row in table[1:])
        else:
            csv.writer(out, delimiter="\t" if ending == ".tsv" else ";").writerows(table)
    return path


def values(path: Path, labels: Sequence[str] | None = None, need_labels: bool = True,
           **columns: str) -> tuple[list[Any], tuple[str, ...]]:
    found, names = read_own(path, "regression", labels, need_labels, columns=columns)
    return [row.label for row in found], names


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_numbers_in_several_columns(ending: str, tmp_path: Path) -> None:
    """In the order that is asked for, or of the model's outputs; files to predict may lack them."""
    file = rows(tmp_path, ending, [["text", "a", "B", "label"], ["t", "1", "2.5", "9"], ["u", "-3", "4e1", "9"]])
    assert values(file, label="a, b") == ([(1.0, 2.5), (-3.0, 40.0)], ("a", "b"))
    assert values(file, label="b,a") == ([(2.5, 1.0), (40.0, -3.0)], ("b", "a"))
    assert values(file, ("b", "A"), label="a,b") == ([(2.5, 1.0), (40.0, -3.0)], ("b", "A"))
    assert values(file, ("LABEL_0", "LABEL_1"), label="b,a")[0] == [(2.5, 1.0), (40.0, -3.0)]
    without = rows(tmp_path, ending, [["text", "b", "a"], ["t", "1", "2"]])
    assert values(without, ("a", "b"))[0] == [(2.0, 1.0)], "by the names of the outputs"
    bare = rows(tmp_path, ending, [["text"], ["t"]])
    assert values(bare, ("a", "b"), False) == values(bare, ("a", "b"), False, label="a,b") == ([None], ("a", "b"))
    with pytest.raises(DataError, match="no label"):
        values(bare, ("a", "b"))
    with pytest.raises(DataError, match="there is no column 'c'; there are: text"):
        values(file, label="a,c")
    with pytest.raises(DataError, match="there is no column 'b'; there are: a"):
        values(rows(tmp_path, ending, [["text", "a"], ["t", "1"]]), ("a", "b"), False)


def test_numbers_in_one_cell(tmp_path: Path) -> None:
    """A list, as JSON writes it; a decimal comma is no list."""
    lines = write(tmp_path / "a.jsonl", '{"text": "t", "label": [1, 2.5]}\n{"text": "u", "label": [3, -4]}\n')
    wanted = [(1.0, 2.5), (3.0, -4.0)], ("LABEL_0", "LABEL_1")
    assert values(lines) == wanted
    assert values(write(tmp_path / "a.csv", 'text,label\nt,"[1, 2.5]"\nu,"[3, -4]"\n')) == wanted
    assert values(write(tmp_path / "b.csv", 'text,score\nt,"[1, 2.5]"\nu,"[3, -4]"\n'), label="score") == wanted
    assert values(write(tmp_path / "b.jsonl", '{"text": "t", "label": [1]}\n')) == ([1.0], ())
    assert values(write(tmp_path / "c.csv", 'text,"score, final"\nt,1\n'), label='"score, final"') == ([1.0], ())


@pytest.mark.parametrize(("content", "labels", "columns", "told"), [
    ('{"text": "t", "label": [1, 2]}\n{"text": "u", "label": [3]}\n', None, {}, "line 2: the label has 1 numbers"),
    ('{"text": "t", "label": 1}\n{"text": "u", "label": [3, 4]}\n', None, {}, "line 2: the label has 2 numbers"),
    ('{"text": "t", "label": [1, 2]}\n', (), {}, "the label has 2 numbers, expected 1"),
    ('{"text": "t", "label": [1, 2, 3]}\n', ("a", "b"), {}, "the label has 3 numbers, expected 2"),
    ('{"text": "t", "label": [1, true]}\n', None, {}, "LABEL_1: the label is True, expected a number"),
    ('{"text": "t", "label": [1, null]}\n', None, {}, "LABEL_1: the label is None, expected a number"),
    ('{"text": "t", "label": []}\n', None, {}, "the label has 0 numbers"),
    ('{"text": "t", "label": "1,5"}\n', None, {}, "expected a number"),
    ('{"text": "t", "label": "[1,"}\n', None, {}, "expected a number"),
    ('{"text": "t", "a": 1, "b": "x"}\n', None, {"label": "a,b"}, "line 1, b: the label is 'x', expected a number"),
    ('{"text": "t", "a": 1, "b": ""}\n', None, {"label": "a,b"}, "the column b holds no number"),
    ('{"text": "t", "a": 1, "b": 1, "B": 2}\n', None, {"label": "a,b"}, "is there twice"),
])
def test_numbers_that_do_not_fit(content: str, labels: Any, columns: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told.replace("[", r"\[")):
        values(write(tmp_path / "a.jsonl", content), labels, **columns)


@pytest.mark.parametrize(("labels", "columns", "told"), [
    (None, {"label": "a,A"}, "a column of its own"),
    (None, {"label": "a,"}, "a column of its own"),
    (None, {"label": "a,b", "text": "b"}, "a column of its own"),
    (None, {"label": "a,Text"}, "a column of its own"),
    ((), {"label": "a,b"}, "the model has one output"),
    (("a", "c"), {"label": "a,b"}, "the model's outputs are called a, c"),
])
def test_columns_of_numbers_that_do_not_fit(labels: Any, columns: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        values(write(tmp_path / "a.csv", "text,a,b\nt,1,2\n"), labels, **columns)
