"""Text to token ids with the ``tokenizers`` library: WordPiece (BERT), BPE (RoBERTa), Unigram (XLM-R), WordLevel.

The special tokens around a text are put in here, as the post-processor stored in a tokenizer.json describes them, and
truncation is done here: nothing in a :class:`Tokenizer` changes after it is made, so threads may share one.

A special token that stands in a text ("[SEP]", a marker such as "[E1]") is that token, as in transformers. A tokenizer
with ``split_special_tokens`` splits it like any other characters: GluonNLP's vocabularies are read so, because GluonNLP
does, and "split_special_tokens": true in tokenizer_config.json asks for it, there as in transformers.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import tokenizers
from tokenizers import normalizers

from bertpass.errors import DataError, ModelError, UsageError
from bertpass.text.files import check_text
from bertpass.text.tokens import row_template, tokenizer_files, vocabulary
from bertpass.text.tokens.row_template import Specials

Family = Literal["wordpiece", "bpe", "unigram", "wordlevel"]
Side = Literal["left", "right"]


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
        "wordpiece", "bpe" (RoBERTa's is byte-level), "unigram" (XLM-R) or "wordlevel".
    tokens
        The vocabulary in the order of the ids; ``vocab_size`` is its length.
    lower
        Whether text is put into lower case.
    pad_id, cls_id, sep_id, unk_id, mask_id
        Ids of the special tokens; ``mask_id`` is None where the vocabulary has no mask.
    max_length
        The longest row that tokenizer_config.json allows (``model_max_length``), or None.
    truncation_side
        "right" or "left": the end at which longer texts are cut.
    notes
        Sentences on what the files leave open or hold that is not acted on.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special: Mapping[str, str], *, where: str,
                 config: Mapping[str, Any] | None = None, notes: Sequence[str] = ()) -> None:
        self.family = cast(Family, tokenizer_files.kind_of(backend).lower())
        self.config = dict(config or {})
        self.notes = list(notes)
        self.max_length = tokenizer_files.model_max_length(self.config)
        self.truncation_side: Side = self.config.get("truncation_side", "right")
        backend.no_padding()  # all-MiniLM's tokenizer.json pads and cuts at 128
        backend.no_truncation()
        backend.encode_special_tokens = self.split_special_tokens = bool(self.config.get("split_special_tokens", False))
        self._backend = backend
        vocab = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values(), default=-1) + 1
        self.special = {k: special[k] for k in vocabulary.SPECIAL if k in special and special[k] in vocab}
        for kind in ("pad", "cls", "sep", "unk"):
            if kind not in self.special:
                raise ModelError(f"{where}: the vocabulary has no {kind} token"
                                 f"{f' ({special[kind]!r})' if kind in special else ''}; "
                                 "name it in tokenizer_config.json.")
        ids = {kind: vocab[token] for kind, token in self.special.items()}
        self.pad_id, self.cls_id, self.sep_id, self.unk_id = ids["pad"], ids["cls"], ids["sep"], ids["unk"]
        self.mask_id = ids.get("mask")
        processor = backend.post_processor
        self._rows = row_template.of(None if processor is None else json.loads(processor.__getstate__()), where)
        self._types = "token_type_ids" in (self.config.get("model_input_names") or ["token_type_ids"])

    @functools.cached_property
    def tokens(self) -> list[str]:
        return vocabulary.by_id(self._backend.get_vocab(with_added_tokens=True), self.vocab_size)

    @functools.cached_property
    def lower(self) -> bool:
        return _lowers(self._backend)

    @property
    def _byte_level(self) -> bool:
        """Whether it is RoBERTa's kind of BPE, which two files without settings describe."""
        return self.family == "bpe" and "add_prefix_space" in tokenizer_files.prefix_settings(self._backend)

    # -- making one ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_folder(cls, path: str | Path) -> Tokenizer:
        """Read a model folder as transformers does: tokenizer.json, else vocab.txt, else vocab.json + merges.txt.

        The settings of tokenizer_config.json, special_tokens_map.json and added_tokens.json beside it are acted on
        (:mod:`bertpass.known_keys.tokenizer`). Where vocab.txt has no ``do_lower_case`` beside it, a vocabulary that
        holds any upper-case letter is taken as a cased one, which a note says.

        Raises
        ------
        ModelError
            There is none of these files, one cannot be read, or it is a tokenizer that is not computed here.
        """
        found = tokenizer_files.read(Path(path))
        return cls(found.backend, found.special, where=str(path), config=found.config, notes=found.notes)

    @classmethod
    def from_wordpiece(cls, tokens: Sequence[str], lower: bool, *, max_word_length: int = 100,
                       special: Mapping[str, str] | None = None, where: str = "vocabulary",
                       split_special_tokens: bool = False) -> Tokenizer:
        """A BERT tokenizer of a list of tokens in the order of their ids.

        ``max_word_length``: longer words become one unknown token (transformers cuts at 100 characters, GluonNLP and
        the original BERT at 200). A token that occurs twice has the later id, as in transformers.
        """
        names = {**vocabulary.BERT_SPECIAL, **(special or {})}
        backend = tokenizer_files.wordpiece(tokens, names, lower=lower, max_word_length=max_word_length)
        known = backend.get_vocab()
        backend.add_special_tokens([names[kind] for kind in vocabulary.SPECIAL if names.get(kind) in known])
        return cls(backend, names, where=where,
                   config={"split_special_tokens": True} if split_special_tokens else None)

    @classmethod
    def from_gluonnlp_vocab(cls, path: str | Path, lower: bool | None = None) -> Tokenizer:
        """Read GluonNLP's .vocab (JSON) of a BERT model; special tokens are found by its identifiers.

        Words are cut at 200 characters and special tokens in a text are split, as GluonNLP does. By default text is put
        into lower case where the vocabulary holds no upper-case letter.

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
                                  max_word_length=200, special=special, where=str(path), split_special_tokens=True)

    @classmethod
    def from_json(cls, text: str, special: Mapping[str, str], where: str = "tokenizer.json",
                  config: Mapping[str, Any] | None = None) -> Tokenizer:
        """A tokenizer of what :meth:`to_json` gives, with its :attr:`special` and its :attr:`config`.

        Raises
        ------
        ModelError
            It is damaged, or a tokenizer of another kind.
        """
        backend = tokenizer_files.parse(text, where)
        return cls(backend, {**tokenizer_files.defaults(backend), **special}, where=where, config=config)

    def with_lower(self, lower: bool) -> Tokenizer:
        """The same tokenizer with or without putting text into lower case.

        Raises
        ------
        UsageError
            Its normaliser is not BERT's.
        """
        backend = tokenizers.Tokenizer.from_str(self.to_json())
        state = json.loads(backend.normalizer.__getstate__()) if backend.normalizer is not None else {}
        if self.family != "wordpiece" or state.get("type") != "BertNormalizer":
            raise UsageError("--uncased and --cased are for BERT's vocabularies; this tokenizer's own settings say "
                             "what becomes of upper-case letters.")
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=state["clean_text"], handle_chinese_chars=state["handle_chinese_chars"],
            strip_accents=state["strip_accents"], lowercase=lower)
        return Tokenizer(backend, self.special, where="vocabulary", config=self.config, notes=self.notes)

    # -- using it -----------------------------------------------------------------------------------------------------

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Split texts into tokens, without special tokens and without truncation.

        Raises
        ------
        DataError
            A text is not a string, holds a lone surrogate, or holds RoBERTa's padding token.
        """
        if isinstance(texts, str):
            raise DataError("expected a list of texts, found one string; put it into a list.")
        checked = [check_text(text, f"text {at + 1}") for at, text in enumerate(texts)]
        try:
            encoded = self._backend.encode_batch(checked, add_special_tokens=False)
        except Exception as error:  # the library's own type, without a name
            raise self._cannot(error) from error
        found = [Pieces(np.array(e.ids, np.int32), np.array(e.offsets, np.int32).reshape(-1, 2)) for e in encoded]
        if self.family != "wordpiece" or self.config.get("tokenizer_class") in tokenizer_files.MPNET_CLASSES:
            # RoBERTa and its kin count their positions without padding tokens
            for at, one in enumerate(found):
                if (one.ids == self.pad_id).any():
                    raise DataError(f"text {at + 1} holds {self.special['pad']!r}, which is this model's padding and "
                                    "no part of a text; take it out.")
        return found

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, max_length: int = 512,
               truncation: bool = True) -> list[Encoding]:
        """Turn texts, or pairs of texts, into rows with special tokens.

        BERT: [CLS] A [SEP] and [CLS] A [SEP] B [SEP], token types 0 up to the first [SEP] and 1 after it. RoBERTa and
        XLM-R: <s> A </s> and <s> A </s></s> B </s>, token types 0. Rows longer than ``max_length`` (special tokens
        counted) lose tokens of the longer text at :attr:`truncation_side`, as transformers' fast tokenizers do
        ("longest_first"); with ``truncation=False`` they stay whole.

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
            return [self.row(self._cut(a, max_length - extra) if truncation else a) for a in first]
        second = self.pieces(pairs)
        if len(first) != len(second):
            raise DataError(f"{len(first)} texts but {len(second)} second texts; a pair needs both.")
        rows = []
        for a, b in zip(first, second, strict=True):
            if truncation:
                lengths = pair_lengths(len(a.ids), len(b.ids), max_length - extra)
                a, b = self._cut(a, lengths[0]), self._cut(b, lengths[1])
            rows.append(self.row(a, b))
        return rows

    def _cut(self, pieces: Pieces, length: int) -> Pieces:
        if len(pieces.ids) <= length:
            return pieces
        kept = slice(length) if self.truncation_side == "right" else slice(len(pieces.ids) - length, None)
        return Pieces(pieces.ids[kept], pieces.offsets[kept])

    def special_count(self, pair: bool) -> int:
        """How many special tokens a row holds."""
        return (self._rows.pair if pair else self._rows.single).count

    def row(self, a: Pieces, b: Pieces | None = None) -> Encoding:
        """One row of one or two texts that are already tokens; nothing is cut."""
        form = self._rows.single if b is None else self._rows.pair
        size = form.count + len(a.ids) + (0 if b is None else len(b.ids))
        ids, types = np.empty(size, np.int32), np.zeros(size, np.int32)
        offsets, sequence = np.zeros((size, 2), np.int32), np.full(size, -1, np.int32)

        def special(at: int, tokens: Specials) -> int:
            for one, kind in tokens:
                ids[at], types[at] = one, kind
                at += 1
            return at

        def text(at: int, number: int, pieces: Pieces) -> int:
            here = slice(at, at + len(pieces.ids))
            ids[here], offsets[here], sequence[here] = pieces.ids, pieces.offsets, number
            types[here] = form.types[number]
            return here.stop

        at = text(special(0, form.before), 0, a)
        if b is not None:
            at = text(special(at, form.between), 1, b)
        special(at, form.after)
        if not self._types:
            types[:] = 0
        return Encoding(ids, types, offsets, sequence)

    @staticmethod
    def _cannot(error: Exception) -> ModelError:
        """What the library says of a text that its model cannot take, as of a word where it has no unknown token."""
        return ModelError(f"the tokenizer cannot read a text: {' '.join(str(error).split())}; is its tokenizer.json "
                          "whole?")

    def words(self, text: str) -> np.ndarray:
        """Where the words are that the tokenizer splits, before it makes tokens of them: (W, 2) int, in characters."""
        text = check_text(text, "text 1")
        try:
            found = self._backend.encode(text, add_special_tokens=False)
        except Exception as error:  # the library's own type, without a name
            raise self._cannot(error) from error
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for word, (start, end) in zip(found.word_ids, found.offsets, strict=True):
            if word is not None:
                first.setdefault(word, start)
                last[word] = end
        return np.array([(start, last[word]) for word, start in first.items()], np.int64).reshape(-1, 2)

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
        """The content of a tokenizer.json; :meth:`from_json` with special and config gives the same tokenizer."""
        return self._backend.to_str(pretty=False)

    def save(self, folder: str | Path, max_length: int | None = None, positions: int | None = None) -> None:
        """Write tokenizer.json, tokenizer_config.json and, for older programs, vocab.txt (WordPiece) or vocab.json and
        merges.txt (byte-level BPE).

        transformers opens the folder and gives the same ids; so does :meth:`from_folder`. Settings that were read are
        written again. ``max_length`` is the row at which transformers cuts (default: as the settings that were read
        say); ``positions`` are those of the model, which no row may be longer than.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.to_json(), encoding="utf-8")
        if self.family == "wordpiece":
            (folder / "vocab.txt").write_bytes("".join(t + "\n" for t in self.tokens).encode("utf-8"))
        elif self._byte_level:
            self._backend.model.save(str(folder))
        settings = json.dumps(self._settings(max_length, positions), indent=2, ensure_ascii=False)
        (folder / "tokenizer_config.json").write_text(settings + "\n", encoding="utf-8")

    def _settings(self, max_length: int | None, positions: int | None) -> dict[str, Any]:
        """The content of tokenizer_config.json."""
        names = {f"{kind}_token": token for kind, token in self.special.items()}
        vocab = self._backend.get_vocab(with_added_tokens=True)
        config = {**names, **tokenizer_files.plain_names(self.config, vocab)}
        bert = self.family == "wordpiece"
        usual = tokenizer_files.KINDS[tokenizer_files.kind_of(self._backend)]
        config.setdefault("tokenizer_class", usual if bert or self._byte_level or self.family == "unigram" else
                          "PreTrainedTokenizerFast")
        normaliser = tokenizer_files.normaliser_settings(self._backend)
        config |= normaliser
        if not normaliser and bert and config["tokenizer_class"] != "PreTrainedTokenizerFast":
            config["tokenizer_class"] = "PreTrainedTokenizerFast"  # BERT's class would want BERT's normaliser
        if not bert:
            config |= tokenizer_files.prefix_settings(self._backend)
            config = {"bos_token": self.special["cls"], "eos_token": self.special["sep"], **config}
        length = max_length or self.max_length or positions or 512
        config["model_max_length"] = min(length, positions or length)
        config["added_tokens_decoder"] = {
            str(at): {"content": token.content, "lstrip": token.lstrip, "normalized": token.normalized,
                      "rstrip": token.rstrip, "single_word": token.single_word, "special": token.special}
            for at, token in sorted(self._backend.get_added_tokens_decoder().items())}
        return config

    def save_gluonnlp_vocab(self, path: str | Path) -> None:
        """Write GluonNLP's .vocab (JSON), which ``gluonnlp.vocab.BERTVocab.from_json`` reads.

        Raises
        ------
        ModelError
            The tokenizer is not WordPiece.
        """
        if self.family != "wordpiece":
            raise ModelError(f"GluonNLP's .vocab holds no merges and no scores, so a {self.family} tokenizer cannot be "
                             "written as one.")
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


def _lowers(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend's normalizer lower-cases, wherever in a sequence of normalizers that is."""
    state = json.dumps(json.loads(backend.to_str())["normalizer"])
    return bool(re.search(r'"lowercase": true|"type": "Lowercase"', state))
