"""Every key of a model's files, and what is done with it: data for the readers, for docs/keys.md and for the tests.

One module has the keys of one group of files, by the file's name as in :data:`TABLE`. A key that stands in no table is
noted where a model is opened: it may be new, or misspelt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertpass.errors import ModelError
from bertpass.known_keys import colbert, config, sentence_transformers, tokenizer
from bertpass.known_keys.key import ACTED, NOTHING, REFUSED, Key

__all__ = ["ACTED", "NOTHING", "REFUSED", "TABLE", "Key", "look"]

#: file -> key -> what is done with it; a file of several names stands under one of them
TABLE: dict[str, dict[str, Key]] = {**config.FILES, **sentence_transformers.FILES, **tokenizer.FILES,
                                    **colbert.FILES}


def look(file: str, content: Mapping[str, Any], where: str) -> list[str]:
    """Compare a file's keys with the table.

    Parameters
    ----------
    file : the name in :data:`TABLE`
    content : the file's object
    where : its path, for people

    Returns
    -------
    A note with the keys that are not known, or nothing

    Raises
    ------
    ModelError
        A key has a value that would change outputs and that is not supported.
    """
    known = TABLE[file]
    for name, value in content.items():
        key = known.get(name)
        if key is not None and key.rule == REFUSED and not key.takes(value):
            raise ModelError(f"{where} has {name} = {_short(value)} ({key.why}), which is not supported; use the model "
                             "in the library that wrote it, or write it without.")
    strange = [name for name in content if name not in known]
    if not strange:
        return []
    named = ", ".join(strange[:5]) + (" and more" if len(strange) > 5 else "")
    return [f"{where} has {named}, which is not known here and was not looked at."]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
