"""The kernel laboratory: references, what it counts, and its command. Nothing here asserts a speed."""

import dataclasses
import json

import numpy as np
import pytest

from bertpass import _native, machine
from bertpass.bench import ceiling
from bertpass.bench.cpu import kernel_ratios, kernels
from bertpass.commands.bench import kernels as bench_kernels
from bertpass.model.config import named

ISAS = _native.instruction_sets()
# The same kernels as for AMX, in plain instructions: here wherever AVX2 is.
EMULATED = ["amx_emulated"] if "avx2" in ISAS else []


@pytest.mark.parametrize("isa", [*ISAS, *EMULATED])
@pytest.mark.parametrize("case", [
    kernels.linear(33, 70, 50, "none", "float32"), kernels.linear(33, 70, 50, "gelu", "float32"),
    kernels.linear(33, 70, 50, "gelu_coarse", "bfloat16"), kernels.linear(33, 70, 50, "none", "int8"),
    kernels.attention(37, 3, 20, "float32"), kernels.attention(37, 3, 20, "bfloat16"),
    kernels.layer_norm(9, 77), kernels.softmax(45)], ids=lambda case: f"{case.kernel}-{case.dtype}")
def test_every_kernel_against_its_reference(case, isa):
    make, reference = case.build()
    expected = reference()
    for threads in (1, 2):
        work = make(isa, threads)
        for _ in range(2):  # a call leaves its inputs as they were
            assert np.abs(work.result() - expected).max() <= kernels.BOUNDS[case.dtype] * np.abs(expected).max()


def test_what_a_wrong_kernel_looks_like(monkeypatch):
    monkeypatch.setattr(kernels, "PART", 1e-4)
    case = kernels.layer_norm(4, 8)
    assert kernels.measure(case, "portable", 1).right
    make, reference = case.build()
    other = dataclasses.replace(case, build=lambda: (make, lambda: reference() + 1))
    found = kernels.measure(other, "portable", 1)
    assert not found.right and found.error > 0.1 and found.seconds > 0


def test_what_is_counted():
    bert = named("bert_12_768_12")
    found = list(kernels.cases(["bert_12_768_12"], ["float32", "int8"]))
    names = {(c.kernel, c.shape, c.dtype): c for c in found}
    assert len(names) == len(found)
    first = names["linear", f"128 x {3 * bert.units} x {bert.units}", "int8"]
    assert first.operations == 2 * 128 * 2304 * 768
    assert names["attention", "512 tokens, 12 x 64", "float32"].operations == 4 * 512 * 512 * 768
    assert names["layer norm", "128 x 768", "float32"].bytes == 2 * 4 * 128 * 768
    assert not any(c.kernel == "attention" and c.dtype == "int8" for c in found)


@pytest.mark.parametrize("isa", [*ISAS, *EMULATED])
def test_ceilings(isa, monkeypatch):
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    found = ceiling.peaks(2, isa)
    assert set(found) == set(ceiling.PRECISIONS) and min(found.values()) > 0
    assert _native.read_bandwidth(1 << 16, threads=2, seconds=0.01, isa=isa) > 0
    assert _native.read_bandwidth(1, threads=3, seconds=0.01, isa=isa) > 0


@pytest.mark.parametrize("call", [
    lambda: _native.peak("float7"), lambda: _native.peak(threads=0), lambda: _native.peak(seconds=0.0),
    lambda: _native.peak(seconds=float("nan")), lambda: _native.read_bandwidth(0),
    lambda: _native.softmax_work(np.zeros(3, np.float32)),
    lambda: _native.linear_work(np.zeros((2, 3), np.float32), np.zeros((4, 5), np.float32), np.zeros(4, np.float32))])
def test_bad_arguments(call):
    with pytest.raises(ValueError):
        call()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(kernels, "PART", 1e-4)
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    monkeypatch.setattr(bench_kernels, "SIZES", {"L1": 2**14, "L2": 2**19})
    assert bench_kernels.main(["--only", "norm", "--models", "minilm", "--threads", "1", "--isa", "all", "--output",
                               str(tmp_path / "kernels.json")]) == 0
    out = capsys.readouterr().out
    assert "layer norm" in out and "GB/s" in out and "ceilings" in out
    content = json.loads((tmp_path / "kernels.json").read_text())
    assert {row["isa"] for row in content["kernels"]} == set(ISAS) == set(content["peaks"])
    assert all(row["right"] and row["microseconds"] > 0 for row in content["kernels"])


def test_a_wrong_kernel_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "PART", 1e-4)
    monkeypatch.setattr(ceiling, "SECONDS", 0.01)
    monkeypatch.setattr(bench_kernels, "SIZES", {"L1": 2**14, "L2": 2**19})
    monkeypatch.setitem(kernels.BOUNDS, "float32", 0.0)
    assert bench_kernels.main(["--only", "norm", "--models", "minilm", "--threads", "1"]) == 1
    caught = capsys.readouterr()
    assert "WRONG" in caught.out and "2 kernels differ from their reference" in caught.err


@pytest.mark.parametrize(("flags", "words"), [
    (["--only", "nothing"], "no kernel has it"), (["--isa", "avx1024"], "unknown value 'avx1024'"),
    (["--dtypes", "float8"], "unknown value 'float8'")])
def test_bad_flags(flags, words, capsys):
    assert bench_kernels.main(flags) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(kernels, "PART", 1e-5)
    monkeypatch.setattr(kernel_ratios, "PAIRS", 1)


def test_ratios_are_kept_and_compared(quick, tmp_path, capsys, monkeypatch):
    file = tmp_path / "made" / "ratios.json"
    assert bench_kernels.main(["--keep", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert kept["machine"]["kind"] == machine.kind() and kept["threads"] == 1
    names = list(kept["ratios"])
    fastest = _native.selected()
    if fastest != "portable":
        assert {name.partition(":")[0] for name in names} == {fastest}
        words = {"linear", "attention", "layer norm", "softmax"}
        assert {word for name in names for word in words if word in name} == words
    measured = dict.fromkeys(names, 10.0)
    kept["ratios"] = dict(measured)
    file.write_text(json.dumps(kept))

    def ratio(case, isa, threads):
        calls.append(case)
        return measured[f"{isa}: {case.kernel}, {case.dtype}, {case.shape}"]

    calls = []
    monkeypatch.setattr(kernel_ratios, "ratio", ratio)
    measured[names[0]] = 7.8  # within 1.3
    capsys.readouterr()
    assert bench_kernels.main(["--against", str(file)]) == 0 and len(calls) == len(names)
    assert "SLOWER" not in capsys.readouterr().out
    measured[names[1]] = 5.0  # half its speed, as it happened once
    calls.clear()
    assert bench_kernels.main(["--against", str(file)]) == 1
    caught = capsys.readouterr()
    assert caught.out.count("SLOWER") == 1 and f"1 of {len(names)} kernels" in caught.err and "2.00x" in caught.err
    assert len(calls) == len(names) + kernel_ratios.TRIES - 1


@pytest.mark.parametrize(("content", "code", "words"), [
    (None, 3, "cannot be read"), ("{", 3, "no file of kernels' ratios"), ("[]", 3, "no file of kernels' ratios"),
    ({"machine": {"kind": "here"}, "threads": 1, "ratios": {}}, 3, "no file of kernels' ratios"),
    ({"machine": {"kind": "intel-none"}, "threads": 1, "ratios": {"avx2: x": 1.5}}, 2, "it is of intel-none"),
    ({"machine": {"kind": "here"}, "threads": 1, "ratios": {"avx2: gone": 1.5}}, 1, "no kernel 'avx2: gone'")])
def test_a_file_of_ratios_that_does_not_serve(tmp_path, capsys, content, code, words):
    file = tmp_path / "ratios.json"
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content).replace('"here"', f'"{machine.kind()}"')
        file.write_text(text)
    assert bench_kernels.main(["--against", str(file)]) == code
    assert words in capsys.readouterr().err


def test_keep_and_against_exclude_each_other(capsys):
    assert bench_kernels.main(["--against", "a", "--keep", "b"]) == 2
    assert "give one of them" in capsys.readouterr().err
