"""What ``bertpass embed``, ``predict`` and ``info`` share: which model, and the texts of a file."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpass.errors import UsageError
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

    file: str | None = flag(None, "texts in place of TEXT: .csv, .tsv, .jsonl, else one text per line; - reads "
                            "standard input", metavar="FILE")
    column: str = flag("text", "column of a .csv or .tsv file, key of a .jsonl file")
    dtype: str | None = flag(None, "precision: auto, float32, bfloat16, int8 or float16 (default: a packed file's own, "
                             "else auto)")
    batch_size: int = flag(32, "texts that are computed together", least=1, most=4096)
    threads: int | None = flag(None, "threads (default: OMP_NUM_THREADS, else all processors)", least=1, rare=True)

    def load(self) -> Model:
        """The model on the native engine."""
        from bertpass.engines import load

        chosen: dict[str, Any] = {key: value for key, value in (("dtype", self.dtype), ("threads", self.threads))
                                  if value is not None}
        return load(self.model, "native", **dataclasses.asdict(self.given), **chosen)


def read_texts(file: str, column: str) -> list[str]:
    """The texts of a file: a column of .csv or .tsv, a key of .jsonl (each also with .gz), else one text per line.

    ``-`` reads lines from standard input.

    Raises
    ------
    DataError
        The file is missing or malformed, or has no such column.
    """
    if file == STDIN:
        return [line.rstrip("\n") for line in sys.stdin]
    path = Path(file)
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if ending in (".csv", ".tsv", ".jsonl"):
        return list(_column(path, column))
    from bertpass.text.files import read_lines

    return [text for _, text in read_lines(path)]


def _column(path: Path, column: str) -> Iterator[str]:
    from bertpass.text.data import own_files
    from bertpass.text.files import check_text

    for where, fields in own_files.rows(path, {column.lower(): column}, column):
        yield check_text(fields[column], where)


def given_texts(texts: Sequence[str], file: str | None, column: str) -> list[str]:
    """The texts of a command line or of its file; UsageError unless exactly one of them is given."""
    if bool(texts) == (file is not None):
        raise UsageError("give either texts, as in: bertpass embed minilm \"a text\", or --file FILE (- reads lines "
                         "from standard input).")
    return list(texts) if file is None else read_texts(file, column)
