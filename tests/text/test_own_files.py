"""A person's own tables and column files in the dialects that programs write, and the sentence for what none means."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.data.conll import read_conll, write_conll
from bertpass.text.data.readers import doubts, read_own, refuse_other_pairs
from bertpass.text.data.tagging import entities, to_iob2
from bertpass.text.data.tasks import own_task
from bertpass.text.squad import read_squad

ROWS = [["text", "label"], ["good; really, good", "yes"], ["bad\t\"film\"", "no"]]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def texts(path: Path, **options: Any) -> list[tuple[str, Any]]:
    return [(row.text, row.label) for row in read_own(path, **options)[0]]


# -- csv and its neighbours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_dialects_of_csv(tmp_path: Path, mark: str, quoting: Any, end: str) -> None:
    """As Python's csv module writes them, which is what spreadsheets write."""
    file = io.StringIO()
    csv.writer(file, delimiter=mark, quoting=quoting, lineterminator=end).writerows(ROWS)
    assert texts(write(tmp_path / "a.csv", file.getvalue())) == [(ROWS[1][0], 1), (ROWS[2][0], 0)]


@pytest.mark.parametrize("name", ["a.CSV", "a.Csv.GZ", "a.csv"])
def test_endings_in_any_case_and_gzip_by_its_content(tmp_path: Path, name: str) -> None:
    assert texts(write(tmp_path / name, gzip.compress(b"text,label\na,x\nb,y\n") if name != "a.CSV" else
                       "text,label\na,x\nb,y\n")) == [("a", 0), ("b", 1)]


def test_a_long_cell(tmp_path: Path) -> None:
    long = "word, " * 50_000
    assert texts(write(tmp_path / "a.csv", f'text,label\n"{long}",x\nb,y\n'))[0] == (long, 0)


@pytest.mark.parametrize("header", [",text,label", "Unnamed: 0,text,label", "Unnamed: 0.1,text,label",
                                    "__index_level_0__,text,label"])
def test_index_columns_are_left_aside(tmp_path: Path, header: str) -> None:
    assert texts(write(tmp_path / "a.csv", f"{header}\n0,a,x\n1,b,y\n")) == [("a", 0), ("b", 1)]
    several = header.replace("label", "funny,sad")
    for numbers in ((0, 1), (7, 8)):
        path = write(tmp_path / "b.csv", f"{several}\n{numbers[0]},a,0,1\n{numbers[1]},b,1,0\n")
        rows, labels = read_own(path, "multilabel")
        assert labels == ("funny", "sad") and [row.label for row in rows] == [(0, 1), (1, 0)]


def test_a_column_without_a_name_in_the_middle(tmp_path: Path) -> None:
    rows, labels = read_own(write(tmp_path / "a.csv", "text,funny,,sad\na,0,2,1\nb,1,0,0\n"), "multilabel")
    assert labels == ("funny", "sad") and [row.label for row in rows] == [(0, 1), (1, 0)]


def test_columns_that_are_there_twice(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", "text,note,note,label,,\na,1,2,x,,\nb,1,2,y,,\n")) == [("a", 0), ("b", 1)]
    for kind, header, name in (("classification", "text,label,Label", "label"), ("multilabel", "text,sad,sad", "sad"),
                               ("classification", "text,text,label", "text")):
        with pytest.raises(DataError, match=f"line 1: the column {name} is there twice"):
            read_own(write(tmp_path / "b.csv", f"{header}\na,0,1\n"), kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.csv", 'text,label\na,x\n"b,y\nc,x\nd,y\n', "line 3: not csv: a quote opens in this row and is never closed"),
    ("a.csv", 'text,label\n"5" screen",1\n', 'line 2: not csv: something stands between.*written twice'),
    ("a.csv", "text,label\ra,x\rb,y\r", "lines end in CR alone"),
    ("a.tsv", "text\tlabel\ra\tx\r", "lines end in CR alone"),
    ("a.tsv", "text,label\na,x\n", "cells apart by ','.*name it .csv"),
    ("a.tsv", "text;label\na;x\n", "cells apart by ';'.*name it .csv"),
    ("a.csv", "sentence,category\na,x\n", "expected a header line with text.*found 'sentence, category'"),
    ("a.csv", b"PK\x03\x04\xff\xfe", "zip archive"), ("a.csv", "text,label\n".encode("utf-16"), "is UTF-16"),
    ("a.jsonl", b"PAR1\xff", "is Parquet"),
])
def test_the_fault_is_named(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_own(write(tmp_path / name, content))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_a_first_line_for_spreadsheets(tmp_path: Path, mark: str) -> None:
    """Excel writes and reads "sep=;" before the header."""
    content = f"sep={mark}\ntext{mark}label\na{mark}x\nb{mark}y\n"
    assert texts(write(tmp_path / "a.csv", content)) == [("a", 0), ("b", 1)]
    with pytest.raises(DataError, match="line 4: 1 column, expected 2"):
        texts(write(tmp_path / "a.csv", content.replace(f"b{mark}y", "b")))


@pytest.mark.parametrize(("content", "words"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a pointer of Git LFS"),
    (b"<!DOCTYPE html>\n<html></html>\n", r"it is a web page \(HTML\)"), (bytes(600), "begins with zeros"),
    (b"\xfd7zXZ\x00\xff", "compressed with xz"), (b"PK\x03\x04 all ASCII", "a zip archive"),
])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "squad.json"])
def test_files_that_are_something_else(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        (read_squad if name == "squad.json" else read_own)(write(tmp_path / name, content))


def test_a_header_without_the_text_in_csv(tmp_path: Path) -> None:
    """The name ends in .csv already, so that is no advice."""
    with pytest.raises(DataError, match=r"found 'message;kind'\.$"):
        texts(write(tmp_path / "a.csv", "message;kind\na;x\n"))


@pytest.mark.parametrize("line", ['{"text": "a", "label": 1, "label": 0}', '{"text": "a", "Text": "b", "label": 1}'])
def test_fields_that_are_there_twice(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"line 1: the field (text|label) is there twice"):
        texts(write(tmp_path / "a.jsonl", line + "\n"))
    line = '{"text": "a", "label": 1, "note": {"x": 1, "x": 2}, "more": 1, "more": 2}\n'
    assert texts(write(tmp_path / "a.jsonl", line + line.replace("1,", "0,", 1))) == [("a", 1), ("a", 0)]


def test_null_is_as_if_left_out(tmp_path: Path) -> None:
    content = '{"text": "a", "label": "x", "id": null, "text_pair": null, "group": null}\n{"text": "b", "label": "y"}\n'
    rows, _ = read_own(write(tmp_path / "a.jsonl", content))
    assert [(row.id, row.text_pair, row.group) for row in rows] == [("0", None, "a"), ("1", None, "b")]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("a.csv", "folder"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="is a folder; name the file in it"):
            read_own(tmp_path / name)
    with pytest.raises(UsageError, match="has to end in"):
        read_own(tmp_path / "a.parquet")


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("found", "labels"), [
    (["0", "1", "0.0", "1.0"], ("0", "1")), (["0.0", "1.0"], ("0.0", "1.0")), (["1.0", "2", "2.0"], ("1.0", "2")),
    (["1", "01", "2"], ("01", "1", "2")), (["-1", "-1.0", "1"], ("-1", "1")),
    (["1.5", "1.50", "2"], ("1.5", "1.50", "2")),
    (["+1", "1", "-0", "0"], ("0", "1")), (["1e+00", "1", "0"], ("0", "1")), (["1.", "1", "0"], ("0", "1")),
    (["1_0", "10", "1"], ("1", "10", "1_0")),
    (["1.0", "1", "beta"], ("1", "1.0", "beta")), (["10", "9", "9.00"], ("9", "10")),
])
def test_numbers_that_are_one_label(tmp_path: Path, found: list[str], labels: tuple[str, ...]) -> None:
    content = "text,label\n" + "".join(f"t,{label}\n" for label in found)
    assert read_own(write(tmp_path / "a.csv", content))[1] == labels


def test_numbers_of_json(tmp_path: Path) -> None:
    content = "".join(json.dumps({"text": "t", "label": label}) + "\n" for label in (1, 1.0, "1", 0, 0.0))
    assert texts(write(tmp_path / "a.jsonl", content)) == [("t", 1)] * 3 + [("t", 0)] * 2


def test_numbers_that_python_alone_reads(tmp_path: Path) -> None:
    for cell in ("1_000", "1,5", "inf", "1e400"):
        with pytest.raises(DataError, match=f"line 2: the label is '{cell}', expected a number"):
            read_own(write(tmp_path / "a.csv", f"text;label\na;{cell}\n"), "regression")


@pytest.mark.parametrize(("yes", "no"), [("1.0", "0.0"), ("True", "False"), (" 1", " 0"), ("true", "false")])
def test_indicators_as_programs_write_them(tmp_path: Path, yes: str, no: str) -> None:
    rows, labels = read_own(write(tmp_path / "a.csv", f"text,funny,sad\na,{yes},{no}\nb,{no},{yes}\n"), "multilabel")
    assert labels == ("funny", "sad") and [row.label for row in rows] == [(1, 0), (0, 1)]
    with pytest.raises(DataError, match="line 2: funny is 'yes', expected 0 or 1"):
        read_own(write(tmp_path / "a.csv", "text,funny\na,yes\n"), "multilabel")


@pytest.mark.parametrize(("train", "dev"), [(("0", "1"), "0.0"), (("0.0", "1.0"), "0"), (("2", "10"), "2.0")])
def test_the_dev_file_may_spell_numbers_otherwise(tmp_path: Path, train: tuple[str, str], dev: str) -> None:
    assert texts(write(tmp_path / "a.csv", f"text,label\nt,{dev}\n"), labels=train) == [("t", 0)]
    with pytest.raises(DataError, match="unknown label '3'"):
        read_own(write(tmp_path / "a.csv", "text,label\nt,3\n"), labels=train)


def test_the_order_of_labels_is_no_hash_order(tmp_path: Path) -> None:
    content = "text,label\n" + "".join(f"t,{label}\n" for label in ("1", "01", "001", "2", "02"))
    path = write(tmp_path / "a.csv", content)
    program = f"from bertpass.text.data.readers import read_own; print(read_own({str(path)!r})[1])"
    found = {subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed},
                            capture_output=True, text=True, check=True).stdout for seed in ("0", "1", "5")}
    assert found == {"('001', '01', '1', '02', '2')\n"}


@pytest.mark.parametrize("cell", ["nan", "NaN", ""])
def test_a_cell_without_a_value_is_no_class(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "a.csv", f"text,label\na,x\nb,{cell}\nc,y\n")
    with pytest.raises(DataError, match="line 3: no label"):
        read_own(path)
    assert texts(path, labels=("x", "y"), need_labels=False) == [("a", 0), ("b", None), ("c", 1)]
    with pytest.raises(DataError, match="line 1: no label"):
        read_own(write(tmp_path / "a.jsonl", '{"text": "a", "label": NaN}\n'))


def test_labels_that_may_not_be_meant_so(tmp_path: Path) -> None:
    cases = own_task("t", "classification", ("POS", "Pos", "neg", "pos"))
    assert "POS, Pos, pos differ in upper and lower case alone and are 3 classes" in doubts(cases, [])[0]
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(f"t,{at / 7}\n" for at in range(18)))
    rows, labels = read_own(path)
    assert "18 different numbers" in (said := doubts(own_task("t", "classification", labels), rows)[0])
    assert "--task_kind regression" in said
    with pytest.raises(DataError, match=r"unknown label '0\.31'\. For numbers as values give --task_kind regression"):
        read_own(write(tmp_path / "dev.csv", "text,label\nt,0.31\n"), labels=labels)
    assert doubts(own_task("t", "classification", ("no", "yes")), rows) == []
    assert doubts(own_task("t", "classification", ("0", "1", "2")), rows) == []


def test_pairs_beside_single_texts(tmp_path: Path) -> None:
    single, _ = read_own(write(tmp_path / "single.csv", "text,label\na,x\nb,y\n"))
    pairs, _ = read_own(write(tmp_path / "pairs.csv", "text,text_pair,label\na,c,x\nb,d,y\n"))
    for first, second in ((("single", single), ("pairs", pairs)), (("pairs", pairs), ("single", single))):
        with pytest.raises(DataError, match="pairs has pairs of texts and single has single ones"):
            refuse_other_pairs(*first, *second)
    refuse_other_pairs("single", single, "single", single)


# -- tags -------------------------------------------------------------------------------------------------------------

SENTENCES = {
    "BIO": "B-PER I-PER O B-LOC O", "BMES": "B-PER E-PER O S-LOC O", "BMES in the middle": "B-PER M-PER E-PER O S-LOC",
    "BILOU": "B-PER L-PER O U-LOC O", "bare BIO": "B I O B O", "bare BMES": "B E O S O",
    "after": "PER-B PER-I O LOC-B O",
    "after, BMES": "PER-B PER-E O LOC-S O",
}


@pytest.mark.parametrize("scheme", SENTENCES)
def test_schemes_of_tags(tmp_path: Path, scheme: str) -> None:
    tags = SENTENCES[scheme].split()
    (row,) = read_conll(write(tmp_path / "a.conll", "".join(f"w{at} {tag}\n" for at, tag in enumerate(tags))))
    found = [entity[:2] for entity in entities(row.tags or ())]
    assert found == ([(0, 3), (4, 5)] if "middle" in scheme else [(0, 2), (3, 4)])
    kinds = {tag[2:] for tag in row.tags or () if tag != "O"}
    assert kinds == ({"_"} if "bare" in scheme else {"PER", "LOC"})
    write_conll(tmp_path / "out.conll", [row], [row.tags or ()])
    assert read_conll(tmp_path / "out.conll", tag_column=2)[0].tags == row.tags


@pytest.mark.parametrize("scheme", SENTENCES)
def test_schemes_as_seqeval_reads_them(scheme: str) -> None:
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling",
                                       reason="pip install 'bertpass[ner]'").get_entities
    tags = SENTENCES[scheme].split()
    theirs = [(first, last + 1, kind) for kind, first, last in get_entities(tags, suffix="after" in scheme)]
    from bertpass.text.data.tagging import prefixed

    spelled = prefixed(tags)
    assert spelled is not None and entities(to_iob2([spelled(tag) for tag in tags])) == theirs


NUMBERED = "".join(f"{at}\t{word}\t{tag}\tO\n" for at, (word, tag) in enumerate(
    [("Anna", "B-PER"), ("met", "O"), ("Bert", "B-PER")], 1))


def test_files_that_leave_their_columns_open(tmp_path: Path) -> None:
    """GermEval's form: a running number, the word, outer tags, nested tags; comments between the sentences."""
    path = write(tmp_path / "a.tsv", f"# source [2005]\n{NUMBERED}\n#\tb.de\n{NUMBERED}")
    with pytest.raises(DataError, match=r"the first column numbers the words.*--word_column 2"):
        read_conll(path)
    with pytest.raises(DataError, match=r"columns 3 and 4 hold tags.*--tag_column 4"):
        read_conll(path, word_column=2)
    outer, nested = (read_conll(path, word_column=2, tag_column=at) for at in (3, 4))
    assert [row.words for row in outer] == [("Anna", "met", "Bert")] * 2
    assert outer[0].tags == ("B-PER", "O", "B-PER") and nested[0].tags == ("O", "O", "O")
    rows, labels = read_own(path, "tokens", word_column=2, tag_column=3)
    assert labels == ("O", "B-PER", "I-PER") and len(rows) == 2
    for wrong in ({"word_column": 5}, {"tag_column": 9}):
        with pytest.raises(UsageError, match="has 4 columns"):
            read_conll(path, **wrong)


@pytest.mark.parametrize("content", [
    "0 Anna B-PER\n1 met O\n\n0 Bert B-PER\n", "1 Anna B-PER\n2 met O\n\n3 Bert B-PER\n4 sat O\n",
    "0 Anna B-PER\n\n1 Bert B-PER\n", "1-2 Annas _ O\n1 Anna NE B-PER\n2 s ART O\n2.1 x _ O\n\n1 sat V O\n"])
def test_numbers_that_run_on_or_have_parts(tmp_path: Path, content: str) -> None:
    """Through the whole file, from 0, and as CoNLL-U numbers words of several parts."""
    path = write(tmp_path / "a.conll", content)
    with pytest.raises(DataError, match=r"the first column numbers the words.*--word_column 2"):
        read_conll(path)
    assert read_conll(path, word_column=2)[0].words[0] in ("Anna", "Annas")


def test_columns_that_are_not_open(tmp_path: Path) -> None:
    """Chunks before the tags are CoNLL-2003's own form; words may be numbers, and begin with "#"."""
    path = write(tmp_path / "a.txt", "EU NNP B-NP B-ORG\nsays VBZ B-VP O\n\n1 CD B-NP O\n")
    assert [row.tags for row in read_conll(path)] == [("B-ORG", "O"), ("O",)]
    path = write(tmp_path / "b.txt", "# O\n#tag B-X\n\n1 O\n2 O\n")
    assert [row.words for row in read_conll(path)] == [("#", "#tag"), ("1", "2")]


def test_tags_of_two_schemes_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: the last column holds 'I', expected a tag such as"):
        read_conll(write(tmp_path / "a.txt", "a B-X\nb I\nc B-X\n"))


# -- columns that a person chooses ------------------------------------------------------------------------------------

CHOSEN = {"text": "review", "label": "Stars"}
CELLS = [["id", "text", "Review", "stars"], ["1", "not this", "good film", "yes"], ["2", "nor this", "bad film", "no"]]


def table(folder: Path, ending: str, rows: list[list[str]]) -> Path:
    """The rows in the format of an ending, written by Python's own modules."""
    file = folder / f"a{ending}"
    with file.open("w", encoding="utf-8", newline="") as out:
        if ending == ".jsonl":
            out.writelines(json.dumps(dict(zip(rows[0], row, strict=True))) + "\n" for row in rows[1:])
        else:
            csv.writer(out, delimiter="\t" if ending == ".tsv" else ";").writerows(rows)
    return file


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_columns_are_chosen_by_name(ending, tmp_path):
    """Also where another column has the usual name; a file to predict needs no labels."""
    file = table(tmp_path, ending, CELLS)
    assert texts(file, columns=CHOSEN) == [("good film", 1), ("bad film", 0)]
    assert [row.id for row in read_own(file, columns=CHOSEN)[0]] == ["1", "2"]
    pair = {**CHOSEN, "text_pair": "text"}
    assert [row.text_pair for row in read_own(file, columns=pair)[0]] == ["not this", "nor this"]
    unlabelled = table(tmp_path, ending, [row[:3] for row in CELLS])
    assert texts(unlabelled, columns=CHOSEN, labels=("no", "yes"), need_labels=False) == [
        ("good film", None), ("bad film", None)]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("wrong", ["text", "text_pair", "label"])
def test_a_column_that_is_not_there_names_those_that_are(ending, wrong, tmp_path):
    file = table(tmp_path, ending, CELLS)
    with pytest.raises(DataError, match=r"there is no column 'titel'; there are: id, .*Review, stars") as told:
        read_own(file, columns={**CHOSEN, wrong: "titel"})
    assert f"{file}, line" in str(told.value)


def test_chosen_columns_of_labels_in_columns_and_of_ranking(tmp_path):
    many = table(tmp_path, ".jsonl", [["words", "text", "fun", "sad"], ["good", "x", "1", "0"], ["bad", "y", "0", "1"]])
    assert read_own(many, "multilabel", columns={"text": "words"})[1] == ("fun", "sad"), "text is no label"
    ranked = table(tmp_path, ".csv", [["q", "query", "passage", "relevance"], ["a", "not this", "b", "1"]])
    row = read_own(ranked, "ranking", columns={"text": "q"})[0][0]
    assert (row.text, row.text_pair, row.label) == ("a", "b", 1.0)


def test_conll_files_have_no_names_of_columns(tmp_path):
    with pytest.raises(UsageError, match="--word_column and --tag_column"):
        read_own(write(tmp_path / "a.conll", "a O\n"), "tokens", columns=CHOSEN)
