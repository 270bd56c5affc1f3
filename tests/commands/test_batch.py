"""bertpass batch: the numbers of bertpass.load, whatever the parts; stopped runs go on; on Ray the same file."""

import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers import toy

pa = pytest.importorskip("pyarrow", reason="pip install '.[batch]' for Parquet files")
pq = pytest.importorskip("pyarrow.parquet")

import bertpass  # noqa: E402 - after the check that its package is there
from bertpass.commands.production import batch  # noqa: E402
from bertpass.jobs.machines import batch as job  # noqa: E402
from bertpass.model import parameters  # noqa: E402
from bertpass.model.checkpoint import load_checkpoint  # noqa: E402
from bertpass.model.config import HeadConfig  # noqa: E402
from bertpass.model.layouts import huggingface  # noqa: E402
from bertpass.model.record import Checkpoint  # noqa: E402

ROWS = 103


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Texts with a null and an empty one among them, in row groups that fit no part."""
    words = np.array([*toy.GOOD, *toy.BAD, *toy.FILLER[:8]])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, size)) for size in random.integers(1, 20, ROWS)]
    texts[7], texts[50] = None, ""
    path = tmp_path_factory.mktemp("data") / "in.parquet"
    pq.write_table(pa.table({"id": np.arange(ROWS), "text": texts, "second": texts[::-1]}), path, row_group_size=37)
    return path


@pytest.fixture(scope="module")
def classifier(encoder, tmp_path_factory):
    """A Hugging Face folder of a classifier with random weights."""
    plain = load_checkpoint(str(encoder))
    head = HeadConfig("classification", 3)
    added = parameters.random(parameters.head_shapes(plain.config, head), 1, 0.5, random_bias=True)
    path = tmp_path_factory.mktemp("classifier") / "model"
    huggingface.write_folder(path, Checkpoint(plain.config, head, {**plain.params, **added}, plain.tokenizer,
                                              labels=["x", "y", "z"]))
    return path


def run(*words):
    return batch.main([str(word) for word in words])


def test_embeddings_are_those_of_load(source, encoder, tmp_path):
    out = tmp_path / "out.parquet"
    assert run(source, out, "--model", encoder, "--keep", "id", "--part_rows", 10) == 0
    table = pq.read_table(out)
    assert table.column_names == ["id", "embedding"] and table["id"].to_pylist() == list(range(ROWS))
    texts = pq.read_table(source)["text"].to_pylist()
    model = bertpass.load(str(encoder), engine="native", dtype="float32")
    for text, row in zip(texts, table["embedding"].to_pylist(), strict=True):
        assert (row is None) == (not text)
        if text:
            assert np.array_equal(np.array(row, np.float32), model.encode(text))
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_labels_of_pairs(source, classifier, tmp_path):
    out = tmp_path / "out.parquet"
    assert run(source, out, "--model", classifier, "--pair-column", "second", "--part_rows", 64) == 0
    table = pq.read_table(out)
    assert table.column_names == ["label", "score"]
    model = bertpass.load(str(classifier), engine="native", dtype="float32")
    rows = pq.read_table(source).to_pylist()
    for row, label, score in zip(rows, table["label"].to_pylist(), table["score"].to_pylist(), strict=True):
        if not row["text"] or not row["second"]:
            assert label is None and score is None
        else:
            found = model.predict(row["text"], row["second"])
            assert (label, score) == (found.label, np.float32(found.score))


def test_the_file_does_not_depend_on_parts_and_stops(source, encoder, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
    assert run(source, whole, "--model", encoder, "--keep", "id") == 0
    real, computed = job.Computer.compute, []

    def compute(self, number, rows):
        if len(computed) == 4:
            raise KeyboardInterrupt
        computed.append(number)
        return real(self, number, rows)

    monkeypatch.setattr(job.Computer, "compute", compute)
    assert run(source, stopped, "--model", encoder, "--keep", "id", "--part_rows", 11) == 130
    assert not stopped.exists() and len(list((tmp_path / "stopped.parquet.parts").glob("part-*"))) == 4
    computed.clear()
    monkeypatch.setattr(job.Computer, "compute", lambda self, *at: computed.append(at[0]) or real(self, *at))
    assert run(source, stopped, "--model", encoder, "--keep", "id", "--part_rows", 11) == 0
    assert computed == list(range(4, 10))
    assert pq.read_table(stopped).equals(pq.read_table(whole))


def test_parts_of_another_run_are_refused(source, encoder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.parquet"
    monkeypatch.setattr(job, "join", lambda work, writing, parts: 0)
    assert run(source, out, "--model", encoder, "--part_rows", 50) == 0
    assert run(source, out, "--model", encoder, "--part_rows", 51) == 2
    assert "delete it" in capsys.readouterr().err
    for broken in ("", "[]", '{"fingerprint": '):
        (tmp_path / "out.parquet.parts" / "job.json").write_text(broken)
        assert run(source, out, "--model", encoder, "--part_rows", 50) == 2
        assert "delete it" in capsys.readouterr().err


def test_an_output_that_is_there_is_replaced_only_if_asked_to(source, encoder, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    out.write_bytes(b"mine")
    assert run(source, out, "--model", encoder) == 2
    assert "is there already" in capsys.readouterr().err and out.read_bytes() == b"mine"
    assert run(source, out, "--model", encoder, "--overwrite") == 0
    assert pq.read_table(out).num_rows == ROWS


def test_texts_that_are_cut_are_counted(encoder, classifier, tmp_path, capsys):
    """Also those of the parts that an earlier run had computed; and nothing of the count is in the output."""
    model = bertpass.load(str(encoder), engine="native", dtype="float32")
    word, room = toy.GOOD[0], model.max_length - 2
    texts = [" ".join([word] * count) for count in (1, room - 1, room, room + 1, 3 * room)] * 2
    assert [len(row) > model.max_length for row in model.tokenizer.encode(texts[:5], truncation=False)] == [
        False, False, False, True, True]
    path, out = tmp_path / "long.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": [*texts, None, ""], "second": ["", *texts[:4], texts[0]] * 2},
                            metadata={"mine": "kept"}), path)
    work = ["--model", encoder, "--part_rows", 4]
    computer = job.Computer(job.Work(str(path), str(out), str(encoder), "text", None, (), "float32", 4))
    assert job.begin(computer.work, computer.fingerprint(), 3) == [0, 1, 2]
    computer.compute(1, 12)
    assert run(path, out, *work) == 0
    assert "4 of 12 texts have more than" in capsys.readouterr().err
    found = pq.read_schema(out).metadata
    assert not any(name.startswith(b"bertpass") for name in found)
    assert run(path, tmp_path / "pairs.parquet", "--model", classifier, "--pair-column", "second") == 0
    rows = [row for row in pq.read_table(path).to_pylist() if row["text"] and row["second"]]
    both = model.tokenizer.encode([row["text"] for row in rows], [row["second"] for row in rows], truncation=False)
    long = sum(len(each) > model.max_length for each in both)
    assert long and f"{long} of 12 texts have more than" in capsys.readouterr().err
    assert run(path, tmp_path / "short.parquet", "--model", encoder, "--column", "second") == 0
    assert "texts have more than" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_killed_run_goes_on_to_the_same_bytes(source, encoder, tmp_path, ending):
    """Killed without a word, in the middle of whatever it did."""
    out, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    words = [str(source), str(out), "--model", str(encoder), "--part_rows", "1", "--keep", "id"]
    code = "import sys; from bertpass.commands.production.batch import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    parts = tmp_path / f"out.{ending}.parts"
    end = time.monotonic() + 30
    while not list(parts.glob("part-*")) and time.monotonic() < end:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert run(*words) == 0 == run(source, whole, *words[2:])
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, whole.name]


def test_a_run_that_ended_while_it_put_parts_together(source, encoder, tmp_path, monkeypatch):
    """After the output was there, and in the middle of removing the parts: those without their job count nothing."""
    out, words = tmp_path / "out.parquet", ["--model", encoder, "--part_rows", 50]
    with monkeypatch.context() as patch:
        patch.setattr(job.shutil, "rmtree", lambda *_, **__: None)
        assert run(source, out, *words) == 0
    before, parts = out.read_bytes(), tmp_path / "out.parquet.parts"
    assert run(source, out, *words) == 0 and out.read_bytes() == before and not parts.exists()
    parts.mkdir()
    (parts / "part-000001").write_bytes(b"of another file")
    assert run(source, out, *words, "--overwrite") == 0 and out.read_bytes() == before and not parts.exists()


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (("{source}",), 2, "OUTPUT is needed"), (("{source}", "{source}"), 2, "replace the input"),
    (("/nowhere", "{out}"), 3, "/nowhere"), (("{out}.txt", "{out}"), 3, "not a Parquet file"),
    (("{source}", "{out}", "--column", "txt"), 2, "Did you mean 'text'"),
    (("{source}", "{out}", "--column", "id"), 3, "holds int64 and not texts"),
    (("{source}", "{out}", "--pair-column", "second"), 2, "embeddings are of one text"),
    (("{source}", "{out}", "--workers", "2"), 2, "are for --ray"),
    (("{empty}", "{out}"), 3, "there is no row in it"), (("{source}", "{out}.tsv"), 2, "read and not written"),
    (("{source}", "{out}", "--keep", "embedding"), 2, "unknown column 'embedding'"),
    (("{source}", "{folder}"), 2, "is no file"), (("{dates}", "{out}.jsonl", "--keep", "when"), 2, "has no form for")])
def test_wrong_command_lines_end_in_a_sentence(source, encoder, tmp_path, capsys, words, code, sentence):
    (tmp_path / "out.txt").write_text("x")
    pq.write_table(pq.read_table(source).slice(0, 0), tmp_path / "empty")
    pq.write_table(pq.read_table(source).append_column("when", pa.array([0] * ROWS, pa.date32())), tmp_path / "dates")
    places = {"source": source, "out": tmp_path / "out", "empty": tmp_path / "empty", "folder": tmp_path,
              "dates": tmp_path / "dates"}
    assert run(*(word.format(**places) for word in words), "--model", encoder) == code
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_on_ray_the_file_is_the_same(source, encoder, tmp_path):
    pytest.importorskip("ray.data", reason="pip install '.[ray]' for the test of Ray")
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    assert run(source, here, "--model", encoder, "--part_rows", 20) == 0
    assert run(source, there, "--model", encoder, "--part_rows", 20, "--ray", "--workers", 2) == 0
    assert pq.read_table(there).equals(pq.read_table(here))
