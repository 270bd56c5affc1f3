"""Several numbers per row of a regression: a column for each, or one cell that holds a list of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.errors import DataError, UsageError
from bertpass.text.data.labels import placeholders
from bertpass.text.data.own_files import no_column

_FIELD = "label of "  # and a name: the field of one of several columns


@dataclass(frozen=True)
class NumberColumns:
    """Which columns hold the outputs of a regression.

    Attributes
    ----------
    names
        Of the columns, in the order of the outputs. Empty where the column of labels is one.
    said
        Whether a person named them. Otherwise they are the model's, and a column ``label`` may stand in their place.
    chosen
        Field -> column, as :func:`bertpass.text.data.own_files.rows` takes it.
    """

    names: tuple[str, ...]
    said: bool
    chosen: Mapping[str, str]

    def may_lack(self, need_labels: bool) -> Collection[str]:
        """Fields whose column need not be there."""
        return () if need_labels and self.said else ("label", *(_FIELD + name for name in self.names))

    def cell(self, fields: Mapping[str, Any], where: str) -> Any:
        """The numbers of a row as they are written; None for none. DataError where only some are there."""
        if not self.names or (not self.said and fields.get("label") is not None):
            return _listed(fields.get("label"))
        there = [name for name in self.names if _FIELD + name in fields]
        if there and len(there) < len(self.names):
            missing = next(name for name in self.names if name not in there)
            raise DataError(no_column(where, missing, there))
        values = [fields.get(_FIELD + name) for name in self.names]
        lacking = [name for name, value in zip(self.names, values, strict=True)
                   if value is None or str(value).strip().lower() in ("", "nan")]
        if len(lacking) == len(values):
            return None
        if lacking:
            raise DataError(f"{where}: the column {lacking[0]} holds no number, and others of this row do.")
        return values


def number_columns(chosen: Mapping[str, str], labels: Sequence[str] | None) -> NumberColumns:
    """The columns of a regression's outputs, from those that a person chose and the model's names of its outputs.

    ``chosen["label"]`` is one name or several with commas between them; a name with a comma in it stands in quotes.

    Raises
    ------
    UsageError
        One column is named for two things, or the model has outputs of other names.
    """
    said = chosen.get("label")
    named = () if said is None else tuple(map(str.strip, next(csv.reader([said], skipinitialspace=True))))
    others = {field: column for field, column in chosen.items() if field != "label"}
    if said is not None and len(named) == 1:
        return NumberColumns((), True, {**others, "label": named[0]})
    if not named:
        own = labels is not None and len(labels) > 1 and list(labels) != placeholders(len(labels))
        named = tuple(labels or ()) if own else ()
        return NumberColumns(named, False, {**chosen, **{_FIELD + name: name for name in named}})
    lower = [name.lower() for name in named]
    texts = {others.get(field, field).strip().lower() for field in ("text", "text_pair")}
    if not all(named) or len(set(lower)) < len(lower) or texts & set(lower):
        raise UsageError(f"--label_column {said}: give every output a column of its own.")
    if labels is not None and list(labels) != placeholders(len(named)):
        if sorted(lower) != sorted(label.lower() for label in labels):
            raise UsageError(f"--label_column {said}: the model's outputs are called {', '.join(labels)}; name columns "
                             "of these names." if len(labels) > 1 else
                             f"--label_column {said}: the model has one output; name one column.")
        named = tuple(named[lower.index(label.lower())] for label in labels)
    return NumberColumns(named, True, {**others, **{_FIELD + name: name for name in named}})


def _listed(cell: Any) -> Any:
    """A list that is written as JSON in the cell of a table; anything else as it is."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell
