"""Other libraries beside ours: processes, agreement, what a failure becomes, GGUF's names, the page of which engine."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bertpass.bench.pages import choice, result_files
from bertpass.bench.peers import contenders, files, run
from bertpass.bench.peers.contenders import Contender
from bertpass.bench.reproduce.entries import infinity, packing
from bertpass.errors import UsageError
from bertpass.model.config import HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import reference
from tests.helpers.tiny_models import VOCAB, write_vocab

TEXTS = ["one", "two words", "and three words"]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A tiny model of sentence vectors with a tokenizer."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    write_vocab(path.parent)
    tokenizer = Tokenizer.from_folder(path.parent)
    huggingface.write_folder(path, dataclasses.replace(
        reference.tiny("bert", "none", vocab_size=VOCAB), head=HeadConfig("embedding", pooling="mean", normalize=True),
        tokenizer=tokenizer, max_length=20))
    return path


def ours(precision="float32"):
    return next(one for one in contenders.KNOWN if one.name == f"native-{precision}")


def test_contenders_take_turns_and_agree(sentences):
    others = [ours(), ours("bfloat16"), Contender("missing", "fastembed", "float32", "", "onnx/none.onnx", "")]
    work = run.Workload("three", "", (tuple(TEXTS), tuple(TEXTS[:1])))
    with run.running(sentences, others, 1, [0]) as found:
        found.check(TEXTS, "native-float32")
        found.time(work, rounds=3, seconds=0.1)
    one, low, missing = found.entries.values()
    assert one.error == 0 and 0 < low.error < 0.05 and low.agrees
    assert one.timings["three"].rounds == 3 and one.timings["three"].calls == 6 and one.resident_bytes > 2**20
    assert "onnx/none.onnx was not made" in missing.failure and not missing.timings


def test_vectors_that_are_others_do_not_agree():
    entry = run.Entry(ours(), error=2e-4)
    assert entry.agrees is False and run.Entry(ours("bfloat16"), error=2e-4).agrees


def test_a_library_that_is_not_there_is_a_failure_of_its_own(sentences):
    other = Contender("far", "infinity", "float32", "", environment="")
    with run.running(sentences, [ours(), other], 1, [0]) as found:
        found.check(TEXTS, "native-float32")
    assert found.entries["native-float32"].error == 0 and "make peers" in found.entries["far"].failure


def test_ours_on_rows_of_ids(sentences):
    rows = [[5, 6, 7], [8, 9]]
    mine = [one for one in contenders.ON_IDS if one.ours]
    with run.running(sentences, mine, 1, [0]) as found:
        found.check(rows, contenders.OURS_ROWS)
    assert [one.error <= bound for one, bound in zip(found.entries.values(), (0, 0.05, 0.3), strict=True)] == [True] * 3


def test_words_name_contenders_or_libraries():
    assert [one.name for one in contenders.chosen(["fastembed"])] == ["fastembed", "fastembed-int8"]
    assert len(contenders.chosen([])) == len(contenders.KNOWN)
    with pytest.raises(UsageError, match="native-int8"):
        contenders.chosen(["native-int9"])


@pytest.mark.parametrize(("name", "expected"), [
    ("embeddings.LayerNorm.bias", "token_embd_norm.bias"), ("bert.embeddings.word_embeddings.weight",
                                                            "token_embd.weight"),
    ("encoder.layer.3.attention.self.query.weight", "blk.3.attn_q.weight"),
    ("encoder.layer.3.attention.output.LayerNorm.weight", "blk.3.attn_output_norm.weight"),
    ("encoder.layer.11.output.dense.bias", "blk.11.ffn_down.bias"), ("pooler.dense.weight", None)])
def test_names_of_gguf(name, expected):
    assert files.gguf_name(name) == expected


def test_words_of_gguf():
    assert [files.gguf_word(word, special) for word, special in (("[CLS]", True), ("##ing", False), ("go", False))] == \
        ["[CLS]", "ing", "\u2581go"]


def test_mixes_of_lengths():
    found = {mix: packing.lengths(mix, 64) for mix in ("short_zipf", "short_uniform", "mixed_tail", "flat_long")}
    assert all(len(rows) == 64 and min(rows) >= 8 for rows in found.values())
    assert max(found["short_zipf"]) <= 128 and max(found["short_uniform"]) <= 64 and set(found["flat_long"]) == {256}
    assert max(found["mixed_tail"]) == 256 and sorted(found["mixed_tail"])[-2] <= 48


def test_texts_of_a_length():
    data = run.Data([], [], np.zeros(0), [], ["one two three", "four five", "six seven eight nine", "ten", "a b c d"])
    texts, tokens = infinity.exactly(data, lambda text: len(text.split()), 4, 2)
    assert tokens == 8 and texts[0] == "one two three four"


def written(tmp_path, times):
    """A result file of three contenders with (error, ms) each."""
    path = Path(tmp_path) / "peers.json"
    path.write_text(json.dumps({
        "environment": {"command": "none", "machine": {"cpu": "none"}}, "model": "tiny",
        "workloads": [{"name": "query", "rows": 1}], "contenders": [
            {"name": name, "precision": "float32", "ours": name.startswith("native"), "failure": None,
             "relative_error": error, "spearman": 0.8,
             "timings": {"query": {"median_ms": ms, "p10_ms": ms, "p90_ms": ms, "noisy": False}}}
            for name, (error, ms) in times.items()]}))
    return result_files.read(path)


def test_which_engine(tmp_path):
    file = written(tmp_path, {"native-float32": (1e-6, 2.0), "native-int8": (0.04, 1.0), "fastembed": (1e-5, 1.5),
                              "wrong": (0.6, 0.1), "native-float32@old": (1e-6, 0.5)})
    (row,) = choice.rows(file.points)
    cells = ["".join(part if isinstance(part, str) else part.text for part in cell) for cell in row[1:]]
    assert row[0] == "query" and cells[0] == "fastembed: 1.50 ms, 1.33x native-float32"
    assert cells[1] == cells[2] == "native-int8: 1.00 ms, 1.50x fastembed"
    first, second, _ = choice.charts(file.points)
    assert first.items[0].number.value == 0.75 and first.items[0].colour != "native" and not first.items[0].strong
    assert second.items[0].number.value == 1.5 and second.items[0].colour == "native"


def test_a_page_of_peers(tmp_path, capsys):
    from bertpass.commands.main import main

    written(tmp_path, {"native-float32": (1e-6, 2.0), "fastembed": (1e-5, 1.5)})
    assert main(["bench", "report", str(tmp_path / "peers.json"), "--output", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "Which engine: tiny" in text and "fastembed: 1.50 ms, 1.33x native-float32" in text
    assert sys.modules.get("ctranslate2") is None
