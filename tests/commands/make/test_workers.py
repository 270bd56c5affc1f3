"""Data-parallel fine-tuning: devices of one process, local processes, and what happens when one of them dies."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from bertpass.commands.make import finetune
from bertpass.errors import MissingDependencyError, UsageError
from bertpass.model.files import params_file
from tests.helpers import toy


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Arguments that name 25 rows to train on: batches of 8, 8, 8 and 1, fewer than there are workers."""
    return [*toy.few_rows(tmp_path_factory.mktemp("few"), 25), "--epochs", "2", "--optimizer", "sgd", "--lr", "0.1"]


@pytest.fixture(scope="module")
def alone(encoder, few, tmp_path_factory):
    """The weights that one process trains with the whole batches."""
    out = tmp_path_factory.mktemp("alone")
    assert finetune.classifier(toy.classify(encoder, out, *few)) == 0
    return params_file.read(out / "checkpoint" / "net.params")


def same_training(found, wanted, encoder):
    """Equal within rounding, measured by how far training has moved the weights."""
    from bertpass.model.layouts.huggingface import read_folder

    start = read_folder(encoder).params
    moved = max(float(np.abs(wanted[n] - start[n]).max()) for n in wanted if n in start)
    assert moved > 1e-3
    assert max(float(np.abs(found[n] - wanted[n]).max()) for n in wanted) < 1e-3 * moved


def test_two_devices_of_one_process(encoder, few, alone, tmp_path, monkeypatch):
    """CPU contexts stand for GPUs."""
    from bertpass.jobs.training.mxnet import trainer
    from bertpass.jobs.training.trainer import Trainer

    monkeypatch.setattr(trainer, "context", lambda gpu: trainer.mx.cpu(gpu))
    monkeypatch.setattr(trainer, "check_device", lambda gpu, dtype: None)
    monkeypatch.setattr(trainer.MXNetTrainer, "inference", Trainer.inference)
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few, "--gpus", 0, 1)) == 0
    same_training(params_file.read(tmp_path / "checkpoint" / "net.params"), alone, encoder)


@pytest.mark.slow
def test_two_processes(encoder, few, alone, tmp_path, capfd):
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few, "--workers", 2, "--worker_timeout", 60)) == 0
    told = capfd.readouterr()
    assert told.out.count("accuracy") == 1 and "Traceback" not in told.err
    same_training(params_file.read(tmp_path / "checkpoint" / "net.params"), alone, encoder)


def workers_of(parent):
    """Process ids of the workers that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"DMLC_ROLE=worker" in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_dead_worker_ends_the_others(encoder, few, tmp_path):
    argv = toy.classify(encoder, tmp_path, *few, "--workers", 2, "--epochs", 5000)
    job = subprocess.Popen([sys.executable, toy.ROOT / "finetune" / "finetune_classifier.py", *argv],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint" / "state.json").is_file():
            assert job.poll() is None, job.stderr.read()
            assert time.monotonic() < deadline, "no checkpoint within a minute"
            time.sleep(0.05)
        workers = workers_of(job.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        _, told = job.communicate(timeout=30)
    finally:
        job.kill()
    assert job.returncode == 1
    assert "a worker process ended with signal 9" in told and "--resume" in told and "Traceback" not in told
    assert not workers_of(job.pid) and not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_waiting_has_an_end():
    code = ("import time\nfrom bertpass.jobs.training.workers import Workers\n"
            "workers = Workers(0.2)\nworkers.size = 2\n"
            "with workers.waiting():\n    pass\n"
            "time.sleep(0.5)\nprint('still there', flush=True)\n"
            "with workers.waiting():\n    time.sleep(30)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25, cwd=toy.ROOT,
                          check=False)
    assert done.returncode == 1 and done.stdout == "still there\n"
    assert "have not answered for 0 s" in done.stderr and "--worker_timeout" in done.stderr


def test_dist_sync_needs_its_variables(monkeypatch):
    from bertpass.jobs.training.mxnet.workers import join

    monkeypatch.setenv("DMLC_ROLE", "worker")
    monkeypatch.delenv("DMLC_PS_ROOT_URI", raising=False)
    with pytest.raises(UsageError, match=r"DMLC_PS_ROOT_URI.* is not set.*--workers"):
        join("dist_sync", 1.0)


def test_horovod_is_an_extra():
    from bertpass.jobs.training.mxnet.workers import join

    with pytest.raises(MissingDependencyError, match=r"\.\[horovod\]"):
        join("horovod", 1.0)


def test_horovod_adds_up_gradients(monkeypatch):
    """A stand-in for Horovod's interface (it needs a build of its own): sums double, and another's value comes."""
    from bertpass.jobs.training.mxnet.workers import join
    from bertpass.mx import mx

    calls = []

    def allreduce(array, average, name, priority):
        calls.append((average, name, priority))
        array *= 2

    stand_in = types.SimpleNamespace(init=lambda: None, rank=lambda: 1, size=lambda: 2, allreduce_=allreduce,
                                     broadcast=lambda array, root, name: array * 0 + 7)
    monkeypatch.setitem(sys.modules, "horovod", types.ModuleType("horovod"))
    monkeypatch.setitem(sys.modules, "horovod.mxnet", stand_in)
    workers = join("horovod", 60.0)
    gradients = [mx.nd.array([1.0, 2.0]), mx.nd.array([3.0])]
    workers.add_up(gradients)
    assert [g.asnumpy().tolist() for g in gradients] == [[2.0, 4.0], [6.0]]
    assert [call[:2] for call in calls] == [(False, "0"), (False, "1")]
    assert (workers.rank, workers.size, workers.share(3.0)) == (1, 2, 7.0)
