"""What a person gives to a model, checked: texts as a list, numbers and switches by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bertpass.errors import UsageError

#: other spellings of precisions and engines that people know from elsewhere
DTYPES = {"fp32": "float32", "float": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
ENGINES = {"onnx": "onnxruntime", "ort": "onnxruntime", "pytorch": "torch", "tf": "tensorflow"}


def texts(given: Any, name: str = "texts", kinds: str = "a text or a list of texts") -> list[Any]:
    """The texts as a list; a single string is a list of one. What is in the list is the tokenizer's to check.

    Raises
    ------
    UsageError
        None, bytes, a mapping, or something that is no sequence.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, (bytes, bytearray)):
        raise UsageError(f"{name} must be {kinds}, not bytes; decode them first, as in {name}.decode('utf-8').")
    if given is None or isinstance(given, dict) or not isinstance(given, Iterable):
        raise UsageError(f"{name} must be {kinds}, not {type(given).__name__}.")
    found = list(given)
    for at, one in enumerate(found, 1):
        if one is None or isinstance(one, (bytes, bytearray)):
            raise UsageError(f"{name}, entry {at}: expected a text, found {type(one).__name__}; leave it out, or give "
                             "'' for an empty text.")
    return found


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least ``least``; UsageError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value


def switch(name: str, value: Any, also: Sequence[Any] = ()) -> None:
    """UsageError unless the value is True or False (or one of ``also``)."""
    if not isinstance(value, bool) and value not in also:
        raise UsageError(f"{name} must be True or False, not {value!r}.")
