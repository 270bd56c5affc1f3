"""Tokenizers that are not computed here are refused by name; what files leave open is noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bertpass.errors import DataError, ModelError
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.tokenizer_folders import DEFAULTS, bert, fast, set_in, template, write

pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")

REFUSED: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ({"tokenizer_class": "BertJapaneseTokenizer"}, {}, ("tokenizer_class BertJapaneseTokenizer", "BertTokenizer")),
    ({"tokenizer_class": "BertweetTokenizer"}, {}, ("BertweetTokenizer",)),
    ({"tokenizer_class": "PhobertTokenizer"}, {}, ("PhobertTokenizer",)),
    ({"tokenizer_class": "LlamaTokenizerFast"}, {}, ("LlamaTokenizerFast",)),
    ({"auto_map": {"AutoTokenizer": ["own.MyTokenizer", None]}}, {}, ("auto_map", "own.MyTokenizer", "own code")),
    ({"auto_map": [None, "own.MyTokenizer"]}, {}, ("auto_map", "own.MyTokenizer")),
    ({"tokenizer_class": None}, {"tokenizer_class": "BertJapaneseTokenizer"}, ("config.json", "BertJapaneseTokenizer")),
    (
        {"tokenizer_class": None},
        {"auto_map": {"AutoTokenizer": ["own.MyTokenizer", None]}},
        ("config.json", "auto_map"),
    ),
    ({"word_tokenizer_type": "mecab"}, {}, ("word_tokenizer_type", "mecab")),
    ({"subword_tokenizer_type": "character"}, {}, ("subword_tokenizer_type", "character")),
    ({"do_lower_case": "false"}, {}, ("do_lower_case", "true or false")),
    ({"split_special_tokens": 1}, {}, ("split_special_tokens", "true or false")),
    ({"truncation_side": "middle"}, {}, ("truncation_side", "left or right")),
    ({"added_tokens_decoder": ["a"]}, {}, ("added_tokens_decoder",)),
    ({"added_tokens_decoder": {"x": {"content": "a"}}}, {}, ("added_tokens_decoder", "'x'")),
    ({"added_tokens_decoder": {"3": {"content": "a", "strip": True}}}, {}, ("'strip'",)),
]


@pytest.mark.parametrize(("config", "model", "words"), REFUSED, ids=lambda v: str(v)[:50])
def test_tokenizers_that_are_not_computed(
    vocabulary: list[str], tmp_path: Path, config: dict[str, Any], model: dict[str, Any], words: tuple[str, ...]
) -> None:
    bert(tmp_path, vocabulary, config)
    write(tmp_path, "config.json", {"model_type": "bert", **model})
    with pytest.raises(ModelError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("post_processor", value=None), "adds no special tokens"),
        (template("$A", "$A $B"), "0 special tokens"),
        (template("[CLS] $A", "[CLS] $B $A", "[CLS]"), "$B, $A"),
        (
            lambda state: state.update(
                model={
                    "type": "BPE",
                    "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4},
                    "merges": [],
                    "dropout": 0.1,
                }
            ),
            "dropout of 0.1",
        ),
    ],
)
def test_tokenizer_json_that_is_not_computed(vocabulary: list[str], tmp_path: Path, change: Any, words: str) -> None:
    bert(tmp_path, vocabulary)
    fast(tmp_path, change)
    with pytest.raises(ModelError, match=words.replace("$", r"\$")):
        Tokenizer.from_folder(tmp_path)


def test_what_files_leave_open_is_noted(vocabulary: list[str], tmp_path: Path) -> None:
    bert(tmp_path, vocabulary, {"colour": 1})
    assert "has colour, which is not known here" in " ".join(Tokenizer.from_folder(tmp_path).notes)
    (tmp_path / "tokenizer_config.json").unlink()
    assert "says do_lower_case; the vocabulary has some upper-case" in " ".join(Tokenizer.from_folder(tmp_path).notes)
    fast_folder = bert(tmp_path, vocabulary, {"do_lower_case": False})
    fast(fast_folder)
    write(tmp_path, "tokenizer_config.json", {})
    read = Tokenizer.from_folder(tmp_path)
    assert not read.lower and "do_lower_case" in " ".join(read.notes)
    write(tmp_path, "tokenizer_config.json", {**DEFAULTS, "mask_token": "<none>"})
    assert "has no '<none>'" in " ".join(Tokenizer.from_folder(tmp_path).notes)


def test_padding_inside_a_text_of_roberta(roberta_folder: Path) -> None:
    """transformers gives the padding token there no position of its own; BERT has no such rule."""
    with pytest.raises(DataError, match="text 2 holds '<pad>'"):
        Tokenizer.from_folder(roberta_folder).encode(["a", "a <pad> b"])


def test_a_vocabulary_without_the_token_of_unknown_words(tmp_path: Path) -> None:
    """The library raises an Exception without a type of its own, at the first word that it does not know."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the"]
    Tokenizer.from_wordpiece(tokens, lower=True).save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["unk_token"] = "[NONE]"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert len(tokenizer.encode(["the"])) == 1
    for read in (lambda: tokenizer.encode(["the film"]), lambda: tokenizer.words("the film")):
        with pytest.raises(ModelError, match=r"the tokenizer cannot read a text: .*UNK"):
            read()
