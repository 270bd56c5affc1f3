"""Every task on rows of its real files: fine-tuned for two steps, deployed, scored, predictions written.

The model is made by `bertpass new-model` from the files' own words, English and Chinese, and stays as good as random:
the scores mean nothing; what is tested is that files, columns, labels, metrics and the names of predictions fit.
"""

import gzip
import json
import os

import pytest

from bertpass.commands import main
from bertpass.commands.make import deploy, finetune
from bertpass.jobs.tasks.kinds import KINDS
from bertpass.model.layouts.bundle import Bundle
from bertpass.text.data.readers import read_task_file
from bertpass.text.data.tasks import TASKS, find_split, get_task, has_split
from tests.helpers import toy

DATA = os.environ.get("BERTPASS_DATA", "")
METRICS = {"MRPC": {"accuracy", "f1"}, "QQP": {"accuracy", "f1"}, "CoLA": {"matthews", "accuracy"},
           "STS-B": {"pearson", "spearman"}, "embedding": {"pearson", "spearman"}, "QA": {"exact", "f1", "total"},
           "SQuAD-rerank": {"mrr@10", "ndcg@10", "map"},
           "MNLI": {"accuracy (dev_matched)", "accuracy (dev_mismatched)"}}
ROWS = 48
pytestmark = [pytest.mark.data, pytest.mark.skipif(
    not DATA, reason="needs real data: set BERTPASS_DATA to a folder in GLUE and SQuAD layout")]


def lines_of(path, count):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        return [line for _, line in zip(range(count), file, strict=False)]


def first_rows(path, to, skip=0):
    """The beginning of a real file: some rows, or for SQuAD an article of a few paragraphs."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if ".json" in path.name:
        content = json.loads("".join(lines_of(path, 10**9)))
        article = content["data"][0]
        paragraphs = [{**p, "qas": p["qas"][:3]} for p in article["paragraphs"][:6]]
        to.write_text(json.dumps({**content, "data": [{**article, "paragraphs": paragraphs}]}), encoding="utf-8")
    else:
        rows = lines_of(path, ROWS + skip + 1)
        to.write_text("".join(rows[:1] + rows[1 + skip:]), encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The beginnings of the real files of every task that has some, in the same layout."""
    root = tmp_path_factory.mktemp("real")
    for task in TASKS.values():
        for split in task.files:
            if has_split(task, DATA, split):
                for path in find_split(task, DATA, split):
                    first_rows(path, root / task.folders[0] / path.name.removesuffix(".gz"))
        folder = root / task.folders[0]
        if (folder / "dev.tsv").exists() and not (folder / "train.tsv").exists():
            (folder / "train.tsv").write_bytes((folder / "dev.tsv").read_bytes())  # XNLI, LCQMC: too large to be there
    matched = find_split(get_task("MNLI"), DATA, "dev_matched")[0]
    if not (root / "MNLI" / "dev_mismatched.tsv").exists():
        first_rows(matched, root / "MNLI" / "dev_mismatched.tsv", skip=ROWS)  # other rows of the file that there is
    return root


@pytest.fixture(scope="module")
def model(root, tmp_path_factory):
    """A two-layer model with a vocabulary of these files."""
    folder = tmp_path_factory.mktemp("model") / "new"
    files = [str(path) for path in sorted(root.rglob("*")) if path.is_file()]
    assert main.main(["new-model", "--layers", "2", "--units", "32", "--max_length", "64", "--vocab_size", "4000",
                      "--vocab_from", *files, "--output", str(folder)]) == 0
    return folder


def needs(task, split="dev"):
    if not has_split(task, DATA, split):
        pytest.skip(f"no {split} file of {task.name} in $BERTPASS_DATA: put {task.folders[0]}/"
                    f"{task.files[split][0][0]} there")


@pytest.mark.parametrize("name", TASKS)
def test_whole_real_files_are_as_declared(name):
    task = get_task(name)
    if task.layout == "squad":
        pytest.skip("read whole in tests/text: run pytest tests/text with BERTPASS_DATA")
    for split in task.files:
        if has_split(task, DATA, split):
            for path in find_split(task, DATA, split):
                rows = read_task_file(task, path, split)
                assert len({row.id for row in rows}) == len(rows)
                assert all((row.text_pair is not None) == task.pair for row in rows)
                assert split.startswith("test") or all(row.label is not None or row.tags is not None for row in rows)


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.kind != "embedding" and "train" in t.files])
def test_task_from_training_to_deployment(name, root, model, tmp_path, capsys):
    task = get_task(name)
    needs(task)
    argv = ["--data_dir", root, "--training_steps", 2, "--batch_size", 8, "--output_dir", tmp_path / "out",
            "--bert_model", model]
    if name == "QA":
        argv += ["--max_seq_length", 64, "--doc_stride", 32, "--max_query_length", 24]
        assert finetune.squad(toy.strings(*argv)) == 0
    else:
        assert finetune.classifier(toy.strings(*argv, "--task_name", name, "--max_len", 48)) == 0
    trained = toy.result(tmp_path / "out", "metrics.json")
    metrics = {metric for metric in trained["metrics"] if task.kind != "tokens" or "(" not in metric}
    assert metrics == METRICS.get(name, {"f1", "precision", "recall"} if task.kind == "tokens" else {"accuracy"})
    bundle = Bundle.open(tmp_path / "out" / "bundle")
    assert bundle.task == name and (task.open or bundle.labels == (list(task.labels) or None))
    check_predictions(tmp_path / "out", task, root)

    capsys.readouterr()
    argv = toy.deploy("--model_parameters", tmp_path / "out" / "net.params", "--task", name, "--data_dir", root,
                      "--seq_length", 48 if name != "QA" else 64, "--QA_doc_stride", 32, "--QA_max_query_length", 24,
                      "--check_accuracy", "--output_dir", tmp_path / "deployed")
    code = deploy.main(argv)
    assert code == 0, capsys.readouterr().err
    result = toy.result(tmp_path / "deployed" / name, "result.json")
    assert result["metrics"] == pytest.approx(trained["metrics"], abs=1e-3) and result["complete"]
    assert len(result["files"]) == len(find_split(task, root, "dev"))
    names = {p.name for p in (tmp_path / "deployed" / name).glob("predictions*")}
    assert names == ({"predictions_dev_matched.tsv", "predictions_dev_mismatched.tsv"} if name == "MNLI" else
                     {"predictions.json"} if name == "QA" else {KINDS[task.kind].file})
    if has_split(task, root, "test"):
        assert deploy.main([*argv, "--split", "test"]) == 0
    check_predictions(tmp_path / "deployed" / name, task, root)


def check_predictions(folder, task, root):
    """Of the test split, where the task has one: for GLUE index and prediction, rows from 0, labels by name."""
    for path in find_split(task, root, "test") if has_split(task, root, "test") else ():
        file = folder / task.submission.get(path.name.split(".")[0], KINDS[task.kind].file)
        lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
        assert len(lines) > ROWS
        if task.kind != "tokens":
            assert lines[0] == ["index", "prediction"]
            assert [line[0] for line in lines[1:]] == [str(at) for at in range(len(lines) - 1)]
            assert all(line[1] in task.labels if task.labels else 0 <= float(line[1]) <= 5 for line in lines[1:])


def test_embedding_task(root, model, tmp_path):
    needs(get_task("embedding"))
    argv = toy.deploy("--bert_model", model, "--task", "embedding", "--data_dir", root, "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert set(toy.result(tmp_path / "embedding", "result.json")["metrics"]) == METRICS["embedding"]
