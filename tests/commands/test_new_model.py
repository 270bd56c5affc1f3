"""bertpass new-model: a vocabulary of a person's own texts, and a model that trains with it."""

import pytest

import bertpass
from bertpass.commands import main
from bertpass.commands.make import finetune
from bertpass.errors import DataError
from bertpass.text.tokens.new_vocabulary import learn
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import toy

CHINESE = ["这部电影很好看", "演员很差，剧情无聊", "好看的电影 a good film"]


def test_chinese_characters_are_words():
    tokenizer = learn(CHINESE, 200)
    (row,) = tokenizer.pieces(["电影很差 Good"])
    assert [tokenizer.tokens[i] for i in row.ids[:4]] == list("电影很差")
    assert tokenizer.unk_id not in row.ids and tokenizer.lower
    for _ in range(10):  # the trainer's own hash maps are seeded anew each time
        assert learn(CHINESE, 200).tokens == tokenizer.tokens
    assert tokenizer.tokens[:5] == toy.SPECIAL


def test_size_and_case():
    texts = [text for text, _ in toy.rows(100, 3)] + ["Anna and anna"]
    small, large = learn(texts, 60), learn(texts, 5000)
    assert small.vocab_size <= 60 < large.vocab_size
    assert "anna" in large.tokens and "Anna" in learn(texts, 5000, lower=False).tokens
    with pytest.raises(DataError, match="no words"):
        learn(["", " "], 100)


def test_command(data, tmp_path, capsys):
    argv = toy.strings("new-model", "--vocab_from", data / "own.train.tsv", data / "own.train.jsonl.gz", "--layers", 1,
                       "--units", 32, "--max_length", 48, "--output", tmp_path / "new")
    assert main.main(argv) == 0
    said = capsys.readouterr()
    assert "million parameters" in said.out and "random" in said.err
    model = bertpass.load(tmp_path / "new")
    assert (model.config.num_layers, model.config.units, model.config.num_heads) == (1, 32, 1)
    assert model.config.vocab_size == Tokenizer.from_folder(tmp_path / "new").vocab_size
    assert finetune.classifier(toy.classify(tmp_path / "new", tmp_path / "out", "--train_file", data / "own.train.tsv",
                                            "--dev_file", data / "own.dev.tsv")) == 0
    assert toy.result(tmp_path / "out", "metrics.json")["metrics"]["accuracy"] >= 0.85


@pytest.mark.parametrize(("argv", "code", "words"), [
    (["--output", "x"], 2, "FILE is needed"), (["--vocab_from", "{file}"], 2, "OUTPUT is needed"),
    (["--vocab_from", "nowhere.txt", "--output", "x"], 2, "nowhere.txt: no such file"),
    (["--vocab_from", "{file}", "--output", "{folder}/new", "--units", "30", "--heads", "4"], 4, "multiple of num"),
    (["--vocab_from", "{empty}", "--output", "{folder}/new"], 3, "no words")])
def test_wrong_calls_end_in_a_sentence(argv, code, words, tmp_path, capsys):
    (tmp_path / "text").write_text("some words\n")
    (tmp_path / "empty").write_text("\n")
    places = {"file": tmp_path / "text", "empty": tmp_path / "empty", "folder": tmp_path}
    assert main.main(["new-model", *(word.format(**places) for word in argv)]) == code
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
