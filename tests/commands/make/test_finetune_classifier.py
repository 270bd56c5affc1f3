"""finetune_classifier.py from end to end: it learns, and writes what it promises."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from bertpass.commands.make import deploy, finetune
from bertpass.model.files import params_file
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy


def test_learns_the_sst_layout_and_writes_everything(sst, encoder, data):
    result = toy.result(sst, "metrics.json")
    assert result["task"] == "SST" and result["train_rows"] == toy.TRAIN and result["dev_rows"] == {"dev": toy.DEV}
    assert result["metrics"]["accuracy"] >= 0.85  # half of the rows are of each class
    assert [row["epoch"] for row in result["history"]] == [1, 2, 3, 4, 5]
    assert result["metrics"]["accuracy"] == max(row["accuracy"] for row in result["history"])
    bundle = Bundle.open(sst / "bundle")
    assert (bundle.task, bundle.labels, bundle.max_length) == ("SST", ["0", "1"], 24)
    assert bundle.metrics == result["metrics"]
    trained, written = params_file.read(sst / "net.params"), bundle.parameters()
    assert set(trained) == set(written) and all(np.array_equal(trained[n], written[n]) for n in trained)
    log = (sst / "finetune.log").read_text()
    assert "epoch 5 on dev: accuracy" in log and "loss" in log and "samples/s" in log
    assert sorted(p.name for p in sst.iterdir()) == ["bundle", "checkpoint", "finetune.log", "metrics.json",
                                                     "net.params", "net.vocab"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl.gz"])
def test_learns_own_data(ending, encoder, data, tmp_path, capsys):
    argv = toy.classify(encoder, tmp_path, "--train_file", data / f"own.train.{ending}", "--dev_file",
                        data / f"own.dev.{ending}", "--test_file", data / "own.test.tsv", "--epochs", 7)
    assert finetune.classifier(argv) == 0
    result = toy.result(tmp_path, "metrics.json")
    assert result["metrics"]["accuracy"] >= 0.85 and result["metrics"]["f1"] >= 0.8
    assert f"accuracy {result['metrics']['accuracy']:.4f}" in capsys.readouterr().out
    assert Bundle.open(tmp_path / "bundle").labels == ["no", "yes"]
    lines = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text().splitlines()]
    assert lines[0] == ["index", "prediction"] and [line[0] for line in lines[1:]] == list("012345")
    expected = [("no", "yes")[feeling] for _, feeling in toy.rows(6, 5)]
    assert sum(found == wanted for (_, found), wanted in zip(lines[1:], expected, strict=True)) >= 5


def test_columns_with_other_names(encoder, tmp_path):
    """The same rows under the usual names and under others give the same weights and, deployed, the same metrics."""
    usual, named = tmp_path / "usual", tmp_path / "named"
    flags = ["--text_column", "Review", "--label-column", "stars"]
    words = [toy.few_rows(usual, 12), [*toy.few_rows(named, 12), *flags]]
    for file in named.iterdir():
        file.write_text(file.read_text().replace("text\tlabel", "review\tstars", 1))
    for folder, more in zip((usual, named), words, strict=True):
        assert finetune.classifier(toy.classify(encoder, folder / "out", *more, "--epochs", 1)) == 0
    weights = [params_file.read(folder / "out" / "net.params") for folder in (usual, named)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    metrics = []
    for folder, more in ((usual, []), (named, flags)):
        argv = toy.deploy("--model_parameters", folder / "out" / "net.params", "--eval_file", folder / "dev.tsv", *more,
                          "--output_dir", folder / "deployed")
        assert deploy.main(argv) == 0
        metrics.append(json.loads(next((folder / "deployed").rglob("result.json")).read_text())["metrics"])
    assert metrics[0] == metrics[1] != {}


def test_learns_pairs(encoder, data, tmp_path):
    argv = toy.classify(encoder, tmp_path, "--train_file", data / "pairs.train.tsv", "--dev_file",
                        data / "pairs.dev.tsv", "--epochs", 9)
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path, "metrics.json")["metrics"]["accuracy"] >= 0.8  # the first text alone says nothing


def test_learns_regression(encoder, data, tmp_path):
    argv = toy.classify(encoder, tmp_path, "--task_kind", "regression", "--train_file", data / "numbers.train.tsv",
                        "--dev_file", data / "numbers.dev.tsv", "--test_file", data / "own.test.tsv")
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path, "metrics.json")["metrics"]["pearson"] >= 0.9
    assert Bundle.open(tmp_path / "bundle").head.kind == "regression"
    assert float((tmp_path / "predictions.tsv").read_text().splitlines()[1].split("\t")[1]) < 4


def test_mnli_is_scored_on_both_files(encoder, data, tmp_path):
    assert finetune.classifier(toy.classify(encoder, tmp_path, "--task_name", "MNLI", "--data_dir", data / "glue",
                                            "--epochs", 1)) == 0
    result = toy.result(tmp_path, "metrics.json")
    assert result["dev_rows"] == {"dev_matched": 9, "dev_mismatched": 12}
    assert set(result["metrics"]) == {"accuracy (dev_matched)", "accuracy (dev_mismatched)"}
    assert result["metrics"]["accuracy (dev_matched)"] * 9 == pytest.approx(
        round(result["metrics"]["accuracy (dev_matched)"] * 9))


def test_only_inference_gives_the_same_metric(sst, data, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in sst.rglob("*")}
    argv = toy.classify("unused", tmp_path, "--task_name", "SST", "--data_dir", data / "glue", "--only_inference",
                        "--model_parameters", sst / "net.params")
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path, "metrics.json")["metrics"] == toy.result(sst, "metrics.json")["metrics"]
    assert not (tmp_path / "net.params").exists()
    assert before == {p: p.stat().st_mtime_ns for p in sst.rglob("*")}


def test_only_inference_takes_the_labels_of_the_model(encoder, data, tmp_path):
    """A development file that lacks a class is still scored by the model's own numbering."""
    files = toy.strings("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv")
    assert finetune.classifier(toy.classify(encoder, tmp_path / "model", *files)) == 0
    one_class = tmp_path / "yes.tsv"
    one_class.write_text("text\tlabel\n" + "".join(f"{t}\tyes\n" for t, f in toy.rows(40, 9) if f))
    argv = toy.classify("unused", tmp_path / "out", "--dev_file", one_class, "--only_inference", "--model_parameters",
                        tmp_path / "model" / "net.params")
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path / "out", "metrics.json")["metrics"]["accuracy"] >= 0.8


def test_net_params_and_net_vocab_are_enough(sst, data, tmp_path):
    """Without the bundle, the GluonNLP files and the number of heads say the same model."""
    for name in ("net.params", "net.vocab"):
        shutil.copy(sst / name, tmp_path / name)
    argv = toy.classify("unused", tmp_path / "out", "--task_name", "SST", "--data_dir", data / "glue",
                        "--only_inference", "--model_parameters", tmp_path / "net.params", "--num_heads", 4)
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path / "out", "metrics.json")["metrics"] == toy.result(sst, "metrics.json")["metrics"]


def test_the_vocabulary_is_gluonnlps(sst):
    from bertpass.mx import nlp

    vocab = nlp.vocab.BERTVocab.from_json((sst / "net.vocab").read_text())
    assert vocab.idx_to_token == toy.SPECIAL + toy.WORDS


@pytest.mark.parametrize(("flag", "lower"), [("--uncased", True), ("--cased", False), (None, True)])
def test_case_flags_decide(flag, lower, encoder, data, tmp_path):
    argv = toy.classify(encoder, tmp_path, "--task_name", "SST", "--data_dir", data / "glue", "--training_steps", 1)
    assert finetune.classifier(argv + ([flag] if flag else [])) == 0
    assert Bundle.open(tmp_path / "bundle").tokenizer().lower is lower
    assert len(toy.result(tmp_path, "metrics.json")["history"]) == 1


def test_a_checkpoint_with_its_labels_in_another_order_is_put_right(sst):
    from bertpass.jobs.tasks.opening import in_order

    ours = dataclasses.replace(Bundle.open(sst / "bundle").checkpoint(), labels=["bad", "good"])
    swapped = {n: a[::-1] if n.startswith("classifier.") else a for n, a in ours.params.items()}
    theirs = dataclasses.replace(ours, params=swapped, labels=["GOOD", "BAD"])
    fixed = in_order(theirs, ["bad", "good"])
    assert fixed.labels == ["bad", "good"] and len(fixed.notes) == 1
    assert all(np.array_equal(fixed.params[n], ours.params[n]) for n in ours.params)
    assert in_order(theirs, ["0", "1"]) is theirs  # other labels: by position


def test_optimizers_and_rounding(encoder, data, tmp_path):
    for optimizer in ("adam", "sgd"):
        argv = toy.classify(encoder, tmp_path / optimizer, "--task_name", "SST", "--data_dir", data / "glue",
                            "--training_steps", 2, "--optimizer", optimizer, "--round_to", 3, "--warmup_ratio", 0)
        assert finetune.classifier(argv) == 0
    first, second = (params_file.read(tmp_path / name / "net.params") for name in ("adam", "sgd"))
    assert any(not np.array_equal(first[n], second[n]) for n in first)


def test_metrics_are_json(sst):
    json.loads((sst / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
