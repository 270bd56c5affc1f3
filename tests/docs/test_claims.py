"""What pages state about the code: default precisions, tasks without a download, routes without a key, metrics."""

import re
from pathlib import Path

import pytest

from bertpass.commands.table import find
from bertpass.serving.http import gate, page
from bertpass.serving.observing.metrics import Metrics
from bertpass.text.data.download import SOURCES
from bertpass.text.data.tasks import TASKS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def text(name):
    """A page with each run of white space as one space."""
    return " ".join((DOCS / name).read_text(encoding="utf-8").split())


def test_default_precisions():
    """None is "auto" or a packed file's own, as the first row says."""
    table = text("models.md").partition("| entry | default precision |")[2]
    rows = re.findall(r"\| (`bertpass[^|]*) \| ([^|]+) \|", table)
    found = {command: said.split(";")[0].strip("`") for names, said in rows
             for command in re.findall(r"`bertpass (\w+)`", names)}
    assert found.keys() == {"embed", "predict", "serve", "batch", "deploy", "export", "pack"}
    for command, said in found.items():
        default = find([command])[1].options_class().__dataclass_fields__["dtype"].default
        assert {None: "auto"}.get(default, default) == said, command


def test_tasks_without_a_public_address():
    (names,) = re.findall(r"`--task_name`\. ([^.]+) have no public address", text("tasks.md"))
    own = {"NER": "CoNLL-2003"}
    assert set(re.split(r", | and ", names)) == {own.get(name, name) for name in TASKS if name not in SOURCES}


def test_routes_without_a_key():
    (names,) = re.findall(r"the routes that work without the key are (.+?) and the files of the web page",
                          text("serving.md"))
    assert set(re.findall(r"`([^`]+)`", names)) == gate.PUBLIC - page.FILES.keys()


@pytest.mark.parametrize("metric", [line.split()[2] for line in Metrics().text().decode().splitlines()
                                    if line.startswith("# TYPE") and "_created " not in line])
def test_metrics(metric):
    """Each is in the table with its type."""
    kind = next(line.split()[3] for line in Metrics().text().decode().splitlines()
                if line.startswith(f"# TYPE {metric} "))
    (row,) = [line for line in (DOCS / "serving.md").read_text(encoding="utf-8").splitlines()
              if line.startswith("|") and f"`{metric}`" in line and kind in line]
    assert row.count("|") == 4
