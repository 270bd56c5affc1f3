"""Schedules of the TVM engine's kernels: records that are found or not, a search whose results change speed alone."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

from bertpass import machine
from bertpass.commands.main import main
from bertpass.engines.tvm import engine as tvm_engine
from bertpass.engines.tvm import records as tvm_records
from bertpass.engines.tvm.kernels import Kernels
from bertpass.engines.tvm.network import Network
from bertpass.engines.tvm.records import Record, Records
from bertpass.errors import ModelError
from bertpass.jobs.machines import tvm_tuning
from bertpass.model.layouts import huggingface
from tests.helpers import reference

SIZES = {"units": 64, "num_heads": 2, "hidden_size": 96, "max_length": 128}
SHIPPED = tvm_records.SHIPPED
CPU = machine.describe()["cpu"]
DENSE = Record(CPU, 16, 1, "dense", '[[128, 64], 2, "none", false]', {"tile": 2, "chunk": 64}, 1.0, 2.0, "0")
ARGUMENTS = ((128, 64), 2, "none", False)


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A file of records that is nobody else's, and none that were shipped."""
    monkeypatch.setenv("BERTPASS_TVM_RECORDS", str(tmp_path / "own" / "records.json"))
    monkeypatch.setattr(tvm_records, "SHIPPED", tmp_path / "shipped.json")
    return tvm_records.own_file()


def test_a_record_is_of_one_machine_and_kernel():
    records = Records([DENSE], 16, 1)
    assert records.schedule("dense", ARGUMENTS) == {"tile": 2, "chunk": 64}
    assert records.schedule("dense", ((128, 64), 2, "gelu", False)) is None
    assert Records([DENSE], 16, 2).schedule("dense", ARGUMENTS) is None
    assert Records([DENSE], 8, 1).schedule("dense", ARGUMENTS) is None
    assert Records([dataclasses.replace(DENSE, cpu="another")], 16, 1).schedule("dense", ARGUMENTS) is None


def test_own_records_are_preferred(own):
    tvm_records.merge(tvm_records.SHIPPED, [DENSE])
    assert tvm_records.here(16, 1).schedule("dense", ARGUMENTS) == {"tile": 2, "chunk": 64}
    tvm_records.merge(own, [dataclasses.replace(DENSE, schedule={}), dataclasses.replace(DENSE, threads=2)])
    assert tvm_records.here(16, 1).schedule("dense", ARGUMENTS) == {}
    tvm_records.merge(own, [dataclasses.replace(DENSE, schedule={"tile": 4})])
    assert [one.threads for one in tvm_records.read(own)] == [1, 2]
    assert tvm_records.here(16, 1).schedule("dense", ARGUMENTS) == {"tile": 4}


def test_shipped_records_are_schedules_of_the_kernels():
    """Those of MiniLM, BERT-base and DistilBERT, with one thread and two; no path of the machine that measured them."""
    records = tvm_records.read(SHIPPED)
    assert {(record.kernel, record.threads) for record in records} == {(k, t) for k in ("dense", "attention")
                                                                       for t in (1, 2)}
    for record in records:
        words = inspect.signature(getattr(Kernels, record.kernel)).parameters
        assert set(record.schedule) <= {name for name, word in words.items() if word.kind is word.KEYWORD_ONLY}
        assert record.microseconds <= record.default_microseconds and len(json.loads(record.arguments)) >= 4
    assert "[1, 128, 12, 64]" in {record.arguments for record in records}


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "records": []}', '{"format": 1, "records": [{}]}',
                                     '{"format": 1, "records": [{"schedule": {"tile": "x"}}]}'])
def test_damaged_records(content, own):
    own.parent.mkdir()
    own.write_text(content)
    with pytest.raises(ModelError, match=str(own)):
        tvm_records.here(16, 1)


def test_what_ships_can_be_read(monkeypatch):
    monkeypatch.undo()
    for record in tvm_records.read(tvm_records.SHIPPED):
        assert 0 < record.microseconds <= record.default_microseconds and json.loads(record.arguments)


def test_the_space():
    kernels = Kernels(pytest.importorskip("tvm", reason="pip install '.[tvm]' to test this engine"), 16)
    dense = tvm_tuning.space(kernels, "dense", ((256, 64), 2, "none", False))
    assert dense[0] == {} and {"tile": 2, "chunk": 128} in dense and {"chunk": 64} in dense and len(dense) == 9
    attention = tvm_tuning.space(kernels, "attention", (1, 48, 2, 32))
    assert attention[0] == {} and {"tile": 16, "width": 16} in attention and {"tile": 8, "width": 32} not in attention
    assert all(48 % one.get("tile", 8) == 0 and 32 % one.get("width", 16) == 0 for one in attention)
    assert tvm_tuning.space(kernels, "norm", (16, 64, 1e-12)) == [{}]
    for kernel in (dense, attention):
        assert len({tuple(sorted(one.items())) for one in kernel}) == len(kernel)


def test_every_schedule_computes_the_same():
    tvm = pytest.importorskip("tvm", reason="pip install '.[tvm]' to test this engine")
    network = Network(tvm_engine.start(1), reference.tiny("bert", "none", **SIZES), 1)
    for kernel, arguments in (("dense", ((128, 64), 2, "gelu", True)), ("attention", (1, 48, 2, 32))):
        times, schedules = tvm_tuning.measured(tvm, network, kernel, arguments, 60.0)
        assert schedules == tvm_tuning.space(network.kernels, kernel, arguments)  # none is left out as wrong
        assert all(0 < one < 1 for one in times)


def test_a_schedule_that_changes_results_is_left_out(monkeypatch):
    tvm = pytest.importorskip("tvm", reason="pip install '.[tvm]' to test this engine")
    network = Network(tvm_engine.start(1), reference.tiny("bert", "none", **SIZES), 1)
    real = network.kernels.dense

    def dense(shape, panels, activation, skip, **schedule):
        return real(shape, panels, "relu" if schedule.get("tile") == 2 else activation, skip, **schedule)

    monkeypatch.setattr(network.kernels, "dense", dense)
    _, schedules = tvm_tuning.measured(tvm, network, "dense", ((16, 64), 2, "none", False), 60.0)
    assert {} in schedules and len(schedules) > 1 and {"tile": 2} not in schedules


def test_the_command_and_what_it_changes(own, tmp_path, capsys):
    pytest.importorskip("tvm", reason="pip install '.[tvm]' to test this engine")
    checkpoint = reference.tiny("bert", "none", **SIZES)
    huggingface.write_folder(tmp_path / "tiny", checkpoint)
    assert main(["tune", str(tmp_path / "tiny"), "--shapes", "1x20", "--tuning_minutes", "0.01", "--threads", "1"]) == 0
    assert f"wrote {own}" in capsys.readouterr().out
    found = tvm_records.read(own)
    assert {one.kernel for one in found} == {"dense", "attention"} and {one.threads for one in found} == {1}
    assert all(0 < one.microseconds <= one.default_microseconds for one in found)
    tvm_records.merge(own, [dataclasses.replace(one, schedule={"tile": 2}) for one in found])
    engine = tvm_engine.from_checkpoint(checkpoint, threads=1)
    batch = reference.batch(checkpoint.config, [20])
    (got,), (wanted,) = engine.forward(*batch), reference.outputs(checkpoint, *batch)
    assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted)
    assert engine.describe()["recorded_schedules"] == len(found) > 3


@pytest.mark.parametrize(("words", "code", "sentence"), [
    ([], 2, "is needed"),
    (["minilm", "--shapes", "64"], 2, "write batch x sequence length"),
    (["minilm", "--shapes", "1x600"], 2, "600 tokens are more than the 512 positions of minilm"),
    (["minilm", "--minutes", "0"], 2, "--minutes"),
    (["minilm", "--records", "{tmp}"], 4, "records of TVM kernels"),
    (["bert_12_768_12:x"], 2, "write a number of layers"),
])
def test_bad_words(words, code, sentence, tmp_path, capsys):
    assert main(["tune", *(word.format(tmp=tmp_path) for word in words)]) == code
    assert sentence in capsys.readouterr().err
