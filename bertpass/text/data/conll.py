"""CoNLL column files: a word a line, its tag in the last column, an empty line between sentences (CoNLL-2003)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bertpass.errors import DataError, UsageError
from bertpass.text.data.tagging import OUTSIDE, SCHEMES, UNTYPED, prefixed, to_iob2
from bertpass.text.example import Example
from bertpass.text.files import read_lines

_COLUMNS = re.compile(r"[ \t]+")
_DOCUMENT = "-DOCSTART-"
_PART = re.compile(r"\d+[-.]\d+")
#: the types of CoNLL-2000's chunks, whose tags CoNLL-2003 has before those of entities
_CHUNKS = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"}

Row = tuple[int, list[str]]  # line number, cells


def read_conll(path: str | Path, need_tags: bool = True, *, word_column: int | None = None,
               tag_column: int | None = None) -> list[Example]:
    """The sentences of a file, plain or .gz: words from the first column, tags from the last.

    Columns are apart by spaces or tabs, as many in every line; lines that begin with -DOCSTART-, and comments that
    begin with "#" and have another number of columns, are left out. Tags of any scheme of
    :mod:`bertpass.text.data.tagging` become IOB2. Without ``need_tags`` a file whose last column holds no tags (or is
    the only one) is one to predict: its examples have none.

    Parameters
    ----------
    word_column, tag_column
        Which columns hold them, from 1. They have to be given where a file leaves it open: where its first column
        numbers the words, or another column than the last holds tags too (chunks of CoNLL-2000 do not count).

    Raises
    ------
    DataError
        A line has another number of columns or no tag, or it is open which columns are meant; the text names the line
        and what is expected.
    UsageError
        There is no such column.
    """
    path = Path(path)
    sentences, width = _sentences(path)
    rows = [row for sentence in sentences for row in sentence]
    for name, column in (("--word_column", word_column), ("--tag_column", tag_column)):
        if column is not None and not 1 <= column <= width:
            raise UsageError(f"{name} {column}: {path} has {width} column{'' if width == 1 else 's'}.")
    if word_column is None and width > 2 and _counts(sentences):
        raise DataError(f"{path}: the first column numbers the words; say which one holds them: --word_column 2.")
    word, tag = (word_column or 1) - 1, (tag_column or width) - 1
    spelled = prefixed(cells[tag] for _, cells in rows) if width > 1 else None
    if spelled is None and need_tags:
        number, found = _wrong(rows, tag, width)
        raise DataError(f"{path}, line {number}: {found}, expected a tag such as O, B-PER or I-PER.")
    if spelled is not None and tag_column is None:
        others = [at for at in range(word + 1, width - 1) if _are_tags([cells[at] for _, cells in rows])]
        if others:
            raise DataError(f"{path}: columns {', '.join(str(at + 1) for at in others)} and {width} hold tags; say "
                            f"which ones are meant: --tag_column {width}.")
    return [_example(at, sentence, word, tag, spelled) for at, sentence in enumerate(sentences)]


def _sentences(path: Path) -> tuple[list[list[Row]], int]:
    """The rows of each sentence, and how many columns they have."""
    lines = [(number, _COLUMNS.split(line.strip(" \t"))) for number, line in read_lines(path)]
    lines = [(number, cells) for number, cells in lines if cells[0] != _DOCUMENT]
    filled = [cells for _, cells in lines if cells != [""]]
    if not filled:
        raise DataError(f"{path} has no words; expected a word and its tag a line, an empty line between sentences.")
    width = len(next((cells for cells in filled if not cells[0].startswith("#")), filled[0]))
    found: list[list[Row]] = [[]]
    for number, cells in lines:
        if cells == [""]:
            found.append([])
        elif len(cells) == width:
            found[-1].append((number, cells))
        elif not cells[0].startswith("#"):
            raise DataError(f"{path}, line {number}: {len(cells)} columns, expected {width} as in the first line.")
    return [sentence for sentence in found if sentence], width


def _counts(sentences: Sequence[Sequence[Row]]) -> bool:
    """Whether the first column numbers the words, in every sentence anew or on through the file.

    CoNLL-U has parts such as 1-2 and 3.1 among its numbers.
    """
    numbers = [[cells[0] for _, cells in sentence if not _PART.fullmatch(cells[0])] for sentence in sentences]
    through = [number for sentence in numbers for number in sentence]
    if len(through) < 2:
        return False
    anew = any(len(sentence) > 1 for sentence in numbers) and any(
        all(_count_up(sentence, start) for sentence in numbers) for start in (0, 1))
    return anew or any(_count_up(through, start) for start in (0, 1))


def _count_up(numbers: Sequence[str], start: int) -> bool:
    return list(numbers) == [str(at) for at in range(start, start + len(numbers))]


def _are_tags(cells: Sequence[str]) -> bool:
    """Whether a column holds tags, some of them not "O", and not chunks."""
    spelled = prefixed(cells)
    kinds = set() if spelled is None else {spelled(cell)[2:] for cell in cells if cell != OUTSIDE}
    return bool(kinds - _CHUNKS)


def _wrong(rows: Sequence[Row], tag: int, width: int) -> tuple[int, str]:
    """Line and words for the first cell that is no tag."""
    if width < 2:
        return rows[0][0], "there is one column"
    most = max(SCHEMES, key=lambda scheme: sum(scheme.fullmatch(cells[tag]) is not None for _, cells in rows))
    number, cells = next(row for row in rows if row[1][tag] != OUTSIDE and not most.fullmatch(row[1][tag]))
    where = "the last column" if tag == width - 1 else f"column {tag + 1}"
    return number, f"{where} holds {cells[tag]!r:.40}"


def _example(at: int, sentence: Sequence[Row], word: int, tag: int, spelled: Callable[[str], str] | None) -> Example:
    words = tuple(cells[word] for _, cells in sentence)
    tags = None if spelled is None else tuple(to_iob2([spelled(cells[tag]) for _, cells in sentence]))
    return Example(" ".join(words), None, None, str(at), words=words, tags=tags)


def write_conll(path: str | Path, examples: Sequence[Example], predicted: Iterable[Sequence[str]]) -> None:
    """Write word, gold tag where the example has one, and predicted tag: the columns that conlleval reads."""
    with Path(path).open("w", encoding="utf-8") as file:
        for example, tags in zip(examples, predicted, strict=False):
            columns = [tags] if example.tags is None else [example.tags, tags]
            plain = [[tag.removesuffix(f"-{UNTYPED}") for tag in column] for column in columns]
            file.writelines(" ".join(cells) + "\n" for cells in zip(example.words, *plain, strict=True))
            file.write("\n")
