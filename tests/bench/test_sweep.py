"""bench cpu in Hydra's words: the grammar, the parts of a sweep, stopping and going on."""

import json

import pytest

from bertpass.bench.cpu import sweep as bench_sweep
from bertpass.bench.cpu.sweep import SweepOptions
from bertpass.bench.pages import comparison, cost, result_files
from bertpass.commands.main import main
from bertpass.commands.table import find
from bertpass.errors import UsageError


@pytest.fixture
def hydra():
    pytest.importorskip("hydra", reason="Hydra's grammar needs it: pip install '.[hydra]'")


def test_whose_words_they_are():
    for words in (["model=minilm"], ["--multirun", "batch_size=1,8"], ["-m", "x=1"], ["backend.name=torch"], ["+x=1"]):
        for line in (["bench", *words], ["bench", "sweep", *words]):
            assert find(line)[0] == "bench sweep" and find(line)[2] == words
    for words in (["cpu"], ["report", "a=b.json"]):
        assert find(["bench", *words])[0] == f"bench {words[0]}", words
    for words in (["--output", "a=b"], ["--rounds=5"]):
        with pytest.raises(UsageError, match="a word has to stand before the flags"):
            find(["bench", *words])


def test_combinations_in_order(hydra):
    found = bench_sweep.configurations(["model=minilm", "engine=native,torch", "batch_size=1,8", "num_threads=2",
                                        "sequence_length=range(64,129,64)", "--multirun"])
    assert [(o.engine, o.batch_size, o.sequence_length) for o in found] == [
        (e, b, n) for e in ("native", "torch") for b in (1, 8) for n in (64, 128)]
    assert {o.num_threads for o in found} == {2} and {o.warmup_runs for o in found} == {2}


def test_published_names_mean_ours(hydra):
    one = bench_sweep.configurations(["model=bert_12_768_12", "backend.name=pytorch", "batch_size=1",
                                      "backend.num_threads=24", "warmup_runs=5", "benchmark_duration=20"])[0]
    assert one == SweepOptions("bert_12_768_12", "torch-float32", 1, 128, 24, 5, 20.0)
    assert bench_sweep.configurations(["backend=openvino-int8"])[0].engine == "openvino-int8"


def test_engines_of_a_batch_are_one_part():
    made = [SweepOptions(engine=e, batch_size=b, num_threads=1) for e in ("a", "b", "a") for b in (1, 8)]
    assert [(one.batch_size, names) for one, names in bench_sweep.parts(made)] == [(1, ("a", "b")), (8, ("a", "b"))]


@pytest.mark.parametrize("words, sentence", [
    (["engin=native"], "Did you mean 'engine'?"),
    (["batch_size=1,8"], "several values need --multirun"),
    (["batch_size=many"], "could not be converted to Integer"),
    (["batch_size=0"], "must be at least 1"),
    (["batch_size=[1"], "no viable alternative"),
    (["+engine=native"], "nothing can be added"),
    (["~engine"], "nothing can be added or removed"),
    (["warmup_runs=1,2", "--multirun"], "one value of warmup_runs"),
    (["engine=nativ"], "unknown engine 'nativ'"),
    (["engine=native-int8"], "at least one must compute in float32"),
])
def test_bad_words(hydra, words, sentence, tmp_path, capsys):
    assert main(["bench", f"output={tmp_path / 'out'}", *words]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_hydra(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "hydra", None)
    assert main(["bench", "model=minilm"]) == 6
    assert "pip install '.[hydra]'" in capsys.readouterr().err


def test_a_sweep_goes_on_where_it_stopped():
    wanted = [(SweepOptions(batch_size=b), ("native",)) for b in (1, 2, 4)]
    kept: list = []

    def measure(part):
        if part[0].batch_size == 4 and len(kept) < 3:
            kept.append("stopped")
            raise KeyboardInterrupt
        return {"batch": part[0].batch_size}

    saved: list = []
    with pytest.raises(KeyboardInterrupt):
        bench_sweep.run(wanted, [], measure, saved.append)
    assert saved[-1] == [{"batch": 1}, {"batch": 2}]
    calls: list = []
    done = bench_sweep.run(wanted, saved[-1], lambda part: calls.append(part) or {"batch": 4}, saved.append)
    assert len(calls) == 1 and done == saved[-1] == [{"batch": 1}, {"batch": 2}, {"batch": 4}]


def test_what_is_kept_is_of_the_same_sweep(tmp_path):
    about = {"machine": {"cpu": "x"}, "versions": {"numpy": "1"}, "revision": "abc", "command": "a"}
    sweep, file = [{"model": "minilm"}], tmp_path / "sweep.json"
    assert bench_sweep.kept(file, sweep, about) == []
    file.write_text(json.dumps({"environment": about, "sweep": sweep, "models": [{"model": "minilm"}]}))
    assert bench_sweep.kept(file, sweep, {**about, "command": "b"}) == [{"model": "minilm"}]
    with pytest.raises(bench_sweep.UsageError, match="another sweep"):
        bench_sweep.kept(file, [{"model": "other"}], about)
    with pytest.raises(bench_sweep.UsageError, match="another versions and revision"):
        bench_sweep.kept(file, sweep, {**about, "revision": "def", "versions": {}})
    file.write_text("[]")
    with pytest.raises(bench_sweep.DataError, match="no file of a sweep"):
        bench_sweep.kept(file, sweep, about)


def test_a_real_sweep(hydra, folder, tmp_path, capsys):
    words = [f"model={folder}", "engine=native-float32,native-int8", "batch_size=1,2", "sequence_length=8",
             "num_threads=1", "warmup_runs=3", "benchmark_duration=0.1", f"output={tmp_path}", "--multirun"]
    assert main(["bench", *words]) == 0
    content = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [m["workloads"][0]["name"] for m in content["models"]] == ["1x8", "2x8"]
    file = result_files.read(tmp_path / "sweep.json")
    assert {(p.engine, p.workload, p.configuration) for p in file.points} == {
        (e, w, "1 x 1") for e in ("native-float32", "native-int8") for w in ("1x8", "2x8")}
    assert {p.verdict for p in comparison.compare(file, file).pairs} == {"same"}
    assert {(m.rows, m.cores) for m in cost.read(tmp_path / "sweep.json")} == {(1, 1), (2, 1)}
    capsys.readouterr()
    before = (tmp_path / "sweep.json").stat().st_mtime_ns
    assert main(["bench", *words]) == 0 and (tmp_path / "sweep.json").stat().st_mtime_ns == before
    assert "2 of 2 parts are there already" in capsys.readouterr().out
