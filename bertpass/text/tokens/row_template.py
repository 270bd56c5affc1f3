"""What stands around the texts of a row: special tokens and token types, as a tokenizer.json's post-processor says.

Rows are put together here and not by the ``tokenizers`` library, because texts are cut and windows are made between
splitting and joining; the post-processor's own description says how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.errors import ModelError

Specials = tuple[tuple[int, int], ...]  # (id, token type) of special tokens that stand together


@dataclass(frozen=True)
class Template:
    """Special tokens before the first text, between two and after the last, and the token type of each text."""

    before: Specials
    after: Specials
    between: Specials = ()
    types: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """How many special tokens a row holds."""
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True)
class Templates:
    """How a row of one text and a row of two texts are put together."""

    single: Template
    pair: Template


def of(processor: Mapping[str, Any] | None, where: str) -> Templates:
    """The templates that a post-processor describes, as ``tokenizer.json`` has it.

    Raises
    ------
    ModelError
        It adds no special tokens, or puts texts and tokens in an order that has no place for one or two texts.
    """
    adding = [part for part in _parts(processor) if part.get("type") != "ByteLevel"]  # that one moves offsets alone
    if len(adding) != 1:
        wrong = "tokens twice" if adding else "no special tokens"
        raise ModelError(f"{where}: its post-processor adds {wrong}, and a model of this kind needs them once around "
                         "every text; save the tokenizer with a TemplateProcessing such as '[CLS] $A [SEP]'.")
    state, kind = adding[0], adding[0].get("type")
    try:
        if kind == "TemplateProcessing":
            known = {name: token["ids"] for name, token in state["special_tokens"].items()}
            return Templates(_template(state["single"], known, "A", where),
                             _template(state["pair"], known, "AB", where))
        if kind in ("BertProcessing", "RobertaProcessing"):
            cls, sep = int(state["cls"][1]), int(state["sep"][1])
            second = 1 if kind == "BertProcessing" else 0
            between = ((sep, 0),) if kind == "BertProcessing" else ((sep, 0), (sep, 0))
            return Templates(Template(((cls, 0),), ((sep, 0),)),
                             Template(((cls, 0),), ((sep, second),), between, (0, second)))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError(f"{where}: its post-processor {kind} is damaged ({error!r}).") from error
    raise ModelError(f"{where}: its post-processor is a {kind}; supported are TemplateProcessing, BertProcessing and "
                     "RobertaProcessing, with or without ByteLevel.")


def _parts(processor: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if processor is None:
        return []
    if processor.get("type") == "Sequence":
        return [inner for part in processor["processors"] for inner in _parts(part)]
    return [processor]


def _template(pieces: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[int]], texts: str, where: str,
              ) -> Template:
    groups: list[list[tuple[int, int]]] = [[]]
    types, order = [], ""
    for piece in pieces:
        if "Sequence" in piece:
            order += piece["Sequence"]["id"]
            types.append(int(piece["Sequence"]["type_id"]))
            groups.append([])
        else:
            token = piece["SpecialToken"]
            groups[-1] += [(int(one), int(token["type_id"])) for one in known[token["id"]]]
    if order != texts or not any(groups):
        found = ", ".join("$" + name for name in order) or "no text"
        raise ModelError(f"{where}: a template of its post-processor holds {found} and {sum(map(len, groups))} special "
                         f"tokens; it has to hold {', '.join('$' + name for name in texts)}, in this order, and a "
                         "special token.")
    before, *between, after = (tuple(group) for group in groups)
    return Template(before, after, between[0] if between else (), (types[0], types[-1]))
