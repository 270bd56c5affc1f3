"""The pages of trials: each row names tests, and each of them is there."""

import ast
import re
from functools import cache

import pytest

from tests.helpers import ROOT

PAGES = sorted((ROOT / "docs").glob("trials*.md"))
HEAD = "| case | what bertpass does | test |"
ROWS = [(page.name, number, line) for page in PAGES
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if line.startswith("|") and line != HEAD and not re.fullmatch(r"[|\- ]+", line)]


@cache
def found_in(file):
    """The names of a file's test functions."""
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")}


def cells_of(row):
    """The cells of a row; a bar in one is written with a backslash."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_rows(page):
    assert any(name == page.name for name, _, _ in ROWS)


@pytest.mark.parametrize(("page", "number", "row"), ROWS, ids=lambda value: str(value)[:40])
def test_each_row_names_tests_that_are_there(page, number, row):
    cells = cells_of(row)
    assert len(cells) == 3, f"docs/{page}, line {number}: {len(cells)} cells"
    named = re.findall(r"`([\w/.]+\.py)::(\w+)(?:\[[^`]*\])?`", cells[2])
    assert named and len(named) == cells[2].count("::"), f"docs/{page}, line {number}: no test"
    for file, name in named:
        assert (ROOT / "tests" / file).is_file(), f"docs/{page}, line {number}: there is no tests/{file}"
        assert name in found_in(file), f"docs/{page}, line {number}: tests/{file} has no {name}"


def test_a_name_that_is_not_there_is_seen():
    row = "| a | b | `docs/test_trials.py::test_nobody_wrote_this` |"
    with pytest.raises(AssertionError, match="has no test_nobody_wrote_this"):
        test_each_row_names_tests_that_are_there("x.md", 1, row)
