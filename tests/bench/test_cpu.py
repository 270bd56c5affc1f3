"""The whole comparison on a tiny model: what is right is timed, what is wrong or missing is shown and harms nobody."""

import io
import json
import os
import signal

import pytest
from rich.console import Console

from bertpass.base.paths import ROOT
from bertpass.bench import ceiling, environments, process, variants, workloads
from bertpass.bench.cpu import report
from bertpass.bench.cpu import run as cpu
from bertpass.bench.variants import Variant
from bertpass.commands.bench import cpu as bench_cpu
from bertpass.commands.main import main
from bertpass.errors import BertpassError, UsageError

RIGHT = Variant("native-float32", "native", "float32", {"dtype": "float32"}, ours=True)
HALF = Variant("native-bfloat16", "native", "bfloat16", {"dtype": "bfloat16"}, ours=True)
WRONG = Variant("wrong", "native", "float32", {"dtype": "int8"})  # int8 passed off as float32
BROKEN = Variant("broken", "native", "float32", {"dtype": "float7"})
PEER = Variant("peer", "native", "float32", {"dtype": "float32"})
PEAKS = {"float32": 1e11, "bfloat16": 2e11}


def plan(*chosen, shapes=("2x8",)):
    work = [w for shape in shapes for w in workloads.of_family(shape)]
    return cpu.Plan(chosen, work, 3, 5.0, 1, sorted(os.sched_getaffinity(0))[:1])


@pytest.fixture(scope="module")
def results(folder):
    return cpu.compare(plan(RIGHT, BROKEN, HALF, WRONG, PEER, shapes=("2x8", "1x40")), folder)


def test_everything_is_kept(results):
    by_name = {m.variant.name: m for m in results.measured}
    assert list(by_name) == ["native-float32", "broken", "native-bfloat16", "wrong", "peer"]
    assert results.reference == "native-float32" and by_name["native-float32"].relative_error == 0
    for name in ("native-float32", "native-bfloat16", "peer"):
        entry = by_name[name]
        assert entry.failure is None and set(entry.timings) == {"2x8", "1x40"} and entry.resident_bytes > 0
        assert entry.load_seconds > 0 and all(t.rounds == 3 and t.median > 0 for t in entry.timings.values())
    assert 1e-4 < by_name["native-bfloat16"].relative_error < 5e-2
    assert by_name["wrong"].failure.startswith("wrong: relative error") and not by_name["wrong"].timings
    assert "dtype of the native engine" in by_name["broken"].failure and not by_name["broken"].timings


def test_tables(results):
    console = Console(width=report.WIDTH, record=True, file=io.StringIO())
    report.show(results, PEAKS, 1, console)
    text = console.export_text()
    for words in ("native-bfloat16", "2x8", "1x40", "wrong", "failed", "Did you mean 'float32'", "peer", "x / "):
        assert words in text
    assert "3 of 4 engines agree, not wrong, with native-float32 on 16 sentences" in text
    assert "float32 0.0001, bfloat16 0.05" in text and "(1e-04)" in text
    results.others_load = 0.7
    report.show(results, PEAKS, 1, console)
    assert "other processes kept 0.7 processors busy" in console.export_text()


def test_a_worker_killed_while_all_wait(folder, monkeypatch):
    real = cpu.Run.check

    def check(run, *arguments):
        os.kill(run.workers["native-bfloat16"].pid, signal.SIGKILL)
        real(run, *arguments)

    monkeypatch.setattr(cpu.Run, "check", check)
    found = cpu.compare(plan(RIGHT, HALF), folder)
    assert "SIGKILL" in found.of("native-bfloat16").failure and found.of("native-float32").timings


def test_what_goes_over_the_budget_is_left_out(folder, monkeypatch):
    least = cpu.Run.least
    monkeypatch.setattr(cpu.Run, "least", lambda run, work: 1e9 if work[0].family == "4x30" else least(run, work))
    found = cpu.compare(plan(RIGHT, PEER, shapes=("4x30", "1x40", "2x8")), folder, budget=300.0)
    assert list(found.of("peer").timings) == ["2x8", "1x40"]  # the small ones first, padding not counted
    assert found.left_out == {"4x30": 1e9} and found.to_dict(PEAKS)["left_out"] == {"4x30": 1e9}
    console = Console(width=report.WIDTH, record=True, file=io.StringIO())
    report.show(found, PEAKS, 1, console)
    text = console.export_text()
    assert "left out" in text and "4x30: left out, needs 1000000000 seconds at least; --minutes" in text


def test_the_picture_says_what_was_left_out(folder, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    from matplotlib.figure import Figure

    from bertpass.bench.cpu import plot

    monkeypatch.setattr(cpu.Run, "least", lambda run, work: 1e9 if work[0].family == "4x30" else 0.0)
    found = cpu.compare(plan(RIGHT, shapes=("4x30", "2x8")), folder, budget=300.0)
    axis = Figure().subplots()
    plot.panel(axis, found, "4x30")
    assert "left out" in axis.texts[0].get_text() and not axis.axison  # words, no empty axes


def test_the_least_time_follows_from_the_largest_batch(folder):
    with cpu.running(plan(RIGHT, shapes=("1x8", "2x8", "4x30")), folder, lambda done, note: None) as run:
        small, middle, large = ([w] for w in run.plan.workloads)
        assert run.least(small) == 0.0
        run.time(small, 3, 1.0)
        run.time(middle, 3, 1.0)
        call = run.measured[RIGHT.name].timings["2x8"].median / 1e3
        assert run.least(middle) == pytest.approx(5 * call) and run.least(large) > 10 * call  # 2 calls before 3 rounds


def test_a_missing_extra_leaves_the_others_results(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    package = tmp_path / "path" / "openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    assert bench_cpu.main(["--models", folder, "--engines", "native-float32", "openvino-float32", "--shapes", "2x8",
                           "--rounds", "3", "--threads", "1", "--output", str(tmp_path), "--minutes", "5"]) == 0
    assert "pip install '.[openvino]'" in " ".join(capsys.readouterr().out.split())
    native, openvino = json.loads((tmp_path / "cpu.json").read_text())["models"][0]["engines"]
    assert native["timings"]["2x8"]["median_ms"] > 0 and native["agrees"] and native["failure"] is None
    assert "pip install '.[openvino]'" in openvino["failure"] and openvino["agrees"] is None


def test_the_reference_must_work(folder):
    with pytest.raises(BertpassError, match="the reference broken failed: unknown dtype"):
        cpu.compare(plan(BROKEN, RIGHT), folder)
    with pytest.raises(UsageError, match="at least one must compute in float32"):
        cpu.reference_of([HALF])
    assert cpu.reference_of(variants.known()) == variants.REFERENCE


def test_the_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    code = main(["bench", "cpu", "--models", folder, "--engines", "native", "mxnet-plain", "--shapes", "2x8", "1x5",
                       "--rounds", "3", "--threads", "1", "--output", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert code == 0 and "native-float32" in out and "cpu.json" in out
    assert (tmp_path / "out" / "cpu.png").stat().st_size > 10_000
    content = json.loads((tmp_path / "out" / "cpu.json").read_text())
    about, (model,) = content["environment"], content["models"]
    assert about["threads"] == 1 and len(about["cpus"]) == 1 and about["command"]
    assert set(about["peak_gflops"]) == {"float32", "bfloat16", "int8"} and min(about["peak_gflops"].values()) > 0
    assert about["machine"]["cpu"] and about["instruction_set"] and about["versions"]["numpy"] and "revision" in about
    assert model["reference"] == "mxnet-plain" and model["others_load"] >= 0 and model["source"] == folder
    for entry in model["engines"]:
        assert entry["failure"] is None and entry["relative_error"] <= entry["bound"] and entry["agrees"]
        assert entry["bound"] == variants.BOUNDS[entry["precision"]] and entry["peak_bytes"] >= entry["resident_bytes"]
        for found in entry["timings"].values():
            assert found["p10_ms"] <= found["median_ms"] * 1.5 and found["rounds"] == 3 and found["share_of_peak"] > 0
            assert found["p99_ms"] >= found["median_ms"] and found["processors_busy"] > 0
        assert entry["about"]["threads"] == 1
    ours = model["engines"][0]["ratios"]["2x8"]["overall"]
    times = {e["name"]: e["timings"]["2x8"]["median_ms"] for e in model["engines"]}
    assert ours["peer"] == "mxnet-plain"
    lowest, highest = ((times["mxnet-plain"] + a) / (times["native-float32"] - a) for a in (-5.1e-4, 5.1e-4))
    assert lowest - 0.001 <= ours["ratio"] <= highest + 0.001  # the file has microseconds, and these models take few


@pytest.mark.parametrize(("flags", "code", "words"), [
    (["--engines", "opnvino"], 2, "Did you mean 'openvino'"),
    (["--engines", "native-bfloat16"], 2, "at least one must compute in float32"),
    (["--shapes", "128"], 2, "unknown shape '128'"),
    (["--rounds", "2"], 2, "--rounds 2: must be at least 3"),
    (["--output", "/dev/null/x"], 2, "--output"),
    (["--models", "minilmm", "--engines", "native"], 4, "Did you mean 'minilm'"),
    (["--nonsense"], 2, "--nonsense"),
])
def test_bad_flags(flags, code, words, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    if "--output" not in flags:
        flags = [*flags, "--output", str(tmp_path)]
    assert bench_cpu.main(flags) == code
    assert words in capsys.readouterr().err


def test_more_tokens_than_positions(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    assert bench_cpu.main(["--models", folder, "--engines", "native", "--shapes", "1x41", "--output",
                           str(tmp_path)]) == 2
    assert "41 tokens are more than the 40 positions" in capsys.readouterr().err


def test_strict_refuses_a_busy_machine(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")
    monkeypatch.setattr("bertpass.bench.quiet.Others.load", 1.5)
    assert bench_cpu.main(["--strict", "--engines", "native", "--output", str(tmp_path)]) == 7
    assert "other processes keep 1.5 processors busy" in capsys.readouterr().err


def test_no_engine_left(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the benchmark's picture")

    def gone(*arguments, **options):
        return {}

    monkeypatch.setattr("bertpass.bench.timing.measure", gone)
    assert bench_cpu.main(["--models", folder, "--engines", "native", "--shapes", "1x5", "--output",
                           str(tmp_path)]) == 1
    assert "no engine could be measured" in capsys.readouterr().err


def test_what_runs_by_default(monkeypatch):
    for provided in (True, False):
        monkeypatch.setattr(environments, "provided", lambda engine, there=provided: there or engine != "tensorflow")
        every, few = ({v.name for v in variants.usual(budget)} for budget in (False, True))
        assert ("tensorflow-float32" in every) == ("tensorflow-float32" in few) == provided
        assert every >= few | {"onnxruntime-float16", "torch-compile-float32"}
        assert not few & {"onnxruntime-float16", "torch-compile-float32", "tensorflow-xla-float32"}
        assert few >= {"native-float32", "onnxruntime-float32", "onnxruntime-unfused", "mxnet-plain", "tvm-float32"}


def test_revision():
    assert (found := report.revision()) is None or len(found.rstrip("+")) == 40


OTHER = """import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.recv_bytes()
connection.send((True, {"from": __file__}))
"""


def test_the_engine_of_another_checkout(tmp_path, monkeypatch):
    """It runs that folder's code wherever the person stands."""
    root = tmp_path / "before"
    (root / "bertpass" / "bench").mkdir(parents=True)
    for name in ("__init__.py", "bench/__init__.py", "_native.so"):
        (root / "bertpass" / name).touch()
    (root / "bertpass" / "bench" / "worker.py").write_text(OTHER)
    both = variants.beside([RIGHT, WRONG, Variant("m", "mxnet", "float32")], str(root))
    assert [v.name for v in both] == ["native-float32", "native-float32@before", "wrong", "wrong@before", "m"]
    assert [v.checkout for v in both] == ["", str(root), "", str(root), ""]
    monkeypatch.chdir(ROOT)
    worker = process.Worker(both[1], "minilm", threads=1, cpus=sorted(os.sched_getaffinity(0)), log=tmp_path / "log")
    worker.close()
    assert worker.about == {"from": str(root / "bertpass" / "bench" / "worker.py")}


def test_a_folder_that_is_no_built_checkout(tmp_path, capsys):
    assert bench_cpu.main(["--beside", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "no built checkout" in capsys.readouterr().err
