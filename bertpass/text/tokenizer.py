"""Text to token ids with the ``tokenizers`` library: WordPiece (BERT, DistilBERT, MiniLM), byte-level BPE (RoBERTa).

The special tokens are put in here and not by the post-processor stored in a tokenizer.json, and so is truncation:
nothing in a :class:`Tokenizer` changes after it is made, so threads may share one.

Text is only ever text: "[SEP]" or "</s>" inside a sentence is split like any other characters, as GluonNLP does (and
transformers with ``split_special_tokens=True``); it never becomes a special token.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from bertpass.errors import DataError, ModelError, UsageError
from bertpass.text import vocabulary
from bertpass.text.files import check_text

Family = Literal["wordpiece", "bpe"]


@dataclass(frozen=True)
class Pieces:
    """The tokens of one text without special tokens: ``ids`` (S,) int32 and ``offsets`` (S, 2) int32.

    Offsets are characters of the text as it was given: ``text[start:end]`` is what the token covers.
    """

    ids: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Encoding:
    """One row of a model's input, not padded.

    ids, token_types, sequence_ids: (S,) int32; offsets: (S, 2) int32, characters of the text that the token is from.
    ``sequence_ids`` is -1 at special tokens, 0 in the first text, 1 in the second; special tokens have offsets 0, 0.
    """

    ids: np.ndarray
    token_types: np.ndarray
    offsets: np.ndarray
    sequence_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """A tokenizer of one model; made by :meth:`from_folder`, :meth:`from_wordpiece` or :meth:`from_gluonnlp_vocab`.

    Attributes
    ----------
    family
        "wordpiece" or "bpe" (byte-level, RoBERTa's).
    tokens
        The vocabulary in the order of the ids; ``vocab_size`` is its length.
    lower
        Whether text is put into lower case (and accents are dropped).
    pad_id, cls_id, sep_id, unk_id, mask_id
        Ids of the special tokens; ``mask_id`` is None where the vocabulary has no mask.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special: Mapping[str, str], *, where: str) -> None:
        self.family: Family = "wordpiece" if isinstance(backend.model, models.WordPiece) else "bpe"
        backend.no_padding()  # all-MiniLM's tokenizer.json pads and cuts at 128
        backend.no_truncation()
        backend.encode_special_tokens = True
        self._backend = backend
        vocab = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values(), default=-1) + 1
        self.special = {k: special[k] for k in vocabulary.SPECIAL if k in special and special[k] in vocab}
        for kind in ("pad", "cls", "sep", "unk"):
            if kind not in self.special:
                raise ModelError(f"{where}: the vocabulary has no {kind} token"
                                 f"{f' ({special[kind]!r})' if kind in special else ''}; "
                                 "is this a BERT or RoBERTa model?")
        ids = {kind: vocab[token] for kind, token in self.special.items()}
        self.pad_id, self.cls_id, self.sep_id, self.unk_id = ids["pad"], ids["cls"], ids["sep"], ids["unk"]
        self.mask_id = ids.get("mask")

    @functools.cached_property
    def tokens(self) -> list[str]:
        return vocabulary.by_id(self._backend.get_vocab(with_added_tokens=True), self.vocab_size)

    @functools.cached_property
    def lower(self) -> bool:
        return _lowers(self._backend)

    # -- making one ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_folder(cls, path: str | Path) -> Tokenizer:
        """Read a model folder: tokenizer.json, else vocab.txt, else vocab.json + merges.txt.

        With vocab.txt, lower-casing is what tokenizer_config.json says (``do_lower_case``); without that file a
        vocabulary that holds any upper-case letter is taken as a cased one.

        Raises
        ------
        ModelError
            There is none of these files, or one cannot be read.
        """
        folder = Path(path)
        config = vocabulary.read_special(folder)
        if (folder / "tokenizer.json").is_file():
            return cls._from_json(folder / "tokenizer.json", config)
        if (folder / "vocab.txt").is_file():
            tokens = vocabulary.read_vocab_txt(folder / "vocab.txt")
            lower = vocabulary.read_json_object(folder / "tokenizer_config.json").get("do_lower_case")
            return cls.from_wordpiece(
                tokens, vocabulary.looks_uncased(tokens) if lower is None else bool(lower), special=config,
                where=str(folder / "vocab.txt"))
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return cls._from_bpe(folder, config)
        raise ModelError(f"{folder} holds no tokenizer: expected tokenizer.json, vocab.txt, or vocab.json with "
                         "merges.txt.")

    @classmethod
    def from_wordpiece(cls, tokens: Sequence[str], lower: bool, *, max_word_length: int = 100,
                       special: Mapping[str, str] | None = None, where: str = "vocabulary") -> Tokenizer:
        """A BERT tokenizer of a list of tokens in the order of their ids.

        ``max_word_length``: longer words become one unknown token (transformers cuts at 100 characters, GluonNLP and
        the original BERT at 200). A token that occurs twice has the later id, as in transformers.
        """
        unique = vocabulary.by_id({token: at for at, token in enumerate(tokens)}, len(tokens))
        vocab = {token: at for at, token in enumerate(unique)}
        names = {**vocabulary.BERT_SPECIAL, **(special or {})}
        model = models.WordPiece(vocab, unk_token=names["unk"], max_input_chars_per_word=max_word_length)
        backend = tokenizers.Tokenizer(model)
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lower)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        backend.add_special_tokens([names[k] for k in vocabulary.SPECIAL if names.get(k) in vocab])
        made = cls(backend, names, where=where)
        cls_, sep = (names["cls"], made.cls_id), (names["sep"], made.sep_id)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{cls_[0]}:0 $A:0 {sep[0]}:0", pair=f"{cls_[0]}:0 $A:0 {sep[0]}:0 $B:1 {sep[0]}:1",
            special_tokens=[cls_, sep])
        return made

    @classmethod
    def from_gluonnlp_vocab(cls, path: str | Path, lower: bool | None = None) -> Tokenizer:
        """Read GluonNLP's .vocab (JSON) of a BERT model; special tokens are found by its identifiers.

        Words are cut at 200 characters as GluonNLP does. By default text is put into lower case where the vocabulary
        holds no upper-case letter.

        Raises
        ------
        ModelError
            The file is missing, malformed, or of a model that is not WordPiece (GluonNLP keeps RoBERTa's merges
            elsewhere).
        """
        tokens, special = vocabulary.read_gluonnlp(Path(path))
        if not any(t.startswith("##") for t in tokens):
            raise ModelError(f"{path} has no '##' pieces, so it is not a BERT vocabulary; for RoBERTa give a folder "
                             "with vocab.json and merges.txt.")
        return cls.from_wordpiece(tokens, vocabulary.looks_uncased(tokens) if lower is None else lower,
                                  max_word_length=200, special=special, where=str(path))

    @classmethod
    def _from_json(cls, path: Path, special: Mapping[str, str]) -> Tokenizer:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read as a tokenizer ({error}).") from error
        return cls.from_json(text, special, where=str(path))

    @classmethod
    def from_json(cls, text: str, special: Mapping[str, str], where: str = "tokenizer.json") -> Tokenizer:
        """A tokenizer of the content of a tokenizer.json, with the special tokens by kind where they have odd names.

        Raises
        ------
        ModelError
            It is damaged, or a tokenizer of another kind.
        """
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception for every fault
            raise ModelError(f"{where} cannot be read as a tokenizer ({error}).") from error
        if isinstance(backend.model, models.WordPiece):
            defaults = {**vocabulary.BERT_SPECIAL, "unk": backend.model.unk_token}
        elif isinstance(backend.model, models.BPE):
            defaults = vocabulary.ROBERTA_SPECIAL
        else:
            raise ModelError(f"{where} holds a {type(backend.model).__name__} tokenizer; supported are WordPiece "
                             "(BERT) and byte-level BPE (RoBERTa).")
        return cls(backend, {**defaults, **special}, where=where)

    @classmethod
    def _from_bpe(cls, folder: Path, special: Mapping[str, str]) -> Tokenizer:
        names = {**vocabulary.ROBERTA_SPECIAL, **special}
        try:
            model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        except Exception as error:  # as above
            raise ModelError(f"{folder}: vocab.json and merges.txt cannot be read as BPE ({error}).") from error
        backend = tokenizers.Tokenizer(model)
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        known = backend.get_vocab()
        backend.add_special_tokens([AddedToken(names[k], lstrip=k == "mask", normalized=False)
                                    for k in vocabulary.SPECIAL if names.get(k) in known])
        made = cls(backend, names, where=str(folder))
        backend.post_processor = processors.RobertaProcessing(
            sep=(names["sep"], made.sep_id), cls=(names["cls"], made.cls_id), trim_offsets=True, add_prefix_space=False)
        return made

    # -- using it -----------------------------------------------------------------------------------------------------

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Split texts into tokens, without special tokens and without truncation.

        Raises
        ------
        DataError
            A text is not a string or holds a lone surrogate.
        """
        if isinstance(texts, str):
            raise DataError("expected a list of texts, found one string; put it into a list.")
        checked = [check_text(text, f"text {at + 1}") for at, text in enumerate(texts)]
        return [Pieces(np.array(e.ids, np.int32), np.array(e.offsets, np.int32).reshape(-1, 2))
                for e in self._backend.encode_batch(checked, add_special_tokens=False)]

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, max_length: int = 512,
               truncation: bool = True) -> list[Encoding]:
        """Turn texts, or pairs of texts, into rows with special tokens.

        BERT: [CLS] A [SEP] and [CLS] A [SEP] B [SEP], token types 0 up to the first [SEP] and 1 after it. RoBERTa:
        <s> A </s> and <s> A </s></s> B </s>, token types 0. Rows longer than ``max_length`` (special tokens counted)
        lose tokens at the end of the longer text, as transformers' fast tokenizers do ("longest_first"); with
        ``truncation=False`` they stay whole.

        Raises
        ------
        DataError
            A text is not a string, or there are not as many pairs as texts.
        UsageError
            ``max_length`` leaves no room for a token.
        """
        extra = self.special_count(pairs is not None)
        if truncation and max_length <= extra:
            raise UsageError(f"max_length is {max_length}, but {extra} tokens are special; allow at least {extra + 1}.")
        first = self.pieces(texts)
        if pairs is None:
            return [self.row(_cut(a, max_length - extra) if truncation else a) for a in first]
        second = self.pieces(pairs)
        if len(first) != len(second):
            raise DataError(f"{len(first)} texts but {len(second)} second texts; a pair needs both.")
        rows = []
        for a, b in zip(first, second, strict=True):
            if truncation:
                lengths = pair_lengths(len(a.ids), len(b.ids), max_length - extra)
                a, b = _cut(a, lengths[0]), _cut(b, lengths[1])
            rows.append(self.row(a, b))
        return rows

    def special_count(self, pair: bool) -> int:
        """How many special tokens a row holds."""
        return (3 if self.family == "wordpiece" else 4) if pair else 2

    def row(self, a: Pieces, b: Pieces | None = None) -> Encoding:
        """One row of one or two texts that are already tokens; nothing is cut."""
        middle = 1 if self.family == "wordpiece" else 2  # separators between two texts
        size = len(a.ids) + 2 + (0 if b is None else len(b.ids) + middle)
        ids = np.full(size, self.sep_id, np.int32)
        ids[0] = self.cls_id
        types = np.zeros(size, np.int32)
        offsets = np.zeros((size, 2), np.int32)
        sequence = np.full(size, -1, np.int32)
        at = slice(1, 1 + len(a.ids))
        ids[at], offsets[at], sequence[at] = a.ids, a.offsets, 0
        if b is not None:
            at = slice(at.stop + middle, at.stop + middle + len(b.ids))
            ids[at], offsets[at], sequence[at] = b.ids, b.offsets, 1
            if self.family == "wordpiece":
                types[at.start:] = 1
        return Encoding(ids, types, offsets, sequence)

    def decode(self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """The text of each row of ids, as the vocabulary spells it.

        Raises
        ------
        UsageError
            An id is not one of the vocabulary.
        """
        for row in rows:
            for token in row:
                if not 0 <= token < self.vocab_size:
                    raise UsageError(f"the id {token} is not in the vocabulary, whose ids are 0 to "
                                     f"{self.vocab_size - 1}.")
        return self._backend.decode_batch([list(row) for row in rows], skip_special_tokens=skip_special_tokens)

    # -- writing it ---------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The content of a tokenizer.json; :meth:`from_json` with :attr:`special` gives the same tokenizer."""
        return self._backend.to_str(pretty=False)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and vocab.txt (WordPiece) or vocab.json + merges.txt (BPE).

        transformers opens the folder and gives the same ids; so does :meth:`from_folder`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.to_json(), encoding="utf-8")
        config: dict[str, Any] = {f"{kind}_token": token for kind, token in self.special.items()}
        if self.family == "wordpiece":
            (folder / "vocab.txt").write_bytes("".join(t + "\n" for t in self.tokens).encode("utf-8"))
            config |= {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lower, "strip_accents": None,
                       "tokenize_chinese_chars": True}
        else:
            self._backend.model.save(str(folder))
            config |= {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False,
                       "bos_token": self.special["cls"], "eos_token": self.special["sep"]}
        config["model_max_length"] = 512
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def save_gluonnlp_vocab(self, path: str | Path) -> None:
        """Write GluonNLP's .vocab (JSON), which ``gluonnlp.vocab.BERTVocab.from_json`` reads.

        Raises
        ------
        ModelError
            The tokenizer is not WordPiece.
        """
        if self.family != "wordpiece":
            raise ModelError("GluonNLP's .vocab holds no merges, so a RoBERTa tokenizer cannot be written as one.")
        vocabulary.write_gluonnlp(Path(path), self.tokens, self.special)


def pair_lengths(first: int, second: int, budget: int) -> tuple[int, int]:
    """How many tokens of two texts to keep so that together they are at most ``budget``: the longer loses first.

    When both have to be cut, each keeps half; an odd token goes to the text that was longer, and to the second of two
    equally long ones. That is what transformers' fast tokenizers do; GluonNLP and the original BERT give the odd token
    to the first text always.
    """
    if first + second <= budget:
        return first, second
    half = budget // 2
    if min(first, second) <= half:
        short = min(first, second)
        return (short, budget - short) if first <= second else (budget - short, short)
    return (budget - half, half) if first > second else (half, budget - half)


def _cut(pieces: Pieces, length: int) -> Pieces:
    return pieces if len(pieces.ids) <= length else Pieces(pieces.ids[:length], pieces.offsets[:length])


def _lowers(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend's normalizer lower-cases, wherever in a sequence of normalizers that is."""
    state = json.dumps(json.loads(backend.to_str())["normalizer"])
    return bool(re.search(r'"lowercase": true|"type": "Lowercase"', state))
