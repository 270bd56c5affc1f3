"""Small tokenizers of every kind, trained on sentences in ten scripts, as transformers' classes save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

#: one script, or one difficulty, each
TEXTS = {
    "Latin": "The ferry to Ærø leaves at 7:45, won't it?",
    "Cyrillic": "Паром отходит в семь часов, не опоздайте!",
    "Greek": "Το πλοίο φεύγει στις επτά· μην αργήσεις.",
    "Arabic": "تغادر العبّارة في السابعة صباحًا، لا تتأخر!",
    "Hebrew": "הַמַּעְבֹּרֶת יוצאת בשבע, אל תאחרו.",
    "Hindi": "नाव सात बजे निकलती है, देर मत करना।",
    "Thai": "เรือออกเวลาเจ็ดโมงเช้า อย่ามาสาย",
    "Chinese": "渡轮早上七点出发，请不要迟到。",
    "Japanese": "フェリーは朝の七時に出ます。遅れないでください！",
    "Korean": "배는 아침 일곱 시에 떠납니다. 늦지 마세요.",
    "emoji": "on time 🙂 👍🏽 👩‍👩‍👧 🇩🇰 ❤️ late",
    "marks": "cafe\u0301 n\u0303andu\u0301 a\u030a\u0323 \u0e40\u0301 e\u0301\u0302",
    "several": "Anna met 李明 and Борис at the café, 3½ km from Θήβα",
    "spaces": "  two  spaces,\ttab\nline\u00a0hard\u3000wide  ",
    "special": "a <s> b</s>c <mask> d<mask>e [E1] f [CLS][SEP] <unk> g",
    "forms": "ﬁne １２３ Ⅷ ½ ﷺ e\u200bz",
    "rare": "ꙮ 𓀀 \u2603",
    "empty": "",
    "space": " ",
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>",
         "unk_token": "<unk>", "mask_token": "<mask>"}
BERT_NAMES = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
              "mask_token": "[MASK]"}


def _corpus() -> list[str]:
    """The sentences, and their words alone; the last ones are in no vocabulary."""
    known = [text for name, text in TEXTS.items() if name != "rare"]
    return [*known, *(word for text in known for word in text.split())] * 2


def _xlm_template(backend: Tokenizer) -> Any:
    ids = [(name, backend.token_to_id(name)) for name in ("<s>", "</s>")]
    return processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids)


def unigram(pre_tokenizer: Any = None, normalizer: Any = None) -> Tokenizer:
    """As XLM-R's: NFKC for SentencePiece's table of characters, and a mark for every space."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizer or normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    backend.pre_tokenizer = pre_tokenizer or pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    backend.train_from_iterator(_corpus(), trainers.UnigramTrainer(
        vocab_size=420, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False))
    backend.post_processor = _xlm_template(backend)
    return backend


def albert(pad: str = "<pad>", unk: str = "<unk>") -> Tokenizer:
    """As ALBERT's and DeBERTa's: pieces of SentencePiece in rows as BERT's, with its token types."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
        normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = [pad, unk, "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(_corpus(), trainers.UnigramTrainer(
        vocab_size=420, special_tokens=special, unk_token=unk, show_progress=False))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return backend


def byte_level(prefix: bool = False) -> Tokenizer:
    """As RoBERTa's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(_corpus(), trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    backend.post_processor = processors.RobertaProcessing(sep=("</s>", 2), cls=("<s>", 0), add_prefix_space=prefix)
    return backend


def byte_level_with_berts_words() -> Tokenizer:
    """As ModernBERT's: runs of spaces are words, and the special ones are BERT's."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(_corpus(), trainers.BpeTrainer(
        vocab_size=600, special_tokens=BERT_SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    backend.add_tokens([AddedToken(" " * count, normalized=True) for count in (4, 3, 2)])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return backend


def word_ends() -> Tokenizer:
    """As HerBERT's: BPE of characters with a mark at a word's end, and BERT's words."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    backend.train_from_iterator(_corpus(), trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False))
    backend.post_processor = processors.BertProcessing(sep=("</s>", 2), cls=("<s>", 0))
    return backend


def spaced_bpe() -> Tokenizer:
    """BPE of SentencePiece with bytes for characters that are not known, and a regular expression that splits."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.Digits(individual_digits=True)])
    backend.train_from_iterator(_corpus(), trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*SPECIAL, *(f"<0x{at:02X}>" for at in range(256))], show_progress=False))
    backend.post_processor = _xlm_template(backend)
    return backend


def word_level() -> Tokenizer:
    """One token per word."""
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.train_from_iterator(_corpus(), trainers.WordLevelTrainer(special_tokens=BERT_SPECIAL, show_progress=False))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return backend


def wordpiece(lower: bool = True) -> Tokenizer:
    """As BERT's."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.train_from_iterator(_corpus(), trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=BERT_SPECIAL, show_progress=False))
    backend.post_processor = processors.BertProcessing(sep=("[SEP]", 3), cls=("[CLS]", 2))
    return backend


def _mask(**more: bool) -> AddedToken:
    return AddedToken("<mask>", lstrip=True, special=True, **more)


#: name -> (backend, transformers' class, its arguments)
KINDS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "XLM-R": (unigram, "XLMRobertaTokenizerFast", {}),
    "XLM-R, older": (lambda: unigram(pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]),
        normalizers.NFKC()), "XLMRobertaTokenizerFast", {}),
    "XLM-R in a general class": (unigram, "PreTrainedTokenizerFast", {**NAMES, "mask_token": _mask(normalized=False)}),
    "CamemBERT": (unigram, "CamembertTokenizerFast", {"additional_special_tokens": ["[E1]"]}),
    "ALBERT": (albert, "AlbertTokenizerFast", {}),
    "DeBERTa": (lambda: albert("[PAD]", "[UNK]"), "DebertaV2TokenizerFast", {}),
    "Unigram, first word marked": (lambda: unigram(pre_tokenizers.Metaspace(prepend_scheme="first")),
                                   "PreTrainedTokenizerFast", NAMES),
    "Unigram, bytes and scripts": (lambda: unigram(pre_tokenizers.Sequence([
        pre_tokenizers.UnicodeScripts(), pre_tokenizers.Metaspace(prepend_scheme="never")])),
        "PreTrainedTokenizerFast", NAMES),
    "RoBERTa": (byte_level, "RobertaTokenizerFast", {}),
    "RoBERTa with a space before": (lambda: byte_level(True), "RobertaTokenizerFast", {"add_prefix_space": True}),
    "RoBERTa in a general class": (lambda: byte_level(True), "PreTrainedTokenizerFast", NAMES),
    "ModernBERT": (byte_level_with_berts_words, "PreTrainedTokenizerFast", {
        **BERT_NAMES, "mask_token": AddedToken("[MASK]", lstrip=True, special=True)}),
    "HerBERT": (word_ends, "HerbertTokenizerFast", {}),
    "BPE of SentencePiece": (spaced_bpe, "PreTrainedTokenizerFast", NAMES),
    "words": (word_level, "PreTrainedTokenizerFast", BERT_NAMES),
    "BERT": (wordpiece, "BertTokenizerFast", {"do_lower_case": True}),
    "BERT with case": (lambda: wordpiece(False), "BertTokenizerFast", {"do_lower_case": False}),
}


def save(folder: Path, name: str, **more: Any) -> Any:
    """Write the folder of a kind; transformers' tokenizer of it, as it opens that folder."""
    import transformers

    make, kind, arguments = KINDS[name]
    getattr(transformers, kind)(tokenizer_object=make(), **{**arguments, **more}).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)
