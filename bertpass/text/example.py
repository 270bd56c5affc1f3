"""One row of a data set, whatever its task."""

from __future__ import annotations

from dataclasses import dataclass

Label = int | float | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Example:
    """One row.

    Attributes
    ----------
    text, text_pair
        The text and the second one, or None; of a ranking task the query and a passage, of a tokens task the words
        joined by spaces.
    label
        A class number, a score or several, a relevance from 0 to 1, or 0 or 1 for each label of a multi-label task.
        None where the file has none, and in tokens tasks.
    id
        The number of the row from 0 unless the file has ids.
    group
        Of a ranking task: what the passages of one query have in common.
    words, tags
        Of a tokens task: the words and a tag for each (IOB2), or None where the file has none.
    """

    text: str
    text_pair: str | None
    label: Label | None
    id: str
    group: str = ""
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] | None = None
