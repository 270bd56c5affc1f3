"""bertpass env: what is there, what is missing, and that nothing heavy is imported for it."""

import json
import os
import subprocess
import sys

import pytest

from bertpass import _native, machine
from bertpass.commands.main import main
from bertpass.jobs.machines import environment
from tests.helpers import ROOT


def told(capsys, *flags):
    assert main(["env", *flags]) == 0
    return capsys.readouterr().out


def test_json(capsys):
    about = json.loads(told(capsys, "--json"))
    assert about["threads"] == machine.threads() and about["machine"]["cpu"]
    assert about["native"]["chosen"] == _native.selected()
    assert about["native"]["instruction_sets"] == _native.instruction_sets()
    assert about["packages"]["numpy"]["version"] and about["built"]["bertpass._native"] is True
    assert "interleave_qkv" in about["passes"]


def test_page_says_the_same(capsys):
    about, page = json.loads(told(capsys, "--json")), told(capsys)
    assert about["machine"]["cpu"] in page and f"{about['native']['chosen']}: the fastest" in page
    assert all(name in page for name in (*about["packages"], *about["built"], *about["native"]["precisions"]))


def test_what_is_missing_comes_with_its_command(capsys, monkeypatch):
    real = machine.version
    monkeypatch.setattr(machine, "version", lambda name: None if name.startswith(("mxnet", "torch")) else real(name))
    about = json.loads(told(capsys, "--json"))
    assert {"name": "mxnet", "install": "pip install '.[mxnet]'"} in about["missing"]
    assert {"name": "torch", "install": "pip install '.[train]'"} in about["missing"]
    assert "mxnet-cu117" not in about["packages"]
    assert "pip install '.[mxnet]'" in told(capsys)
    monkeypatch.setattr(machine, "version", lambda name: "2.0" if name == "mxnet-cu117" else real(name))
    assert json.loads(told(capsys, "--json"))["packages"]["mxnet-cu117"]["version"] == "2.0"


def test_commands_name_the_versions_that_are_pinned():
    pinned = (ROOT / "setup.py").read_text(encoding="utf-8") + (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in environment.PACKAGES:
        wanted = package.command.removeprefix("pip install ").removeprefix("--no-deps ").strip("'")
        if wanted.startswith(".["):
            assert f"\n{wanted[2:-1]} = [" in pinned
        else:
            assert f'"{wanted}"' in pinned


def test_files_that_are_not_built(capsys, monkeypatch):
    for name in environment.NATIVE_FILES:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    about = json.loads(told(capsys, "--json"))
    assert about["native"] is None and about["passes"] == {}
    assert {"name": "bertpass._native", "install": environment.BUILD} in about["missing"]
    assert "not built" in told(capsys)


@pytest.mark.parametrize(("isa", "chosen", "why"), [
    ("portable", "portable", "BERTPASS_ISA=portable"), ("avx9", None, "BERTPASS_ISA: 'avx9' is not known")])
def test_a_forced_instruction_set(capsys, monkeypatch, isa, chosen, why):
    monkeypatch.setenv("BERTPASS_ISA", isa)
    native = json.loads(told(capsys, "--json"))["native"]
    assert native["chosen"] == chosen and native["why"].startswith(why)
    assert f"{chosen or 'none'}: {why}" in told(capsys)


def test_without_mxnet():
    code = ("import sys\n"
            "blocked = ('mxnet', 'gluonnlp', 'torch', 'transformers', 'scipy', 'sklearn', 'rich')\n"
            "sys.modules.update(dict.fromkeys(blocked))\n"
            "from bertpass.commands.main import main\n"
            "assert main(['env']) == 0\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and "processors" in done.stdout, done.stderr


def test_unknown_flags(capsys):
    assert main(["env", "--jsn"]) == 2
    assert "Did you mean '--json'" in capsys.readouterr().err
