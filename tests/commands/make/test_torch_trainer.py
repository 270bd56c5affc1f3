"""Fine-tuning through PyTorch: the steps of MXNet's trainer on its families, and families that MXNet cannot compute."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from bertpass.commands.make import finetune
from bertpass.jobs.training.trainer import Trainer
from bertpass.model.files import params_file
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy, toy_kinds

torch = pytest.importorskip("torch", reason="pip install '.[torch]' to train through PyTorch")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_kinds.write(toy.write_data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return toy.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpnet") / "tiny"
    return toy.write_encoder(folder, family="mpnet", token_type_vocab_size=0, use_pooler=False, layer_norm_eps=1e-5)


#: name -> command, its words
JOBS = {kind: ("classifier", ["--task_kind", kind, "--train_file", f"{file.format('train')}", "--dev_file",
                              f"{file.format('dev')}"])
        for kind, file in (("classification", "pairs.{}.tsv"), ("regression", "numbers.{}.tsv"),
                           ("multilabel", "several.{}.csv"), ("ranking", "ranking.{}.tsv"))}
JOBS["multilabel"][1].extend(["--label_separator", ";"])
JOBS["values"] = ("classifier", ["--task_kind", "regression", "--label_column", "praise,people", "--train_file",
                                 "values.train.csv", "--dev_file", "values.dev.csv"])
JOBS["tokens"] = ("classifier", ["--task_name", "NER", "--data_dir", "."])
JOBS["qa"] = ("squad", ["--data_dir", "squad"])


def run(job, encoder, data, out, monkeypatch, *words):
    """Run a job; the values of its steps and what metrics.json holds."""
    command, argv = JOBS[job]
    argv = [str(data / word) if (data / word).exists() else word for word in argv]
    values, step = [], Trainer.step

    def noted(self, *rest):
        values.append(step(self, *rest))
        return values[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", noted)
        made = toy.squad if command == "squad" else toy.classify
        assert getattr(finetune, command)(made(encoder, out, *argv, "--warmup_ratio", 0, *words)) == 0
    return values, toy.result(out, "metrics.json")


@pytest.mark.parametrize("job", JOBS)
def test_first_losses_are_those_of_mxnets_trainer(job, encoder, data, tmp_path, monkeypatch):
    """Without dropout, from the same seed: 1e-4 relative is the bound, 2e-6 was seen."""
    found = {}
    for trainer in ("mxnet", "torch"):
        out = tmp_path / trainer
        found[trainer], result = run(job, encoder, data, out, monkeypatch, "--trainer", trainer, "--training_steps", 3)
        assert result["trainer"] == trainer and Bundle.open(out / "bundle").trainer == trainer
    assert len(found["torch"]) == 3
    assert found["torch"] == pytest.approx(found["mxnet"], rel=1e-4)
    names = [sorted(p.name for p in (tmp_path / trainer).iterdir()) for trainer in ("mxnet", "torch")]
    assert names[0] == names[1]


@pytest.mark.parametrize("optimizer", ["bertadam", "adam", "adamw", "sgd"])
def test_a_step_moves_the_weights_as_mxnets(optimizer, encoder, data, tmp_path, monkeypatch):
    """Adam's first step is the rate in the direction of each gradient, also of those that are 0 but for rounding."""
    rate = ("--lr", "0.1" if optimizer == "sgd" else "1e-3", "--accumulate", 2)
    weights = {}
    for trainer in ("mxnet", "torch"):
        run("classification", encoder, data, tmp_path / trainer, monkeypatch, "--trainer", trainer, "--optimizer",
            optimizer, "--training_steps", 2, *rate)
        weights[trainer] = params_file.read(tmp_path / trainer / "net.params")
    from bertpass.model.layouts.huggingface import read_folder

    start, ours, theirs = read_folder(encoder).params, weights["torch"], weights["mxnet"]
    moved = max(float(np.abs(theirs[name] - start[name]).max()) for name in theirs if name in start)
    assert moved > 1e-3 and set(ours) == set(theirs)
    far = [np.abs(ours[name] - theirs[name]) > 1e-2 * moved for name in theirs]
    assert sum(f.sum() for f in far) <= (0 if optimizer == "sgd" else 0.01 * sum(f.size for f in far))


@pytest.mark.parametrize("job", ["regression", "tokens", "qa"])
def test_mpnets_losses_are_those_of_transformers(job, mpnet, data, tmp_path, monkeypatch):
    """Steps of transformers' MPNet, from the same weights, by the loss and the optimiser of the control."""
    from bertpass.bench.finetuning import control
    from bertpass.jobs.training.classify import ClassifierOptions
    from bertpass.jobs.training.squad import SquadOptions
    from bertpass.model.checkpoint import adapt
    from bertpass.model.config import HeadConfig
    from bertpass.model.layouts import huggingface
    from bertpass.options import parse

    tags = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"] if job == "tokens" else None
    head = HeadConfig(job, num_labels=len(tags) if tags else 0)
    start = tmp_path / "start"
    huggingface.write_folder(start, adapt(huggingface.read_folder(mpnet), head, 5, tags))
    values, _ = run(job, start, data, tmp_path / "out", monkeypatch, "--training_steps", 3)
    command, words = JOBS[job]
    words = [str(data / word) if (data / word).exists() else word for word in words]
    made, options = (toy.squad, SquadOptions) if command == "squad" else (toy.classify, ClassifierOptions)
    argv = made(start, tmp_path / "control", *words, "--warmup_ratio", 0, "--training_steps", 3)
    parsed = parse(options, argv, "")
    theirs, step = [], control.Control.step
    monkeypatch.setattr(control.Control, "step", lambda self, *rest: theirs.append(step(self, *rest)) or theirs[-1])
    control.run((control.squad_job if command == "squad" else control.classifier_job)(parsed))
    assert len(theirs) == 3 and values == pytest.approx(theirs, rel=1e-4)


def test_mpnet_learns_and_is_written_as_a_folder(mpnet, data, tmp_path, capsys):
    """The model in the bundle's place is one of transformers with the same logits; it is trained on, and evaluated."""
    import transformers

    import bertpass

    own = ("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv")
    assert finetune.classifier(toy.classify(mpnet, tmp_path, *own, "--epochs", 7)) == 0
    told = capsys.readouterr()
    assert "trained through PyTorch, on cpu" in told.err
    assert f"the model is in {tmp_path / 'bundle'}, a Hugging Face folder" in told.err
    result = toy.result(tmp_path, "metrics.json")
    assert result["metrics"]["accuracy"] >= 0.85 and result["trainer"] == "torch"
    folder = tmp_path / "bundle"
    assert (folder / "config.json").is_file() and not (folder / "bundle.json").exists()
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert type(theirs).__name__ == "MPNetForSequenceClassification"
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    model, text = bertpass.load(folder, dtype="float32"), "the film was good and fine"
    assert model.max_length == 24
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        wanted = theirs(**inputs).logits.softmax(-1)[0].numpy()
    found = model.predict(text)
    assert found.score == pytest.approx(wanted.max(), abs=1e-5) and found.label == ("no", "yes")[wanted.argmax()]
    for given in (folder, tmp_path / "net.params"):
        argv = toy.classify(mpnet, tmp_path / "again", *own[2:], "--only_inference", "--model_parameters", given)
        assert finetune.classifier(argv) == 0
        assert toy.result(tmp_path / "again", "metrics.json")["metrics"] == result["metrics"]
        assert toy.result(tmp_path / "again", "metrics.json")["labels"] == ["no", "yes"]
    more = toy.classify(mpnet, tmp_path / "more", *own, "--epochs", 1, "--model_parameters", tmp_path / "net.params")
    assert finetune.classifier(more) == 0


@pytest.mark.parametrize(("family", "fields"), [
    ("albert", {"num_layers": 1, "embedding_size": 16}),
    ("deberta-v2", {"position_buckets": 8, "relative_positions": 24, "token_type_vocab_size": 0, "use_pooler": False})])
def test_other_families_are_trained(family, fields, data, tmp_path):
    """ALBERT's layers stay one; the folder that is written is one of transformers with the same logits."""
    import transformers

    import bertpass

    encoder = toy.write_encoder(tmp_path / "start", family=family, **fields)
    if family == "albert":
        config = json.loads((encoder / "config.json").read_text())
        (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    own = ("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv")
    assert finetune.classifier(toy.classify(encoder, tmp_path / "out", *own, "--training_steps", 4)) == 0
    folder = tmp_path / "out" / "bundle"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert theirs.config.model_type == family
    model, text = bertpass.load(folder, dtype="float32"), "the film was good and fine"
    before = bertpass.load(encoder, dtype="float32")
    name = "bert.encoder.transformer_cells.{}.proj.weight"
    from bertpass.model.layouts import huggingface

    trained, first = huggingface.read_folder(folder).params, huggingface.read_folder(encoder).params
    assert model.config.num_layers == before.config.num_layers and not np.array_equal(
        trained[name.format(0)], first[name.format(0)])
    assert (trained[name.format(0)] is trained[name.format(1)]) == (family == "albert")
    ids = torch.tensor(model.tokenizer.encode([text])[0].ids.tolist())[None]
    with torch.no_grad():
        wanted = theirs(input_ids=ids).logits.softmax(-1)[0].numpy()
    assert model.predict(text).score == pytest.approx(wanted.max(), abs=1e-5)


def test_resume_gives_the_weights_of_an_uninterrupted_run(tmp_path, monkeypatch):
    """With dropout: a step draws the same elements, however the training came to it."""
    noisy = toy.write_encoder(tmp_path / "noisy", dropout=0.2, family="mpnet", token_type_vocab_size=0,
                              use_pooler=False)
    few = toy.few_rows(tmp_path / "few", 21)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finetune.classifier(toy.classify(noisy, whole, *few, "--epochs", 3)) == 0
    train = Trainer.train

    def stop(self, number, *rest):
        train(self, number, *rest)
        if number == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", stop)
        assert finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 3)) == 130
    assert finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 3, "--resume")) == 0
    for name in ("checkpoint/net.params", "net.params"):
        left, right = params_file.read(whole / name), params_file.read(cut / name)
        assert all(np.array_equal(left[key], right[key]) for key in left)
    other = toy.classify(noisy, tmp_path / "other", *few, "--epochs", 3, "--seed", 7)
    assert finetune.classifier(other) == 0
    other = params_file.read(tmp_path / "other" / "checkpoint" / "net.params")
    left = params_file.read(whole / "checkpoint" / "net.params")
    assert any(not np.array_equal(left[key], other[key]) for key in left)


@pytest.mark.parametrize(("words", "told"), [
    (["--trainer", "mxnet"], "--trainer mxnet: a network of MXNet has no bias of attention by distance, which"),
    (["--workers", "2"], "one process on one device: leave --workers"),
    (["--gpus", "0", "1"], "one process on one device"),
    (["--gpu", "7"], "--gpu 7: PyTorch sees 0 GPUs"),
    (["--optimizer", "lamb"], "--optimizer lamb: fine-tuning through PyTorch has bertadam, adam, adamw, sgd"),
    (["--dtype", "float16"], "--dtype float16: fine-tuning through PyTorch is in float32"),
    (["--only_calibration"], "--only_calibration writes a graph of MXNet, which has no bias of attention by distance"),
])
def test_what_is_not_there_is_refused_before_training(words, told, mpnet, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("DMLC_ROLE", "worker")  # as a process that --workers has started
    argv = toy.classify(mpnet, tmp_path / "out", "--train_file", data / "own.train.tsv", "--dev_file",
                        data / "own.dev.tsv", *words)
    assert finetune.classifier(argv) != 0
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err and "step" not in err
    assert not (tmp_path / "out" / "net.params").exists()


def test_torch_is_an_extra(mpnet, encoder, data, tmp_path, capsys, monkeypatch):
    """MPNet needs it, and says so before any work; BERT does not."""
    importlib.import_module("scipy.stats")  # which looks for torch's classes when it is imported
    importlib.import_module("sklearn.metrics")
    monkeypatch.setitem(sys.modules, "torch", None)
    own = ("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv", "--training_steps", 1)
    assert finetune.classifier(toy.classify(mpnet, tmp_path / "mpnet", *own)) != 0
    assert "torch is not installed; install it with: pip install '.[train]'" in capsys.readouterr().err
    assert finetune.classifier(toy.classify(encoder, tmp_path / "bert", *own)) == 0


def test_without_mxnet(encoder, data, tmp_path):
    """BERT is trained through PyTorch then, and written as a folder."""
    own = ("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv", "--training_steps", 1)
    code = ("import sys\nsys.modules['mxnet'] = sys.modules['gluonnlp'] = None\n"
            "from bertpass.commands.make import finetune\n"
            f"sys.exit(finetune.classifier({toy.classify(encoder, tmp_path, *own)!r}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=toy.ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "trained through PyTorch" in done.stderr and (tmp_path / "bundle" / "config.json").is_file()


def test_places_and_checkpoints_of_another_kind_are_refused(mpnet, encoder, data, tmp_path, capsys):
    own = ("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv", "--training_steps", 1)
    assert finetune.classifier(toy.classify(encoder, tmp_path, *own, "--trainer", "torch")) == 0
    assert finetune.classifier(toy.classify(mpnet, tmp_path, *own)) != 0
    assert "is a bundle of an earlier run, and this one would write a Hugging Face folder" in capsys.readouterr().err
    assert finetune.classifier(toy.classify(encoder, tmp_path, *own, "--resume")) != 0
    assert "--resume: the checkpoint was made with --trainer torch, not mxnet" in capsys.readouterr().err
    assert finetune.classifier(toy.classify(encoder, tmp_path, *own, "--resume", "--trainer", "torch")) == 0
