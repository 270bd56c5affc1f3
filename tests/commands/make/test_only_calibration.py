"""--only_calibration of the fine-tuning scripts and of deploy.py, and the table of precisions."""

import pytest

from bertpass.commands.main import main
from bertpass.commands.make import deploy, finetune
from tests.helpers import toy


@pytest.mark.parametrize(("engine", "mode"), [
    ("native", "none"), ("native", "customize"), ("mxnet", "naive"), ("mxnet", "entropy"), ("mxnet", "percentile"),
    ("mxnet", "customize")])
def test_classifier(engine, mode, encoder, data, sst, tmp_path):
    argv = ("--task_name", "SST", "--data_dir", data / "glue", "--model_parameters", sst / "net.params",
            "--only_calibration", "--engine", engine, "--calib_mode", mode, "--num_calib_batches", 2)
    assert finetune.classifier(toy.classify(encoder, tmp_path / "out", *argv)) == 0
    result = toy.result(tmp_path / "out" / "SST", "result.json")
    assert result["metrics_float32"] == toy.result(sst, "metrics.json")["metrics"]
    assert result["metrics"]["accuracy"] >= result["metrics_float32"]["accuracy"] - 0.05
    found = result["settings"]["passes"]["low_precision"]
    assert found["engine"] == engine and found["calibration_rows"] == (0 if mode == "none" else 64)
    assert not (tmp_path / "out" / "net.params").exists()
    infer = ("--only_infer", "--exported_model", tmp_path / "out" / "SST" / "SST", "--task", "SST", "--data_dir",
             data / "glue")
    assert deploy.main(toy.deploy(*infer)) == 0
    again = toy.result(tmp_path / "out" / "SST", "result.json")
    assert again["settings"]["dtype"] == "int8"
    assert again["metrics"]["accuracy"] == pytest.approx(result["metrics"]["accuracy"], abs=1 / toy.DEV + 1e-9)


@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_squad(engine, encoder, data, squad, tmp_path, capsys):
    argv = ("--data_dir", data / "squad", "--model_parameters", squad / "net.params", "--only_calibration", "--engine",
            engine, "--max_metric_drop", 0.5)
    assert finetune.squad(toy.squad(encoder, tmp_path / "out", *argv)) == 0
    result = toy.result(tmp_path / "out" / "QA", "result.json")
    trained = toy.result(squad, "metrics.json")["metrics"]
    assert result["metrics_float32"]["f1"] == trained["f1"]
    guard = result["settings"]["passes"]["low_precision"]["guard"]
    assert guard["metric"] == "f1" and guard["drop"] == pytest.approx((trained["f1"] - guard["low"]["f1"]) / 100)
    assert "f1" in capsys.readouterr().out


def test_deploy(sst, data, tmp_path, capsys):
    argv = ("--model_parameters", sst / "net.params", "--task", "SST", "--data_dir", data / "glue",
            "--only_calibration", "--output_dir", tmp_path)
    assert deploy.main(toy.deploy(*argv)) == 0
    result = toy.result(tmp_path / "SST", "result.json")
    assert result["settings"]["passes"]["low_precision"]["plan"] == "int8" and "latency_ms" not in result
    assert '"exported"' in capsys.readouterr().out


def test_parts_that_are_named(sst, data, tmp_path):
    argv = ("--model_parameters", sst / "net.params", "--task", "SST", "--data_dir", data / "glue", "--dtype", "int8",
            "--keep", "0=bfloat16", "1.down=float32", "--output_dir", tmp_path)
    assert deploy.main(toy.deploy(*argv)) == 0
    assert toy.result(tmp_path / "SST", "result.json")["settings"]["dtype"] == "int8,0=bfloat16,1.down=float32"


def test_table_of_precisions(sst, data, tmp_path, capsys):
    argv = toy.strings("bench", "precision", "--model_parameters", sst / "net.params", "--data_dir", data / "glue",
                       "--seq_length", 24, "--modes", "naive", "--output", tmp_path / "table.json")
    assert main(argv) == 0
    lines = {line["name"]: line for line in toy.result(tmp_path, "table.json")["lines"]}
    assert list(lines) == ["float32", "bfloat16", "int8, weights to nearest", "int8, calibrated",
                           "int8 by MXNet, naive"]
    assert 0 == lines["float32"]["error"] < lines["bfloat16"]["error"] < lines["int8, calibrated"]["error"] < 0.2
    assert all(abs(line["drop"]) <= 0.1 for line in lines.values())
    assert "error of states" in capsys.readouterr().out
