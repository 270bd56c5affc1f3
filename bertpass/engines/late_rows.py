"""Texts as the rows of a late-interaction model: its marks, its lengths, and [MASK] behind queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.errors import ModelError
from bertpass.model.sentence import Late
from bertpass.text.tokens.tokenizer import Encoding, Tokenizer


def rows(texts: Sequence[str], tokenizer: Tokenizer, late: Late, is_query: bool, positions: int,
         ) -> tuple[list[Encoding], list[np.ndarray]]:
    """A row per text, and which places of it have vectors that count.

    As in PyLate: white space around a text is left out; the mark stands after the first token and is one of the row's
    tokens; words to skip that are no tokens stand for the unknown token.

    Raises
    ------
    ModelError
        The tokenizer does not have the mark or [MASK], or the encoder has too few positions.
    """
    ids = {token: at for at, token in enumerate(tokenizer.tokens)}
    mark, length = late.prefix(is_query), late.length(is_query)
    if mark and mark not in ids:
        raise ModelError(f"the tokenizer has no token {mark!r}, which marks {'queries' if is_query else 'documents'}; "
                         "save the model once with PyLate, which adds it.")
    if length > positions:
        raise ModelError(f"{'queries' if is_query else 'documents'} have {length} tokens and the encoder {positions} "
                         "positions; write a smaller length into config_sentence_transformers.json.")
    found = [_row(one, ids.get(mark) if mark else None)
             for one in tokenizer.encode([text.strip() if isinstance(text, str) else text for text in texts],
                                         max_length=length - bool(mark))]
    if not is_query:
        skipped = np.array([ids.get(word, tokenizer.unk_id) for word in late.skipped], np.int32)
        return found, [~np.isin(row.ids, skipped) for row in found]
    if late.expands:
        if tokenizer.mask_id is None:
            raise ModelError("the tokenizer has no mask token, with which this model's queries are lengthened; name it "
                             "in tokenizer_config.json, or write do_query_expansion false into "
                             "config_sentence_transformers.json.")
        found = [_lengthened(row, length, tokenizer.mask_id, late.attends) for row in found]
    return found, [np.ones(len(row), bool) for row in found]


def _row(row: Encoding, mark: int | None) -> Encoding:
    """The row with its mark after the first token."""
    if mark is None:
        return row
    return Encoding(np.insert(row.ids, 1, mark), np.insert(row.token_types, 1, 0),
                    np.insert(row.offsets, 1, 0, axis=0), np.insert(row.sequence_ids, 1, -1))


@dataclass(frozen=True)
class Lengthened(Encoding):
    """A row of which the first ``attended`` tokens are attended to."""

    attended: int


def _lengthened(row: Encoding, length: int, mask: int, attends: bool) -> Encoding:
    """The row with ``mask`` behind it; whether these tokens are attended to says ``attends``."""
    more = length - len(row)
    return Lengthened(np.pad(row.ids, (0, more), constant_values=mask), np.pad(row.token_types, (0, more)),
                      np.pad(row.offsets, ((0, more), (0, 0))), np.pad(row.sequence_ids, (0, more), constant_values=-1),
                      length if attends else len(row))
