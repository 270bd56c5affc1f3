"""Folders of small tokenizers in many settings, and texts that tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXTS = [
    "",
    "The Quick brown fox, it's jumping!",
    "Blåbær och Crème brûlée à Noël",
    "Straße in Łódź",
    "森林の木 mixed 北京 text",
    "Привет, МИР! Ёлка",
    "हिन्दी में एक वाक्य",
    "தமிழ் மொழி",
    "שָׁלוֹם עולם",
    "مرحبا بالعالم",
    "ไทยไม่มีช่องว่าง",
    "한국어 문장",
    "ὁ λόγος",
    "smile 🙂 👍🏽 👩‍👩‍👧 🇩🇪",
    "cafe\u0301 n\u0303andu\u0301",
    "a [SEP] b[CLS]c [MASK] [PAD] [UNK] <mask> <s> </s> <unk>",
    "<e1> Anna </e1> met  [E1]Bert [E1] x[E1]",
    "un<mark>related <MARK> mark",
    "z" * 30 + " " + "y" * 120,
    "tab\tnew\nline\x07bell",
    " leading and trailing ",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DEFAULTS = {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "tokenizer_class": "BertTokenizer",
}


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def bert(folder: Path, vocabulary: list[str], config: dict[str, Any] | None = None, **files: Any) -> Path:
    """A folder of vocab.txt with settings; ``files`` are other JSON files by their names without .json."""
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    write(folder, "config.json", {"model_type": "bert"})
    write(folder, "tokenizer_config.json", {**DEFAULTS, **(config or {})})
    for name, content in files.items():
        write(folder, f"{name}.json", content)
    return folder


def fast(folder: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """The same as a tokenizer.json that the installed library writes, changed by hand; vocab.txt goes."""
    kept = {p.name: p.read_bytes() for p in folder.iterdir()}
    import transformers

    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if change is not None:
        change(state)
    write(folder, "tokenizer.json", state)
    (folder / "vocab.txt").unlink(missing_ok=True)
    for name in ("added_tokens.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "tokenizer_config.json").write_bytes(kept["tokenizer_config.json"])
    return folder


def set_in(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


def template(single: str, pair: str, *names: str) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        from tokenizers.processors import TemplateProcessing

        vocab = state["model"]["vocab"]
        made = TemplateProcessing(single=single, pair=pair, special_tokens=[(name, vocab[name]) for name in names])
        state["post_processor"] = json.loads(made.__getstate__())

    return change
