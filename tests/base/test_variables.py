"""docs/flags.md has every environment variable of ours: the table is compared with what the sources read."""

import ast
import re
import subprocess

import pytest

from bertpass.base.paths import ROOT
from bertpass.base.variables import SERVE, VARIABLES, value

NAME = re.compile(r"BERTPASS_[A-Z]+(_[A-Z]+)*")


def tracked(*endings):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone: git ls-files finds no files; run the tests in a clone")
    return [ROOT / name for name in listed.stdout.splitlines() if name.endswith(endings) and (ROOT / name).is_file()]


def read_in_python():
    """Strings that are a variable's name; the table itself is none."""
    for file in tracked(".py"):
        if file.name != "variables.py":
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                    yield node.value


def read_in_cpp():
    """Arguments of getenv and of the functions that call it."""
    for file in tracked(".cc", ".h", ".cu", ".c"):
        yield from re.findall(r'\b(?:getenv|variable)\("(BERTPASS_\w+)"\)', file.read_text(encoding="utf-8"))


def test_the_table_has_all_variables_and_no_other():
    python, cpp = set(read_in_python()), set(read_in_cpp())
    assert {"BERTPASS_CACHE", "BERTPASS_TENSORFLOW_PYTHON", "BERTPASS_MXNET"} <= python
    assert {"BERTPASS_ISA", "BERTPASS_CUDA", "BERTPASS_CUBLASLT"} <= cpp
    assert {name for name in python | cpp if not name.startswith(SERVE)} | {f"{SERVE}*"} == \
        {name for name in VARIABLES if name.startswith("BERTPASS_")}


def test_the_page_has_the_table():
    text = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {meaning} |" in text for name, meaning in VARIABLES.items())


def test_white_space_is_no_part_of_a_value(monkeypatch):
    monkeypatch.setenv("BERTPASS_DATA", " /data/glue\r\n")
    assert value("BERTPASS_DATA") == "/data/glue"
    monkeypatch.delenv("BERTPASS_DATA")
    assert value("BERTPASS_DATA") == ""
