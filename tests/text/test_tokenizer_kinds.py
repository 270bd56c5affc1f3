"""Tokenizers of every kind against transformers' fast ones: ids, types and offsets in ten scripts, cut and in pairs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.small_tokenizers import KINDS, TEXTS, save

transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """name -> (folder, transformers' tokenizer), trained once."""
    found = {}
    for name in KINDS:
        folder = tmp_path_factory.mktemp("kind")
        found[name] = folder, save(folder, name)
    return found


def same(ours: Any, theirs: Any, row: int, types: bool) -> None:
    assert ours.ids.tolist() == theirs["input_ids"][row]
    assert [tuple(place) for place in ours.offsets.tolist()] == theirs["offset_mapping"][row]
    assert [None if one < 0 else one for one in ours.sequence_ids.tolist()] == theirs.sequence_ids(row)
    assert not types or ours.token_types.tolist() == theirs["token_type_ids"][row]


def check(ours: Tokenizer, theirs: Any) -> None:
    texts = [text for text in TEXTS.values() if "<pad>" not in text]
    seconds = texts[1:] + texts[:1]
    types = "token_type_ids" in theirs.model_input_names
    for pairs in (None, seconds):
        for length in (512, 14):
            found = ours.encode(texts, pairs, max_length=length)
            wanted = theirs(texts, pairs, truncation="longest_first", max_length=length, return_offsets_mapping=True,
                            return_token_type_ids=True)
            for row, one in enumerate(found):
                same(one, wanted, row, types)


@pytest.mark.parametrize("name", KINDS)
def test_as_transformers(folders: dict[str, Any], name: str) -> None:
    folder, theirs = folders[name]
    ours = Tokenizer.from_folder(folder)
    check(ours, theirs)
    assert (ours.pad_id, ours.cls_id, ours.sep_id, ours.unk_id, ours.mask_id) == (
        theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.unk_token_id, theirs.mask_token_id)
    vocabulary = theirs.get_vocab()
    assert ours.vocab_size == max(vocabulary.values()) + 1
    assert all(ours.tokens[at] == token for token, at in vocabulary.items())
    assert not ours.notes


@pytest.mark.parametrize("name", KINDS)
def test_written_again(folders: dict[str, Any], tmp_path: Path, name: str) -> None:
    """transformers and we open the folder that we write, as the same class with the same ids."""
    folder, theirs = folders[name]
    ours = Tokenizer.from_folder(folder)
    ours.save(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(theirs)
    check(ours, again)
    check(Tokenizer.from_folder(tmp_path), theirs)
    check(Tokenizer.from_json(ours.to_json(), ours.special, config=ours.config), theirs)


@pytest.mark.parametrize("name", ["XLM-R", "RoBERTa", "BERT", "HerBERT"])
@pytest.mark.parametrize("more", [
    {"truncation_side": "left"}, {"split_special_tokens": True}, {"additional_special_tokens": ["[E1]", "Anna"]},
    {"model_max_length": 20}], ids=lambda more: next(iter(more)))
def test_settings(tmp_path: Path, name: str, more: dict[str, Any]) -> None:
    theirs = save(tmp_path, name, **more)
    ours = Tokenizer.from_folder(tmp_path)
    check(ours, theirs)
    assert ours.max_length == more.get("model_max_length")


@pytest.mark.parametrize("name", KINDS)
def test_settings_in_tokenizer_json_alone(folders: dict[str, Any], tmp_path: Path, name: str) -> None:
    """A folder without tokenizer_config.json but for the class and the names, and with a stored truncation and padding,
    which are the caller's."""
    folder, _ = folders[name]
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key.endswith("_token") or key in (
        "tokenizer_class", "do_lower_case", "add_prefix_space")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    # Cut at the left, byte-level BPE that puts a space before texts counts that before its first token as the token's.
    side = "Right" if name.startswith("RoBERTa ") else "Left"
    state["truncation"] = {"direction": side, "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    state["padding"] = {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None,
                        "pad_id": 1, "pad_type_id": 0, "pad_token": kept["pad_token"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    ours, theirs = Tokenizer.from_folder(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.truncation_side == theirs.truncation_side == side.lower()
    check(ours, theirs)


@pytest.mark.parametrize("name", ["ALBERT", "DeBERTa"])
@pytest.mark.parametrize("said", ["class", "model"])
def test_names_that_no_file_says(folders: dict[str, Any], tmp_path: Path, name: str, said: str) -> None:
    """Those of the class, which a file names, or the model's type."""
    folder, theirs = folders[name]
    kind = type(theirs).__name__.removesuffix("Fast")
    if said == "class":
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    else:
        model = {"ALBERT": "albert", "DeBERTa": "deberta-v2"}[name]
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    shutil.copy(folder / "tokenizer.json", tmp_path)
    ours, theirs = Tokenizer.from_folder(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == f"{kind}Fast" and not ours.notes
    check(ours, theirs)
    assert (ours.pad_id, ours.cls_id, ours.sep_id, ours.unk_id, ours.mask_id) == (
        theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.unk_token_id, theirs.mask_token_id)


@pytest.mark.parametrize("name", KINDS)
def test_decoded_and_words(folders: dict[str, Any], name: str) -> None:
    folder, theirs = folders[name]
    ours = Tokenizer.from_folder(folder)
    texts = list(TEXTS.values())
    ids = [row.ids.tolist() for row in ours.encode(texts)]
    assert ours.decode(ids) == theirs.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    for text in texts:
        row = theirs([text], add_special_tokens=False)
        words = dict.fromkeys(word for word in row.word_ids(0) if word is not None)
        wanted = [tuple(row.word_to_chars(0, word)) for word in words]
        assert np.array_equal(ours.words(text), np.array(wanted, np.int64).reshape(-1, 2)), text
