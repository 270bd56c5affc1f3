"""Sentence vectors after they are made: smaller numbers, and how alike they are, as sentence-transformers has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from bertpass.errors import UsageError, unknown
from bertpass.extras import require

PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
_FEW = 100  # vectors, below which their own ranges are worth a warning

log = logging.getLogger("bertpass")


def quantize_embeddings(embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None,
                        ) -> np.ndarray:
    """Vectors in fewer bits, for an index: the numbers of sentence-transformers' function of this name.

    Parameters
    ----------
    embeddings : (rows, units), an array, a list of arrays or tensors
    precision : "float32"; "int8" and "uint8": 256 steps between the least and the largest value of each number of a
        vector; "binary" (int8) and "ubinary" (uint8): whether numbers are above 0, eight in a byte
    ranges : (2, units), the least and the largest values; default those of ``calibration_embeddings`` (rows, units),
        else those of ``embeddings``, with a warning where these are few

    Returns
    -------
    (rows, units) in float32, int8 or uint8; (rows, units / 8, rounded up) of "binary" and "ubinary"

    Raises
    ------
    UsageError
        No such precision, or embeddings that are bytes already or no matrix.
    """
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision of embeddings", str(precision), PRECISIONS))
    values = np.asarray([np.asarray(row) for row in embeddings] if isinstance(embeddings, list) else embeddings)
    if values.dtype.kind != "f" or values.ndim != 2:
        raise UsageError(f"embeddings to quantize must be floating numbers of the shape (rows, units), not "
                         f"{values.dtype} {values.shape}.")
    if precision == "float32":
        return values.astype(np.float32)
    if precision in ("binary", "ubinary"):
        bits = np.packbits(values > 0, axis=-1)
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    if ranges is None:
        if calibration_embeddings is None and len(values) < _FEW:
            log.warning("the ranges of %s come from %d embeddings alone; give ranges or calibration_embeddings, so "
                        "that all calls have the same.", precision, len(values))
        known = np.asarray(values if calibration_embeddings is None else calibration_embeddings)
        ranges = np.stack([known.min(axis=0), known.max(axis=0)])
    low, high = np.asarray(ranges)
    steps = (high - low) / 255
    places = np.clip(np.floor((values - low) / np.where(steps == 0, 1, steps)), 0, 255)
    return places.astype(np.uint8) if precision == "uint8" else (places - 128).astype(np.int8)


def _scaled(torch: Any, vectors: Any) -> Any:
    return torch.nn.functional.normalize(vectors, dim=-1)


#: name -> similarity of every row of (A, units) with every row of (B, units), (A, B)
_MATRICES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cosine": lambda torch, a, b: torch.mm(_scaled(torch, a), _scaled(torch, b).T),
    "dot": lambda torch, a, b: torch.mm(a, b.T),
    "euclidean": lambda torch, a, b: -torch.cdist(a, b, p=2.0),
    "manhattan": lambda torch, a, b: -torch.cdist(a, b, p=1.0),
}
#: name -> similarity of each row with the row of the same number, (rows,)
_PAIRS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cosine": lambda torch, a, b: (_scaled(torch, a) * _scaled(torch, b)).sum(dim=-1),
    "dot": lambda torch, a, b: (a * b).sum(dim=-1),
    "euclidean": lambda torch, a, b: -((a - b) ** 2).sum(dim=-1).sqrt(),
    "manhattan": lambda torch, a, b: -(a - b).abs().sum(dim=-1),
}
SIMILARITIES = tuple(_MATRICES)


def similarity(name: str, a: Any, b: Any, *, pairwise: bool = False) -> Any:
    """How alike vectors are, a tensor of PyTorch: (A, B), or (rows,) where ``pairwise``.

    Parameters
    ----------
    name : one of :data:`SIMILARITIES`
    a, b : vectors, (rows, units) or (units,): arrays, lists or tensors of floating numbers

    Raises
    ------
    UsageError
        The vectors are not floating numbers.
    MissingDependencyError
        PyTorch is not installed.
    """
    torch = require("torch", "torch")
    a, b = (_tensor(torch, each) for each in (a, b))
    if pairwise:
        return _PAIRS[name](torch, a, b)
    return _MATRICES[name](torch, *(each.unsqueeze(0) if each.dim() == 1 else each for each in (a, b)))


def _tensor(torch: Any, given: Any) -> Any:
    if isinstance(given, list) and given and isinstance(given[0], torch.Tensor):
        given = torch.stack(given)
    if isinstance(given, list) and given and isinstance(given[0], np.ndarray):
        given = np.stack(given)
    tensor = given if isinstance(given, torch.Tensor) else torch.tensor(given)
    if not tensor.is_floating_point():
        raise UsageError(f"similarities are of floating numbers, not of {tensor.dtype}; give the vectors as they were "
                         "before quantize_embeddings.")
    return tensor


def max_sim(queries: list[np.ndarray], documents: list[np.ndarray]) -> np.ndarray:
    """MaxSim: of every query (tokens, width) with every document (tokens, width) the sum over the query's tokens of the
    largest product with one of the document's; (queries, documents), float32.

    A document without vectors has the score 0.
    """
    found = np.zeros((len(queries), len(documents)), np.float32)
    for row, query in enumerate(queries):
        for column, document in enumerate(documents):
            if len(query) and len(document):
                found[row, column] = (query @ document.T).max(axis=1).sum()
    return found
