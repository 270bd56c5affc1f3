"""Every key of a tokenizer's files away from its default: the same ids as transformers' AutoTokenizer, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertpass import known_keys
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.tokenizer_folders import DEFAULTS, SPECIAL, TEXTS, bert, fast, set_in, template, write

transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")


#: texts, second texts, longest row
CALLS = ((TEXTS, None, 512), (TEXTS, TEXTS[::-1], 512), (TEXTS, None, 9), (TEXTS, TEXTS[::-1], 12))


def rows(tokenizer: Any, side: str = "right") -> list[Any]:
    if isinstance(tokenizer, Tokenizer):
        found = []
        for many, pairs, length in CALLS:
            encoded = tokenizer.encode(many, pairs, max_length=length)
            found.append(
                [
                    (row.ids.tolist(), row.token_types.tolist(), list(map(tuple, row.offsets.tolist())))
                    for row in encoded
                ]
            )
        return found
    found = []
    for many, pairs, length in CALLS:
        encoded = tokenizer(many, pairs, truncation=True, max_length=length, return_offsets_mapping=True)
        types = encoded.get("token_type_ids") or [[0] * len(ids) for ids in encoded["input_ids"]]
        found.append(list(zip(encoded["input_ids"], types, encoded["offset_mapping"], strict=True)))
    return found


def check(folder: Path, tmp_path: Path) -> Tokenizer:
    """Ours is transformers', before and after ours is written, and what is written is read by transformers."""
    ours, theirs = Tokenizer.from_folder(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for mine, right in zip(rows(ours), rows(theirs), strict=True):
        for text, a, b in zip(TEXTS, mine, right, strict=True):
            assert a == b, text
    ours.save(tmp_path / "again")
    write(tmp_path / "again", "config.json", json.loads((folder / "config.json").read_text()))
    again = Tokenizer.from_folder(tmp_path / "again")
    assert rows(again) == rows(ours)
    assert rows(transformers.AutoTokenizer.from_pretrained(tmp_path / "again")) == rows(ours)
    packed = Tokenizer.from_json(ours.to_json(), ours.special, config=json.loads(json.dumps(ours.config)))
    assert rows(packed) == rows(ours)
    return ours


SETTINGS: list[dict[str, Any]] = [
    {"mask_token": None, "sep_token": "the"},
    {
        "mask_token": "<mark>",
        "added_tokens_decoder": {"5": {"content": "<mark>", "normalized": True, "special": True, "rstrip": True}},
    },
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"strip_accents": True, "do_lower_case": False},
    {"tokenize_chinese_chars": False},
    {"strip_accents": False, "tokenize_chinese_chars": False, "do_lower_case": False},
    {"truncation_side": "left"},
    {"padding_side": "left"},
    {"split_special_tokens": True},
    {"model_input_names": ["input_ids", "attention_mask"]},
    {"tokenizer_class": "BertTokenizerFast"},
    {"tokenizer_class": "DistilBertTokenizer"},
    {"tokenizer_class": "ElectraTokenizer"},
    {"tokenizer_class": None},
    {"do_basic_tokenize": False},
    {"never_split": ["Blåbær"]},
    {"clean_up_tokenization_spaces": False},
    {"additional_special_tokens": ["[E1]", "<e1>", "</e1>"]},
    {"extra_special_tokens": {"marker": "<e1>"}},
    {"unk_token": "森林"},
    {"cls_token": "the", "sep_token": "fox"},
    {
        "mask_token": {
            "__type": "AddedToken",
            "content": "[MASK]",
            "lstrip": True,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
        }
    },
    *(
        {
            "added_tokens_decoder": {
                "5": {
                    "content": "[E1]",
                    "lstrip": lstrip,
                    "rstrip": rstrip,
                    "single_word": single,
                    "normalized": normalized,
                    "special": special,
                }
            }
        }
        for lstrip, rstrip, single, normalized, special in (
            (False, False, False, False, True),
            (True, False, False, False, True),
            (False, True, False, False, True),
            (False, False, True, False, True),
            (False, False, False, True, False),
            (True, True, False, True, False),
        )
    ),
    {
        "added_tokens_decoder": {
            "9": {
                "content": "<MARK>",
                "lstrip": False,
                "rstrip": False,
                "single_word": False,
                "normalized": True,
                "special": False,
            }
        }
    },
]


@pytest.mark.parametrize("config", SETTINGS, ids=lambda c: ", ".join(map(str, c.items()))[:60])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_settings_of_bert(vocabulary: list[str], tmp_path: Path, config: dict[str, Any], form: str) -> None:
    folder = bert(tmp_path, vocabulary, config)
    if form == "tokenizer.json":  # one written with the defaults, so that the settings beside it have to win
        write(folder, "tokenizer_config.json", DEFAULTS)
        fast(folder)
        write(folder, "tokenizer_config.json", {**DEFAULTS, **config})
    check(folder, tmp_path)


FILES: list[dict[str, Any]] = [
    {"added_tokens": {"<mark>": None}},
    {"added_tokens": {"<e1>": 0, "</e1>": 1}},
    {"added_tokens": {"<e1>": 0}, "special_tokens_map": {"additional_special_tokens": ["<e1>"]}},
    {"special_tokens_map": {"cls_token": "the", "additional_special_tokens": ["[E1]"]}},
    {
        "special_tokens_map": {
            "mask_token": {
                "content": "[MASK]",
                "lstrip": True,
                "normalized": False,
                "rstrip": True,
                "single_word": False,
            }
        }
    },
    {
        "special_tokens_map": {
            "additional_special_tokens": [
                {"content": "<e1>", "lstrip": False, "normalized": False, "rstrip": True, "single_word": False}
            ]
        }
    },
]


@pytest.mark.parametrize("files", FILES, ids=lambda f: json.dumps(f)[:70])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_files_beside_the_vocabulary(vocabulary: list[str], tmp_path: Path, files: dict[str, Any], form: str) -> None:
    """added_tokens.json and special_tokens_map.json, as transformers wrote them before added_tokens_decoder."""
    files = json.loads(json.dumps(files))
    if "added_tokens" in files:
        size = len(vocabulary)
        files["added_tokens"] = {
            token: vocabulary.index(token) if at is None else size + at for token, at in files["added_tokens"].items()
        }
    bert(tmp_path, vocabulary)
    if form == "tokenizer.json":
        fast(tmp_path)
    for name, content in files.items():
        write(tmp_path, f"{name}.json", content)
    check(tmp_path, tmp_path)


def test_a_map_does_not_go_before_added_tokens_decoder(vocabulary: list[str], tmp_path: Path) -> None:
    config = {"added_tokens_decoder": {"5": {"content": "[E1]", "special": True}}}
    bert(
        tmp_path,
        vocabulary,
        config,
        special_tokens_map={"cls_token": "the", "additional_special_tokens": ["<e1>"]},
        added_tokens={"<e1>": len(vocabulary)},
    )
    assert check(tmp_path, tmp_path).vocab_size == len(vocabulary)


NORMALISERS = [
    {"type": "Lowercase"},
    {"type": "NFKC"},
    {"type": "StripAccents"},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
    {"type": "Replace", "pattern": {"String": "o"}, "content": "0"},
    {
        "type": "Sequence",
        "normalizers": [
            {
                "type": "BertNormalizer",
                "clean_text": False,
                "strip_accents": False,
                "handle_chinese_chars": False,
                "lowercase": True,
            },
            {"type": "Strip", "strip_left": True, "strip_right": True},
        ],
    },
]
SECTIONS: list[tuple[str, dict[str, Any], Callable[[dict[str, Any]], Any]]] = [
    *((f"normalizer {n}", {}, set_in("normalizer", value=n)) for n in NORMALISERS),
    *(
        (f"normalizer {n} generic", {"tokenizer_class": "PreTrainedTokenizerFast"}, set_in("normalizer", value=n))
        for n in [None, *NORMALISERS]
    ),
    ("clean_text", {}, set_in("normalizer", "clean_text", value=False)),
    (
        "strip_accents by the file",
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        set_in("normalizer", "strip_accents", value=False),
    ),
    ("Whitespace", {}, set_in("pre_tokenizer", value={"type": "Whitespace"})),
    (
        "WhitespaceSplit and digits",
        {},
        set_in(
            "pre_tokenizer",
            value={
                "type": "Sequence",
                "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}],
            },
        ),
    ),
    ("max_input_chars", {}, set_in("model", "max_input_chars_per_word", value=20)),
    ("prefix", {}, set_in("model", "continuing_subword_prefix", value="")),
    (
        "truncation",
        {},
        set_in("truncation", value={"direction": "Left", "max_length": 7, "strategy": "OnlyFirst", "stride": 2}),
    ),
    (
        "truncation and config",
        {"truncation_side": "right"},
        set_in("truncation", value={"direction": "Left", "max_length": 7, "strategy": "LongestFirst", "stride": 0}),
    ),
    (
        "padding",
        {},
        set_in(
            "padding",
            value={
                "strategy": {"Fixed": 9},
                "direction": "Left",
                "pad_to_multiple_of": 8,
                "pad_id": 0,
                "pad_type_id": 1,
                "pad_token": "[PAD]",
            },
        ),
    ),
    ("no added tokens", {}, lambda state: state["added_tokens"].clear()),
    ("no separator", {}, template("[CLS] $A", "[CLS] $A [SEP] $B", "[CLS]", "[SEP]")),
    ("two in front", {}, template("[CLS] [E1] $A [SEP]", "[CLS] [E1] $A [SEP] $B:1 [SEP]:1", "[CLS]", "[SEP]", "[E1]")),
    ("types", {}, template("[CLS]:1 $A:1 [SEP]:0", "[CLS]:1 $A:1 [SEP]:1 $B:0 [SEP]:0", "[CLS]", "[SEP]")),
    (
        "roberta's",
        {},
        lambda state: state.update(
            post_processor={
                "type": "RobertaProcessing",
                "sep": ["[SEP]", 3],
                "cls": ["[CLS]", 2],
                "trim_offsets": True,
                "add_prefix_space": False,
            }
        ),
    ),
    (
        "bert's",
        {},
        lambda state: state.update(post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}),
    ),
    (
        "added flags",
        {},
        lambda state: state["added_tokens"].append(
            {
                "id": state["model"]["vocab"]["[E1]"],
                "content": "[E1]",
                "single_word": False,
                "lstrip": True,
                "rstrip": True,
                "normalized": False,
                "special": True,
            }
        ),
    ),
]


@pytest.mark.parametrize(
    ("name", "config", "change"), SECTIONS, ids=lambda v: str(v)[:50] if isinstance(v, str) else ""
)
def test_sections_of_tokenizer_json(
    vocabulary: list[str], tmp_path: Path, name: str, config: dict[str, Any], change: Callable[[dict[str, Any]], Any]
) -> None:
    bert(tmp_path, vocabulary)
    fast(tmp_path, change)
    if config.get("tokenizer_class") == "PreTrainedTokenizerFast":
        names = {f"{kind.strip('[]').lower()}_token": kind for kind in SPECIAL}
        write(tmp_path, "tokenizer_config.json", {**names, **config})
    else:
        write(tmp_path, "tokenizer_config.json", {**DEFAULTS, **config})
    check(tmp_path, tmp_path)


ROBERTA: list[dict[str, Any]] = [
    {},
    {"add_prefix_space": True},
    {"trim_offsets": False},
    {"add_prefix_space": True, "trim_offsets": False},
    {"truncation_side": "left"},
    {"split_special_tokens": True},
    {"tokenizer_class": "LongformerTokenizer"},
    {
        "mask_token": {
            "__type": "AddedToken",
            "content": "<mask>",
            "lstrip": False,
            "rstrip": True,
            "normalized": False,
            "single_word": False,
        }
    },
    {"additional_special_tokens": ["<e1>", "</e1>"]},
    {"errors": "ignore"},
    {"cls_token": "</s>", "sep_token": "<s>"},
]


@pytest.mark.parametrize("config", ROBERTA, ids=lambda c: json.dumps(c)[:60])
@pytest.mark.parametrize("form", ["merges.txt", "tokenizer.json"])
def test_settings_of_roberta(merges: Path, tmp_path: Path, config: dict[str, Any], form: str) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((merges / name).read_bytes())
    write(tmp_path, "config.json", {"model_type": "roberta"})
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"})
    if form == "tokenizer.json":
        transformers.AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
        for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
            (tmp_path / name).unlink()
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", **config})
    check(tmp_path, tmp_path)


@pytest.mark.parametrize("kind", ["bert", "roberta", "generic"])
def test_every_key_that_transformers_writes_is_in_the_table(
    vocabulary: list[str], merges: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "roberta":
        theirs = transformers.RobertaTokenizerFast(str(merges / "vocab.json"), str(merges / "merges.txt"))
    else:
        bert(tmp_path, vocabulary, {"do_lower_case": False})
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        if kind == "generic":
            theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=theirs.backend_tokenizer, unk_token="[UNK]")
    theirs.save_pretrained(tmp_path / "saved")
    for file, known in known_keys.tokenizer.FILES.items():
        path = tmp_path / "saved" / file
        if path.is_file():
            assert set(json.loads(path.read_text(encoding="utf-8"))) <= set(known), file


@pytest.mark.parametrize(("said", "length"), [(16, 16), (1e30, None), (int(1e30), None), (None, None), (0, None)])
def test_the_longest_row_is_kept(vocabulary: list[str], tmp_path: Path, said: Any, length: int | None) -> None:
    ours = Tokenizer.from_folder(bert(tmp_path, vocabulary, {"model_max_length": said}))
    assert ours.max_length == length
    ours.save(tmp_path / "again", ours.max_length or 64, 128)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "again").model_max_length == (length or 64)
    ours.save(tmp_path / "short", 64, 12)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "short").model_max_length == 12
