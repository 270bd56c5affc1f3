"""Published tables beside measured ones: the data file, the entries on a tiny model, budgets, stopping and going on."""

import ast
import json
import os
import re
from pathlib import Path

import pytest

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.bench import ceiling, reproduce
from bertpass.bench.reproduce import grid, page, published, session
from bertpass.bench.reproduce.entries import cost, gpu_passes, latency, onnxruntime, operators, scaling, scores, tvm
from bertpass.bench.reproduce.session import Entry
from bertpass.bench.reproduce.tables import Table, shown
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.commands.measure.reproduce import main
from tests.helpers import ROOT

NAMES = reproduce.names()
EVERYTHING = published.read()


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch):
    """The ceilings are measured in no time."""
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory):
    """A tiny model with as many positions as the published lengths need."""
    from bertpass.model.layouts import huggingface
    from tests.helpers import reference

    path = tmp_path_factory.mktemp("models") / "long"
    huggingface.write_folder(path, reference.tiny("bert", "none", max_length=512))
    return str(path)


@pytest.fixture
def native_only(monkeypatch):
    """The native engine stands for MXNet, whose processes start slowly."""
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
    plain = Variant(REFERENCE, "native", "float32", {"dtype": "float32"})
    ours = [Variant(v.name, "native", v.precision, {"dtype": v.precision}, ours=True) for v in latency.deployed()]
    for module in (latency, cost):
        monkeypatch.setattr(module, "plain", lambda: plain)
        monkeypatch.setattr(module, "deployed", lambda: ours)
    monkeypatch.setattr(scaling, "engines", lambda: [plain])


def run(*words):
    return main([str(word) for word in words])


def test_every_entry_has_published_figures_with_a_source():
    assert set(EVERYTHING) == {"sources", *NAMES}
    for name in NAMES:
        assert reproduce.entry(name).name == name
        assert {"title", "publisher", "conditions"} <= published.source(EVERYTHING, name).keys()


def numbers(value):
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()), set())
    if isinstance(value, list):
        return set().union(*map(numbers, value), set())
    return {value} if isinstance(value, float) else set()


def test_code_has_no_published_figure():
    figures = {n for n in numbers(EVERYTHING) if n != round(n)}
    assert 0.56 in figures and 93.46 in figures and 17.5 in figures
    files = set((ROOT / "bertpass/bench/reproduce").rglob("*.py")) | {ROOT / "bertpass/commands/measure/reproduce.py"}
    for file in files - {ROOT / "bertpass/bench/reproduce/picture.py"}:  # it has sizes of pictures
        found = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
        assert not {n for n in found if isinstance(n, float)} & figures, file


@pytest.mark.parametrize("name", NAMES)
def test_pages_and_pictures_before_anything_is_measured(name, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
    entry, figures = reproduce.entry(name), EVERYTHING[name]
    tables = entry.tables(figures, {})
    assert tables and all(isinstance(t, Table) for t in tables)
    for table in tables:
        lines = [line for line in page.markdown(table).split("\n") if line.startswith("|")]
        assert len(lines) == 2 + len(table.rows)
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    entry.draw(tmp_path / "picture.png", figures, {}, "nowhere")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_list(capsys):
    assert run("--list") == 0
    out = capsys.readouterr().out
    for name in NAMES:
        assert name in out
    assert "partly; not" in out and "GPU" in out and "--results FILE" in out


@pytest.mark.slow
def test_latency_budget_resume_redraw(native_only, long_folder, tmp_path, monkeypatch, capsys):
    flags = ["latency", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path]
    assert run(*flags) == 0
    content = session.read(tmp_path / "latency.json")
    times, left_out = (content["measured"]["grid"][key] for key in ("times", "left_out"))
    assert content["complete"] and len(times) == 6 and not left_out
    assert set(times["1x80"]) == {REFERENCE, "passes float32", "passes float16", "passes int8"}
    text = (tmp_path / "latency.md").read_text()
    assert "< 4 ms (g4dn.xlarge, FP16)" in text and "plain MXNet here, ms" in text and "quick run" in text
    assert "[latency](latency.md)" in (tmp_path / "README.md").read_text()

    grown = json.loads(json.dumps(content))
    del grown["measured"]["grid"]["times"]["4x384"]
    write_json(tmp_path / "latency.json", grown)
    assert run(*flags, "--resume") == 0
    again = session.read(tmp_path / "latency.json")["measured"]["grid"]["times"]
    assert set(again) == set(times) and again["1x80"] == times["1x80"]

    def refuse(*arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(grid.cpu, "running", refuse)
    (tmp_path / "latency.png").unlink()
    with monkeypatch.context() as without_packages:
        without_packages.setattr(Entry, "check", refuse)
        assert run(*flags, "--redraw") == 0
    assert run(*flags, "--resume") == 0
    assert (tmp_path / "latency.png").stat().st_size > 10_000
    assert run(*flags, "--resume", "--bert_model", "minilm") == 2
    assert "--resume" in capsys.readouterr().err
    (tmp_path / "latency.json").write_text("{}")
    assert run(*flags, "--resume") == 3
    assert "no result file" in capsys.readouterr().err


def test_what_goes_over_the_budget_is_left_out(native_only, long_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(session.Session, "left", lambda self: 0.0)
    assert run("latency", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path) == 0
    content = session.read(tmp_path / "latency.json")
    assert list(content["measured"]["grid"]["times"]) == ["1x80"]  # the first tells how long the others would take
    assert set(content["measured"]["grid"]["left_out"]) == {"1x128", "1x384", "4x80", "4x128", "4x384"}
    rows = {(r["length"], r["batch"]): r for r in content["tables"][1]["rows"]}
    assert rows[80, 1]["plain"] > 0 and "over the budget" in rows[128, 4]["conditions"]
    assert rows[128, 300]["conditions"] == "not measured yet"


def test_cost(native_only, long_folder, tmp_path):
    assert run("cost", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path, "--price",
               "c7i.xlarge=0.1785:4") == 0
    content = session.read(tmp_path / "cost.json")
    timing = content["measured"]["grid"]["times"]["4x128"][REFERENCE]
    rows = content["tables"][0]["rows"]
    row = next(r for r in rows if (r["instance"], r["engine"]) == ("c7i.xlarge", "plain MXNet"))
    assert row["here"] == pytest.approx(0.1785 / 3600 * 1e6 * timing["median_ms"] / 4e3) and row["published"] is None
    g4 = next(r for r in rows if r["instance"] == "g4dn.xlarge")
    assert g4["published"] == 0.2 and "this machine has" in g4["conditions"]
    implied = {r["engine"]: r["rate"] for r in content["tables"][1]["rows"]}
    assert implied["published: g4dn.xlarge"] == pytest.approx(730.6, abs=0.1)
    assert cost.dollars(3.6, 1000, 1.0) == pytest.approx(1.0)


def test_operators(long_folder, tmp_path, monkeypatch):
    """MXNet's profiler and the native timers, both real."""
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
    monkeypatch.setattr(operators, "QUICK", ("1x40",))
    assert run("operators", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path) == 0
    content = session.read(tmp_path / "operators.json")
    found = content["measured"]["profiles"]["1x40"]
    plain, native, int8 = (found[name]["seconds"] for name in (REFERENCE, "native-float32", "native-int8"))
    assert plain["FullyConnected"] > 0 and plain["LayerNorm"] > 0
    assert {"softmax", "GEMM", "LayerNorm", "GELU"} <= set(operators.by_type(REFERENCE, plain))
    assert native["qkv"] > 0 and native["quantize"] == 0 and int8["quantize"] > 0
    for name in found:
        assert sum(operators.by_type(name, found[name]["seconds"]).values()) == pytest.approx(1)
    assert operators.STAGE_TYPES.keys() == native.keys()
    assert [t["title"] for t in content["tables"]][1:] == [
        "Plain MXNet by operator", "native-float32 by stage", "native-int8 by stage"]


@pytest.mark.slow
def test_scaling(native_only, long_folder, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: give this process two to compare one instance with two")
    assert run("scaling", "--quick", "--threads", 2, "--bert_model", long_folder, "--output", tmp_path) == 0
    content = session.read(tmp_path / "scaling.json")
    split, alone, _ = content["tables"]
    assert [(row["layout"], row["each"]) for row in split["rows"]] == [("1 x 2", 8), ("2 x 1", 4)]
    for row in split["rows"]:  # the slowest's median and the sum over all belong together
        assert row["throughput"] >= 0.99 * 8 / (row["latency"] / 1e3)
    assert split["rows"][0]["ratio"] == 1
    assert [row["cores"] for row in alone["rows"]] == [1, 2] and alone["rows"][1]["1x384"] > 0
    assert run("scaling", "--quick", "--threads", 2, "--bert_model", long_folder, "--output", tmp_path, "--resume") == 0
    assert session.read(tmp_path / "scaling.json")["measured"] == content["measured"]
    assert run("scaling", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path / "one") == 7


@pytest.mark.slow
def test_gpu_passes(long_folder, tmp_path, monkeypatch, capsys):
    """The lines of a GPU on this CPU: passes and variables of each reach its process; FP16 itself needs the GPU."""
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
    flags = ["gpu_passes", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path]
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)
    assert run(*flags) == 7 and not (tmp_path / "gpu_passes.json").exists()
    assert "no NVIDIA driver" in capsys.readouterr().err
    lines = gpu_passes.variants()
    assert all(v.options["gpu"] == 0 and v.precision == "float16" for v in lines[1:])
    on_cpu = gpu_passes.variants(None, "float32")
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(gpu_passes, "variants", lambda: on_cpu)
    assert run(*flags) == 0
    content = session.read(tmp_path / "gpu_passes.json")
    engines = content["measured"]["grid"]["engines"]
    environments = {name: set(engine["about"]["environment"]) - {"OMP_NUM_THREADS"} for name, engine in engines.items()}
    both = {"MXNET_SAFE_ACCUMULATION", "MXNET_FC_TRUE_FP16"}
    assert environments["true FP16"] == environments[gpu_passes.ALL] == both
    assert environments["bias_gelu"] == {"MXNET_SAFE_ACCUMULATION"} and not environments[REFERENCE]
    rewrites = {name: {p for p, n in engine["about"]["passes"].items() if n} for name, engine in engines.items()}
    assert rewrites[gpu_passes.ALL] == {"interleave_qkv", "bias_gelu"} and not rewrites["true FP16"]
    row = next(r for r in content["tables"][0]["rows"] if r["ours"] == "bias_gelu")
    assert row["batch 1"] > 0 and row["batch 128"] is None and row["published"] == "drawn only"


def test_what_the_machine_lacks_is_left_out_of_all(native_only, long_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)
    assert run("cost", "gpu_passes", "--quick", "--threads", 1, "--bert_model", long_folder, "--output", tmp_path) == 0
    assert (tmp_path / "cost.json").is_file() and not (tmp_path / "gpu_passes.json").exists()


def test_scores(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")

    def side(**metrics):
        return {"metrics": metrics, "samples_per_second": 1.0}

    settings = {"training_steps": 120, "epochs": 1, "batch_size": 32}
    runs = [{"task": "SST", "model": "minilm", "seed": seed, "settings": settings, "train_rows": 67349,
             "dev_rows": {"dev": 872}, "ours": side(accuracy=value), "control": side(accuracy=0.9)}
            for seed, value in ((1, 0.9), (2, 0.88))]
    runs.append({"task": "QA", "model": "minilm", "seed": 1, "settings": settings, "ours": side(exact=50.0, f1=60.0),
                 "control": side(exact=51.0, f1=61.0)})
    (tmp_path / "runs.json").write_text(json.dumps({"runs": runs}))
    lines = [{"name": "float32", "metrics": {"accuracy": 0.9}}, {"name": "int8", "metrics": {"accuracy": 0.895}}]
    (tmp_path / "low.json").write_text(json.dumps({"task": "SST", "rows": 872, "lines": lines}))
    assert run("scores", "--results", tmp_path / "runs.json", tmp_path / "low.json", "--output", tmp_path / "out") == 0
    low = {(r["task"], r["metric"]): r for r in session.read(tmp_path / "out" / "scores.json")["tables"][1]["rows"]}
    assert low["SST", "accuracy"]["here"] == pytest.approx(0.5) and low["SST", "accuracy"]["precision"] == "int8"
    assert low["SST", "accuracy"]["drop"] == pytest.approx(0.46) and ("CoLA", "matthews") not in low
    assert scores.INT8_COMMAND in low["QA", "f1"]["conditions"]
    rows = {(r["task"], r["metric"]): r for r in session.read(tmp_path / "out" / "scores.json")["tables"][0]["rows"]}
    assert rows["SST", "accuracy"]["ours"] == pytest.approx(89.0) and rows["SST", "accuracy"]["base"] == 93.46
    assert rows["SST", "accuracy"]["conditions"] == "minilm, 120 steps of 32, 67349 rows, 872 dev rows"
    assert rows["QA", "f1"]["ours"] == 60.0 and rows["QA", "f1"]["int8"] == 88.1
    assert rows["CoLA", "matthews"]["ours"] is None and scores.COMMAND in rows["CoLA", "matthews"]["conditions"]
    (tmp_path / "wrong.json").write_text("[]")
    assert run("scores", "--results", tmp_path / "wrong.json", "--output", tmp_path / "out") == 3
    assert "no result file of fine-tuning" in capsys.readouterr().err


def part(times, engines, threads=2):
    """What a grid keeps, from milliseconds by shape and engine."""
    return {"model": "m", "threads": threads, "engines": engines,
            "times": {shape: {name: {"median_ms": ms} for name, ms in found.items()} for shape, found in times.items()}}


def test_tvm_tables():
    about = {tvm.TVM: {"failure": None, "largest_error": 2.5e-6}}
    kept = {"bert_12_768_12, all threads": part({"1x64": {REFERENCE: 90.0, tvm.TVM: 60.0, tvm.OURS: 45.0},
                                                 "4x128": {REFERENCE: 500.0, tvm.TVM: 250.0}}, about),
            "bert_12_768_12, 1 thread": part({"1x64": {REFERENCE: 150.0, tvm.TVM: 100.0}}, about, threads=1)}
    latency_table, throughput = reproduce.entry("tvm").tables(EVERYTHING["tvm"], kept)
    both = [r for r in latency_table.rows if (r["model"], r["length"]) == ("BERT-base", 64)]
    assert [(r["threads"], r["mxnet"], r["tvm"], r["speedup"], r["ours"]) for r in both] == [
        (2, 90.0, 60.0, 1.5, 45.0), (1, 150.0, 100.0, 1.5, None)]
    assert both[0]["tvm published"] == 12.6 and both[0]["ratio"] == pytest.approx(1.5 / 2.1)
    assert "2.5e-06" in latency_table.note and throughput.rows[0]["here"] == 2.0
    assert next(r for r in latency_table.rows if r["model"] == "DistilBERT")["conditions"] == "not measured yet"
    kept["bert_12_768_12, 1 thread"]["engines"] = {tvm.TVM: {"failure": "its process ended.", "largest_error": None}}
    assert "its process ended." in reproduce.entry("tvm").tables(EVERYTHING["tvm"], kept)[0].note


def test_tvm_measures_with_all_threads_and_with_one(monkeypatch):
    asked = []
    monkeypatch.setattr(grid, "measure", lambda one, name, model, variants, shapes, threads=None: asked.append(
        (name, model, [v.name for v in variants], shapes, threads)))
    one = session.Session(reproduce.entry("tvm"), session.Settings("m", False, 2), EVERYTHING["tvm"], [0, 1], 1.0,
                          Path("x"), {})
    tvm.measure(one)
    engines, lengths = [REFERENCE, "tvm-float32", "native-float32"], ["1x64", "1x128", "1x256"]
    assert asked == [
        ("bert_12_768_12, all threads", "bert_12_768_12", engines, [*lengths, "4x128"], None),
        ("distilbert, all threads", "distilbert", engines, lengths, None),
        ("bert_12_768_12, 1 thread", "bert_12_768_12", engines, lengths, 1),
        ("distilbert, 1 thread", "distilbert", engines, lengths, 1)]


def test_onnxruntime_counts_nodes():
    about = {onnxruntime.UNFUSED: {"about": {"operators": {"MatMul": 6, "Softmax": 1}}, "failure": None},
             onnxruntime.FUSED: {"about": {"operators": {"Attention": 1, "MatMul": 3}}, "failure": None}}
    kept = {"3 layers": part({"1x128": {onnxruntime.UNFUSED: 30.0, onnxruntime.FUSED: 10.0, REFERENCE: 20.0}}, about)}
    *_, speed, nodes = reproduce.entry("onnxruntime").tables(EVERYTHING["onnxruntime"], kept)
    assert speed.rows[0]["ratio"] == 3.0
    assert [tuple(row.values()) for row in nodes.rows] == [
        ("Attention", 0, 1), ("MatMul", 6, 3), ("Softmax", 1, 0), ("all", 7, 4)]


@pytest.mark.parametrize(("words", "code", "sentence"), [
    ([], 2, "name a table or all"), (["latncy"], 2, "Did you mean 'latency'"),
    (["cost", "--price", "c7i"], 2, "--price c7i: write NAME="), (["cost", "--price", "a=0"], 2, "--price a=0"),
    (["latency", "--minutes", "0"], 2, "--minutes 0"), (["latency", "--resume", "--redraw"], 2, "give one of them"),
    (["latency", "--output", "/dev/null/x"], 2, "--output"),
    (["latency", "--redraw", "--output", "{tmp}"], 3, "latency.json"),
    (["latency", "--bert_model", "bert_12_768_12:0", "--output", "{tmp}"], 2, "number of layers"),
    (["onnxruntime", "--bert_model", "minilm", "--output", "{tmp}"], 2, "layers of a published size"),
])
def test_bad_flags(words, code, sentence, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
    assert run(*(word.format(tmp=tmp_path) for word in words)) == code
    assert sentence in capsys.readouterr().err


def test_cells():
    assert [shown(v) for v in (None, 3, 123.4, 12.34, 1.234, 0.1234, 0.01234, "x")] == [
        "–", "3", "123", "12.3", "1.23", "0.123", "0.012", "x"]
    assert shown(88.125, 2) == "88.12" and shown(3, 2) == "3"
