"""finetune_squad.py from end to end on toy SQuAD 1.1 and 2.0 files."""

import json

import pytest

from bertpass.commands.make import finetune
from bertpass.jobs.tasks import predict
from bertpass.jobs.training import squad as squad_job
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy


def test_learns_and_writes_everything(squad):
    result = toy.result(squad, "metrics.json")
    assert result["metrics"]["exact"] >= 75 and result["metrics"]["f1"] >= result["metrics"]["exact"]
    assert result["dev_questions"] == 24 and result["train_windows"] >= result["train_questions"] == 160
    answers, ranked = toy.result(squad, "predictions.json"), toy.result(squad, "nbest_predictions.json")
    assert set(answers) == set(ranked) == {f"q{i}" for i in range(24)}
    for name, best in ranked.items():
        assert best[0]["text"] == answers[name]
        assert sum(one["probability"] for one in best) == pytest.approx(1, abs=1e-4)
        assert all(set(one) == {"text", "probability", "start_logit", "end_logit"} for one in best)  # as published
    assert not (squad / "null_odds.json").exists()
    bundle = Bundle.open(squad / "bundle")
    assert (bundle.task, bundle.head.kind, bundle.max_length) == ("QA", "qa", 24)


def test_only_predict_gives_the_same_answers(squad, data, tmp_path):
    argv = toy.squad("unused", tmp_path, "--data_dir", data / "squad", "--only_predict", "--model_parameters",
                     squad / "net.params")
    assert finetune.squad(argv) == 0
    assert toy.result(tmp_path, "metrics.json")["metrics"] == toy.result(squad, "metrics.json")["metrics"]
    for name in ("predictions.json", "nbest_predictions.json"):
        assert toy.result(tmp_path, name) == toy.result(squad, name)
    assert not (tmp_path / "net.params").exists()


def test_only_predict_answers_questions_without_answers(squad, data, tmp_path):
    content = json.loads((data / "squad" / "dev-v1.1.json").read_text())
    for paragraph in content["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            del question["answers"]
    (tmp_path / "ask.json").write_text(json.dumps(content))
    argv = toy.squad("unused", tmp_path / "out", "--dev_file", tmp_path / "ask.json", "--only_predict",
                     "--model_parameters", squad / "bundle")
    assert finetune.squad(argv) == 0
    assert toy.result(tmp_path / "out", "predictions.json") == toy.result(squad, "predictions.json")
    assert toy.result(tmp_path / "out", "metrics.json")["metrics"] == {}


def test_version_2_knows_when_there_is_no_answer(encoder, data, tmp_path):
    argv = toy.squad(encoder, tmp_path, "--data_dir", data / "squad", "--version_2", "--max_eval_questions", 6,
                     "--epochs", 4)
    assert finetune.squad(argv) == 0
    result = toy.result(tmp_path, "metrics.json")
    assert [row["total"] for row in result["history"]] == [6] * 4 and result["metrics"]["total"] == 24
    assert result["metrics"]["NoAns_exact"] >= 75 and result["metrics"]["HasAns_exact"] >= 75
    odds, answers = toy.result(tmp_path, "null_odds.json"), toy.result(tmp_path, "predictions.json")
    assert set(odds) == set(answers)
    for name, answer in answers.items():
        assert (answer == "") == (odds[name] > 0)


def test_the_threshold_decides(squad, data, tmp_path):
    for threshold, empty in (("1e6", 0), ("-1e6", 24)):
        argv = toy.squad("unused", tmp_path / threshold, "--dev_file", data / "squad" / "dev-v2.0.json", "--version_2",
                         "--only_predict", "--model_parameters", squad / "net.params",
                         f"--null_score_diff_threshold={threshold}")
        assert finetune.squad(argv) == 0
        answers = toy.result(tmp_path / threshold, "predictions.json")
        assert sum(answer == "" for answer in answers.values()) == empty


def test_long_contexts_are_cut_into_windows(squad, tmp_path):
    words = ["the"] * 40 + ["carl"] + ["film"] * 9
    content = {"version": "1.1", "data": [{"title": "", "paragraphs": [{"context": " ".join(words), "qas": [
        {"id": "far", "question": "who is tall ?", "answers": [{"text": "carl", "answer_start": 160}]}]}]}]}
    (tmp_path / "far.json").write_text(json.dumps(content))
    argv = toy.squad("unused", tmp_path / "out", "--dev_file", tmp_path / "far.json", "--only_predict",
                     "--model_parameters", squad / "net.params")
    assert finetune.squad(argv) == 0
    assert toy.result(tmp_path / "out", "predictions.json")["far"] == "carl"


@pytest.mark.parametrize(("epochs", "f1"), [(1, [50.0]), (2, [50.0, 60.0]), (2, [60.0, 50.0, 60.0])])
def test_answers_again_only_for_other_weights_than_the_last(encoder, data, tmp_path, monkeypatch, epochs, f1):
    given, asked = iter(f1), []

    def collect(*args):
        asked.append(args)
        return predict.collect(*args)

    monkeypatch.setattr(squad_job, "collect", collect)
    monkeypatch.setattr(squad_job, "score_answers", lambda data, found: {"f1": next(given)})
    argv = toy.squad(encoder, tmp_path, "--data_dir", data / "squad", "--epochs", epochs)
    assert finetune.squad(argv) == 0
    assert len(asked) == len(f1) and toy.result(tmp_path, "metrics.json")["metrics"] == {"f1": max(f1)}
