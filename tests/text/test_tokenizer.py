"""Tokenizer: constructors, rows, truncation, saving, bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertpass.errors import DataError, ModelError, UsageError
from bertpass.text.tokens.tokenizer import Tokenizer, pair_lengths

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "é", "e", "The"]


@pytest.fixture()
def small() -> Tokenizer:
    return Tokenizer.from_wordpiece(TOKENS, lower=True)


def test_single_row(small: Tokenizer) -> None:
    (row,) = small.encode(["The  cats"])
    assert row.ids.tolist() == [2, 5, 6, 8, 3]
    assert row.token_types.tolist() == [0] * 5
    assert row.offsets.tolist() == [[0, 0], [0, 3], [5, 8], [8, 9], [0, 0]]
    assert row.sequence_ids.tolist() == [-1, 0, 0, 0, -1]
    assert all(a.dtype == np.int32 for a in (row.ids, row.token_types, row.offsets, row.sequence_ids))


def test_pair_row(small: Tokenizer) -> None:
    (row,) = small.encode(["cat"], ["the cat"])
    assert row.ids.tolist() == [2, 6, 3, 5, 6, 3]
    assert row.token_types.tolist() == [0, 0, 0, 1, 1, 1]
    assert row.sequence_ids.tolist() == [-1, 0, -1, 1, 1, -1]
    assert len(row) == 6


def test_roberta_pair_has_two_separators(roberta_folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(roberta_folder)
    (row,) = tokenizer.encode(["the fox"], ["the dog"])
    assert tokenizer.family == "bpe"
    at = np.flatnonzero(row.ids == tokenizer.sep_id).tolist()
    assert at[1] == at[0] + 1 and at[2] == len(row) - 1 and row.ids[0] == tokenizer.cls_id
    assert not row.token_types.any()


def test_empty_texts_are_rows_without_tokens(small: Tokenizer) -> None:
    assert [r.ids.tolist() for r in small.encode(["", " \t"])] == [[2, 3], [2, 3]]
    assert small.encode([""], [""])[0].ids.tolist() == [2, 3, 3]
    assert small.encode([]) == []


def test_special_tokens_in_text_are_tokens(minilm: Tokenizer) -> None:
    (row,) = minilm.encode(["a [SEP] b [CLS]"])
    assert (row.ids == minilm.sep_id).sum() == 2 and (row.ids == minilm.cls_id).sum() == 2
    assert row.sequence_ids.tolist() == [-1, 0, 0, 0, 0, -1]


def test_special_tokens_in_text_are_split_for_gluonnlp(minilm: Tokenizer, tmp_path: Path) -> None:
    minilm.save_gluonnlp_vocab(tmp_path / "minilm.vocab")
    (row,) = Tokenizer.from_gluonnlp_vocab(tmp_path / "minilm.vocab").encode(["a [SEP] b [CLS]"])
    assert (row.ids == minilm.sep_id).sum() == 1 and (row.ids == minilm.cls_id).sum() == 1


def test_stored_truncation_and_padding_are_off(minilm: Tokenizer) -> None:
    short, long = minilm.encode(["cat", "cat " * 400])
    assert len(short) == 3 and len(long) == 402


def test_truncation_counts_special_tokens(minilm: Tokenizer) -> None:
    (row,) = minilm.encode(["cat " * 50], max_length=10)
    assert len(row) == 10 and row.ids[-1] == minilm.sep_id
    (row,) = minilm.encode(["cat " * 50], ["dog"], max_length=10)
    assert len(row) == 10 and (row.sequence_ids == 1).sum() == 1
    assert len(minilm.encode(["cat " * 50], max_length=10, truncation=False)[0]) == 52


@pytest.mark.parametrize(("first", "second", "budget", "expected"), [
    (3, 4, 10, (3, 4)), (20, 2, 10, (8, 2)), (2, 20, 10, (2, 8)), (20, 20, 10, (5, 5)), (20, 19, 11, (6, 5)),
    (19, 20, 11, (5, 6)), (20, 20, 11, (5, 6)), (0, 20, 5, (0, 5)),
])
def test_pair_lengths(first: int, second: int, budget: int, expected: tuple[int, int]) -> None:
    assert pair_lengths(first, second, budget) == expected


@given(st.integers(0, 600), st.integers(0, 600), st.integers(1, 512))
def test_pair_lengths_fill_the_budget_and_cut_the_longer(first: int, second: int, budget: int) -> None:
    a, b = pair_lengths(first, second, budget)
    assert a <= first and b <= second and a + b == min(budget, first + second)
    if a < first:
        assert a >= b - 1
    if b < second:
        assert b >= a - 1


@pytest.mark.parametrize("bad", [[None], [3], [b"bytes"], ["half \ud83d"], [["nested"]]])
def test_texts_that_are_no_texts(small: Tokenizer, bad: list) -> None:
    with pytest.raises(DataError, match="text 1"):
        small.encode(bad)


def test_wrong_calls(small: Tokenizer) -> None:
    with pytest.raises(DataError, match="put it into a list"):
        small.encode("one text")
    with pytest.raises(DataError, match="2 texts but 1"):
        small.encode(["a", "b"], ["c"])
    with pytest.raises(UsageError, match="at least 4"):
        small.encode(["a"], ["b"], max_length=3)


def test_very_long_text_is_quick_and_cut(minilm: Tokenizer) -> None:
    (row,) = minilm.encode(["a" * 100_000 + " cat"], max_length=16)
    assert row.ids.tolist()[1:3] == [minilm.unk_id, minilm.tokens.index("cat")]


@given(st.text(max_size=60))
def test_any_text_gives_a_row(text: str) -> None:
    tokenizer = Tokenizer.from_wordpiece(TOKENS, lower=False)
    (row,) = tokenizer.encode([text], max_length=20)
    assert row.ids[0] == 2 and row.ids[-1] == 3 and len(row) <= 20
    assert (row.offsets >= 0).all() and (row.offsets <= len(text)).all()


# -- reading and writing ----------------------------------------------------------------------------------------------


def test_folder_of_vocab_txt_alone(minilm: Tokenizer, minilm_folder: Path, tmp_path: Path) -> None:
    shutil.copy(minilm_folder / "vocab.txt", tmp_path)
    read = Tokenizer.from_folder(tmp_path)
    assert read.lower and read.tokens == minilm.tokens  # no upper-case letter in it, so an uncased vocabulary
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not Tokenizer.from_folder(tmp_path).lower


def test_cased_vocabulary_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    assert not Tokenizer.from_folder(tmp_path).lower


def test_saved_folder_reads_back(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path)
    read = Tokenizer.from_folder(tmp_path)
    assert read.tokens == TOKENS and read.lower and read.special == small.special
    (tmp_path / "tokenizer.json").unlink()
    read = Tokenizer.from_folder(tmp_path)
    assert read.tokens == TOKENS and read.lower
    assert read.encode(["The cats"])[0].ids.tolist() == small.encode(["The cats"])[0].ids.tolist()


def test_saved_roberta_reads_back(roberta_folder: Path, tmp_path: Path) -> None:
    first = Tokenizer.from_folder(roberta_folder)
    first.save(tmp_path)
    rows = first.encode(["naïve dog 🙂"], ["fox"])[0].ids.tolist()
    assert Tokenizer.from_folder(tmp_path).encode(["naïve dog 🙂"], ["fox"])[0].ids.tolist() == rows
    (tmp_path / "tokenizer.json").unlink()
    assert Tokenizer.from_folder(tmp_path).encode(["naïve dog 🙂"], ["fox"])[0].ids.tolist() == rows
    with pytest.raises(ModelError, match="merges"):
        first.save_gluonnlp_vocab(tmp_path / "x.vocab")


def test_gluonnlp_vocab_in_its_own_order(tmp_path: Path) -> None:
    """GluonNLP puts its special tokens where it likes and names them; ids are those of idx_to_token."""
    tokens = ["<u>", "cat", "<p>", "<c>", "##s", "<e>", "<m>"]
    path = tmp_path / "own.vocab"
    path.write_text(json.dumps({
        "idx_to_token": tokens, "token_to_idx": {t: i for i, t in enumerate(tokens)}, "reserved_tokens": tokens[2:],
        "unknown_token": "<u>", "identifiers_to_tokens": {
            "padding_token": "<p>", "cls_token": "<c>", "sep_token": "<e>", "mask_token": "<m>"}}))
    read = Tokenizer.from_gluonnlp_vocab(path)
    assert (read.unk_id, read.pad_id, read.cls_id, read.sep_id, read.mask_id) == (0, 2, 3, 5, 6)
    assert read.encode(["cats dog"])[0].ids.tolist() == [3, 1, 4, 0, 5]
    read.save_gluonnlp_vocab(tmp_path / "again.vocab")
    assert Tokenizer.from_gluonnlp_vocab(tmp_path / "again.vocab").tokens == tokens


def test_gluonnlp_vocab_with_a_token_twice(tmp_path: Path) -> None:
    path = tmp_path / "old.vocab"
    tokens = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[PAD]", "a", "##b"]
    path.write_text(json.dumps({"idx_to_token": tokens, "token_to_idx": {"[PAD]": 1, "a": 5}, "unknown_token": "[UNK]",
                                "padding_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}))
    read = Tokenizer.from_gluonnlp_vocab(path)
    assert read.vocab_size == 7 and read.pad_id == 1 and read.tokens[5] == "a"


@pytest.mark.parametrize(("name", "content", "words"), [
    ("tokenizer.json", b"{", "cannot be read as a tokenizer"),
    ("tokenizer.json", b"\xff\xfe", "cannot be read as a tokenizer"),
    ("vocab.txt", b"", "is empty"),
    ("vocab.txt", b"the\ncat\n", "no pad token"),
    ("vocab.txt", b"\xff\n", "not UTF-8"),
    ("vocab.json", b"{}", "holds no tokenizer"),
])
def test_bad_folders(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        Tokenizer.from_folder(tmp_path)


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import WordLevel

    Backend(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"has no pad token \('\[PAD\]'\); name it in tokenizer_config.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(("content", "words"), [
    ("[]", "expected a JSON object"), ("{}", "idx_to_token"),
    ('{"idx_to_token": ["a"], "token_to_idx": []}', "token_to_idx"),
    ('{"idx_to_token": ["a"], "token_to_idx": {"a": 3}}', "disagree"), ('{"idx_to_token": ["a"]}', "no '##' pieces"),
])
def test_bad_gluonnlp_vocabularies(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.vocab").write_text(content)
    with pytest.raises(ModelError, match=words):
        Tokenizer.from_gluonnlp_vocab(tmp_path / "x.vocab")
    with pytest.raises(ModelError, match="no vocabulary"):
        Tokenizer.from_gluonnlp_vocab(tmp_path / "y.vocab")
