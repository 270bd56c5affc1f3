"""Fine-tuning of every kind of task but question answering (GLUE, Chinese tasks, NER, re-ranking, own data)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import UsageError
from bertpass.jobs.tasks.described import labels_of
from bertpass.jobs.tasks.kinds import KINDS, Outputs, score, write
from bertpass.jobs.tasks.own_columns import OwnColumnOptions
from bertpass.jobs.tasks.predict import Dataset, Forward, collect
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.options import flag
from bertpass.progress import log, start_logging
from bertpass.text.data.download import download
from bertpass.text.data.readers import Example, doubts, read_own, read_split, read_task_file, refuse_other_pairs
from bertpass.text.data.tasks import TASKS, Kind, Task, find_split, get_task, has_split, own_task, stem

TRAINED = [name for name, task in TASKS.items() if task.kind not in ("qa", "embedding") and "train" in task.files]
OWN_KINDS = ("classification", "regression", "multilabel", "ranking", "tokens")


@dataclass
class ClassifierOptions(OwnColumnOptions, FinetuneOptions):
    """Flags of finetune_classifier.py."""

    task_name: str | None = flag(None, f"task: {', '.join(TRAINED)}; with --train_file a name of your own (default: "
                                 "custom)", group="data")
    task_kind: str = flag("classification", "kind of your own data. regression: labels are numbers; multilabel: any "
                          "number of labels per row; ranking: query, passage, relevance; tokens: CoNLL files",
                          group="data", choices=OWN_KINDS)
    test_file: str | None = flag(None, "your own data without labels, predicted after training", group="data")
    no_test: bool = flag(False, "do not predict the task's test split", group="data", rare=True)
    max_len: int = flag(128, "longest row in tokens; longer texts are cut", group="data", least=4, most=8192)
    dev_batch_size: int = flag(32, "rows per batch in evaluation", group="training", least=1, rare=True)
    lr: float = flag(3e-5, "peak learning rate", group="training", least=0)
    only_inference: bool = flag(False, "evaluate --model_parameters and train nothing", group="training")

    @property
    def trains(self) -> bool:
        return super().trains and not self.only_inference

    def check(self) -> None:
        super().check()
        if self.train_file and not self.dev_file:
            raise UsageError("--train_file needs --dev_file as well: the metric is computed on it.")
        if self.dev_file and not self.train_file and not self.only_inference:
            raise UsageError("--dev_file needs --train_file as well, or --only_inference to train nothing.")
        if not self.dev_file and not self.task_name:
            raise UsageError("say what to train: --task_name SST (with --data_dir), or --train_file and --dev_file.")
        if (self.only_inference or self.only_calibration) and self.backend:
            raise UsageError("--only_inference and --only_calibration train nothing: leave --workers and "
                             "--comm_backend out.")
        if self.only_inference and self.only_calibration:
            raise UsageError("--only_inference and --only_calibration: give one of them.")
        if self.deploy and not self.only_inference:
            raise UsageError("--deploy --model_prefix: an exported model is evaluated, not trained: add "
                             "--only_inference.")
        self.check_columns(self.dev_file)
        if self.test_file and not Path(self.test_file).exists():
            raise UsageError(f"--test_file {self.test_file}: no such file.")


@dataclass
class Splits:
    """Data of one job before encoding; development and test data by the names of their files (MNLI has two each)."""

    task: Task
    train: list[Example]
    dev: dict[str, list[Example]]
    test: dict[str, list[Example]]


def read_splits(options: ClassifierOptions) -> Splits:
    """Read all data of the job; every fault of a file shows here, before any long work."""
    known = labels_of(options.model_parameters or "") if options.only_inference else None
    if options.train_file or options.dev_file:
        return _own_splits(options, known)
    task = get_task(options.task_name or "")
    if task.kind in ("qa", "embedding"):
        raise UsageError(f"--task_name {task.name}: is not trained here"
                         + ("; use bertpass finetune squad." if task.kind == "qa" else "."))
    KINDS[task.kind].check()
    root = options.data_dir or download(task)
    train = [] if options.only_inference else read_split(task, root, "train")
    dev = {stem(path): read_task_file(task, path, "dev") for path in find_split(task, root, "dev")}
    test: dict[str, list[Example]] = {}
    if options.test_file:
        test["test_file"] = read_own(options.test_file, task.kind, _known(task), need_labels=False)[0]
    elif not options.no_test and has_split(task, root, "test"):
        test = {stem(path): read_task_file(task, path, "test") for path in find_split(task, root, "test")}
    if task.open:
        found = KINDS[task.kind].labels(train or [row for rows in dev.values() for row in rows])
        task = dataclasses.replace(task, labels=tuple(known or found))
    return Splits(task, train, dev, test)


def _known(task: Task) -> tuple[str, ...] | None:
    """The labels for reading more data of a task; None where they are those of the data."""
    return task.labels if task.labels or task.kind == "regression" else None


def _own_splits(options: ClassifierOptions, labels: Sequence[str] | None) -> Splits:
    kind: Kind = options.task_kind  # type: ignore[assignment]  # of OWN_KINDS
    KINDS[kind].check()
    separator = options.label_separator
    layout: dict[str, Any] = {"separator": separator, "word_column": options.word_column,
                              "tag_column": options.tag_column, "columns": options.columns}
    train: list[Example] = []
    if options.train_file and not options.only_inference:
        train, labels = read_own(options.train_file, kind, **layout)
    dev, labels = read_own(options.dev_file or "", kind, labels, **layout)
    test = {}
    if options.test_file:
        test["test_file"] = read_own(options.test_file, kind, labels, need_labels=False, **layout)[0]
    first, rows = (options.train_file, train) if train else (options.dev_file, dev)
    for path, others in ((options.dev_file, dev), (options.test_file, test.get("test_file", []))):
        refuse_other_pairs(str(first), rows, str(path), others)
    task = own_task(options.task_name or "custom", kind, labels, separator=separator, threshold=options.threshold)
    return Splits(task, train, {"dev": dev}, test)


def run(options: ClassifierOptions) -> dict[str, Any]:
    """Fine-tune and evaluate; writes net.params, the bundle, metrics.json and predictions into ``--output_dir``.

    Returns
    -------
    dict
        What metrics.json holds: task, metrics of the best evaluation, history, seconds, and the test split's metrics
        where it has labels.
    """
    options.check()
    splits = read_splits(options)
    from bertpass.jobs.training import starting  # starts MXNet or PyTorch: only after the flags and the data are read
    from bertpass.jobs.training.epochs import Epochs

    task = splits.task
    head = KINDS[task.kind].head(task)
    start, tokenizer = starting.checkpoint(options, head, task.labels)
    if options.max_len > start.config.max_length:
        raise UsageError(f"--max_len {options.max_len}: the model has {start.config.max_length} positions.")
    rows = splits.train or [row for part in splits.dev.values() for row in part]
    start = dataclasses.replace(start, pairs=bool(rows) and rows[0].text_pair is not None)
    trainer = starting.trainer(options, start)
    rank = trainer.workers.rank if trainer else 0
    folder = Path(options.output_dir)
    start_logging(None if rank else folder / "finetune.log", verbose=not rank)
    starting.tell(start, trainer)

    kind = KINDS[task.kind]
    train = kind.encode(task, splits.train, tokenizer, options.max_len)
    dev = {name: kind.encode(task, rows, tokenizer, options.max_len) for name, rows in splits.dev.items()}
    if task.labels:
        log.info("labels: %s", ", ".join(task.labels))
    for doubt in doubts(task, splits.train):
        log.warning("%s", doubt)
    log.info("%s: %d training and %s development rows", task.name, len(splits.train),
             " + ".join(str(len(rows)) for rows in splits.dev.values()))
    main = task.main_metric if len(dev) == 1 else f"{task.main_metric} ({next(iter(dev))})"

    def run_with(forward: Forward, parts: dict[str, Dataset], doing: str) -> dict[str, tuple[Outputs, Dataset]]:
        return {name: (collect(forward, data, options.dev_batch_size, tokenizer.pad_id, f"{doing} {name}"), data)
                for name, data in parts.items()}

    if options.only_calibration:
        from bertpass.jobs.low_precision import lower
        from bertpass.jobs.training import only_calibration

        judge = lower.Judge(lambda forward: score(task, run_with(forward, dev, "evaluating")), main)
        return only_calibration.run(options, start, task.name, options.max_len, train.encodings, judge)
    forward = starting.forwards(options, start, trainer)

    def outputs_of(parts: dict[str, Dataset], doing: str) -> dict[str, tuple[Outputs, Dataset]]:
        return run_with(forward(), parts, doing)

    def evaluate() -> tuple[dict[str, float], float]:
        scores = score(task, outputs_of(dev, "evaluating"))
        return scores, scores[main]

    began = time.monotonic()
    if options.only_inference or trainer is None:
        result: dict[str, Any] = {"metrics": evaluate()[0]}
    else:
        best = trainer.fit(Epochs(train, options, tokenizer.pad_id), evaluate, lambda metrics: starting.write_model(
            trainer, folder, task=task.name, max_length=options.max_len, metrics=metrics))
        result = {"trainer": trainer.name, "metrics": best.metrics, "epoch": trainer.history[best.stretch]["epoch"],
                  "history": trainer.history, "samples_per_second": trainer.samples_per_second}
        if rank:
            return result
    result = {"task": task.name, "labels": list(task.labels), "model": options.named_model, **result,
              "seconds": round(time.monotonic() - began, 1), "train_rows": len(splits.train),
              "dev_rows": {name: len(rows) for name, rows in splits.dev.items()}, "seed": options.seed}
    if splits.test:
        test = {name: kind.encode(task, rows, tokenizer, options.max_len) for name, rows in splits.test.items()}
        predicted = outputs_of(test, "predicting")
        log.info("predictions: %s", ", ".join(map(str, write(folder, task, predicted))))
        if all(map(kind.labelled, test.values())):
            result["test_metrics"] = score(task, predicted)
    starting.write_result(folder, result)
    return result
