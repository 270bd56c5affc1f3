"""Tags of words: schemes, entities, CoNLL files, rows of a model's input."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertpass.errors import DataError, UsageError
from bertpass.text.data.conll import read_conll, write_conll
from bertpass.text.data.readers import read_own, read_task_file
from bertpass.text.data.tagging import entities, label_names, split_words, tag_rows, to_iob2, word_spans
from bertpass.text.data.tasks import get_task
from bertpass.text.tokens.tokenizer import Tokenizer

IOB2 = ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "O", "O", "B-ORG", "I-ORG", "I-ORG"]


@pytest.mark.parametrize("tags", [
    "I-PER I-PER B-PER O I-LOC O O I-ORG I-ORG I-ORG",  # IOB1: B- only between two of one type
    "B-PER I-PER B-PER O B-LOC O O B-ORG I-ORG I-ORG",
    "B-PER E-PER S-PER O S-LOC O O B-ORG I-ORG E-ORG",  # IOBES
    "B-PER L-PER U-PER O U-LOC O O B-ORG I-ORG L-ORG",  # BILOU
])
def test_schemes_become_iob2(tags: str) -> None:
    assert to_iob2(tags.split()) == IOB2
    assert entities(tags.split()) == [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC"), (7, 10, "ORG")]


@pytest.mark.parametrize(("tags", "plain"), [
    ("O I-PER I-LOC I-LOC", "O B-PER B-LOC I-LOC"),  # another type begins another entity
    ("E-PER I-PER", "B-PER B-PER"),  # nothing goes on after an end
    ("I-A-B I-A-B", "B-A-B I-A-B"),  # types may hold the mark
    ("NOUN NOUN VERB O", "B-NOUN I-NOUN B-VERB O"), ("", ""),
])
def test_odd_sequences(tags: str, plain: str) -> None:
    assert to_iob2(tags.split()) == plain.split()


@settings(deadline=None)  # the first call imports seqeval
@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "L-Y", "U-Y"]), max_size=12))
def test_iob2_is_stable_and_agrees_with_seqeval(tags: list[str]) -> None:
    plain = to_iob2(tags)
    assert to_iob2(plain) == plain
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="pip install '.[ner]'")
    assert entities(tags) == [(first, last + 1, kind) for kind, first, last in seqeval.get_entities(plain)]


def test_labels_of_types() -> None:
    assert label_names(["O", "B-PER", "B-LOC", "I-LOC"]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert label_names([]) == ("O",)


@pytest.mark.parametrize("text", [
    "हिन्दी में एक वाक्य", "தமிழ் மொழி", "שָׁלוֹם עולם", "cafe\u0301 n\u0303andu\u0301", "ไทยไม่มีช่องว่าง มาก",
    "می‌خواهم بروم",
    "smile 🙂 👍🏽 👩‍👩‍👧 🇩🇪!", "soft\u00adhyphen zero\u200dwidth", "e\u20dd x\u0301\u0323",
    "\u1112\u1161\u11ab 한국어",
    "မြန်မာ ဘာသာ",
    "አማርኛ ፊደል።", "Tiếng Việt", "1️⃣2 x²", "\u0301a", "a\u2028b\u0085c", "snake_case",
])
def test_a_mark_goes_with_what_stands_before_it(text: str) -> None:
    """BERT's own splitting of words, which knows no scripts, is right for these."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    assert split_words(text) == [span for _, span in BertPreTokenizer().pre_tokenize_str(text)]


def test_words_without_spaces_between() -> None:
    text = "张伟\u200f在 人々ひらがな，\u200fשלום \u200b x\x07y"
    assert [text[a:b] for a, b in split_words(text)] == ["张", "伟", "在", "人", "々", "ひらがな", "，",
                                                         "שלום", "x", "y"]


def test_words_of_a_text() -> None:
    text = "Anna's cat—a “Maine Coon”."
    assert [text[a:b] for a, b in split_words(text)] == \
        ["Anna", "'", "s", "cat", "—", "a", "“", "Maine", "Coon", "”", "."]
    words = ["New", "", "York"]
    joined = " ".join(words)
    assert [joined[a:b] for a, b in word_spans(words)] == words and word_spans([]) == []


# -- files ------------------------------------------------------------------------------------------------------------

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP I-ORG
rejects VBZ B-VP O

Peter NNP B-NP I-PER
Blackburn NNP I-NP I-PER


BRUSSELS NNP B-NP I-LOC
"""


def test_reads_the_layout_of_conll_2003(tmp_path: Path) -> None:
    path = tmp_path / "eng.train.gz"
    path.write_bytes(gzip.compress(CONLL.encode()))
    rows = read_task_file(get_task("NER"), path, "train")
    assert [(e.words, e.tags) for e in rows] == [
        (("EU", "rejects"), ("B-ORG", "O")), (("Peter", "Blackburn"), ("B-PER", "I-PER")), (("BRUSSELS",), ("B-LOC",))]
    assert (rows[1].text, rows[1].id, rows[1].label) == ("Peter Blackburn", "1", None)
    assert read_own(path, "tokens")[1] == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")


def test_tabs_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_bytes(b"\xef\xbb\xbfa\tB-X\r\nb\tO\r\n\r\n \r\nc\tS-Y\r\n")
    assert [(e.words, e.tags) for e in read_conll(tmp_path / "a.conll")] == [
        (("a", "b"), ("B-X", "O")), (("c",), ("B-Y",))]


@pytest.mark.parametrize("content", ["a\nb\n\nc\n", "a NN\nb VB\n"])
def test_files_to_predict(content: str, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(content)
    rows = read_conll(tmp_path / "test.txt", need_tags=False)
    assert rows[0].words == ("a", "b") and all(e.tags is None for e in rows)
    with pytest.raises(DataError, match=r"line 1: .*expected a tag such as O"):
        read_conll(tmp_path / "test.txt")


@pytest.mark.parametrize(("content", "words"), [
    ("", "has no words"), ("-DOCSTART- O\n\n", "has no words"), ("a O\nb\n", "line 2: 1 columns, expected 2"),
    ("a O\nb NOUN\n", "line 2: the last column holds 'NOUN'")])
def test_faulty_files(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(DataError, match=words):
        read_conll(tmp_path / "train.txt")


def test_written_files_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "gold.txt").write_text(CONLL)
    rows = read_conll(tmp_path / "gold.txt")
    write_conll(tmp_path / "out.conll", rows, [["B-LOC", "O"], ["O", "O"], ["B-LOC"]])
    assert (tmp_path / "out.conll").read_text().split("\n")[:3] == ["EU B-ORG B-LOC", "rejects O O", ""]
    with pytest.raises(DataError, match="columns 2 and 3 hold tags"):
        read_conll(tmp_path / "out.conll")
    again = read_conll(tmp_path / "out.conll", tag_column=3)
    assert [e.words for e in again] == [e.words for e in rows]
    assert [e.tags for e in again] == [("B-LOC", "O"), ("O", "O"), ("B-LOC",)]  # the last column


# -- rows -------------------------------------------------------------------------------------------------------------


def test_first_tokens_stand_for_their_words(minilm: Tokenizer) -> None:
    words = ["The", "Schwarzwald", "", "is", "\u200b", "unbelievable", "!"]
    (row,) = tag_rows([words], minilm, 32)
    whole = minilm.encode([" ".join(words)])[0]
    assert row.ids.tolist() == whole.ids.tolist()  # split word by word it is the same as in a text
    first = [minilm.pieces([w])[0].ids for w in words]
    assert row.words.tolist() == [at for at, ids in enumerate(first) if len(ids)]
    assert row.ids[row.positions].tolist() == [ids[0] for ids in first if len(ids)]


def test_long_sentences_go_on_in_further_rows(minilm: Tokenizer) -> None:
    sentences = [["unbelievable"] * 5 + ["cat"] * 7, [], ["cat"], ["x" * 90]]
    rows = tag_rows(sentences, minilm, 8)
    assert [row.sentence for row in rows] == sorted(row.sentence for row in rows)
    for number, words in enumerate(sentences):
        own = [row for row in rows if row.sentence == number]
        assert own and np.concatenate([row.words for row in own]).tolist() == list(range(len(words)))
    assert all(2 <= len(row) <= 8 and row.ids[0] == minilm.cls_id and row.ids[-1] == minilm.sep_id for row in rows)
    assert max(len(row) for row in rows) == 8
    with pytest.raises(UsageError, match="no room"):
        tag_rows(sentences, minilm, 2)


def test_roberta_splits_words_as_after_a_space(roberta_folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[reference]' for the reference")
    theirs = transformers.RobertaTokenizerFast(str(roberta_folder / "vocab.json"), str(roberta_folder / "merges.txt"),
                                               add_prefix_space=True)
    words = ["who", "jumps", "over", "naïve", "dogs?"]
    wanted = theirs(words, is_split_into_words=True)
    (row,) = tag_rows([words], Tokenizer.from_folder(roberta_folder), 64)
    assert row.ids.tolist() == wanted["input_ids"]
    ids = wanted.word_ids()
    assert row.positions.tolist() == [ids.index(at) for at in range(len(words))]
