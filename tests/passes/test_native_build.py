"""setup.py: what it compiles and when, where the files go, and what it says when it cannot.

A script stands in for the compiler, so that the tests are quick and can count its calls.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT

OTHER_BUILDS = ("cuda", "faces")  # folders of bertpass/csrc that setup.py leaves to scripts of their own, but for
FACES = 2  # files that the library for MXNet needs
COMPILER = """#!/bin/sh
echo call >> "$CALLS"
while [ "$1" != -o ]; do shift; done
echo made > "$2"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is built, with a stand-in for the compiler."""
    copy = tmp_path / "tree"
    shutil.copytree(ROOT / "bertpass", copy / "bertpass", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    (copy / "README.md").write_text("readme\n")
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    return copy


def build(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    calls = tree.parent / "calls"
    calls.write_text("")
    known = {"CXX": str(tree.parent / "compiler"), "CALLS": str(calls), **environment}
    return subprocess.run([sys.executable, *(arguments or ("setup.py", "build_ext", "--inplace"))], cwd=tree,
                          env={**os.environ, **known}, capture_output=True, text=True, check=False)


def calls(tree: Path) -> int:
    return len((tree.parent / "calls").read_text().split())


def touch(path: Path) -> None:
    later = time.time_ns() + 10**9
    os.utime(path, ns=(later, later))


def test_builds_every_file_and_only_what_changed(tree: Path) -> None:
    native = tree / "bertpass" / "csrc"
    sources = sum(1 for file in native.rglob("*.cc") if file.relative_to(native).parts[0] not in OTHER_BUILDS) + FACES
    done = build(tree)
    assert done.returncode == 0, done.stderr
    assert calls(tree) == sources + 4, "each source once, four links"
    assert (tree / "bertpass" / "libbertpass.so").exists()
    assert (tree / "bertpass_lib.so").exists() and (tree / "bertpass" / "bertpass_lib.so").exists()
    assert len(list((tree / "bertpass").glob("_core*.so"))) == len(list((tree / "bertpass").glob("_native*.so"))) == 1
    build(tree)
    assert calls(tree) == 0
    build(tree, CXXFLAGS="-g")
    assert calls(tree) == sources + 4
    build(tree, CXXFLAGS="-g")
    assert calls(tree) == 0
    touch(native / "passes" / "run.cc")
    build(tree, CXXFLAGS="-g")
    assert calls(tree) == 3
    (tree / "setup.py").touch()
    touch(native / "graph" / "graph.h")
    build(tree, CXXFLAGS="-g")
    assert calls(tree) == sources + 4


def test_a_compiler_that_fails_speaks_for_itself(tree: Path) -> None:
    (tree.parent / "compiler").write_text("#!/bin/sh\necho 'graph.cc:7:1: error: no such thing' >&2\nexit 3\n")
    done = build(tree)
    assert done.returncode != 0
    assert "graph.cc:7:1: error: no such thing" in done.stderr and "exit code 3" in done.stderr
    assert "Traceback" not in done.stderr and not list(tree.rglob("*.so"))


def test_no_compiler(tree: Path) -> None:
    done = build(tree, CXX="/no/such/compiler")
    assert done.returncode != 0 and "install g++ or name a C++17 compiler in CXX" in done.stderr
    assert "Traceback" not in done.stderr


def test_build_requirements_missing(tree: Path) -> None:
    script = ("import runpy, sys; sys.modules['nlohmann_json'] = None; sys.argv = ['setup.py', 'build_ext']; "
              "runpy.run_path('setup.py', run_name='__main__')")
    done = build(tree, "-c", script)
    assert done.returncode != 0 and calls(tree) == 0
    assert done.stderr.splitlines()[-1].startswith("error: ") and "pip install 'pybind11" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("choice", "expected"), [("", None), ("cpu", "mxnet==1.9.1"), ("none", None),
                                                  ("cu117", "mxnet-cu117==1.9.1"), ("cu102", "mxnet-cu102==1.9.1")])
def test_the_mxnet_build_is_chosen_by_the_environment(choice: str, expected: str | None, tree: Path) -> None:
    script = ("import runpy, setuptools, sys; setuptools.setup = lambda **known: print(*known['install_requires'], "
              "sep='\\n'); runpy.run_path('setup.py'); assert 'mxnet' not in sys.modules")
    done = build(tree, "-c", script, BERTPASS_MXNET=choice)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(";")[0] for line in done.stdout.split("\n")]
    assert [line for line in lines if line.startswith("mxnet")] == ([expected] if expected else [])
    recipe = {"gluonnlp==0.10.0", "numpy<2", "scipy>=1.10", "scikit-learn>=1.3"}
    assert recipe & set(lines) == (recipe if expected else set()) and "numpy>=1.23.5" in lines


INSTALL = """
import os, runpy, subprocess, sys
asked, run = [], subprocess.run
def instead(command, **known):
    if command[1:4] != ["-m", "pip", "install"]:
        return run(command, **known)
    asked.extend(word.partition(";")[0] for word in command)
    return subprocess.CompletedProcess(command, 0)
subprocess.run = instead
sys.argv = ["setup.py", "-q", "install", "--single-version-externally-managed", "--record=files.txt", "--prefix=here"]
runpy.run_path("setup.py", run_name="__main__")
print(*asked, sep="\\n")
"""


@pytest.mark.parametrize(("choice", "expected"), [("", "mxnet==1.9.1"), ("cu117", "mxnet-cu117==1.9.1"),
                                                  ("none", None)])
def test_setup_py_install_brings_mxnet(choice: str, expected: str | None, tree: Path) -> None:
    """The published recipe's first command: pip is asked for what is missing, once the files are in place."""
    done = build(tree, "-c", INSTALL, BERTPASS_MXNET=choice)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert [line for line in lines if line.startswith("mxnet")] == ([expected] if expected else [])
    assert "tokenizers>=0.20,<0.24" in lines and list(tree.glob("here/**/bertpass/bertpass_lib.so"))


def test_an_unknown_mxnet_build_is_one_sentence(tree: Path) -> None:
    done = build(tree, "setup.py", "--version", BERTPASS_MXNET="cu999")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("error: BERTPASS_MXNET=cu999 is not known; use one of cpu")
