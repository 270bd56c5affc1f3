"""Task declarations, finding files, and reading rows: odd lines that must work and faults that must be named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bertpass.errors import DataError, UsageError
from bertpass.text.data.readers import read_own, read_split, read_task_file
from bertpass.text.data.tasks import TASKS, find_split, get_task, own_task

NAMES = ["MRPC", "QQP", "QNLI", "RTE", "STS-B", "CoLA", "MNLI", "AX", "WNLI", "SST", "XNLI", "LCQMC", "ChnSentiCorp",
         "QA", "NER", "WNUT-17", "SQuAD-rerank", "embedding"]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# -- tasks ------------------------------------------------------------------------------------------------------------


def test_the_tasks() -> None:
    assert list(TASKS) == NAMES
    for task in TASKS.values():
        assert task.main_metric in task.metrics
        assert (task.kind == "classification") == bool(task.labels)
        assert set(task.label_aliases.values()) <= set(task.labels)
        assert set(task.other_columns) <= set(task.files)
        tests = {name.split(".")[0] for group in task.files.get("test", ()) for name in group}
        assert set(task.submission) <= tests


def test_names_of_predictions_are_those_of_glues_site() -> None:
    names = {name for task in TASKS.values() for name in task.submission.values()}
    assert names == {f"{n}.tsv" for n in ("AX", "CoLA", "MNLI-m", "MNLI-mm", "MRPC", "QNLI", "QQP", "RTE", "SST-2",
                                          "STS-B", "WNLI")}


@pytest.mark.parametrize(("name", "found"), [
    ("sst-2", "SST"), ("SST2", "SST"), ("stsb", "STS-B"), ("sts-b", "STS-B"), ("cola", "CoLA"), ("squad", "QA"),
    ("chnsenticorp", "ChnSentiCorp"), ("EMBEDDING", "embedding"),
])
def test_names_in_any_case(name: str, found: str) -> None:
    assert get_task(name).name == found


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'MRPC'"):
        get_task("MRCP")


def test_outputs_and_pairs() -> None:
    assert [get_task(n).outputs for n in ("MNLI", "SST", "STS-B", "QA", "embedding")] == [3, 2, 1, 2, 0]
    assert [get_task(n).open for n in ("NER", "SST", "SQuAD-rerank")] == [True, False, False]
    assert [get_task(n).pair for n in ("MNLI", "SST", "QA")] == [True, False, True]


def test_find_split_in_the_usual_folders(tmp_path: Path) -> None:
    sst = get_task("SST")
    own = write(tmp_path / "glue_sst" / "dev.tsv.gz", "x")
    assert find_split(sst, tmp_path, "dev") == [own]
    assert find_split(sst, own.parent, "dev") == [own]
    plain = write(tmp_path / "SST-2" / "dev.tsv", "x")
    assert find_split(sst, tmp_path, "dev") == [plain]
    with pytest.raises(DataError, match=r"train\.tsv.*SST-2.*glue_sst"):
        find_split(sst, tmp_path, "train")
    with pytest.raises(UsageError, match="unknown split"):
        find_split(sst, tmp_path, "validation")
    with pytest.raises(UsageError, match="has no folder under --data_dir"):
        find_split(own_task("custom", "classification", ("0", "1")), tmp_path, "dev")
    with pytest.raises(DataError, match="--data_dir"):
        find_split(sst, tmp_path / "nowhere", "dev")


def test_mnli_has_two_dev_files(tmp_path: Path) -> None:
    first = write(tmp_path / "MNLI" / "dev_matched.tsv", "x")
    assert find_split(get_task("MNLI"), tmp_path, "dev") == [first]
    second = write(tmp_path / "MNLI" / "dev_mismatched.tsv", "x")
    assert find_split(get_task("MNLI"), tmp_path, "dev") == [first, second]
    assert find_split(get_task("MNLI"), tmp_path, "dev_mismatched") == [second]


def test_squad_versions(tmp_path: Path) -> None:
    one = write(tmp_path / "squad" / "train-v1.1-subset.json.gz", "{}")
    two = write(tmp_path / "squad" / "train-v2.0.json", "{}")
    assert find_split(get_task("QA"), tmp_path, "train") == [one]
    assert find_split(get_task("QA"), tmp_path, "train_v2") == [two]


# -- files of the tasks -----------------------------------------------------------------------------------------------


def test_odd_but_right_lines(tmp_path: Path) -> None:
    text = 'a "quote" and \'one\'\u2028still\x85one\x0cline\r'
    path = write(tmp_path / "train.tsv.gz", f"\ufeffsentence\tlabel\r\n{text}\t1\r\n\"open\t0\r\n\t1\n\n\n")
    rows = read_task_file(get_task("SST"), path)
    assert [(r.text, r.label, r.id) for r in rows] == [(text, 1, "0"), ('"open', 0, "1"), ("", 1, "2")]
    assert all(r.text_pair is None for r in rows)


def test_last_line_without_an_end(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "gj\t1\t\tYes .\ngj\t0\t*\tNo .")
    assert [(r.text, r.label) for r in read_task_file(get_task("CoLA"), path)] == [("Yes .", 1), ("No .", 0)]


def test_columns_of_every_split(tmp_path: Path) -> None:
    row = "\t".join(f"c{i}" for i in range(11))
    mnli = tmp_path / "MNLI"
    write(mnli / "train.tsv", f"h{row}\tl\n{row}\tcontradictory\n")
    write(mnli / "dev_matched.tsv", f"{row}\t\t\t\t\tgold\n{row}\t\t\t\t\tentailment\n")
    write(mnli / "test_matched.tsv", f"{row}\n{row}\n")
    for split, label in (("train", 2), ("dev", 1), ("test", None)):
        (example,) = read_split(get_task("MNLI"), tmp_path, split)
        assert (example.text, example.text_pair, example.label) == ("c8", "c9", label)


def test_regression_labels_are_numbers(tmp_path: Path) -> None:
    head = "\t".join("0123456") + "\ta\tb"
    write(tmp_path / "STS-B" / "train.tsv", f"{head}\tscore\n{head}\t3.800\n")
    write(tmp_path / "STS-B" / "test.tsv", f"{head}\n{head}\n")
    assert read_split(get_task("stsb"), tmp_path, "train")[0].label == pytest.approx(3.8)
    assert read_split(get_task("stsb"), tmp_path, "test")[0].label is None
    write(tmp_path / "STS-B" / "train.tsv", f"{head}\tscore\n{head}\tnan\n")
    with pytest.raises(DataError, match="line 2: the label is 'nan', expected a number"):
        read_split(get_task("stsb"), tmp_path, "train")


@pytest.mark.parametrize(("content", "words"), [
    (b"", "has no rows; expected tab-separated text in column 1, label in column 2, after a header line"),
    (b"sentence\tlabel\n", "has no rows"),
    (b"sentence\tlabel\ngood\t1\nbad\n", "line 3: 1 column, expected 2"),
    (b"sentence\tlabel\ngood\tfilm\t1\n", "line 2: 3 columns, expected 2"),
    (b"sentence\tlabel\ngood\tpositive\n", "line 2: unknown label 'positive'. Expected one of 0, 1"),
    (b"sentence\tlabel\n\ngood\t1\n", "line 2 is empty"),
    (b"sentence\tlabel\ngood\t1\ncaf\xe9\t1\n", "line 3: byte 4 of the line .0xe9. is not UTF-8"),
    (b"sentence\ngood\n", "line 2: no label; expected it in column 2"),
])
def test_faults_are_named_with_their_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = write(tmp_path / "train.tsv", content)
    with pytest.raises(DataError, match=words) as raised:
        read_task_file(get_task("SST"), path)
    assert str(path) in str(raised.value)


def test_damaged_gzip(tmp_path: Path) -> None:
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(b"sentence\tlabel\n" + b"good\t1\n" * 1000)[:-20])
    with pytest.raises(DataError, match="damaged"):
        read_task_file(get_task("SST"), tmp_path / "train.tsv.gz")
    (tmp_path / "train.tsv.gz").write_bytes(b"sentence\tlabel\n")
    with pytest.raises(DataError, match="not a gzip file"):
        read_task_file(get_task("SST"), tmp_path / "train.tsv.gz")


def test_torn_rows_of_qqp_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "id\tq1\tq2\ta\tb\tdup\n1\t1\t2\tx\ty\t1\n2\t1\t2\ttorn\n3\t1\t2\tz\tw\t0\n")
    with pytest.warns(UserWarning, match="left out 1 rows .* line 3"):
        rows = read_task_file(get_task("QQP"), path)
    assert [r.text for r in rows] == ["x", "z"]


@pytest.mark.data
@pytest.mark.parametrize(("name", "split", "rows", "first_label"), [
    ("SST", "train", 67349, 29780), ("SST", "dev", 872, 428), ("SST", "test", 1821, 0), ("CoLA", "train", 8551, 2528),
    ("CoLA", "dev", 1043, 322), ("CoLA", "test", 1063, 0), ("RTE", "train", 2490, 1241), ("RTE", "dev", 277, 131),
    ("MRPC", "train", 3668, 1194), ("MRPC", "dev", 408, 129), ("STS-B", "dev", 1500, 139), ("STS-B", "test", 1379, 112),
    ("QNLI", "dev", 5463, 2761), ("MNLI", "dev", 9815, 3123), ("WNLI", "dev", 71, 40), ("QQP", "dev", 1000, 623),
    ("XNLI", "dev", 2490, 830), ("LCQMC", "dev", 8802, 4400), ("ChnSentiCorp", "train", 9600, 4801),
])
def test_real_files(real_data: Path, name: str, split: str, rows: int, first_label: int) -> None:
    """Rows as published, and how many have the first label (score 0 for STS-B)."""
    found = read_split(get_task(name), real_data, split)
    assert len(found) == rows
    assert sum(r.label == 0 for r in found) == first_label
    assert all(r.text.strip() for r in found)


# -- own data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content"), [
    ("own.tsv", 'text\ttext_pair\tlabel\tnote\n"a\tb\u2028c\tno\tx\nd\te\tyes\ty\n'),
    ("own.csv.gz", 'text,text_pair,label,note\n"""a",b\u2028c,no,x\nd,e,yes,y\n'),
    ("own.jsonl", '{"text": "\\"a", "text_pair": "b\u2028c", "label": "no"}\n'
                  '{"label": "yes", "text_pair": "e", "text": "d"}\n'),
])
def test_three_kinds_of_own_files(tmp_path: Path, name: str, content: str) -> None:
    rows, labels = read_own(write(tmp_path / name, content))
    assert labels == ("no", "yes")
    assert [(r.text, r.text_pair, r.label) for r in rows] == [('"a', "b\u2028c", 0), ("d", "e", 1)]


def test_csv_cells_may_hold_lines_and_commas(tmp_path: Path) -> None:
    rows, _ = read_own(write(tmp_path / "own.csv", 'text,label\n"one,\n\ntwo",1\nthree,2\n'))
    assert [(r.text, r.label) for r in rows] == [("one,\n\ntwo", 0), ("three", 1)]
    with pytest.raises(DataError, match="line 4: 1 column, expected 2"):
        read_own(write(tmp_path / "own.csv", 'text,label\n"one\ntwo",1\nthree\n'))


def test_whole_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", "".join(f'{{"text": "t", "label": {n}}}\n' for n in (10, 9, 2)))
    rows, labels = read_own(path)
    assert labels == ("2", "9", "10") and [r.label for r in rows] == [2, 1, 0]
    assert [r.label for r in read_own(path, labels=("9", "10", "2"))[0]] == [1, 0, 2]
    with pytest.raises(DataError, match="line 1: unknown label '10'"):
        read_own(path, labels=("2", "9"))


def test_labels_may_be_missing_only_where_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "own.tsv", "text\tid\nfirst\tq7\n")
    rows, labels = read_own(path, labels=("a", "b"), need_labels=False)
    assert rows[0].label is None and rows[0].id == "q7" and labels == ("a", "b")
    with pytest.raises(DataError, match="line 2: no label"):
        read_own(path)


def test_own_regression(tmp_path: Path) -> None:
    rows, labels = read_own(write(tmp_path / "own.tsv", "text\tlabel\na\t1\nb\t2.5e0\n"), "regression")
    assert [r.label for r in rows] == [1.0, 2.5] and labels == ()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("own.tsv", "", "has no rows"),
    ("own.tsv", "sentence\tlabel\na\t1\n", "line 1: expected a header line with text"),
    ("own.tsv", "text\ttext\tlabel\na\tb\t1\n", "line 1: the column text is there twice"),
    ("own.tsv", "text\tlabel\na\t1\n\nb\t2\n", "line 3 is empty"),
    ("own.tsv", "text\tlabel\na\t1\nb\t1\n", "found only the label 1"),
    ("own.csv", 'text,label\n"a,1\n', "not csv"),
    ("own.csv", 'text,label\n"a"b,1\n', "line 2: not csv"),
    ("own.jsonl", '{"text": "a", "label": 1}\n[1]\n', "line 2: expected a JSON object"),
    ("own.jsonl", '{"text": "a", "label": 1\n', "line 1: not a JSON object"),
    ("own.jsonl", '{"text": 3, "label": 1}\n', "line 1: expected text, found int"),
    ("own.jsonl", '{"text": "a", "label": true}\n', "line 1: the label is True"),
    ("own.jsonl", '{"text": "a", "label": [1]}\n', "line 1: the label is"),
    ("own.jsonl", '{"text": "\\ud83d", "label": 1}\n', "line 1: character 1 is a lone surrogate"),
    ("own.jsonl", '{"label": 1}\n', "line 1: no text"),
    ("own.jsonl", '{"text": "a", "text_pair": "b", "label": 1}\n{"text": "a", "label": 2}\n', "line 2: no text_pair"),
])
def test_faults_of_own_files(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_own(write(tmp_path / name, content))


def test_other_endings_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.tsv, \.csv or \.jsonl"):
        read_own(tmp_path / "own.txt")
    with pytest.raises(DataError, match="no file"):
        read_own(tmp_path / "own.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_own(tmp_path / "folder.tsv")


def test_own_task_has_the_metrics_of_its_labels() -> None:
    assert own_task("t", "classification", ("no", "yes")).metrics == ("accuracy", "f1")
    assert own_task("t", "classification", ("a", "b", "c")).metrics == ("accuracy",)
    assert own_task("t", "regression").main_metric == "pearson" and own_task("t", "regression").outputs == 1


# -- several labels, rankings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content"), [
    ("a.tsv", "text\tlabel\na\tx, y\nb\t\nc\ty\n"), ("a.csv", 'text,labels\na,"x,y"\nb,\nc,y\n'),
    ("a.jsonl", '{"text": "a", "labels": ["y", "x"]}\n{"text": "b", "labels": []}\n{"text": "c", "label": "y"}\n'),
    ("a.csv", "id,text,x,y\n7,a,1,1\n8,b,0,0\n9,c,0,1\n")])
def test_several_labels(name: str, content: str, tmp_path: Path) -> None:
    rows, labels = read_own(write(tmp_path / name, content), "multilabel")
    assert labels == ("x", "y") and [row.label for row in rows] == [(1, 1), (0, 0), (0, 1)]


def test_several_labels_with_another_separator_and_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "Text\tLabel\na, b\tx|New York, NY\n")
    assert read_own(path, "multilabel", separator="|")[1] == ("New York, NY", "x")
    assert read_own(path, "multilabel", ("x", "z", "New York, NY"), separator="|")[0][0].label == (1, 0, 1)
    assert read_own(write(tmp_path / "b.tsv", "text\tsource\na\tweb\n"), "multilabel", ("x",),
                    need_labels=False)[0][0].label is None


@pytest.mark.parametrize(("content", "words"), [
    ("text\tlabel\na\tx,z\n", "unknown label 'z'"), ("text\tx\na\t2\n", "x is '2', expected 0 or 1"),
    ("text\na\n", "no label")])
def test_faulty_labels(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_own(write(tmp_path / "a.tsv", content), "multilabel", ("x", "y"))
    with pytest.raises(DataError, match="names no label in any row"):
        read_own(write(tmp_path / "b.tsv", "text\tlabel\na\t\n"), "multilabel")


def test_rankings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "query\tpassage\trelevance\nq\ta\t1\nq\tb\t0.5\nr\tc\t0\n")
    plain, _ = read_own(path, "ranking")
    assert [(r.text, r.text_pair, r.label, r.group) for r in plain] == [
        ("q", "a", 1.0, "q"), ("q", "b", 0.5, "q"), ("r", "c", 0.0, "r")]
    grouped, labels = read_own(write(tmp_path / "b.csv", "group,text,text_pair,label\n1,q,a,1\n2,q,b,0\n"), "ranking")
    assert [r.group for r in grouped] == ["1", "2"] and labels == ()


@pytest.mark.parametrize(("content", "words"), [
    ("query\tpassage\trelevance\nq\ta\t2\n", "from 0 \\(none\\) to 1"), ("query\trelevance\nq\t1\n", "no passages"),
    ("query\tpassage\nq\ta\n", "no label")])
def test_faulty_rankings(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_own(write(tmp_path / "a.tsv", content), "ranking")


def test_rankings_of_squad(tmp_path: Path) -> None:
    def paragraph(name: str, answers: list) -> dict:
        return {"context": f"context {name}", "qas": [{"id": name, "question": f"{name} ?", "answers": answers}]}

    answer = [{"text": "context", "answer_start": 0}]
    data = [{"title": "long", "paragraphs": [paragraph(f"p{i}", answer) for i in range(14)]},
            {"title": "alone", "paragraphs": [paragraph("single", answer)]},
            {"title": "two", "paragraphs": [paragraph("answered", answer), paragraph("impossible", [])]}]
    for question in data[2]["paragraphs"][1]["qas"]:
        question["is_impossible"] = True
    path = write(tmp_path / "SQuAD" / "dev-v1.1.json", json.dumps({"version": "2.0", "data": data}))
    rows = read_split(get_task("SQuAD-rerank"), tmp_path, "dev")
    groups: dict[str, list] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    assert set(groups) == {f"p{i}" for i in range(14)} | {"answered"}
    for name, group in groups.items():
        assert len({r.text_pair for r in group}) == len(group) == (10 if name != "answered" else 2)
        assert [r.text_pair for r in group if r.label] == [f"context {name}"]
    assert len({[bool(r.label) for r in g].index(True) for g in groups.values()}) > 3  # its place does not tell
    assert read_task_file(get_task("SQuAD-rerank"), path, "dev") == rows
    assert len(read_task_file(get_task("SQuAD-rerank"), path, "train")) == 14 * 5 + 2
