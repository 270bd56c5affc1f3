"""What ``bertpass embed``, ``predict`` and ``info`` share: which model, and the texts of a file."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpass import progress
from bertpass.errors import DataError, UsageError
from bertpass.model.given import Given
from bertpass.options import flag

if TYPE_CHECKING:
    from bertpass.engines.model import Model

STDIN = "-"


@dataclass
class ModelOptions(Given):
    """Words and flags of every command that opens one model with the native engine."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params or packed file, minilm or a hub id",
                      positional=True)


@dataclass
class ComputeOptions(ModelOptions):
    """Further flags of the commands that compute something of texts."""

    file: str | None = flag(None, "file of texts, in place of the words TEXT: .csv, .tsv, .jsonl, or one text per "
                            "line; - is standard input", metavar="FILE")
    column: str | None = flag(None, "column of a .csv or .tsv file, or key of a .jsonl file, that holds the texts "
                              "(default: text)")
    dtype: str | None = flag(None, "precision: auto, float32, bfloat16, int8 or float16 (default: a packed file's own, "
                             "otherwise auto)")
    batch_size: int = flag(32, "texts that are computed together", least=1, most=4096)
    threads: int | None = flag(None, "threads (default: OMP_NUM_THREADS, otherwise all processors)", least=1, rare=True)

    def load(self) -> Model:
        """The model on the native engine."""
        from bertpass.engines import load

        chosen: dict[str, Any] = {key: value for key, value in (("dtype", self.dtype), ("threads", self.threads))
                                  if value is not None}
        return load(self.model, "native", **dataclasses.asdict(self.given), **chosen)


def read_texts(file: str, column: str | None = None) -> list[str]:
    """The texts of a file: a column of .csv or .tsv, a key of .jsonl (each also with .gz), else one text per line.

    ``-`` reads lines from standard input.

    Raises
    ------
    DataError
        The file is missing, malformed or empty, or has no such column.
    UsageError
        A column is named, and the texts are lines.
    """
    found = _read(file, column)
    if not found:
        raise DataError(f"{'standard input' if file == STDIN else file} has no texts.")
    if empty := sum(not text.strip() for text in found):
        progress.note(f"{empty} of {len(found)} texts {'is' if empty == 1 else 'are'} empty; results are given for "
                      "them too.")
    return found


def _read(file: str, column: str | None) -> list[str]:
    path = Path(file)
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    table = ending in (".csv", ".tsv", ".jsonl")
    if column is not None and not table:
        raise UsageError(f"--column {column}: {'standard input' if file == STDIN else file} has one text per line and "
                         "no columns; columns are read from .csv, .tsv and .jsonl files.")
    if file == STDIN:
        return [line.rstrip("\n") for line in sys.stdin]
    if table:
        return list(_column(path, column or "text"))
    from bertpass.text.files import read_lines

    return [text for _, text in read_lines(path)]


def _column(path: Path, column: str) -> Iterator[str]:
    from bertpass.text.data import own_files
    from bertpass.text.files import check_text

    for where, fields in own_files.rows(path, {column.lower(): column}, column):
        yield check_text(fields[column], where)


def given_texts(options: ComputeOptions, texts: Sequence[str]) -> list[str]:
    """The texts of a command line or of its file; UsageError unless exactly one of them is given."""
    file = options.file
    if bool(texts) == (file is not None):
        raise UsageError("give either texts, as in: MODEL \"a text\" \"another text\", or --file FILE (- reads lines "
                         "from standard input).")
    if file is not None:
        return read_texts(file, options.column)
    if options.column is not None:
        raise UsageError(f"--column {options.column}: give --file, the file that has this column.")
    if not all(text.strip() for text in texts):
        raise UsageError("a TEXT is empty: give some words, or leave it out.")
    return list(texts)
