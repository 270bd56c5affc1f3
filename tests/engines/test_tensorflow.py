"""The TensorFlow engine, in its own environment, against float64 in NumPy; and what is said where there is none."""

import importlib.util
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bertpass.base.paths import ROOT
from bertpass.bench import environments
from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.variants import Variant
from bertpass.model.checkpoint import load_checkpoint
from tests.helpers import reference

HEADS = [("bert", head) for head in ("pooled", "qa", "tokens", "classification", "mean_norm", "cls_norm")] + \
    [("distilbert", head) for head in ("none", "classification")] + \
    [("roberta", head) for head in ("regression", "mean")]
GRAPH = Variant("tensorflow-float32", "tensorflow", "float32")
needs_tensorflow = pytest.mark.skipif(
    not environments.provided("tensorflow") and importlib.util.find_spec("tensorflow") is None,
    reason="`make tensorflow` makes the environment that this test needs (BERTPASS_TENSORFLOW_PYTHON names another)")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A function that runs jobs of tensorflow_child.py, all in one process."""
    folder = tmp_path_factory.mktemp("tensorflow")

    def run(jobs):
        (folder / "jobs").write_bytes(pickle.dumps(jobs))
        child = Path(__file__).with_name("tensorflow_child.py")
        done = subprocess.run([environments.python_of("tensorflow"), str(child), str(folder / "jobs"),
                               str(folder / "found")], capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr[-2000:]
        return pickle.loads((folder / "found").read_bytes())

    return run


def job(family="bert", head="none", lengths=(9, 1, 4, 12), padded=None, mode="graph", threads=1, **fields):
    checkpoint = reference.tiny(family, head, **fields)
    return checkpoint, reference.batch(checkpoint.config, lengths, padded), {"threads": threads, "mode": mode}


@needs_tensorflow
def test_parity(ran):
    jobs = [job(*pair) for pair in HEADS]
    jobs += [job(activation=activation) for activation in ("gelu_tanh", "relu")]
    jobs += [job(token_type_vocab_size=0), job(lengths=[1], padded=1), job(lengths=[40], padded=40)]
    jobs += [job(head="pooled", mode="xla"), job("roberta", lengths=[3, 1], padded=9, mode="xla")]
    for (checkpoint, batch, options), (found, about) in zip(jobs, ran(jobs), strict=True):
        expected = reference.outputs(checkpoint, *batch)
        assert [a.shape for a in found] == [a.shape for a in expected]
        for got, wanted in zip(found, expected, strict=True):
            assert got.dtype == np.float32 and np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted)
        assert (about["engine"], about["mode"], about["threads"]) == ("tensorflow", options["mode"], 1)
        assert about["tensorflow"]


@needs_tensorflow
def test_options(ran):
    first, more, mode = ran([job(), job(threads=2), job(mode="jit")])
    assert len(first[0]) == 1
    assert more.startswith("UsageError: threads 2: TensorFlow already runs with another number")
    assert "mode of the tensorflow engine 'jit'" in mode


@needs_tensorflow
def test_a_worker_in_its_environment(folder, tmp_path):
    worker = Worker(GRAPH, folder, threads=1, cpus=sorted(os.sched_getaffinity(0))[:1], log=tmp_path / "log")
    try:
        checkpoint = load_checkpoint(folder)
        batch = reference.batch(checkpoint.config, [5, 2])
        (expected,) = reference.outputs(checkpoint, *batch)
        assert np.linalg.norm(worker.ask("check", batch) - expected) <= 1e-5 * np.linalg.norm(expected)
    finally:
        worker.close()


def test_which_python(tmp_path, monkeypatch):
    this = environments.sys.executable
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.delenv("BERTPASS_TENSORFLOW_PYTHON", raising=False)
    assert environments.python_of("tensorflow") == environments.python_of("native") == this
    assert environments.provided("native") and not environments.provided("tensorflow")
    made = tmp_path / ".venv-tensorflow" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.symlink_to("/bin/sh")
    assert environments.python_of("tensorflow") == str(made) and environments.provided("tensorflow")
    monkeypatch.setenv("BERTPASS_TENSORFLOW_PYTHON", "/bin/sh")
    assert environments.python_of("tensorflow") == "/bin/sh" and environments.python_of("native") == this


def test_an_environment_that_is_not_there(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("BERTPASS_TENSORFLOW_PYTHON", str(tmp_path / "python"))
    with pytest.raises(WorkerError, match="there is no such program; name the Python of an environment"):
        Worker(GRAPH, folder, threads=1, cpus=[0], log=tmp_path / "log")


def test_an_environment_without_tensorflow(folder, tmp_path, monkeypatch):
    package = tmp_path / "path" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("BERTPASS_TENSORFLOW_PYTHON", environments.sys.executable)
    with pytest.raises(WorkerError, match=r"pip install '\.\[tensorflow\]'.*make tensorflow"):
        Worker(GRAPH, folder, threads=1, cpus=sorted(os.sched_getaffinity(0))[:1], log=tmp_path / "log")
