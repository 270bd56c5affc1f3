"""Fine-tuning beside its PyTorch control: for each task the same start, data, batches and steps in both, one by one.

Ours is the command that people use (finetune/finetune_classifier.py, finetune/finetune_squad.py); the control is
:mod:`bertpass.bench.finetuning.control`. Each runs in a process of its own, one after the other, on the same
processors.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.base.files import write_json
from bertpass.base.paths import ROOT, python_path
from bertpass.errors import BertpassError, DataError
from bertpass.model.checkpoint import adapt, load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.progress import Bar
from bertpass.text.data.tasks import Task, find_split, get_task
from bertpass.text.files import read_json, read_lines

CHINESE = ("XNLI", "LCQMC", "ChnSentiCorp")
_SHARE = 0.2  # of the development rows, for development, where a task has no training file


@dataclass(frozen=True)
class Settings:
    """What all tasks of a run share; the fields are flags of the fine-tuning scripts.

    ``max_dev_rows`` rows (questions for QA) are drawn from longer development files; ``None`` takes all.
    """

    training_steps: int | None
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    max_len: int
    max_seq_length: int
    max_dev_rows: int | None


@dataclass(frozen=True)
class Part:
    """One task with one seed: the model to start from and the folder that takes its files."""

    task: Task
    seed: int
    model: str
    folder: Path


def flags(part: Part, settings: Settings, start: Path, data: Path) -> list[str]:
    """The flags that ours and the control both get."""
    length = ["--max_seq_length", settings.max_seq_length] if part.task.kind == "qa" else \
        ["--task_name", part.task.name, "--max_len", settings.max_len]
    steps = ["--training_steps", settings.training_steps] if settings.training_steps else ["--epochs", settings.epochs]
    words = ["--bert_model", start, "--data_dir", data, *length, *steps, "--batch_size", settings.batch_size, "--lr",
             settings.lr, "--optimizer", settings.optimizer, "--seed", part.seed]
    return [str(word) for word in words]


def start_folder(part: Part, folder: Path) -> Path:
    """The model with the task's fresh head as a Hugging Face folder, which both sides read."""
    task = part.task
    head = HeadConfig(task.kind, num_labels=0 if task.kind == "qa" else task.outputs)
    found = adapt(load_checkpoint(part.model), head, part.seed, list(task.labels) or None)
    huggingface.write_folder(folder, found)
    return folder


def data_folder(task: Task, root: str, folder: Path, max_dev_rows: int | None) -> Path:
    """Training and development files in the task's own layout; a task without a training file has its rows parted."""
    folder.mkdir(parents=True, exist_ok=True)
    dev = find_split(task, root, "dev")[0]
    if task.columns is None:  # SQuAD's layout
        questions = find_split(task, root, "train")[0]
        _link(questions, folder / questions.name)
        if task.kind == "ranking":  # candidates come from the whole article, and the reader takes 1,000 questions
            _link(dev, folder / dev.name)
        else:
            _first_questions(dev, folder / "dev-v1.1.json", max_dev_rows)
        return folder
    dev_lines = [line for _, line in read_lines(dev)]
    try:
        train: Path | None = find_split(task, root, "train")[0]
    except DataError:
        train = None
    if train is not None:  # a damaged one is an error, and no reason to train on development rows
        train_lines = [line for _, line in read_lines(train)]
    else:
        first, rows = _parted(task, dev_lines)
        random.Random(0).shuffle(rows)
        cut = int(len(rows) * _SHARE)
        train_lines, dev_lines = first + rows[cut:], first + rows[:cut]
    first, rows = _parted(task, dev_lines)
    if max_dev_rows is not None and len(rows) > max_dev_rows:
        dev_lines = first + random.Random(0).sample(rows, max_dev_rows)
    for name, lines in (("train.tsv", train_lines), (dev.name.removesuffix(".gz"), dev_lines)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def _parted(task: Task, lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The header line, if the task's files have one, and the rows."""
    count = 1 if task.columns is not None and task.columns.header else 0
    return list(lines[:count]), list(lines[count:])


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.symlink_to(source.absolute())


def _first_questions(source: Path, target: Path, count: int | None) -> None:
    """A SQuAD file with the questions of every n-th paragraph, so that about ``count`` of them are left."""
    content = read_json(source)
    paragraphs = [p for article in content["data"] for p in article["paragraphs"]]
    every = 1 if count is None else max(1, round(sum(len(p["qas"]) for p in paragraphs) / count))
    content["data"] = [{"title": "every paragraph in turn", "paragraphs": paragraphs[::every]}]
    write_json(target, content)


def compare(part: Part, settings: Settings, root: str, tell: Callable[[str], None] = lambda text: None,
            ) -> dict[str, Any]:
    """Fine-tune ours and the control; returns what a result file holds of them.

    Raises
    ------
    BertpassError
        One of the two failed; the text says which, and where its log is.
    """
    folder = part.folder
    data = data_folder(part.task, root, folder / "data", settings.max_dev_rows)
    start = start_folder(part, folder / "start")
    words = flags(part, settings, start, data)
    which = "squad" if part.task.kind == "qa" else "classifier"
    tell("ours")
    script = ROOT / "finetune" / f"finetune_{which}.py"
    _run([str(script), *words, "--output_dir", str(folder / "ours")], folder / "ours.log")
    tell("control")
    result = folder / "control.json"
    _run(["-m", "bertpass.commands.bench.control", str(result), which, *words], folder / "control.log")
    ours = json.loads((folder / "ours" / "metrics.json").read_text(encoding="utf-8"))
    control = json.loads(result.read_text(encoding="utf-8"))
    return {"task": part.task.name, "main_metric": part.task.main_metric, "model": part.model, "seed": part.seed,
            "settings": vars(settings),
            **{key: ours[key] for key in ("train_rows", "dev_rows", "train_questions", "train_windows",
                                          "dev_questions") if key in ours},
            **{side: {key: found[key] for key in ("metrics", "epoch", "history", "samples_per_second")}
               for side, found in (("ours", ours), ("control", control))}}


def _run(words: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                              env={**os.environ, "PYTHONPATH": python_path()}, check=False)
    if done.returncode:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise BertpassError(f"{Path(words[0]).name if words[0] != '-m' else words[1]} ended with exit code "
                            f"{done.returncode}: {said[-1][:300] if said else 'it said nothing'} (all of it: {log}).")


def parts(tasks: Sequence[str], seeds: Sequence[int], model: str, chinese_model: str | None,
          folder: Path) -> list[Part]:
    """Every task with every seed; Chinese tasks start from ``chinese_model`` where there is one."""
    return [Part(task, seed, (chinese_model or model) if task.name in CHINESE else model,
                 folder / f"{task.name}-{seed}")
            for task in map(get_task, tasks) for seed in seeds]


def run(wanted: Sequence[Part], settings: Settings, root: str, done: Sequence[dict[str, Any]],
        keep: Callable[[list[dict[str, Any]]], None]) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare every part that is not among ``done``; ``keep`` gets all results after each, and failures are told.

    Returns the results and the sentences of what failed.
    """
    found, failures = list(done), []
    known = {(r["task"], r["seed"], r["model"], json.dumps(r["settings"])) for r in found}
    with Bar("fine-tuning beside the control", len(wanted), "tasks") as bar:
        for part in wanted:
            name = f"{part.task.name}, seed {part.seed}"
            if (part.task.name, part.seed, part.model, json.dumps(vars(settings))) not in known:
                try:
                    def tell(side: str, name: str = name) -> None:
                        bar.advance(0, f"{name}: {side}")

                    found.append(compare(part, settings, root, tell))
                    keep(found)
                except BertpassError as error:
                    failures.append(f"{name}: {error}")
            bar.advance(1, name)
    return found, failures
