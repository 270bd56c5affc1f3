"""Core counts and instances: configurations, what is counted, best ones, a real run on two cores, failures."""

import io
import json
import os
import signal

import pytest
from rich.console import Console

from bertpass import placement
from bertpass.bench import ceiling
from bertpass.bench.instances import scaling, scaling_report
from bertpass.bench.instances.scaling import Cell, Configuration, Plan, Results, configurations, while_all, work_of
from bertpass.bench.timing import Timing
from bertpass.bench.variants import Variant
from bertpass.commands.main import main
from bertpass.errors import BertpassError, UsageError
from bertpass.placement import Core, Topology

NATIVE = Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)
HALF = Variant("native-bfloat16", "native", "bfloat16", {"dtype": "bfloat16"}, ours=True)
WRONG = Variant("wrong", "native", "float32", {"dtype": "int8"})
BROKEN = Variant("broken", "native", "float32", {"dtype": "float7"})
METAL = Topology(tuple(Core((n, n + 48), n // 24, n // 24, n // 24 * 24) for n in range(48)), (0, 1))
HERE = placement.here()
two = pytest.mark.skipif(len(HERE.cores) < 2 or HERE.quota < 2, reason="one core only; run on a machine with two")


def test_default_configurations():
    assert [str(c) for c in configurations(METAL)] == [
        "1 x 1", "1 x 2", "1 x 4", "1 x 8", "1 x 16", "1 x 32", "1 x 48", "2 x 24", "4 x 12", "8 x 6"]
    assert configurations(METAL, [1, 3], [48]) == [Configuration(1, 48), Configuration(3, 16)]
    with pytest.raises(UsageError, match="49 instances or cores: between 1 and 48"):
        configurations(METAL, [49])


def test_work_of_an_instance():
    assert work_of(Configuration(4, 12), [(1, 128), (8, 128)]) == [(1, 128), (8, 128), (2, 128)]
    assert work_of(Configuration(1, 48), [(8, 128)]) == [(8, 128)]
    assert work_of(Configuration(2, 24), [(4, 64), (2, 64)]) == [(4, 64), (2, 64), (1, 64)]


def test_only_calls_while_all_work_are_counted():
    long = [(0.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 6.0)]
    short = [(0.0, 1.0), (1.0, 2.0), (2.0, 5.0)]
    first, second = while_all([long, short], settle=False)
    assert first == [2.0, 1.0, 1.0] and second == [1.0, 1.0, 3.0]
    first, second = while_all([long, short], settle=True)
    assert first == [1.0, 1.0] and second == [1.0, 3.0]
    assert while_all([[(0.0, 9.0)], [(0.0, 1.0)]], settle=True) == [[9.0], [1.0]]


def cell(name, instances, cores, rows, medians):
    slowest = max(medians)
    return Cell(name, Configuration(instances, cores), rows, 128, Timing(slowest, slowest, slowest, 3, 9), medians)


def made() -> Results:
    """Three configurations of 4 cores: one instance is best for the latency of 1 row, four for throughput."""
    found = [Configuration(1, 4), Configuration(2, 2), Configuration(4, 1)]
    results = Results("tiny", "tiny", None, Plan([NATIVE], found, [(1, 128), (4, 128)], 3, 1.0, METAL),
                      {NATIVE.name: NATIVE})
    name = NATIVE.name
    results.cells = [cell(name, 1, 4, 1, (10.0,)), cell(name, 1, 4, 4, (40.0,)),
                     cell(name, 2, 2, 1, (16.0, 15.0)), cell(name, 2, 2, 4, (62.0, 60.0)),
                     cell(name, 2, 2, 2, (30.0, 33.0)),
                     cell(name, 4, 1, 1, (28.0, 29.0, 28.0, 35.0)), cell(name, 4, 1, 4, (100.0,) * 4)]
    return results


def test_best_configurations():
    """Latency is that of the slowest, throughput the sum; a batch that cannot be split has no split."""
    results = made()
    assert results.fastest((1, 128)).configuration == Configuration(1, 4)
    best = results.fastest((4, 128))
    assert best.configuration == Configuration(2, 2) and best.rows == 2 and best.timing.median == 33.0
    assert results.busiest((1, 128)).configuration == Configuration(4, 1)
    assert results.busiest((4, 128)).throughput == pytest.approx(160.0)
    assert results.split(NATIVE.name, Configuration(4, 1), (1, 128)) is None
    assert results.cell(NATIVE.name, Configuration(2, 2), 1, 128).throughput == pytest.approx(1000 / 16 + 1000 / 15)


def test_tables():
    results = made()
    results.failures[NATIVE.name, Configuration(8, 1)] = "its process ended by signal 9."
    results.others_load = 0.5
    console = Console(width=120, record=True, file=io.StringIO())
    scaling_report.show(results, console)
    text = console.export_text()
    for words in ("tiny: 4x128", "4 x 1", "33.0", "160/s", "2 x 2 cores, batches of 2", "8 x 1: its process ended",
                  "other processes kept 0.5"):
        assert words in text


@two
def test_a_real_run(folder, monkeypatch):
    monkeypatch.setattr(scaling, "TURN", 0.02)
    plan = Plan([NATIVE, BROKEN, HALF, WRONG], configurations(HERE, [1, 2], [1]), [(2, 8), (1, 5)], 3, 1.0, HERE)
    results = scaling.measure(plan, folder)
    for variant in (NATIVE, HALF):
        for instances, cores, rows, length in ((1, 1, 2, 8), (2, len(HERE.cores) // 2, 1, 8), (2, 1, 1, 5)):
            found = results.cell(variant.name, Configuration(instances, cores), rows, length)
            assert found.timing.rounds >= 3 and len(found.medians) == instances and min(found.medians) > 0
            assert found.timing.median == max(found.medians)
    assert results.errors[NATIVE.name] == (0.0, 0.0) and 1e-4 < results.errors[HALF.name][0] < 5e-2
    failures = {name: sentence for (name, _), sentence in results.failures.items()}
    assert "dtype of the native engine" in failures["broken"] and "wrong: relative error" in failures["wrong"]
    assert not [c for c in results.cells if c.variant in ("wrong", "broken")]
    written = json.loads(json.dumps(results.to_dict()))
    assert written["best"]["2x8"]["latency"]["latency_ms"] > 0 and len(written["failures"]) == 6


@two
def test_instances_are_on_disjoint_cores_and_a_killed_one_harms_nobody(folder, monkeypatch):
    seen, real = [], scaling._Run.check

    def check(run, *arguments):
        seen.extend([os.sched_getaffinity(w.pid) for w in group.workers] for group in run.groups)
        os.kill(run.groups[-1].workers[0].pid, signal.SIGKILL)
        real(run, *arguments)

    monkeypatch.setattr(scaling._Run, "check", check)
    plan = Plan([NATIVE], [Configuration(1, 1), Configuration(2, 1)], [(1, 5)], 3, 1.0, HERE)
    results = scaling.measure(plan, folder)
    assert len(seen[1]) == 2 and not seen[1][0] & seen[1][1] and all(len(cpus) == 1 for cpus in seen[1])
    assert "SIGKILL" in results.failures[NATIVE.name, Configuration(2, 1)]
    assert results.cell(NATIVE.name, Configuration(1, 1), 1, 5)


def test_the_reference_must_work(folder):
    plan = Plan([BROKEN, HALF], [Configuration(1, 1)], [(1, 5)], 3, 1.0, HERE)
    with pytest.raises(BertpassError, match="the reference broken failed: unknown dtype"):
        scaling.measure(plan, folder)


def test_the_command(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    monkeypatch.setattr(scaling, "TURN", 0.01)
    assert main(["bench", "scaling", "--models", folder, "--engines", "native-float32", "--shapes", "2x8", "--cores",
                 "1", "--instances", "1", "--rounds", "3", "--seconds", "1", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "the best configuration by batch and length" in out
    content = json.loads((tmp_path / "scaling.json").read_text())
    assert content["environment"]["topology"].startswith(f"{len(HERE.cores)} core")
    assert content["scaling"][0]["cells"][0]["sequences_per_second"] > 0
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.parametrize(("flags", "code", "words"), [
    (["--instances", "4000"], 2, "4000 instances or cores: between 1 and"),
    (["--shapes", "sst"], 2, "--shapes sst: write batch x sequence length"),
    (["--engines", "native-int8"], 2, "at least one must compute in float32"),
    (["--strict", "--engines", "native-float32"], 7, "other processes keep 1.5 processors busy"),
    (["--shapes", "1x4000", "--engines", "native-float32"], 2, "4000 tokens are more than the"),
])
def test_bad_flags(flags, code, words, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bertpass.bench.quiet.Others.load", 1.5)
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    assert main(["bench", "scaling", "--models", folder, "--output", str(tmp_path), *flags]) == code
    assert words in capsys.readouterr().err
