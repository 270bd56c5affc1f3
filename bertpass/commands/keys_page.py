"""docs/keys.md: every key of a model's files and what is done with it, from :mod:`bertpass.known_keys`."""

from __future__ import annotations

import json

from bertpass.known_keys import ACTED, NOTHING, REFUSED, TABLE

_HEAD = """# Keys of a model's files

Every key that transformers, sentence-transformers and tokenizers write beside weights, and what is done with it.
`scripts/write_keys.py` makes this page from `bertpass/known_keys/`. A key that stands in no table is named in a note
when the model is opened.
"""
_RULES = {ACTED: "acted on", REFUSED: "refused by name", NOTHING: "known to change nothing"}


def page() -> str:
    """The page's text."""
    return "\n".join([_HEAD, *(_table(file) for file in TABLE)])


def _table(file: str) -> str:
    """One file: a row for each rule and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, key in TABLE[file].items():
        fine = " or ".join(f"`{json.dumps(value)}`" for value in (*key.fine, None))
        why = key.why if key.rule != REFUSED else f"{key.why}; read where it is {fine}"
        groups.setdefault((key.rule, why), []).append(f"`{name}`")
    rows = [f"| {', '.join(names)} | {_RULES[rule]} | {why.replace('|', '/')} |"
            for rule in _RULES for (found, why), names in groups.items() if found == rule]
    return "\n".join([f"## {file}\n", "| key | what is done | why |", "|---|---|---|", *rows, ""])
