"""The training loop: accumulation, checkpoints, resume, Ctrl-C, early stop."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bertpass.commands.make import finetune
from bertpass.model.files import params_file
from tests.helpers import toy


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Arguments that name 21 rows to train on: batches of 8, 8 and 5."""
    return toy.few_rows(tmp_path_factory.mktemp("few"), 21)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """An encoder with dropout, so that the state of the random numbers matters."""
    return toy.write_encoder(tmp_path_factory.mktemp("noisy") / "tiny", dropout=0.2)


def weights(out, name="net.params"):
    return params_file.read(out / name)


def same(left, right):
    return set(left) == set(right) and all(np.array_equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulation_gives_the_weights_of_one_big_batch(encoder, few, tmp_path, optimizer):
    """Batches of 8, 8 and 5 rows are one update, as upstream's effective batch of batch_size times accumulate."""
    words = ("--epochs", 1, "--optimizer", optimizer, "--lr", "1" if optimizer == "sgd" else "1e-3",
             "--warmup_ratio", 0)
    for name, size, accumulate in (("whole", 24, 1), ("parts", 8, 3), ("more", 4, 8)):
        argv = toy.classify(encoder, tmp_path / name, *few, *words, "--batch_size", size, "--accumulate", accumulate)
        assert finetune.classifier(argv) == 0
    from bertpass.model.layouts.huggingface import read_folder

    start, whole = read_folder(encoder).params, weights(tmp_path / "whole")
    moved = max(float(np.abs(whole[n] - start[n]).max()) for n in whole if n in start)
    assert moved > (1e-3 if optimizer == "sgd" else 9e-4)
    for name in ("parts", "more"):
        parts = weights(tmp_path / name)
        # Adam's first step is the rate in the direction of each gradient, also of those that are 0 but for rounding
        far = [np.abs(whole[n] - parts[n]) > 1e-2 * moved for n in whole]
        assert sum(f.sum() for f in far) <= (0 if optimizer == "sgd" else 0.01 * sum(f.size for f in far)), name


def test_accumulated_steps_are_counted_as_updates(encoder, few, tmp_path, monkeypatch):
    """21 rows in batches of 4: 6 batches, in steps of 4 and 2 batches; the rate falls over the updates."""
    from bertpass.jobs.training.trainer import Trainer

    seen, step = [], Trainer.step

    def count(self, group, rate, number):
        seen.append(([len(batch) for batch in group], rate, number))
        return step(self, group, rate, number)

    monkeypatch.setattr(Trainer, "step", count)
    argv = toy.classify(encoder, tmp_path, *few, "--batch_size", 4, "--accumulate", 4, "--epochs", 2,
                        "--warmup_ratio", 0)
    assert finetune.classifier(argv) == 0
    assert [len(rows) for rows, *_ in seen] == [4, 2, 4, 2] and [number for *_, number in seen] == [0, 1, 2, 3]
    assert sum(seen[0][0]) + sum(seen[1][0]) == 21
    assert [rate for _, rate, _ in seen] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_the_seed_decides(noisy, few, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        argv = toy.classify(noisy, tmp_path / name, *few, "--epochs", 1, "--seed", seed)
        assert finetune.classifier(argv) == 0
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def interrupt(monkeypatch, epoch):
    """Ctrl-C at the end of an epoch (from 0), before its first checkpoint."""
    from bertpass.jobs.training.trainer import Trainer

    train = Trainer.train

    def stop(self, number, *rest):
        train(self, number, *rest)
        if number == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train", stop)


def test_resume_gives_the_weights_of_an_uninterrupted_run(noisy, few, tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finetune.classifier(toy.classify(noisy, whole, *few, "--epochs", 3)) == 0
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=1)
        assert finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 3)) == 130
    told = capsys.readouterr().err
    assert "--resume" in told and "stopped." in told
    assert not same(weights(whole, "checkpoint/net.params"), weights(cut, "checkpoint/net.params"))
    assert finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 3, "--resume")) == 0
    assert "going on after epoch 1" in capsys.readouterr().err
    for name in ("checkpoint/net.params", "net.params"):
        assert same(weights(whole, name), weights(cut, name))
    assert toy.result(whole, "metrics.json")["history"] == toy.result(cut, "metrics.json")["history"]
    assert sorted(p.name for p in cut.iterdir()) == sorted(p.name for p in whole.iterdir())


def test_a_failed_evaluation_loses_no_training(noisy, few, tmp_path, monkeypatch, capsys):
    """Resume evaluates what was trained, trains no epoch twice, and ends where an uninterrupted run does."""
    from bertpass.jobs.training.trainer import Trainer

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finetune.classifier(toy.classify(noisy, whole, *few, "--epochs", 2)) == 0

    def fail(*rest):
        raise RuntimeError("the evaluation failed")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "inference", fail)
        with pytest.raises(RuntimeError, match="the evaluation failed"):
            finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 2))
    begun, train = [], Trainer.train

    def count(self, number, *rest):
        begun.append(number)
        train(self, number, *rest)

    monkeypatch.setattr(Trainer, "train", count)
    capsys.readouterr()
    assert finetune.classifier(toy.classify(noisy, cut, *few, "--epochs", 2, "--resume")) == 0
    assert begun == [1] and "going on with the evaluation of epoch 1" in capsys.readouterr().err
    assert same(weights(whole, "net.params"), weights(cut, "net.params"))
    assert toy.result(whole, "metrics.json")["history"] == toy.result(cut, "metrics.json")["history"]


def test_evaluating_within_epochs_changes_no_step(encoder, few, tmp_path, monkeypatch, capsys):
    """Three steps an epoch; with an evaluation after every two the second stretch has steps of two epochs."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert finetune.classifier(toy.classify(encoder, whole, *few, "--epochs", 3)) == 0
    argv = toy.classify(encoder, parts, *few, "--epochs", 3, "--evaluate_every", 2)
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=1)
        assert finetune.classifier(argv) == 130
    assert finetune.classifier([*argv, "--resume"]) == 0
    assert "going on after epoch 0.67" in capsys.readouterr().err
    assert same(weights(whole, "checkpoint/net.params"), weights(parts, "checkpoint/net.params"))
    result, without = toy.result(parts, "metrics.json"), toy.result(whole, "metrics.json")
    assert [row["epoch"] for row in result["history"]] == [0.67, 1.33, 2, 2.67, 3]
    assert result["history"][2] == without["history"][1] and result["history"][4] == without["history"][2]
    assert result["epoch"] in [row["epoch"] for row in result["history"] if row["accuracy"] ==
                               max(row["accuracy"] for row in result["history"])]


@pytest.mark.parametrize(("steps", "every", "epochs"), [(4, None, [1, 2]), (4, 3, [1, 1.33]), (2, 5, [0.67])])
def test_steps_end_the_training_wherever_they_are(encoder, few, tmp_path, steps, every, epochs):
    words = [] if every is None else ["--evaluate_every", every]
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few, "--training_steps", steps, *words)) == 0
    assert [row["epoch"] for row in toy.result(tmp_path, "metrics.json")["history"]] == epochs


def test_resume_of_a_finished_run_trains_nothing(encoder, few, tmp_path, capsys):
    argv = toy.classify(encoder, tmp_path, *few, "--epochs", 1)
    assert finetune.classifier(argv) == 0
    before = weights(tmp_path)
    assert finetune.classifier([*argv, "--resume"]) == 0
    assert "nothing left to train" in capsys.readouterr().err
    assert same(before, weights(tmp_path))


def test_resume_without_a_checkpoint_starts(encoder, few, tmp_path, capsys):
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few, "--epochs", 1, "--resume")) == 0
    assert "starting at the beginning" in capsys.readouterr().err


def test_ctrl_c_before_the_first_checkpoint_promises_nothing(encoder, few, tmp_path, monkeypatch, capsys):
    interrupt(monkeypatch, epoch=0)
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few)) == 130
    assert "--resume" not in capsys.readouterr().err


def test_ctrl_c_leaves_a_bundle_of_the_best_epoch(encoder, few, tmp_path, monkeypatch):
    from bertpass.model.files import params_file
    from bertpass.model.layouts.bundle import Bundle

    interrupt(monkeypatch, epoch=1)
    assert finetune.classifier(toy.classify(encoder, tmp_path, *few, "--epochs", 3)) == 130
    saved, bundle = params_file.read(tmp_path / "net.params"), Bundle.open(tmp_path / "bundle")
    arrays = bundle.parameters()
    assert bundle.metrics and all((arrays[name] == saved[name]).all() for name in arrays)


def test_a_real_ctrl_c(encoder, few, tmp_path, monkeypatch):
    argv = toy.classify(encoder, tmp_path, *few, "--epochs", 5000)
    job = subprocess.Popen([sys.executable, toy.ROOT / "finetune" / "finetune_classifier.py", *argv],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env={**os.environ, "OMP_NUM_THREADS": "1"},
                           # a run in the background may have told its children to ignore it
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint" / "state.json").is_file():
            assert job.poll() is None, job.stderr.read()
            assert time.monotonic() < deadline, "no checkpoint within a minute"
            time.sleep(0.02)
        job.send_signal(signal.SIGINT)
        _, told = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 130
    assert "--resume" in told and "Traceback" not in told and told.splitlines()[-1] == "stopped."
    state = toy.result(tmp_path, "checkpoint/state.json")

    from bertpass.jobs.training.trainer import Trainer

    begun = []

    def epoch(self, number, *rest):
        begun.append(number)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train", epoch)
    assert finetune.classifier([*argv, "--resume"]) == 130
    assert begun == [state["stretch"] + 1]  # an epoch that was trained and not evaluated is evaluated first


def test_early_stop(encoder, few, tmp_path, capsys):
    argv = toy.classify(encoder, tmp_path, *few, "--early_stop", 2, "--epochs", 9, "--lr", "1e-12")
    assert finetune.classifier(argv) == 0
    assert "stopped early" in capsys.readouterr().err
    result = toy.result(tmp_path, "metrics.json")
    assert len(result["history"]) == 3 and result["epoch"] == 1
    assert finetune.classifier([*argv, "--resume"]) == 0
    assert len(toy.result(tmp_path, "metrics.json")["history"]) == 3


def test_learning_rate_rises_and_falls():
    from bertpass.jobs.training.trainer import learning_rate

    rates = [learning_rate(step, 10, 1.0, 0.2) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
