"""bertpass bench gpu without a GPU: its refusals, and all of its steps on the twin and PyTorch's CPU."""

import json
import subprocess
import sys

import pytest
from build_cuda import ROOT

from bertpass.bench.gpu import apart, measure, mxnet_process, peers
from bertpass.bench.gpu import check as gpu_check
from bertpass.errors import DeviceError, UsageError
from bertpass.model.config import EncoderConfig

TINY = EncoderConfig(num_layers=1, units=64, hidden_size=64, num_heads=2, max_length=32, vocab_size=50)
CARD = {"name": "Twin 1", "driver_version": "0", "compute_cap": "9.0", "memory.total": "0"}


@pytest.fixture(autouse=True)
def on_the_twin(library_path, cublaslt, monkeypatch, tmp_path):
    monkeypatch.setenv("BERTPASS_CUDA", str(library_path))
    monkeypatch.setenv("BERTPASS_CUBLASLT", cublaslt)
    monkeypatch.setenv("BERTPASS_CUDA_MEASUREMENTS", str(tmp_path / "algorithms.json"))
    monkeypatch.setattr(gpu_check, "named", lambda name: TINY)


@pytest.mark.parametrize(("arguments", "code", "sentence"), [
    ([], 7, "there is no NVIDIA GPU with a driver here"),
    (["--cases", "9x999"], 2, "--cases 9x999: bert_12_768_12 has 512 positions"),
    (["--cases", "many"], 2, "unknown shape 'many'"),
    (["--model", "bert_13"], 4, "bert_12_768_12"),
    (["--output", "README.md/file.json"], 2, "README.md is a file, not a folder")])
def test_refusals(arguments, code, sentence, tmp_path):
    environment = {"PATH": str(tmp_path)}  # no nvidia-smi in it, whatever this machine has
    done = subprocess.run([sys.executable, "-m", "bertpass", "bench", "gpu", *arguments], cwd=ROOT, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == code and sentence in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def options(tmp_path, **fields):
    return gpu_check.GpuOptions(**{"seconds": 0.01, "no_build": True, "no_tests": True, "compile_mode": "none",
                                        "output": str(tmp_path / "out.json"), **fields})


def test_all_steps_and_the_file(tmp_path, capsys):
    pytest.importorskip("torch", reason="pip install '.[reference]' to test the comparison with PyTorch")
    cases = [measure.case_of(name) for name in ("1x8", "3x16 half")]
    assert gpu_check.check(options(tmp_path), cases, CARD, device="cpu") == 0
    kept = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [row["case"] for row in kept["rows"]] == ["1x8", "3x16 half"] and kept["wrong"] == []
    assert kept["mxnet"] == "not installed" and kept["onnxruntime"]
    assert kept["gpu"] == CARD and kept["versions"]["device"] == "twin of a GPU" and kept["compiled"] == "not asked for"
    for row in kept["rows"]:
        assert row["error"] < 1e-2 and row["ms"]["ours"]["median"] > 0 and row["ms"]["eager"]["calls"] >= 5
    assert kept["rows"][0]["warm_ms"]["median"] > 0 and kept["rows"][1]["tokens"] < kept["rows"][1]["padded"] == 48
    printed = capsys.readouterr().out
    assert printed.splitlines()[-3].split()[:2] == ["batch", "tokens"] and "ours ms" in printed


def test_wrong_results_are_told(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="pip install '.[reference]' to test the comparison with PyTorch")
    monkeypatch.setattr(measure.Bench, "errors", lambda bench, case: {"ours": float("nan"), "eager": 1e-3})
    assert gpu_check.check(options(tmp_path), [measure.case_of("1x8")], CARD, device="cpu") == 1
    assert "WRONG: 1x8: error nan" in capsys.readouterr().out


def test_a_case_that_fails_takes_no_other_along(tmp_path, capsys, monkeypatch):
    """Its row says what failed and which part of the engine works alone; the file is there after each case."""
    pytest.importorskip("torch", reason="pip install '.[reference]' to test the comparison with PyTorch")
    plain, seen = measure.Bench.errors, []

    def errors(bench, case):
        seen.append(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"])
        if case.name == "2x8":
            raise RuntimeError("no kernel image")
        return plain(bench, case)

    monkeypatch.setattr(measure.Bench, "errors", errors)
    cases = [measure.case_of(name) for name in ("1x8", "2x8", "3x8")]
    assert gpu_check.check(options(tmp_path), cases, CARD, device="cpu") == 1
    assert [[row["case"] for row in rows] for rows in seen] == [[], ["1x8"], ["1x8", "2x8"]]
    kept = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert kept["wrong"] == ["2x8: RuntimeError: no kernel image"] and "ours" in kept["rows"][2]["ms"]
    rungs = kept["rows"][1]["ladder"]
    assert [(rung["measure"], rung["graphs"]) for rung in rungs] == list(apart.LADDER)
    assert all(rung["distance"] < 1e-2 for rung in rungs)
    assert "failed" in capsys.readouterr().out.splitlines()[-2]


def test_a_gpu_that_is_lost_ends_the_cases(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="pip install '.[reference]' to test the comparison with PyTorch")

    def errors(bench, case):
        error = DeviceError("a forward failed: an illegal memory access was encountered.")
        error.lost = True
        raise error

    monkeypatch.setattr(measure.Bench, "errors", errors)
    monkeypatch.setattr(apart, "figures", lambda *_: iter([{"error": "ended with 1"}]))
    cases = [measure.case_of(name) for name in ("1x8", "2x8")]
    assert gpu_check.check(options(tmp_path), cases, CARD, device="cpu") == 1
    kept = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert len(kept["rows"]) == 1 and kept["rows"][0]["ladder"] == [{"error": "ended with 1"}]
    assert kept["wrong"][1] == "nothing after 1x8: the GPU's context is lost in this process."


@pytest.mark.parametrize(("program", "code", "summary"), [
    ("def test_a():\n    assert 0\n", 1, "1 failed"),
    ("import time\ndef test_a():\n    time.sleep(60)\n", -1, "were ended after 8 seconds, see ")])
def test_the_tests_have_a_limit(tmp_path, monkeypatch, program, code, summary):
    (tmp_path / "test_it.py").write_text(program)
    monkeypatch.setattr(gpu_check, "TESTS", (str(tmp_path / "test_it.py"), "--rootdir", str(tmp_path)))
    if code == -1:
        monkeypatch.setattr(gpu_check, "TESTS_LIMIT", 8.0)
    found = gpu_check.tests(tmp_path / "new" / "tests.txt")
    assert found["exit_code"] == code and summary in found["summary"] and (tmp_path / "new" / "tests.txt").is_file()


def test_torch_compile_ends_with_the_time(tmp_path, monkeypatch):
    figures = {"median": 1.0, "low": 1.0, "high": 1.0, "calls": 5}
    done = []

    def compile_once(program, asked, limit):
        done.append(asked["case"][0])
        yield {"error": "ended with 1: no kernel"} if asked["case"][0] == "2x8" else {"ms": figures}

    monkeypatch.setattr(apart, "figures", compile_once)
    rows = [{"ms": {}} for _ in range(3)]
    cases = [measure.case_of(name) for name in ("1x8", "2x8", "3x8")]
    asked = options(tmp_path, compile_mode="max-autotune")
    assert gpu_check.compiled(asked, TINY, "cpu", cases, rows, float("inf")) == "2x8: ended with 1: no kernel"
    assert rows == [{"ms": {"compiled": figures}}, {"ms": {}}, {"ms": {}}]
    assert gpu_check.compiled(asked, TINY, "cpu", cases, rows, 0.0) == "no time from 1x8 on" and done == ["1x8", "2x8"]


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 1e-2)])
def test_onnxruntime(dtype, bound, tmp_path):
    for package in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(package, reason="pip install '.[reference,onnxruntime]' to test this peer")
    checkpoint, cases = measure.random_checkpoint(TINY), [measure.case_of(name) for name in ("1x8", "3x16 half")]
    bench = measure.Bench(checkpoint, "float32", "cpu")
    rows = [{"ms": {}} for _ in cases]
    asked = options(tmp_path, dtype=dtype)
    assert gpu_check.onnxruntime(asked, checkpoint, bench, cases, rows, float("inf")).count(".") == 2
    assert all(one["error_onnxruntime"] <= bound and one["ms"]["onnxruntime"]["calls"] >= 5 for one in rows)
    assert gpu_check.onnxruntime(asked, checkpoint, bench, cases, rows, 0.0) == "no time from 1x8 on"
    asked = options(tmp_path, dtype="bfloat16")
    assert gpu_check.onnxruntime(asked, checkpoint, bench, cases, rows, float("inf")) == "has no bfloat16"


def test_mxnet_in_its_process(monkeypatch):
    """What the process measures, here on the CPU."""
    monkeypatch.setattr(mxnet_process, "LINES", {"mxnet": "interleave_qkv", "mxnet_encoder": "native_encoder"})
    cases, told = [measure.case_of(name) for name in ("1x8", "3x16 half")], []
    mxnet_process.measure(measure.random_checkpoint(TINY), "float32", cases, 0.01, None, told.append)
    assert [(one["name"], one["case"]) for one in told] == [
        (name, case.name) for name in ("mxnet", "mxnet_encoder") for case in cases]
    assert all(one["ms"]["calls"] >= 5 and one["ms"]["low"] <= one["ms"]["median"] for one in told)
    mxnet_process.measure(measure.random_checkpoint(TINY), "float16", cases, 0.01, None, told.append)
    assert "mxnet: float16: MXNet computes float16 on a GPU only" in told[-2]["error"]


FIGURE = '{"name": "mxnet", "case": "1x8", "ms": {"median": 2.0}}'


@pytest.mark.parametrize(("program", "said"), [
    ("", "mxnet-cu117 1.9.1"),
    ("raise RuntimeError('no kernel image')", "mxnet-cu117 1.9.1; ended with 1: RuntimeError: no kernel image"),
    ("import time; time.sleep(60)", "mxnet-cu117 1.9.1; was ended after 3 seconds")])
def test_mxnet_as_the_check_sees_it(program, said, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "mxnet_build", lambda: "mxnet-cu117 1.9.1")
    monkeypatch.setattr(peers, "MXNET_LIMIT", 3.0)
    times, program = peers.mxnet_times, f"print({FIGURE!r}, flush=True); {program}"
    monkeypatch.setattr(peers, "mxnet_times", lambda *rest: times(*rest, ["-c", program]))
    rows = [{"case": "1x8", "ms": {}}]
    assert gpu_check.mxnet(options(tmp_path), [measure.case_of("1x8")], rows, float("inf")) == said
    assert rows[0]["ms"] == {"mxnet": {"median": 2.0}}
    assert gpu_check.mxnet(options(tmp_path), [measure.case_of("1x8")], rows, 0.0) == "no time"


def test_cases():
    assert measure.case_of("2x5") == measure.Case("2x5", (5, 5), 5)
    half = measure.case_of("64x100 half")
    assert half.length == 100 and 0.45 < sum(half.lengths) / 6400 < 0.55 and min(half.lengths) >= 1
    assert measure.case_of("sst").length == max(measure.case_of("sst").lengths) < 128
    with pytest.raises(UsageError, match="unknown shape"):
        measure.case_of("half")
