"""bertpass batch of text files, without pyarrow: every kind of model, and bad rows that are refused before the work."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

import bertpass
from bertpass.commands.production import batch
from tests.helpers import toy

TEXTS = ["anna is tall .", None, "the film was great", "", "bert is rich and carl is poor ."]
SECONDS = ["who is tall ?", "a", "it was dull", "b", "dora is old , emil is young ."]
LABELS = {"classification": ["x", "y", "z"], "multilabel": ["x", "y", "z"], "tokens": ["O", "B-PER", "I-PER"],
          "regression": None, "ranking": None, "qa": None, "mlm": None, "none": None}


def run(*words):
    return batch.main([str(word) for word in words])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each kind."""
    root = tmp_path_factory.mktemp("kinds")
    return {kind: toy.write_encoder(root / kind, head=kind, labels=labels) for kind, labels in LABELS.items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The same rows as jsonl and as csv."""
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"id": at, "text": text, "second": second, "note": 'a "word", and\nmore'}
            for at, (text, second) in enumerate(zip(TEXTS, SECONDS, strict=True))]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def expected(kind, model, text, second):
    """What Python gives for one row."""
    if kind == "none":
        return {"embedding": model.encode(text).tolist()}
    if kind == "mlm":
        found = model.encode_sparse(text)
        return {"indices": found.indices.tolist(), "values": found.values.tolist()}
    if kind == "tokens":
        return {"entities": [vars(each) for each in model.tag(text)]}
    if kind == "qa":
        found = model.answer(second, text)
        return {"answer": found.text, "score": found.score, "start": found.start, "end": found.end}
    found = model.predict(text, second if kind in ("ranking", "classification") else None)
    if kind == "multilabel":
        return {"labels": list(found.labels), "score": found.score}
    return {**({"label": found.label} if kind == "classification" else {}), "score": found.score}


def close(found, right):
    """Equal, but for the digits of float32."""
    if isinstance(right, float):
        return found == float(f"{np.float32(right):.9g}")
    if isinstance(right, dict):
        return found.keys() == right.keys() and all(close(found[name], right[name]) for name in right)
    if isinstance(right, list):
        return len(found) == len(right) and all(map(close, found, right))
    return found == right


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_model(folders, source, tmp_path, kind):
    """Of a head of masked words the weights of words."""
    said = {"kind": "sparse"} if kind == "mlm" else {}
    pair = {"qa": ["--column", "second", "--pair_column", "text"]}.get(
        kind, ["--pair_column", "second"] if kind in ("ranking", "classification") else [])
    for ending in ("jsonl", "csv"):
        assert run(folders[kind], source / f"in.{ending}", tmp_path / f"out.{ending}", "--keep", "note", "id", *pair,
                   "--part_rows", 2, *(word for name in said for word in ("--kind", said[name]))) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with (tmp_path / "out.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    model = bertpass.load(str(folders[kind]), engine="native", dtype="float32", **said)
    told = 0
    for at, (line, cell) in enumerate(zip(lines, cells, strict=True)):
        assert (line.pop("id"), line.pop("note")) == (at, 'a "word", and\nmore')
        assert (cell.pop("id"), cell.pop("note")) == (str(at), 'a "word", and\nmore')
        as_cells = {name: "" if value is None else value if isinstance(value, str) else json.dumps(value)
                    for name, value in line.items()}
        assert cell == as_cells
        if not TEXTS[at]:
            assert set(line.values()) == {None}
        else:
            assert close(line, expected(kind, model, TEXTS[at], SECONDS[at]))
            told += 1
    assert told == 3


def test_a_list_of_questions_has_the_answers_of_each(folders):
    model = bertpass.load(str(folders["qa"]), engine="native", dtype="float32")
    contexts = ["anna is tall . " * 30, "bert is rich .", "anna is tall . " * 30]
    questions = ["who is tall ?", "who is rich ?", "who ?"]
    assert model.answer(questions, contexts) == [model.answer(*each) for each in zip(questions, contexts, strict=True)]
    with pytest.raises(bertpass.errors.UsageError, match="as many contexts"):
        model.answer(questions, contexts[:2])


BAD = [("in.jsonl", '{"text": "a"}\n{"text": 7}\n', "line 2, text: expected text, found int"),
       ("in.jsonl", '{"text": "a"}\n{"txt": "b"}\n', "line 2: there is no column 'text'"),
       ("in.jsonl", '{"text": "a"}\nnone\n', "line 2: not a JSON object"),
       ("in.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', "line 2, text: character 1 is a lone surrogate"),
       ("in.csv", "text,id\na,1\nb\n", "line 3: 1 column, expected 2"),
       ("in.csv", "txt,id\na,1\n", "there is no column 'text'; there are: txt, id"),
       ("in.csv", "text\n", "there is no row in it"), ("in.csv.gz", "text\na\n", "not a gzip file"),
       ("in.tsv", "text\tid\na\n", "line 2: 1 column, expected 2")]


@pytest.mark.parametrize(("name", "content", "sentence"), BAD)
def test_bad_rows_are_refused_with_their_line(folders, tmp_path, capsys, monkeypatch, name, content, sentence):
    monkeypatch.setattr(batch, "start_logging", lambda: None)
    monkeypatch.setattr("bertpass.jobs.machines.batch.load", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / name).write_text(content)
    assert run(folders["none"], tmp_path / name, tmp_path / "out.jsonl") == 3
    assert sentence in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("kind", "words", "sentence"), [
    ("qa", (), "name the column of the contexts with --pair_column"),
    ("ranking", (), "name the column of the passages with --pair_column"),
    ("tokens", ("--pair_column", "second"), "a model of kind 'tokens' takes one text"),
    ("multilabel", ("--keep", "id", "labels"), "there is no column 'labels'"),
    ("mlm", ("--kind", "mlm"), "nothing of a model of kind 'mlm' fits")])
def test_a_model_that_does_not_fit(folders, source, tmp_path, capsys, kind, words, sentence):
    assert run(folders[kind], source / "in.jsonl", tmp_path / "out.jsonl", *words) in (2, 3)
    assert sentence in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_column_that_results_have(folders, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text('{"text": "a", "label": "b"}\n')
    assert run(folders["classification"], tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--keep", "label") == 2
    assert "--keep label: the output has a column of that name itself" in capsys.readouterr().err
    assert run(folders["none"], tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--keep", "label") == 0


def test_what_is_kept_comes_back(folders, tmp_path, capsys):
    """Whatever JSON has; as Parquet only what has one type there."""
    values = [1, 2.5, None, "\u2028 \u00e9", [1, {"a": "\ud800"}], {"b": None}, True]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": "a", "kept": value}) + "\n" for value in values))
    assert run(folders["regression"], path, tmp_path / "out.jsonl", "--keep", "kept") == 0
    with (tmp_path / "out.jsonl").open() as file:
        assert [json.loads(line)["kept"] for line in file] == values
    pq = pytest.importorskip("pyarrow.parquet", reason="pip install '.[batch]' for Parquet files")
    capsys.readouterr()
    assert run(folders["regression"], path, tmp_path / "out.parquet", "--keep", "kept") == 2
    assert "--keep kept: its values are bool, float, int, list, object, str" in capsys.readouterr().err
    path.write_text("".join(json.dumps({"text": "a", "kept": value}) + "\n" for value in [None, 1, 2.5]))
    assert run(folders["regression"], path, tmp_path / "out.parquet", "--keep", "kept", "--part_rows", 1) == 0
    assert pq.read_table(tmp_path / "out.parquet")["kept"].to_pylist() == [None, 1.0, 2.5]
    path.write_text(f'{{"text": "a", "kept": {2 ** 70}}}\n')
    assert run(folders["regression"], path, tmp_path / "big.parquet", "--keep", "kept") == 2
    assert "beyond 64 bits" in capsys.readouterr().err


def test_an_input_that_changes_meanwhile_is_refused(folders, tmp_path, capsys, monkeypatch):
    from bertpass.jobs.machines.batch import Computer

    path, real = tmp_path / "in.jsonl", Computer.compute
    path.write_text('{"text": "a"}\n')

    def compute(self, *words):
        path.write_text('{"text": "b", "more": 1}\n')
        return real(self, *words)

    monkeypatch.setattr(Computer, "compute", compute)
    assert run(folders["none"], path, tmp_path / "out.jsonl") == 3
    assert "was changed while it was read" in capsys.readouterr().err and not (tmp_path / "out.jsonl").exists()


def test_text_files_need_no_pyarrow(folders, source, tmp_path):
    code = ("import sys; sys.modules['pyarrow'] = None; from bertpass.commands.production.batch import main; "
            "sys.exit(main(sys.argv[1:]))")
    words = [str(folders["none"]), str(source / "in.csv"), str(tmp_path / "out.jsonl")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words[-1] = str(tmp_path / "out.parquet")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 6 and "pip install '.[batch]'" in done.stderr
