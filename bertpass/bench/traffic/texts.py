"""What is sent: texts with the lengths of real ones, and the bodies of requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bertpass.bench import workloads
from bertpass.engines.checking import CALIBRATION, CHECK
from bertpass.errors import DataError, UsageError, unknown
from bertpass.text.files import read_lines

#: name -> quantiles of the number of tokens
DISTRIBUTIONS = {"sst": workloads.SST, "squad": workloads.SQUAD}
#: routes that take texts: in "inputs", or in "input" as OpenAI has it
ROUTES = ("/embed", "/embed_all", "/predict", "/ner", "/tokenize", "/v1/embeddings", "/embeddings")
#: tokens of a word of the shipped sentences with a word-piece vocabulary, about
TOKENS_A_WORD = 1.25
_COLUMNS = ("sentence", "text")


def of_lengths(distribution: str, count: int, seed: int = 0) -> list[str]:
    """``count`` texts out of the shipped sentences, cut and joined to about the lengths, in tokens, of real data.

    ``distribution`` is one of :data:`DISTRIBUTIONS`.
    """
    words = " ".join((*CHECK, *CALIBRATION)).split()
    random = np.random.default_rng(seed)
    starts = random.integers(0, len(words), count)
    lengths = np.interp(random.random(count), *DISTRIBUTIONS[distribution])
    made = []
    for start, tokens in zip(starts.tolist(), lengths.tolist(), strict=True):
        wanted = max(1, round((tokens - 2) / TOKENS_A_WORD))
        made.append(" ".join(words[(start + n) % len(words)] for n in range(wanted)))
    return made


def of_file(name: str) -> list[str]:
    """One text a line; of a .tsv file (plain or .gz) the column ``sentence`` or ``text``, or else the first.

    Raises
    ------
    DataError
        The file cannot be read, or holds no text.
    """
    path = Path(name)
    lines = [line for _, line in read_lines(path)]
    if path.name.removesuffix(".gz").endswith(".tsv") and lines:
        header = lines[0].split("\t")
        column = next((header.index(each) for each in _COLUMNS if each in header), None)
        rows = lines if column is None else lines[1:]
        lines = [cells[column or 0] for cells in (row.split("\t") for row in rows) if len(cells) > (column or 0)]
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise DataError(f"{name}: there is no text in it.")
    return texts


def bodies_of(route: str, texts: Sequence[str], batch: int = 1, model: str | None = None) -> list[bytes]:
    """A body for each ``batch`` texts, in their order; a lone text is sent as a string and not as a list."""
    if route not in ROUTES:
        raise UsageError(f"--route: {unknown('route', route, ROUTES)} For others give whole bodies with --bodies FILE.")
    field = "input" if route.endswith("/embeddings") else "inputs"
    named = {} if model is None else {"model": model}
    parts = [list(texts[at:at + batch]) for at in range(0, len(texts), batch)]
    return [json.dumps({**named, field: part if batch > 1 else part[0]}).encode() for part in parts]


def own_bodies(name: str) -> list[bytes]:
    """The lines of a file, each the JSON body of a request; DataError names the line that is none."""
    found = []
    for number, line in read_lines(Path(name)):
        try:
            json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}, line {number}: not JSON ({error}).") from error
        found.append(line.encode())
    if not found:
        raise DataError(f"{name}: there is no body in it.")
    return found
