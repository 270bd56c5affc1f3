"""Routing by length: arrivals, bounds, and real workers that take what they should."""

import json

import numpy as np
import pytest

from bertpass import placement
from bertpass.bench.instances import routing
from bertpass.bench.instances.routing import (
    Requests,
    anywhere,
    balanced,
    by_length,
    drawn_lengths,
    poisson,
    serve,
)
from bertpass.bench.process import Worker
from bertpass.bench.variants import Variant
from bertpass.commands.main import main
from bertpass.errors import UsageError
from bertpass.model.checkpoint import load_checkpoint

NATIVE = Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)


def test_arrivals_are_a_poisson_process():
    """Gaps of mean and standard deviation 1 / rate, whatever came before."""
    requests = poisson(4.0, np.ones(200_000, int), seed=3)
    gaps = np.diff(requests.arrivals)
    assert gaps.min() > 0 and gaps.mean() == pytest.approx(0.25, rel=0.01) == pytest.approx(gaps.std(), rel=0.02)
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.01 and len(requests) == 200_000


def test_bounds_of_routing():
    policy = by_length([32, 384, 512])
    assert [policy(n) for n in (1, 32, 33, 384, 385, 512, 600)] == [(0,), (0,), (1,), (1,), (2,), (2,), (2,)]
    routing.check_bounds([32, 384], 2)
    for bounds in ([32], [384, 32], [32, 32]):
        with pytest.raises(UsageError, match="rising lengths, one for each instance"):
            routing.check_bounds(bounds, 2)


def test_balanced_bounds_share_the_work():
    lengths = np.array([8] * 60 + [16] * 30 + [64] * 15)
    bounds = balanced(lengths, [lambda n: float(n)] * 2)
    assert bounds == [16, 64]  # 480 + 480 against 960
    faster = balanced(lengths, [lambda n: float(n), lambda n: n / 3])
    assert faster == [8, 64]  # 480 against (480 + 960) / 3
    assert balanced(lengths, [lambda n: float(n)]) == [64]


def test_lengths_are_those_of_real_data():
    sst, squad, mixed = (drawn_lengths(name, 4000, 384) for name in routing.DISTRIBUTIONS)
    assert all((lengths % routing.STEP == 0).all() and lengths.min() > 0 for lengths in (sst, squad, mixed))
    assert 24 < sst.mean() < 32 and 170 < squad.mean() < 190  # 25 and 178 tokens, rounded up
    assert mixed.mean() == pytest.approx((sst.mean() + squad.mean()) / 2, rel=0.05)
    assert drawn_lengths("squad", 100, 40).max() == 40


def test_capacity_and_curves():
    curve = routing.interpolated({10: 1.0, 20: 3.0})
    assert [curve(n) for n in (5, 10, 15, 20, 99)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert routing.capacity(np.array([10, 20]), [curve, lambda n: 4.0]) == pytest.approx(0.75)


def test_summary():
    told = routing.summary(np.array([0.001, 0.002, 0.003, 0.1]), np.array([8, 8, 64, 64]))
    assert told["p50_ms"] == 2.5 and told["short_p95_ms"] < 2.0 and told["long_p95_ms"] > 90
    assert routing.summary(np.array([0.001]), np.array([8]))["long_p95_ms"] is None


@pytest.fixture
def workers(folder, tmp_path):
    cpus = [core.cpus[0] for core in placement.here().cores]
    made = [Worker(NATIVE, folder, threads=1, cpus=[cpus[n % len(cpus)]], log=tmp_path / f"{n}.log") for n in range(2)]
    routing.prepare(made, [8, 16], load_checkpoint(folder).config)
    yield made
    for worker in made:
        worker.close()


def test_real_workers_take_what_they_should(workers, monkeypatch):
    sent, begin = [], Worker.begin

    def noted(worker, command, *arguments):
        sent.append((workers.index(worker), arguments[0]))
        begin(worker, command, *arguments)

    monkeypatch.setattr(Worker, "begin", noted)
    requests = Requests(np.linspace(0.0, 0.2, 12), np.array([8, 16] * 6))
    latencies = serve(workers, requests, by_length([8, 16]))
    assert sorted(sent) == [(0, "1x8")] * 6 + [(1, "1x16")] * 6
    assert len(latencies) == 12 and (latencies > 0).all() and latencies.max() < 5
    sent.clear()
    serve(workers, Requests(np.zeros(6), np.full(6, 8)), anywhere(2))
    assert {instance for instance, _ in sent} == {0, 1} and len(sent) == 6


def test_measured_curves(workers, monkeypatch):
    monkeypatch.setattr(routing, "TURN", 0.01)
    first, second = routing.curves(workers, [8, 16])
    assert set(first) == set(second) == {8, 16} and min(*first.values(), *second.values()) > 0


@pytest.mark.skipif(len(placement.here().cores) < 2, reason="one core only; run on a machine with two")
def test_the_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(routing, "TURN", 0.01)
    assert main(["bench", "routing", "--model", folder, "--distribution", "sst", "--requests", "20", "--loads", "0.5",
                       "--sizes", "1", "1", "--output", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "by length: instance 0 (1 cores) up to" in out and "first free" in out
    found = json.loads((tmp_path / "routing.json").read_text())["routing"]
    assert [run["way"] for run in found["runs"]] == ["one instance", "first free", "by length"]
    assert all(run["p95_ms"] >= run["p50_ms"] > 0 for run in found["runs"])
    cpus = [instance["cpus"] for instance in found["instances"]]
    assert not set(cpus[0]) & set(cpus[1]) and found["bounds"][-1] == 40  # the model's longest


@pytest.mark.parametrize(("flags", "words"), [
    (["--loads", "1.2"], "--loads 1.2: give shares between 0 and 1"),
    (["--engine", "native"], "--engine native: name one of native-float32"),
    (["--engine", "nativ-float32"], "Did you mean 'native-float32'"),
    (["--sizes", "1", "1", "--bounds", "64"], "--bounds 64: give 2 rising lengths"),
    (["--sizes", "3000", "1"], "need 3001 cores"),
    (["--requests", "3"], "--requests 3: must be at least 20"),
])
def test_bad_flags(flags, words, tmp_path, capsys):
    assert main(["bench", "routing", "--output", str(tmp_path), *flags]) == 2
    assert words in capsys.readouterr().err
