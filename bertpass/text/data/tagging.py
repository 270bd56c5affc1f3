"""Tags of words: the schemes of named entities, entities from tags, and words to rows of a model's input.

IOB1, IOB2 (BIO), IOBES, BILOU and BMES mark the words of an entity in different ways, before the type or after it
("B-PER", "PER-B"), or without a type ("B"); here all of them become IOB2: "B-" and the type at an entity's first word,
"I-" at the others, "O" outside (Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999). Entities without a type
have the type "_", as in seqeval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bertpass.errors import UsageError
from bertpass.text.tokens.tokenizer import Encoding, Pieces, Tokenizer

OUTSIDE = "O"
_FIRST, _LAST = "BSU", "ESUL"  # prefixes at which an entity begins, and after which none goes on
_TAG = re.compile(r"([BIMESUL])-(.+)")
_SUFFIXED = re.compile(r"(.+)-([BIMESUL])")
_BARE = re.compile(r"[BIMESUL]")
SCHEMES = (_TAG, _SUFFIXED, _BARE)
UNTYPED = "_"
# Clusters of UAX 29 (\X), so that a mark goes with what stands before it; characters of format may stand between.
_LETTER = r"(?=[\p{L}\p{M}\p{N}])(?!\p{Han})\X"
_WORD = rf"{_LETTER}(?:\p{{Cf}}*+{_LETTER})*+|(?![\s\p{{C}}])\X"


def is_tag(tag: str) -> bool:
    """Whether a tag is of one of the schemes."""
    return tag == OUTSIDE or _TAG.fullmatch(tag) is not None


def prefixed(tags: Iterable[str]) -> Callable[[str], str] | None:
    """What turns a file's tags into those with the mark before the type: None where they are tags of no scheme.

    Parameters
    ----------
    tags
        All tags of the file: whether "S-I" is a mark and a type or the other way round, the others tell.
    """
    kinds = set(tags) - {OUTSIDE}
    if all(map(is_tag, kinds)):
        return lambda tag: tag
    if all(map(_BARE.fullmatch, kinds)):
        return lambda tag: tag if tag == OUTSIDE else f"{tag}-{UNTYPED}"
    if all(map(_SUFFIXED.fullmatch, kinds)):
        return lambda tag: tag if tag == OUTSIDE else _SUFFIXED.sub(r"\2-\1", tag)
    return None


def to_iob2(tags: Sequence[str]) -> list[str]:
    """The tags of one sentence in IOB2; a tag without a prefix is taken as "I-" of that type."""
    found: list[str] = []
    inside = ""  # the type that the word before can pass on
    for tag in tags:
        if tag == OUTSIDE:
            found.append(OUTSIDE)
            inside = ""
            continue
        match = _TAG.fullmatch(tag)
        prefix, kind = (match[1], match[2]) if match else ("I", tag)
        found.append(f"{'B' if prefix in _FIRST or kind != inside else 'I'}-{kind}")
        inside = "" if prefix in _LAST else kind
    return found


def entities(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, word after the last, type) of each entity of a sentence, from tags of any scheme."""
    found: list[tuple[int, int, str]] = []
    for at, tag in enumerate(to_iob2(tags)):
        if tag.startswith("B-"):
            found.append((at, at + 1, tag[2:]))
        elif tag != OUTSIDE:
            found[-1] = (found[-1][0], at + 1, found[-1][2])
    return found


def label_names(tags: Iterable[str]) -> tuple[str, ...]:
    """The classes for the types that occur in IOB2 tags: "O", then "B-" and "I-" of each type, sorted by type."""
    kinds = sorted({tag[2:] for tag in tags if tag != OUTSIDE})
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))


def split_words(text: str) -> list[tuple[int, int]]:
    """Where the words of a text are, (start, end) in characters.

    A word is a run of letters and digits with all their marks (UAX 29's grapheme clusters: accents, points, vowel
    signs), an ideograph, or any other cluster but space, such as a punctuation mark or an emoji.
    """
    import regex  # here, because most models do without

    return [match.span() for match in regex.finditer(_WORD, text)]


def word_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words are in the text that joins them by spaces, (start, end) in characters."""
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    return [(int(end) - len(word), int(end)) for end, word in zip(ends, words, strict=True)]


@dataclass(frozen=True)
class TaggedRow(Encoding):
    """One row of a model's input: some words of a sentence in a row. Batches take it as any other encoding.

    Attributes
    ----------
    sentence
        Number of the sentence in the list that was given.
    words
        (W,) int32: numbers of the sentence's words that have a token in this row; words of no token are left out.
    positions
        (W,) int32: where each of them has its first token, which stands for the word.
    """

    sentence: int
    words: np.ndarray
    positions: np.ndarray


def tag_rows(sentences: Sequence[Sequence[str]], tokenizer: Tokenizer, max_length: int) -> list[TaggedRow]:
    """Sentences as rows of at most ``max_length`` tokens; one that is longer goes on in further rows, cut at words.

    Each word is split for itself, as after a space where the vocabulary has marks for spaces; one that alone is longer
    than a row loses its last tokens.

    Raises
    ------
    UsageError
        ``max_length`` leaves no room for a token.
    DataError
        A word is not a string or holds a lone surrogate.
    """
    room = _room(tokenizer, max_length)
    space = "" if tokenizer.family == "wordpiece" else " "
    split = iter(tokenizer.pieces([space + word for words in sentences for word in words]))
    rows: list[TaggedRow] = []
    for number, words in enumerate(sentences):
        rows += _filled(number, [((at,), next(split).ids) for at in range(len(words))], room, tokenizer)
    return rows


def text_rows(texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]], tokenizer: Tokenizer, max_length: int,
              ) -> list[TaggedRow]:
    """Texts with their words, (start, end) in characters, as rows whose tokens are those of the whole text.

    They are the tokens that transformers' pipeline has, where a vocabulary has other ones after a space than inside a
    text. A word's first token may be that of the word before it as well, as in "S." of one token.

    Raises
    ------
    UsageError, DataError
        As in :func:`tag_rows`.
    """
    room = _room(tokenizer, max_length)
    rows: list[TaggedRow] = []
    for number, (pieces, places) in enumerate(zip(tokenizer.pieces(texts), words, strict=True)):
        starts, ends = pieces.offsets[:, 0], np.maximum.accumulate(pieces.offsets[:, 1])
        firsts = np.searchsorted(ends, np.array([start for start, _ in places], np.int64), side="right").tolist()
        # A mark for a space that is a token of its own begins the word after it.
        firsts = [first - (first > 0 and not texts[number][starts[first - 1]:ends[first - 1]].strip())
                  for first in firsts]
        known = [(first, at) for at, first in enumerate(firsts)
                 if first < len(ends) and starts[first] < places[at][1]]
        begins: dict[int, list[int]] = {0: []}  # where a row may be cut -> the words that begin there
        for first, at in known:
            begins.setdefault(first, []).append(at)
        parts = [(tuple(begins[begin]), pieces.ids[begin:end])
                 for begin, end in pairwise([*sorted(begins), len(ends)])]
        rows += _filled(number, parts, room, tokenizer)
    return rows


def _room(tokenizer: Tokenizer, max_length: int) -> int:
    """Tokens that a row has between the special ones; UsageError where there are none."""
    room = max_length - tokenizer.special_count(pair=False)
    if room < 1:
        raise UsageError(f"max_length is {max_length}, which leaves no room between the special tokens.")
    return room


def _filled(sentence: int, parts: Sequence[tuple[tuple[int, ...], np.ndarray]], room: int, tokenizer: Tokenizer,
            ) -> list[TaggedRow]:
    """Rows of parts (numbers of the words that the first token stands for, ids), each whole where it fits."""
    rows: list[TaggedRow] = []
    begun: list[tuple[tuple[int, ...], np.ndarray]] = []
    used = 0
    for words, whole in parts:
        ids = whole[:room]
        if used + len(ids) > room:
            rows.append(_row(sentence, begun, tokenizer))
            begun, used = [], 0
        if len(ids):
            begun.append((words, ids))
            used += len(ids)
    return [*rows, _row(sentence, begun, tokenizer)]


def _row(sentence: int, parts: list[tuple[tuple[int, ...], np.ndarray]], tokenizer: Tokenizer) -> TaggedRow:
    lengths = [len(ids) for _, ids in parts]
    ids = np.concatenate([ids for _, ids in parts]) if parts else np.empty(0, np.int32)
    row = tokenizer.row(Pieces(ids, np.zeros((len(ids), 2), np.int32)))
    begins = 1 + np.cumsum(lengths, dtype=np.int32) - np.array(lengths, np.int32)
    words = [(at, begin) for (numbers, _), begin in zip(parts, begins, strict=True) for at in numbers]
    return TaggedRow(row.ids, row.token_types, row.offsets, row.sequence_ids, sentence,
                     np.array([at for at, _ in words], np.int32), np.array([begin for _, begin in words], np.int32))
