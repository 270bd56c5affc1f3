"""Answers and entities in ten scripts, of every kind of tokenizer, next to transformers' pipelines."""

import itertools
import re

import numpy as np
import pytest

import bertpass
from bertpass.text.data import tagging
from tests.helpers.small_tokenizers import TEXTS, save
from tests.helpers.tiny_models import torch_model

transformers = pytest.importorskip("transformers", reason="pip install '.[reference]' to compare with transformers")
KINDS = {"BERT with case": "bert", "RoBERTa": "roberta", "XLM-R": "xlm-roberta", "CamemBERT": "camembert",
         "XLM-R, older": "xlm-roberta"}
LABELS = ["O", "PER", "LOC", "ORG", "MISC"]
# Where the pipeline may give another span: a character that becomes several words ("forms"), and characters of several
# byte tokens, whose spans it adds up where they are one text.
OTHER_SPANS = {("XLM-R", "forms"), ("CamemBERT", "forms"), *(("RoBERTa", name) for name in TEXTS if name != "Latin")}
CONTEXTS = {name: text for name, text in TEXTS.items() if name not in ("empty", "space", "special", "spaces")}


def folder_of(folder, kind, suffix, **fields):
    tokenizer = save(folder, kind)
    torch_model(KINDS[kind], suffix, vocab_size=max(tokenizer.get_vocab().values()) + 1, max_position_embeddings=130,
                **fields).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_answers(tmp_path, kind):
    folder_of(tmp_path, kind, "ForQuestionAnswering")
    theirs = transformers.pipeline("question-answering", str(tmp_path))
    ours = bertpass.load(tmp_path, dtype="float32", threads=1)
    for name, text in CONTEXTS.items():
        if (kind, name) in OTHER_SPANS:
            continue
        for align in (True, False):
            right = theirs(question="Anna?", context=text, max_answer_len=15, align_to_words=align)
            found = ours.answer("Anna?", text, max_answer_length=15, align_to_words=align)
            assert (found.text, found.start, found.end) == (right["answer"], right["start"], right["end"]), name


@pytest.mark.parametrize("kind", KINDS)
def test_tags_of_tokens(tmp_path, kind):
    """Each token's characters and the label that the model gives it."""
    folder_of(tmp_path, kind, "ForTokenClassification", id2label=dict(enumerate(LABELS)),
              label2id={label: at for at, label in enumerate(LABELS)})
    theirs = transformers.pipeline("token-classification", str(tmp_path), ignore_labels=[])
    ours = bertpass.load(tmp_path, dtype="float32", threads=1)
    for name, text in CONTEXTS.items():
        (row,) = ours.tokenizer.encode([text], max_length=ours.max_length)
        logits = ours.run([row])[0]
        found = [(LABELS[best], *map(int, place)) for best, place, inside in zip(
            logits.argmax(1), row.offsets, row.sequence_ids == 0, strict=True) if inside]
        assert found == [(one["entity"], one["start"], one["end"]) for one in theirs(text)], name
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("kind", KINDS)
def test_entities(tmp_path, kind):
    """Of words with spaces between them: the label of a word's first token, as transformers computes the whole text."""
    import torch

    folder_of(tmp_path, kind, "ForTokenClassification", id2label=dict(enumerate(LABELS)),
              label2id={label: at for at, label in enumerate(LABELS)})
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    ours = bertpass.load(tmp_path, dtype="float32", threads=1)
    several = 0
    for text in ("Anna met Борис at Θήβα in seven hours", "паром отходит в семь часов", "배는 아침 일곱 시에 떠납니다",
                 "leaves at 7 and at 45 km from Ærø", "תאחרו יוצאת בשבע אל", "تغادر في السابعة لا تتأخر"):
        row = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            chances = theirs(**row).logits[0].softmax(-1)
        firsts = {}
        for token, word in enumerate(row.word_ids()):
            if word is not None:
                firsts.setdefault(word, token)
        places = [match.span() for match in re.finditer(r"\S+", text)]
        assert len(firsts) == len(places)
        best = [chances[token].max(-1) for token in firsts.values()]
        wanted = []
        for label, group in itertools.groupby(zip(best, places, strict=True), lambda one: LABELS[one[0].indices]):
            group = list(group)
            if label != "O":
                wanted.append((label, group[0][1][0], group[-1][1][1],
                               pytest.approx(np.mean([float(one.values) for one, _ in group]), rel=1e-4)))
        assert [(one.label, one.start, one.end, one.score) for one in ours.tag(text)] == wanted, text
        several += len(wanted)
    assert several > 5


def test_long_texts_are_tagged_in_parts(tmp_path):
    """A text beyond the positions: the words of its first row have the labels that this row alone gives them."""
    folder_of(tmp_path, "XLM-R", "ForTokenClassification", id2label=dict(enumerate(LABELS)),
              label2id={label: at for at, label in enumerate(LABELS)})
    short = bertpass.load(tmp_path, dtype="float32", threads=1, max_length=12)
    words = ["Anna", "met", "at", "seven", "hours"] * 5
    text = " ".join(words)
    rows = tagging.text_rows([text], [tagging.split_words(text)], short.tokenizer, 12)
    assert len(rows) > 2 and max(map(len, rows)) <= 12
    assert np.concatenate([row.words for row in rows]).tolist() == list(range(len(words)))
    whole = short.tokenizer.pieces([text])[0].ids.tolist()
    assert [one for row in rows for one in row.ids[1:-1].tolist()] == whole
    assert short.tag(text)[0].start == short.tag(" ".join(words[:len(rows[0].words)]))[0].start
