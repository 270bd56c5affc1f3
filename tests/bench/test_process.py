"""Workers: the protocol, and what becomes of one that is refused, wrong, silent or killed."""

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from bertpass.bench import environments, timing, workloads
from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.quiet import Others
from bertpass.bench.variants import Variant
from bertpass.engines.native import NativeEngine
from bertpass.model.checkpoint import load_checkpoint
from tests.helpers import reference

NATIVE = Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)
CPU = sorted(os.sched_getaffinity(0))[0]


@pytest.fixture
def start(folder, tmp_path):
    """A function that starts a worker; all are ended with the test."""
    started = []

    def make(variant=NATIVE, model=folder):
        started.append(Worker(variant, model, threads=1, cpus=[CPU], log=tmp_path / f"{len(started)}.log"))
        return started[-1]

    yield make
    for worker in started:
        worker.close()


def test_protocol(start, folder):
    worker = start()
    checkpoint = load_checkpoint(folder)
    assert worker.about["engine"] == "native" and worker.about["threads"] == 1 and worker.resident() > 2**20
    assert os.sched_getaffinity(worker.pid) == {CPU}
    batch = reference.batch(checkpoint.config, [5, 2])
    expected = NativeEngine(checkpoint, threads=1).forward(*batch)[0]
    assert np.array_equal(worker.ask("check", batch), expected)
    assert worker.ask("prepare", "work", [batch, batch]) > 0
    seconds = worker.ask("time", "work", 4)
    assert len(seconds) == 4 and min(seconds) > 0
    assert 0.5 < worker.ask("busy", "work") < 1.5 and worker.peak() >= worker.resident()


def test_a_waiting_worker_uses_no_processor(start):
    worker = start()
    (work,) = workloads.of_family("2x8")
    worker.ask("prepare", "work", work.batches(load_checkpoint(worker.model).config))

    def spent():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # user and system, in ticks of a hundredth of a second

    Others().pause(0.3)
    before = spent()
    Others().pause(1.0)
    assert spent() - before <= 5


@pytest.mark.parametrize(("variant", "model", "words"), [
    (Variant("x", "native", "float32", {"dtype": "float7"}), None, "dtype of the native engine"),
    (NATIVE, "no/such/model.params", "unknown model"),
    (Variant("x", "native", "float32", {"nonsense": 1}), None, "TypeError"),
])
def test_what_cannot_load_says_why(start, folder, variant, model, words):
    with pytest.raises(WorkerError, match=words):
        start(variant, model or folder)


def test_a_missing_extra(start, tmp_path, monkeypatch):
    package = tmp_path / "path" / "openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with pytest.raises(WorkerError, match=r"pip install '\.\[openvino\]'"):
        start(Variant("openvino-float32", "openvino", "float32"))


def test_an_error_leaves_the_worker_alive(start):
    worker = start()
    with pytest.raises(WorkerError, match="KeyError"):
        worker.ask("time", "never prepared", 1)
    assert worker.ask("check", (np.ones((1, 2)), np.zeros((1, 2)), np.array([2]))).shape[:2] == (1, 2)


def test_a_silent_worker_is_ended(start):
    worker = start()
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match="no answer to 'time' in 0 seconds"):
        worker.ask("time", "work", 1, timeout=0.2)
    with pytest.raises(WorkerError):
        worker.ask("time", "work", 1)


def test_a_killed_worker_leaves_the_others_results(start, folder):
    config = load_checkpoint(folder).config
    workers = {"first": start(), "second": start()}
    failures = {}
    (work,) = workloads.of_family("2x8")

    def kill(done, note):
        if "round 1 of" in note:
            os.kill(workers["first"].pid, signal.SIGKILL)

    found = timing.measure(workers, [work], config, rounds=4, budget=60, others=Others(), tell=kill,
                           failed=lambda name, why: failures.update({name: why}))
    assert found["second"]["2x8"].rounds == 4 and found["first"]["2x8"].rounds == 1
    assert list(failures) == ["first"] and "SIGKILL" in failures["first"] and "memory" in failures["first"]


def test_layouts_take_turns_and_slow_starters_skip_the_groups(start, folder, monkeypatch):
    config = load_checkpoint(folder).config
    slow = dataclasses.replace(NATIVE, slow_start=True)
    workers = {"quick": start(), "slow": start(slow)}
    monkeypatch.setitem(workloads.RAGGED, "sst", (((0, 1), (2, 30)), 6, 32, 2))
    asked, real = [], Worker.ask

    def ask(worker, command, *arguments, **options):
        if command == "time":
            asked.append((worker.variant is slow, arguments[0]))
        return real(worker, command, *arguments, **options)

    monkeypatch.setattr(Worker, "ask", ask)
    found = timing.measure(workers, workloads.of_family("sst"), config, rounds=3, budget=60, others=Others(),
                           tell=lambda done, note: None, failed=lambda name, why: pytest.fail(why))
    names = ["sst padded to 32", "sst longest", "sst groups"]
    assert list(found["quick"]) == names and list(found["slow"]) == names[:2]
    assert asked == 3 * [*((False, name) for name in names), *((True, name) for name in names[:2])]


def test_last_words_of_a_worker_that_ends_by_itself(start, monkeypatch):
    monkeypatch.setattr(environments.sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="ended with exit code 1"):
        start()
