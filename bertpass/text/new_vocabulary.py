"""A WordPiece vocabulary learnt from texts, by the tokenizers library."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from bertpass.errors import DataError
from bertpass.text import vocabulary
from bertpass.text.tokenizer import Tokenizer


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
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=size, limit_alphabet=size // 2, special_tokens=special, show_progress=False))
    found = backend.get_vocab()
    if len(found) <= len(special):
        raise DataError("the files hold no words to learn a vocabulary from.")
    return Tokenizer.from_wordpiece(vocabulary.by_id(found, len(found)), lower)
