"""Fine-tuning beside its PyTorch control: both move the weights alike, and the comparison keeps what it has."""

import json

import numpy as np
import pytest

from bertpass.bench.finetuning import control, report, run
from bertpass.commands.main import main
from bertpass.commands.make import finetune
from bertpass.errors import DataError
from bertpass.jobs.training.classify import ClassifierOptions
from bertpass.jobs.training.squad import SquadOptions
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.model.files import params_file
from bertpass.model.layouts import huggingface
from bertpass.options import parse
from bertpass.text.data.readers import read_task_file
from tests.helpers import toy, toy_kinds

pytest.importorskip("torch", reason="pip install '.[reference]' to compare with PyTorch")
pytest.importorskip("transformers", reason="pip install '.[reference]' to compare with transformers")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = toy_kinds.write(toy.write_data(tmp_path_factory.mktemp("data")))
    for split, name in (("train", "train"), ("valid", "dev")):
        (root / f"{name}.conll").write_bytes((root / "CoNLL-2003" / f"{split}.txt").read_bytes())
    return root


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return toy.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def control_weights(job, folder, monkeypatch):
    """The weights that the control ends with, under our names."""
    trained = []
    train = control.Control.fit
    monkeypatch.setattr(control.Control, "fit", lambda self, *rest: trained.append(self) or train(self, *rest))
    assert control.run(job)["steps"] == job.options.training_steps
    trained[0].net.save_pretrained(folder)
    return huggingface.read_folder(folder).params


#: file of the toy data, labels
KINDS = {"classification": ("own.{}.tsv", ["no", "yes"]), "regression": ("numbers.{}.tsv", None),
         "multilabel": ("several.{}.jsonl", ["manner", "people", "praise"]), "ranking": ("ranking.{}.tsv", None),
         "tokens": ("{}.conll", ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"])}


@pytest.mark.parametrize("kind", [*KINDS, "qa"])
def test_both_move_the_weights_alike(kind, encoder, data, tmp_path, monkeypatch):
    """Without dropout the two differ by rounding only: gradients, clipping, schedule and optimiser are the same."""
    file, labels = KINDS.get(kind, ("", None))
    head = HeadConfig(kind, num_labels=len(labels or ()))
    start = adapt(huggingface.read_folder(encoder), head, 5, labels)
    huggingface.write_folder(tmp_path / "start", start)
    few = ("--training_steps", 9, "--lr", "2e-3")
    if kind == "qa":
        argv = toy.squad(tmp_path / "start", tmp_path / "ours", "--data_dir", data / "squad", *few)
        assert finetune.squad(argv) == 0
        job = control.squad_job(parse(SquadOptions, argv, ""))
    else:
        argv = toy.classify(tmp_path / "start", tmp_path / "ours", "--train_file", data / file.format("train"),
                            "--dev_file", data / file.format("dev"), "--task_kind", kind, *few)
        assert finetune.classifier(argv) == 0
        job = control.classifier_job(parse(ClassifierOptions, argv, ""))
    theirs = control_weights(job, tmp_path / "control", monkeypatch)
    ours = params_file.read(tmp_path / "ours" / "net.params")
    compared = set(ours) & set(theirs)
    assert compared >= {name for name in ours if "pooler" not in name}
    moved = max(float(np.abs(ours[name] - start.params[name]).max()) for name in compared)
    assert moved > 1e-3
    for name in compared:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=0.02 * moved, err_msg=name)


@pytest.fixture(scope="module")
def compared(encoder, data, tmp_path_factory):
    """The command on two toy tasks, one of them without a training file."""
    root, out = tmp_path_factory.mktemp("tasks"), tmp_path_factory.mktemp("out")
    (root / "SST-2").symlink_to(data / "glue" / "SST-2")
    (root / "LCQMC").mkdir()
    pairs = [f"{a}\t{a}\t{label}" for a, label in toy.rows(60, 4)]
    (root / "LCQMC" / "dev.tsv").write_text("\n".join(["text_a\ttext_b\tlabel", *pairs]) + "\n")
    argv = toy.strings("bench", "finetuning", "--data_dir", root, "--bert_model", encoder, "--tasks", "SST", "LCQMC",
                       "--seeds", 1, "--training_steps", 4, "--batch_size", 8, "--max_len", 24, "--max_dev_rows", 20,
                       "--threads", 1, "--output", out)
    assert main(argv) == 0
    return argv, out


@pytest.mark.slow
def test_the_command_compares_and_goes_on(compared, capsys):
    argv, out = compared
    runs = json.loads((out / "finetuning.json").read_text())["runs"]
    assert [(r["task"], r["seed"]) for r in runs] == [("SST", 1), ("LCQMC", 1)]
    assert runs[0]["dev_rows"] == {"dev": 20} and runs[1]["dev_rows"] == {"dev": 12} and runs[1]["train_rows"] == 48
    assert all(r[side]["samples_per_second"] > 0 for r in runs for side in ("ours", "control"))
    before = (out / "SST-1" / "ours.log").stat().st_mtime_ns
    assert main(argv) == 0
    assert (out / "SST-1" / "ours.log").stat().st_mtime_ns == before  # it was there already
    assert "LCQMC" in capsys.readouterr().out and "| LCQMC | accuracy, %" not in (out / "finetuning.md").read_text()
    assert (out / "finetuning.png").stat().st_size > 10_000


def test_no_training_row_is_among_the_development_rows(data, tmp_path):
    """Where one file is parted in two."""
    (tmp_path / "LCQMC").mkdir()
    lines = [f"text {i}\tother {i}\t{i % 2}" for i in range(50)]
    (tmp_path / "LCQMC" / "dev.tsv").write_text("\n".join(["a\tb\tlabel", *lines]) + "\n")
    folder = run.data_folder(run.get_task("LCQMC"), str(tmp_path), tmp_path / "out", None)
    train, dev = ((folder / name).read_text().splitlines() for name in ("train.tsv", "dev.tsv"))
    assert train[0] == dev[0] == "a\tb\tlabel"
    assert sorted(train[1:] + dev[1:]) == sorted(lines) and len(dev) == 11


def test_ranking_keeps_whole_articles(tmp_path):
    """QA's development questions are thinned by paragraph; a paragraph alone has nothing to be ranked with."""
    paragraphs = [{"context": f"place {p}", "qas": [{"id": f"{p}-{q}", "question": "where?", "answers": [
        {"text": "place", "answer_start": 0}]} for q in range(4)]} for p in range(6)]
    (tmp_path / "SQuAD").mkdir()
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        (tmp_path / "SQuAD" / name).write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    ranking, qa = run.get_task("SQuAD-rerank"), run.get_task("QA")
    folder = run.data_folder(ranking, str(tmp_path), tmp_path / "ranking", 4)
    assert len(read_task_file(ranking, folder / "dev-v1.1.json", "dev")) == 24 * 6
    folder = run.data_folder(qa, str(tmp_path), tmp_path / "qa", 4)
    assert len(json.loads((folder / "dev-v1.1.json").read_text())["data"][0]["paragraphs"]) == 1


def test_the_noise_is_that_of_the_seeds():
    def result(seed, ours, control):
        return {"task": "SST", "main_metric": "accuracy", "seed": seed, "settings": {},
                "ours": {"metrics": {"accuracy": ours}, "samples_per_second": 10.0 * seed},
                "control": {"metrics": {"accuracy": control}, "samples_per_second": 5.0}}

    line, = report.lines([result(1, 0.8, 0.7), result(2, 0.9, 0.9), result(3, 0.7, 0.8)])
    assert line.difference == pytest.approx(0.0) and line.noise == pytest.approx(10.0)
    assert (line.ours_speed, line.control_speed) == (20.0, 5.0)
    assert report.lines([result(1, 0.8, 0.7)])[0].noise is None


@pytest.mark.parametrize(("words", "code", "said"), [
    ([], 2, "--data_dir"), (["--data_dir", "none-such"], 3, "no folder at"),
    (["--data_dir", ".", "--tasks", "SSTT"], 2, "SST"), (["--data_dir", ".", "--optimizer", "sgd"], 2, "bertadam"),
])
def test_bad_input(words, code, said, capsys, tmp_path):
    assert main(["bench", "finetuning", *words, "--output", str(tmp_path / "out")]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failure_keeps_the_others(compared, capsys, tmp_path):
    argv, _ = compared
    words = list(argv)
    words[words.index("--output") + 1] = str(tmp_path)
    words[words.index("--max_len") + 1] = "4000"  # more positions than the model has: ours refuses
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "2 of 2 comparisons failed" in told and "positions" in told


def test_a_damaged_training_file_is_an_error(tmp_path):
    """The development rows take its place only where there is none."""
    (tmp_path / "LCQMC").mkdir()
    (tmp_path / "LCQMC" / "dev.tsv").write_text("a\tb\tlabel\nx\ty\t1\n")
    (tmp_path / "LCQMC" / "train.tsv.gz").write_bytes(b"no gzip file")
    with pytest.raises(DataError, match="gzip"):
        run.data_folder(run.get_task("LCQMC"), str(tmp_path), tmp_path / "out", None)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"runs": [1]}'])
def test_a_damaged_result_file_is_an_error(content, data, encoder, tmp_path, capsys):
    (tmp_path / "finetuning.json").write_text(content)
    assert main(toy.strings("bench", "finetuning", "--data_dir", data / "glue", "--bert_model", encoder, "--tasks",
                            "SST", "--output", tmp_path)) == 3
    assert "finetuning.json" in capsys.readouterr().err
    assert (tmp_path / "finetuning.json").read_text() == content
