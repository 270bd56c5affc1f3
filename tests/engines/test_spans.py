"""Spans of texts in many scripts: answers and entities are those of transformers' pipelines, to the character."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest

import bertpass

torch = pytest.importorskip("torch", reason="pip install 'bertpass[reference]' to compare with transformers")
transformers = pytest.importorskip(
    "transformers", reason="pip install 'bertpass[reference]' to compare with transformers")

TEXTS = [
    "The lighthouse stands beside the harbour, and keepers lived there until 1975.", "हिन्दी में एक वाक्य लिखा गया है।",
    "தமிழ் மொழி மிகவும் பழமையானது.", "שָׁלוֹם עולם, מה שלומך?",
    "cafe\u0301 n\u0303andu\u0301 a\u030angstro\u0308m nai\u0308ve",
    "ไทยไม่มีช่องว่าง แต่มีวรรค", "Anna met Bert in Genève, near Łódź.", "می‌خواهم به خانه بروم.", "Привет, мир! Ёлка стоит.",
    "እንኳን ደህና መጡ።", "မြန်မာ ဘာသာ စကား",
]
PIECES = [word for text in TEXTS for word in text.split()] + [
    "(a)", "x-y", "don't", "🙂", "👩‍👩‍👧", "3.14",
    "e\u0301", "x\u200b", "\u200fשלום", "…", "a_b", "东京", "ひらがな", "x²", "½", "the the"]
_RANDOM = random.Random(5)
TEXTS += [text for _ in range(40)
          if len(text := " ".join(_RANDOM.choice(PIECES) for _ in range(_RANDOM.randint(1, 7)))) < 90]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def write(folder: Path, head: str, seed: int, **fields: Any) -> Path:
    """A tiny cased BERT with random weights whose vocabulary has every character of the texts, so that words are many
    tokens."""
    letters = sorted({c for text in TEXTS for c in text if not c.isspace()} | set(string.ascii_letters))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(tokens), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=48, max_position_embeddings=128, **fields)
    torch.manual_seed(seed)
    model = getattr(transformers, head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("seed", range(3))
def test_answers_have_whole_words(tmp_path: Path, seed: int) -> None:
    folder = write(tmp_path, "BertForQuestionAnswering", seed)
    theirs = transformers.pipeline("question-answering", str(folder))
    ours = bertpass.load(folder, engine="native", dtype="float32")
    cut = 0
    for text in TEXTS:
        for question in ("where ?", "who lived ?"):
            right = theirs(question=question, context=text, max_answer_len=15)
            found = ours.answer(question, text, max_answer_length=15)
            assert (found.text, found.start, found.end) == (right["answer"], right["start"], right["end"])
            assert text[found.start:found.end] == found.text
            plain = theirs(question=question, context=text, max_answer_len=15, align_to_words=False)
            tokens = ours.answer(question, text, max_answer_length=15, align_to_words=False)
            assert (tokens.text, tokens.start, tokens.end) == (plain["answer"], plain["start"], plain["end"])
            cut += tokens.text != found.text
    assert cut > 5


@pytest.mark.parametrize("seed", range(3))
def test_entities_have_whole_words(tmp_path: Path, seed: int) -> None:
    folder = write(tmp_path, "BertForTokenClassification", seed, id2label=dict(enumerate(LABELS)),
                   label2id={label: at for at, label in enumerate(LABELS)})
    theirs = transformers.pipeline("token-classification", str(folder), aggregation_strategy="first")
    ours = bertpass.load(folder, engine="native", dtype="float32")
    for text in TEXTS:
        right = [(found["entity_group"], found["start"], found["end"]) for found in theirs(text)]
        assert [(found.label, found.start, found.end) for found in ours.tag(text)] == right, text
