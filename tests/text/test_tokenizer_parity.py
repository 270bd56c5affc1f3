"""The same ids as GluonNLP's BERTTokenizer and as transformers' fast tokenizers.

Where GluonNLP 0.10 differs, the case is in GLUONNLP_DIFFERS with its reason, and ours is what transformers gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bertpass.text.data.readers import read_split
from bertpass.text.data.tasks import get_task
from bertpass.text.tokens.tokenizer import Tokenizer

ODD = [
    "", " ", "\t\n\r", "Plain words, with marks.", "DON'T stop-believing!!!", "Crème brûlée à la façon d'Ève",
    "Ærøskøbing, Žižek, Łódź, Đorđe, İstanbul, ıssız", "Straße STRASSE ﬁne ﬂy", "x² + y² ≠ z³; 3½ ¾ №7",
    "我们在2024年去了北京。天气很好！", "日本語のテスト、カタカナとひらがな", "한국어 문장입니다",
    "mixed中文and English混合", "Привет, мир! Ёлка", "שלום עולם", "مرحبا بالعالم", "हिन्दी में एक वाक्य",
    "ไทยไม่มีช่องว่าง", "ὁ λόγος τοῦ θεοῦ", "smile 🙂 👍🏽 👩‍👩‍👧 🇩🇪 ❤️",
    "zero\u200bwidth joi\u200dner \ufeffbom", "soft\u00adhyphen", "no\u00a0break\u2003em\u3000wide",
    "line\u2028separator paragraph\u2029next\u0085line", "bell\x07 null\x00 esc\x1b[0m del\x7f",
    "replacement \ufffd character", "form\x0cfeed vertical\x0btab",
    "`back` ~tilde~ ^caret^ $1.00 <b>&amp;</b> |pipe|", "http://example.org/a_b?c=d#e", "a.b.c...d --- e___f",
    "“curly” ‘quotes’ – en — em … dots", "¿Qué? ¡No!", "unbelievableness antidisestablishmentarianism",
    "z" * 90, "word " * 300, "e\u0301 combining a\u030a\u0323", "１２３ ＦＵＬＬ ｗｉｄｔｈ",
    "\U0001d400\U0001d401 math bold", "㐀 extension A 𠀀 extension B 豈 compatibility", "ʼn ŉ ǆ ﷺ",
    "Ⅷ ⅷ ① Ω K Å",
]

# Every code point of the planes 0, 1, 2 and 14 (of the ideographs of plane 2 a sample) was compared alone inside a
# word; these are all the classes that differ.
GLUONNLP_DIFFERS = [
    ("ΟΔΟΣ", "str.lower makes the last sigma final; the fast tokenizers lower each character by itself"),
    ("ab\ue000cd", "GluonNLP drops the categories Cc and Cf alone, the fast tokenizers private use (Co) as well"),
    ("a\U0002b820b", "U+2B820 to U+2B91F are ideographs to GluonNLP alone: a wrong bound in the fast tokenizers"),
    ("a\u1df6b", "marks and punctuation newer than the Unicode tables of the fast tokenizers"),
]


@pytest.fixture(scope="module")
def gluonnlp_ids(minilm: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function of a text and whether to lower it: GluonNLP's ids without special tokens."""
    mx_module = pytest.importorskip("bertpass.mx", reason="needs MXNet and GluonNLP: make setup")
    path = tmp_path_factory.mktemp("vocab") / "minilm.vocab"
    minilm.save_gluonnlp_vocab(path)
    vocab = mx_module.nlp.vocab.BERTVocab.from_json(path.read_text(encoding="utf-8"))
    assert vocab.idx_to_token == minilm.tokens
    tokenizers = {lower: mx_module.nlp.data.BERTTokenizer(vocab, lower=lower) for lower in (True, False)}
    return lambda text, lower=True: [vocab[token] for token in tokenizers[lower](text)]


@pytest.fixture(scope="module")
def as_gluonnlp(minilm: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("vocab") / "minilm.vocab"
    minilm.save_gluonnlp_vocab(path)
    return Tokenizer.from_gluonnlp_vocab(path, lower=True)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.pieces([text])[0].ids.tolist()


@pytest.mark.parametrize("text", ODD)
def test_odd_sentences_as_gluonnlp(as_gluonnlp: Tokenizer, gluonnlp_ids: Any, text: str) -> None:
    assert ids_of(as_gluonnlp, text) == gluonnlp_ids(text)


def test_long_words_are_cut_where_each_library_cuts_them(
        as_gluonnlp: Tokenizer, minilm: Tokenizer, gluonnlp_ids: Any) -> None:
    """GluonNLP and the original BERT give up after 200 characters, transformers and its tokenizer.json after 100."""
    for length in (99, 100, 101, 199, 200, 201):
        assert ids_of(as_gluonnlp, "z" * length) == gluonnlp_ids("z" * length)
        assert (ids_of(minilm, "z" * length) == [minilm.unk_id]) == (length > 100)


@pytest.mark.parametrize(("text", "reason"), GLUONNLP_DIFFERS)
def test_known_differences_to_gluonnlp(
        as_gluonnlp: Tokenizer, gluonnlp_ids: Any, hugging_face: Any, text: str, reason: str) -> None:
    assert ids_of(as_gluonnlp, text) != gluonnlp_ids(text), f"GluonNLP no longer differs: {reason}"
    assert ids_of(as_gluonnlp, text) == hugging_face(text, add_special_tokens=False)["input_ids"]


def test_cased_gluonnlp_drops_accents_and_ours_keeps_them(minilm: Tokenizer, gluonnlp_ids: Any) -> None:
    """GluonNLP strips accents with lower=False too; the original BERT and transformers do so only when lowering."""
    cased = Tokenizer.from_wordpiece(minilm.tokens, lower=False)
    assert ids_of(cased, "cafe") == gluonnlp_ids("cafe", lower=False) == gluonnlp_ids("café", lower=False)
    assert ids_of(cased, "café") != ids_of(cased, "cafe")


@pytest.mark.data
@pytest.mark.parametrize("name", ["SST", "MRPC", "XNLI", "ChnSentiCorp"])
def test_real_sentences_as_gluonnlp(
        as_gluonnlp: Tokenizer, gluonnlp_ids: Any, real_data: Path, name: str) -> None:
    rows = read_split(get_task(name), real_data, "dev")
    texts = [t for r in rows for t in (r.text, r.text_pair) if t is not None]
    for text, ours in zip(texts, as_gluonnlp.pieces(texts), strict=True):
        assert ours.ids.tolist() == gluonnlp_ids(text), text


# -- transformers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hugging_face(minilm_folder: Path) -> Any:
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")
    return transformers.BertTokenizerFast(vocab_file=str(minilm_folder / "vocab.txt"), do_lower_case=True)


def same(ours: Any, theirs: Any, roberta: bool = False) -> None:
    assert ours.ids.tolist() == theirs["input_ids"]
    assert roberta or ours.token_types.tolist() == theirs["token_type_ids"]
    assert [tuple(o) for o in ours.offsets.tolist()] == theirs["offset_mapping"]


@pytest.mark.parametrize("text", [*ODD, *(t for t, _ in GLUONNLP_DIFFERS), "z" * 150, "[CLS] [MASK]"])
def test_odd_sentences_as_transformers(minilm: Tokenizer, hugging_face: Any, text: str) -> None:
    same(minilm.encode([text], max_length=64)[0],
         hugging_face(text, truncation=True, max_length=64, return_offsets_mapping=True))


@pytest.mark.parametrize("lengths", [(3, 4), (40, 3), (3, 40), (40, 40), (40, 41), (41, 40), (15, 14), (0, 40)])
@pytest.mark.parametrize("max_length", [32, 33])
def test_pairs_are_cut_as_transformers_cuts(
        minilm: Tokenizer, hugging_face: Any, lengths: tuple[int, int], max_length: int) -> None:
    first, second = "cat " * lengths[0], "dog " * lengths[1]
    same(minilm.encode([first], [second], max_length=max_length)[0],
         hugging_face(first, second, truncation="longest_first", max_length=max_length, return_offsets_mapping=True))


@pytest.mark.parametrize("text", [t for t in ODD if "\x00" not in t])
def test_roberta_as_transformers(roberta_folder: Path, text: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")
    theirs = transformers.RobertaTokenizerFast(
        str(roberta_folder / "vocab.json"), str(roberta_folder / "merges.txt"))
    ours = Tokenizer.from_folder(roberta_folder)
    for pairs in (None, ["the lazy dog"], [text]):  # lists: for single texts transformers takes "" as no second text
        row = theirs([text], pairs, truncation="longest_first", max_length=40, return_offsets_mapping=True)
        same(ours.encode([text], pairs, max_length=40)[0], {key: value[0] for key, value in row.items()}, roberta=True)


def test_transformers_opens_what_we_save(minilm: Tokenizer, roberta_folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[reference]'")
    for name, ours in (("bert", minilm), ("roberta", Tokenizer.from_folder(roberta_folder)),
                       ("cased", Tokenizer.from_wordpiece(minilm.tokens, lower=False))):
        ours.save(tmp_path / name)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        assert theirs("Crème 我们 fox", "dog")["input_ids"] == ours.encode(["Crème 我们 fox"], ["dog"])[0].ids.tolist()
        assert (theirs.pad_token_id, theirs.mask_token_id) == (ours.pad_id, ours.mask_id)
        assert len(theirs("fox " * 300)["input_ids"]) > 300  # no truncation stored
