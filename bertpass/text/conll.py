"""CoNLL column files: a word a line, its tag in the last column, an empty line between sentences (CoNLL-2003)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bertpass.errors import DataError
from bertpass.text.example import Example
from bertpass.text.files import read_lines
from bertpass.text.tagging import is_tag, to_iob2

_COLUMNS = re.compile(r"[ \t]+")
_DOCUMENT = "-DOCSTART-"


def read_conll(path: str | Path, need_tags: bool = True) -> list[Example]:
    """The sentences of a file, plain or .gz: words from the first column, tags from the last.

    Columns are apart by spaces or tabs, as many in every line; lines that begin with -DOCSTART- are left out. Tags of
    IOB1, IOB2, IOBES and BILOU become IOB2. Without ``need_tags`` a file whose last column holds no tags (or is the
    only one) is one to predict: its examples have none.

    Raises
    ------
    DataError
        A line has another number of columns or no tag; the text names the line and what is expected.
    """
    path = Path(path)
    sentences: list[list[tuple[int, list[str]]]] = [[]]
    width = 0
    for number, line in read_lines(path):
        cells = _COLUMNS.split(line.strip(" \t"))
        if cells == [""]:
            sentences.append([])
        elif cells[0] != _DOCUMENT:
            width = width or len(cells)
            if len(cells) != width:
                raise DataError(f"{path}, line {number}: {len(cells)} columns, expected {width} as in the first line.")
            sentences[-1].append((number, cells))
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise DataError(f"{path} has no words; expected a word and its tag a line, an empty line between sentences.")
    wrong = next((row for sentence in sentences for row in sentence if width < 2 or not is_tag(row[1][-1])), None)
    if wrong is not None and need_tags:
        found = f"the last column holds {wrong[1][-1]!r:.40}" if width > 1 else "there is one column"
        raise DataError(f"{path}, line {wrong[0]}: {found}, expected a tag such as O, B-PER or I-PER.")
    made = []
    for at, sentence in enumerate(sentences):
        words = tuple(cells[0] for _, cells in sentence)
        tags = None if wrong is not None else tuple(to_iob2([cells[-1] for _, cells in sentence]))
        made.append(Example(" ".join(words), None, None, str(at), words=words, tags=tags))
    return made


def write_conll(path: str | Path, examples: Sequence[Example], predicted: Iterable[Sequence[str]]) -> None:
    """Write word, gold tag where the example has one, and predicted tag: the columns that conlleval reads."""
    with Path(path).open("w", encoding="utf-8") as file:
        for example, tags in zip(examples, predicted, strict=False):
            columns = (example.words, tags) if example.tags is None else (example.words, example.tags, tags)
            file.writelines(" ".join(cells) + "\n" for cells in zip(*columns, strict=True))
            file.write("\n")
