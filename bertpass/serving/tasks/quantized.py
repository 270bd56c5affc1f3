"""Embeddings in fewer bits: whether each number is above 0, eight in a byte, as sentence-transformers packs them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from bertpass.engines.vectors import quantize_embeddings
from bertpass.serving.failures import InvalidBody

_WITHOUT_RANGES = ("int8", "uint8")


def check(kind: str, name: str) -> None:
    """InvalidBody for a form that a server cannot give; ``name`` is the field."""
    if kind in _WITHOUT_RANGES:
        raise InvalidBody(f"{name}: {kind} needs the least and the largest value of each number over many texts, which "
                          "this server does not know; ask for float and use bertpass.quantize_embeddings with your "
                          "ranges, or ask for binary or ubinary.", name)


def rows(vectors: np.ndarray, kind: str) -> list[Any]:
    """Vectors (rows, units) as lists: of "float" numbers, of "binary" int8, of "ubinary" uint8."""
    found: list[Any] = _packed(vectors, kind).tolist()
    return found


def base64_of(row: np.ndarray, kind: str) -> str:
    """The bytes of one vector: of "float" little-endian float32, else one byte for eight numbers."""
    packed = _packed(row[None], kind)
    return base64.b64encode((packed.astype("<f4") if kind == "float" else packed).tobytes()).decode()


def _packed(vectors: np.ndarray, kind: str) -> np.ndarray:
    return vectors if kind == "float" else quantize_embeddings(vectors, kind)
