"""Vocabulary files: vocab.txt, GluonNLP's .vocab JSON, and the names of special tokens in Hugging Face's configs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, ModelError
from bertpass.file_kinds import of_the_web
from bertpass.text.files import read_json, read_lines

SPECIAL = ("pad", "unk", "cls", "sep", "mask")
BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_SPECIAL = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
MPNET_SPECIAL = {**ROBERTA_SPECIAL, "unk": "[UNK]"}
ALBERT_SPECIAL = {**BERT_SPECIAL, "pad": "<pad>", "unk": "<unk>"}

_GLUONNLP_NAMES = {"pad": "padding_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}


def by_id(vocab: Mapping[str, int], size: int) -> list[str]:
    """Tokens in the order of their ids; an id without a token gets a placeholder that no text can produce."""
    tokens = [f"[no token {at}]" for at in range(size)]
    for token, at in vocab.items():
        tokens[at] = token
    return tokens


def read_vocab_txt(path: Path) -> list[str]:
    """The tokens of a vocab.txt, one a line; raises ModelError where it cannot be read or is empty."""
    try:
        tokens = [line for _, line in read_lines(path)]
    except DataError as error:
        raise ModelError(str(error)) from error
    if not tokens:
        raise ModelError(f"{path} is empty; expected one token a line.")
    if page := of_the_web("\n".join(tokens[:3]).encode("utf-8")):
        raise ModelError(f"{path} is no vocabulary: {page}.")
    return tokens


def looks_uncased(tokens: Sequence[str]) -> bool:
    """Whether no token but those in brackets has an upper-case letter."""
    return all(t == t.lower() or (t.startswith("[") and t.endswith("]")) for t in tokens)


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or {} where there is no file; anything else is a ModelError."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except DataError as error:
        raise ModelError(str(error)) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(content).__name__}.")
    return content


def read_gluonnlp(path: Path) -> tuple[list[str], dict[str, str]]:
    """Read a GluonNLP .vocab: tokens in the order of their ids, and the special tokens by kind.

    ``identifiers_to_tokens`` names the special tokens; older files have them at the top level. Where old files list a
    token twice, ``token_to_idx`` says which id is its own.

    Raises
    ------
    ModelError
        The file is missing or is not such a vocabulary.
    """
    if not path.is_file():
        raise ModelError(f"no vocabulary at {path}.")
    content = read_json_object(path)
    tokens, ids = content.get("idx_to_token"), content.get("token_to_idx", {})
    if not isinstance(tokens, list) or not tokens or not all(isinstance(t, str) for t in tokens):
        raise ModelError(f"{path} is not a GluonNLP vocabulary: expected a list of tokens under 'idx_to_token'.")
    if not isinstance(ids, dict):
        raise ModelError(f"{path} is not a GluonNLP vocabulary: expected an object under 'token_to_idx'.")
    vocab = {token: at for at, token in enumerate(tokens)}
    for token, at in ids.items():
        if not isinstance(at, int) or not 0 <= at < len(tokens) or tokens[at] != token:
            raise ModelError(f"{path}: 'token_to_idx' and 'idx_to_token' disagree about {token!r}.")
        vocab[token] = at
    identifiers = content.get("identifiers_to_tokens") or {}
    special = {}
    for kind, name in _GLUONNLP_NAMES.items():
        token = identifiers.get(name) or content.get(name)
        if isinstance(token, str):
            special[kind] = token
    if isinstance(content.get("unknown_token"), str):
        special["unk"] = content["unknown_token"]
    return by_id(vocab, len(tokens)), special


def write_gluonnlp(path: Path, tokens: Sequence[str], special: Mapping[str, str]) -> None:
    """Write a GluonNLP .vocab of these tokens."""
    identifiers = {name: special[kind] for kind, name in _GLUONNLP_NAMES.items() if kind in special}
    content = {
        "idx_to_token": list(tokens),
        "token_to_idx": {token: at for at, token in enumerate(tokens)},
        "reserved_tokens": list(identifiers.values()),
        "unknown_token": special["unk"],
        "identifiers_to_tokens": identifiers,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
