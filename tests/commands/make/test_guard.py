"""The guard: keeps the parts that hurt, as few as hold the metric, or refuses."""

import dataclasses

import numpy as np
import pytest

from bertpass.commands.make import deploy
from bertpass.errors import PrecisionError
from bertpass.jobs.low_precision.guard import hold
from bertpass.model.export import export_bundle
from bertpass.model.files import params_file
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy

PARTS = ["a", "b", "c", "d", "e"]
ERRORS = {"a": 0.1, "b": 0.5, "c": 0.01, "d": 0.9, "e": 0.2}  # so the order is d, b, e, a, c


def guarded(needed, allowed=0.01, span=1.0):
    """A model that loses 0.1 of its metric for each of the ``needed`` parts that is not kept."""
    asked = []

    def evaluate(kept):
        asked.append(list(kept))
        return {"accuracy": span * (0.9 - 0.1 * len(set(needed) - set(kept)))}

    return hold(PARTS, evaluate, ERRORS.__getitem__, {"accuracy": 0.9 * span}, "accuracy", allowed, span=span), asked


@pytest.mark.parametrize(("needed", "kept"), [
    ([], []), (["d"], ["d"]), (["b"], ["d", "b"]), (["e", "d"], ["d", "b", "e"]), (["c"], ["d", "b", "e", "a", "c"])])
@pytest.mark.parametrize("span", [1.0, 100.0])
def test_as_few_as_hold_the_metric(needed, kept, span):
    found, asked = guarded(needed, span=span)
    assert found.kept == kept and found.drop == pytest.approx(0) and found.low["accuracy"] == pytest.approx(0.9 * span)
    assert [count for count, _ in found.tried] == [len(names) for names in asked], "nothing is measured twice"
    assert found.errors == (ERRORS if needed else {})


def test_a_drop_that_is_allowed():
    assert guarded(["d"], allowed=0.1001)[0].kept == []
    assert guarded(["d", "b"], allowed=0.1001)[0].kept == ["d"]


@pytest.mark.parametrize("hurt", ["dev_matched", "dev_mismatched"])
def test_every_file_of_a_split_counts(hurt):
    full = {"accuracy (dev_matched)": 0.9, "accuracy (dev_mismatched)": 0.8}

    def evaluate(kept):
        return {name: value - 0.1 * (hurt in name and "d" not in kept) for name, value in full.items()}

    assert hold(PARTS, evaluate, ERRORS.__getitem__, full, "accuracy", 0.01).kept == ["d"]
    with pytest.raises(PrecisionError, match=rf"accuracy \({hurt}\) drops by 0.1000"):
        hold(["a"], evaluate, ERRORS.__getitem__, full, "accuracy", 0.01)


def test_refuses_what_does_not_hold():
    with pytest.raises(PrecisionError, match=r"drops by 0.2000 .* still by 0.2000 .* --max_metric_drop 0.01"):
        hold(PARTS, lambda kept: {"f1": 0.6}, ERRORS.__getitem__, {"f1": 0.8}, "f1", 0.01)


@pytest.fixture(scope="module")
def spoilt(sst, tmp_path_factory):
    """The SST model with the same outputs, made hard for int8: four channels of what attention gives are 3000 times as
    large, and the weights that read them as much smaller. The range of a token leaves all other channels no levels."""
    checkpoint = Bundle.open(sst / "bundle").checkpoint()
    params = {name: np.array(array) for name, array in checkpoint.params.items()}
    for layer in range(checkpoint.config.num_layers):
        cell = f"bert.encoder.transformer_cells.{layer}"
        params[f"{cell}.attention_cell.proj_value.weight"][:4] *= 3000
        params[f"{cell}.attention_cell.proj_value.bias"][:4] *= 3000
        params[f"{cell}.proj.weight"][:, :4] /= 3000
    folder = tmp_path_factory.mktemp("spoilt")
    export_bundle(dataclasses.replace(checkpoint, params=params), folder / "bundle", task="SST")
    params_file.write(folder / "net.params", params)
    return folder


@pytest.fixture(scope="module")
def on_spoilt(spoilt, data):
    """Run deploy.py in int8 on it; gives the result."""
    def run(out, *argv):
        assert deploy.main(toy.deploy("--model_parameters", spoilt / "net.params", "--task", "SST", "--data_dir",
                                      data / "glue", "--output_dir", out, "--dtype", "int8", *argv)) == 0
        return toy.result(out / "SST", "result.json")
    return run


def test_deploy_keeps_what_hurts(on_spoilt, sst, data, tmp_path, capsys):
    trained = toy.result(sst, "metrics.json")["metrics"]["accuracy"]
    bare = ("--calib_mode", "none")
    assert on_spoilt(tmp_path / "bare", *bare)["metrics"]["accuracy"] < trained - 0.1
    capsys.readouterr()
    result = on_spoilt(tmp_path / "guarded", "--max_metric_drop", "0.005", *bare)
    found = result["settings"]["passes"]["low_precision"]
    kept, plan = found["guard"]["kept"], found["plan"]
    assert kept and set(kept) <= {"0.proj", "1.proj"}
    assert plan == ",".join(["int8", *(f"{part}=bfloat16" for part in kept)]) == result["settings"]["dtype"]
    assert result["metrics"] == found["guard"]["low"] and result["metrics"]["accuracy"] >= trained - 0.005
    told = capsys.readouterr().err
    assert "kept in higher precision: " + kept[0] in told and "int8 with 0 of 8 parts kept" in told
    again = toy.deploy("--only_infer", "--exported_model", tmp_path / "guarded" / "SST" / "SST", "--task", "SST",
                       "--data_dir", data / "glue")
    assert deploy.main(again) == 0
    assert toy.result(tmp_path / "guarded" / "SST", "result.json")["metrics"] == result["metrics"]


def test_calibration_alone_repairs_it(on_spoilt, sst, tmp_path):
    result = on_spoilt(tmp_path, "--max_metric_drop", "0.005")
    assert result["settings"]["passes"]["low_precision"]["guard"]["kept"] == []
    assert result["metrics"]["accuracy"] >= toy.result(sst, "metrics.json")["metrics"]["accuracy"] - 0.005


def test_mxnets_own_int8_keeps_what_hurts(on_spoilt, sst, tmp_path):
    trained = toy.result(sst, "metrics.json")["metrics"]["accuracy"]
    bare = on_spoilt(tmp_path / "bare", "--engine", "mxnet")
    assert bare["metrics"]["accuracy"] < trained - 0.1 and bare["settings"]["dtype"] == "int8"
    result = on_spoilt(tmp_path / "guarded", "--engine", "mxnet", "--max_metric_drop", "0.005")
    found = result["settings"]["passes"]["low_precision"]
    assert found["guard"]["kept"] and found["quantized"] == found["products"] - len(found["guard"]["kept"]) > 0
    assert result["metrics"] == found["guard"]["low"] and result["metrics"]["accuracy"] >= trained - 0.005


def test_a_model_that_holds_is_left_alone(sst, data, tmp_path):
    argv = toy.deploy("--model_parameters", sst / "net.params", "--task", "SST", "--data_dir", data / "glue",
                      "--output_dir", tmp_path, "--dtype", "int8", "--max_metric_drop", "0.01")
    assert deploy.main(argv) == 0
    found = toy.result(tmp_path / "SST", "result.json")["settings"]["passes"]["low_precision"]
    assert found["plan"] == "int8" and found["guard"]["kept"] == [] and found["guard"]["errors"] == {}
