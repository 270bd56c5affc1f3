"""Flags that say which columns of a person's own data hold what; the same where a model is trained and evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bertpass.errors import UsageError
from bertpass.options import flag

_GROUP = "data"


@dataclass
class ColumnOptions:
    """Columns that every kind of rows has."""

    text_column: str | None = flag(None, "column of the texts in own data (default: text)", group=_GROUP)
    pair_column: str | None = flag(None, "column of the second texts in own data (default: text_pair, if there is one)",
                                   group=_GROUP)
    label_column: str | None = flag(None, "column of the labels in own data (default: label); of a regression "
                                    "with several outputs a column for each, as in a,b,c", group=_GROUP)

    @property
    def columns(self) -> Mapping[str, str]:
        """Field -> column, of those that are named."""
        said = {"text": self.text_column, "text_pair": self.pair_column, "label": self.label_column}
        return {name: column for name, column in said.items() if column is not None}


@dataclass
class OwnColumnOptions(ColumnOptions):
    """Columns of .csv and .tsv files and keys of .jsonl files; those of CoNLL files are counted."""

    label_separator: str = flag(",", "text between the labels of one row in own multi-label data", group=_GROUP,
                                rare=True)
    threshold: float = flag(0.5, "probability from which a multi-label model gives a label", group=_GROUP, least=0,
                            most=1, rare=True)
    word_column: int | None = flag(None, "number of the word column in own CoNLL files, counted from 1 (default: the "
                                   "first column)", group=_GROUP, least=1, rare=True)
    tag_column: int | None = flag(None, "number of the tag column in own CoNLL files, counted from 1 (default: the "
                                  "last column)", group=_GROUP, least=1, rare=True)

    def check_columns(self, own_file: str | None) -> None:
        """UsageError where columns are named without a file of one's own, or one column for two fields."""
        named = list(self.columns.values())
        flags = ", ".join(f"--{name}" for name in ("text_column", "pair_column", "label_column") if getattr(self, name))
        if named and own_file is None:
            raise UsageError(f"{flags}: columns are named for files of your own alone, and none is given.")
        if len({name.strip().lower() for name in named}) < len(named):
            raise UsageError(f"{flags}: give each of them a column of its own.")
        if not all(name.strip() for name in named):
            raise UsageError(f"{flags}: the name of a column is empty.")
        if not self.label_separator:
            raise UsageError("--label_separator is empty: give the text that stands between the labels of a row.")
