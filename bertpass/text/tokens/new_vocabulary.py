"""A WordPiece vocabulary learnt from texts, by the tokenizers library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from bertpass.errors import DataError
from bertpass.text.tokens import vocabulary
from bertpass.text.tokens.tokenizer import Tokenizer


def learn(texts: Iterable[str], size: int, lower: bool = True) -> Tokenizer:
    """A tokenizer of at most ``size`` tokens: BERT's special ones, the commonest characters, then pieces of words.

    Chinese characters are words for themselves, as in BERT. At most half of the tokens are characters at a word's
    beginning; rarer ones become unknown. The same texts give the same vocabulary.

    Raises
    ------
    DataError
        The texts have no words.
    """
    special = [vocabulary.BERT_SPECIAL[kind] for kind in vocabulary.SPECIAL]
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=vocabulary.BERT_SPECIAL["unk"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    lines = list(texts)
    alphabet, continuing = _characters(backend, lines, (size - len(special)) // 2)
    backend.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=size, initial_alphabet=alphabet, limit_alphabet=len(alphabet),
        special_tokens=special + continuing, show_progress=False))
    found = backend.get_vocab()
    if len(found) <= len(special):
        raise DataError("the files hold no words to learn a vocabulary from.")
    return Tokenizer.from_wordpiece(vocabulary.by_id(found, len(found)), lower)


def _characters(backend: tokenizers.Tokenizer, texts: list[str], limit: int) -> tuple[list[str], list[str]]:
    """The ``limit`` commonest characters, and the pieces ``##x`` of those that follow another one, both sorted.

    The trainer itself breaks ties by the order of a randomly seeded hash map: with the characters kept and the ids
    of the continuing ones given, nothing is left to chance.
    """
    counts: Counter[str] = Counter()
    following: set[str] = set()
    for text in texts:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
            counts.update(word)
            following.update(word[1:])
    kept = sorted(sorted(counts), key=lambda char: -counts[char])[:limit]
    return sorted(kept), [f"##{char}" for char in sorted(following.intersection(kept))]
