"""Fine-tuning of classification and regression tasks (GLUE, Chinese tasks, own data)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import UsageError
from bertpass.jobs.described import bundle_of
from bertpass.jobs.finetune_options import FinetuneOptions
from bertpass.jobs.predict import Forward, collect, encode_examples, score, write_predictions
from bertpass.model.config import HeadConfig
from bertpass.options import flag
from bertpass.progress import log, start_logging
from bertpass.text.download import download
from bertpass.text.readers import Example, read_own, read_split, read_task_file
from bertpass.text.tasks import Kind, Task, find_split, get_task, own_task


@dataclass
class ClassifierOptions(FinetuneOptions):
    """Flags of finetune_classifier.py."""

    task_name: str | None = flag(None, "task: MRPC, QQP, QNLI, RTE, STS-B, CoLA, MNLI, WNLI, SST, XNLI, LCQMC, "
                                 "ChnSentiCorp; with --train_file a name of your own (default: custom)", group="data")
    task_kind: str = flag("classification", "of own data: classification, or regression for numbers as labels",
                          group="data", choices=("classification", "regression"))
    test_file: str | None = flag(None, "own data without labels to predict after training", group="data")
    max_len: int = flag(128, "longest sequence in tokens; longer texts are cut", group="data", least=4, most=8192)
    dev_batch_size: int = flag(32, "sequences a batch in evaluation", group="training", least=1)
    lr: float = flag(3e-5, "peak learning rate", group="training", least=0)
    only_inference: bool = flag(False, "evaluate --model_parameters, train nothing", group="training")

    def check(self) -> None:
        super().check()
        if self.train_file and not self.dev_file:
            raise UsageError("--train_file needs --dev_file beside it: the metric is computed there.")
        if self.dev_file and not self.train_file and not self.only_inference:
            raise UsageError("--dev_file needs --train_file beside it, or --only_inference to train nothing.")
        if not self.dev_file and not self.task_name:
            raise UsageError("say what to train: --task_name SST (with --data_dir), or --train_file and --dev_file.")
        if self.only_inference and self.only_calibration:
            raise UsageError("--only_inference and --only_calibration: give one of them.")
        if self.only_inference and not self.model_parameters:
            raise UsageError("--only_inference needs --model_parameters: there is nothing to evaluate without weights.")
        if self.test_file and not Path(self.test_file).exists():
            raise UsageError(f"--test_file {self.test_file}: no such file.")


@dataclass
class Splits:
    """Data of one job before encoding; the development data by file (MNLI has two)."""

    task: Task
    train: list[Example]
    dev: dict[str, list[Example]]
    test: list[Example]


def read_splits(options: ClassifierOptions) -> Splits:
    """Read all data of the job; every fault of a file shows here, before any long work."""
    if options.train_file or options.dev_file:
        kind: Kind = "regression" if options.task_kind == "regression" else "classification"
        train: list[Example] = []
        labels: tuple[str, ...] | None = None
        if options.only_inference:
            known = bundle_of(options.model_parameters or "")
            labels = tuple(known.labels) if known is not None and known.labels else None
        elif options.train_file:
            train, labels = read_own(options.train_file, kind)
        dev, labels = read_own(options.dev_file or "", kind, labels)
        test = read_own(options.test_file, kind, labels, need_labels=False)[0] if options.test_file else []
        return Splits(own_task(options.task_name or "custom", kind, labels), train, {"dev": dev}, test)
    task = get_task(options.task_name or "")
    if task.kind not in ("classification", "regression"):
        raise UsageError(f"--task_name {task.name}: is not a classification or regression task"
                         + ("; use finetune/finetune_squad.py." if task.kind == "qa" else "."))
    root = options.data_dir or download(task)
    train = [] if options.only_inference else read_split(task, root, "train")
    dev_files = {path.name.split(".")[0]: path for path in find_split(task, root, "dev")}
    test = read_own(options.test_file, task.kind, task.labels, need_labels=False)[0] if options.test_file else []
    return Splits(task, train, {name: read_task_file(task, path, "dev") for name, path in dev_files.items()}, test)


def run(options: ClassifierOptions) -> dict[str, Any]:
    """Fine-tune and evaluate; writes net.params, the bundle, metrics.json and predictions into ``--output_dir``.

    Returns
    -------
    dict
        What metrics.json holds: task, metrics of the best epoch, history, seconds.
    """
    options.check()
    splits = read_splits(options)
    from bertpass.engines.mxnet_engine import check_device  # starts MXNet: only after the flags and the data are read
    from bertpass.jobs import starting
    from bertpass.jobs.losses import loss_for
    from bertpass.jobs.trainer import Trainer, to_device
    from bertpass.mx import context

    check_device(options.gpu, options.dtype)
    device = context(options.gpu)
    task = splits.task
    head = HeadConfig(task.kind, num_labels=task.outputs)
    start, tokenizer = starting.checkpoint(options, head, task.labels)
    if options.max_len > start.config.max_length:
        raise UsageError(f"--max_len {options.max_len}: the model has {start.config.max_length} positions.")
    folder = Path(options.output_dir)
    start_logging(folder / "finetune.log")
    starting.tell(start, options)

    train = encode_examples(splits.train, tokenizer, options.max_len)
    dev = {name: encode_examples(rows, tokenizer, options.max_len) for name, rows in splits.dev.items()}
    log.info("%s: %d training and %s development rows", task.name, len(train),
             " + ".join(str(len(d)) for d in dev.values()))
    main = task.main_metric if len(dev) == 1 else f"{task.main_metric} ({next(iter(dev))})"

    def scores_of(forward: Forward) -> dict[str, float]:
        scores: dict[str, float] = {}
        for name, data in dev.items():
            outputs = collect(forward, data, options.dev_batch_size, tokenizer.pad_id, f"evaluating {name}")
            found = score(task, outputs, data.labels)
            scores.update(found if len(dev) == 1 else {f"{k} ({name})": v for k, v in found.items()})
        return scores

    if options.only_calibration:
        from bertpass.jobs import low_precision, only_calibration

        return only_calibration.run(options, start, task.name, options.max_len, train.encodings,
                                    low_precision.Judge(scores_of, main))
    net = starting.network(start, device, options.seed)

    def evaluate() -> tuple[dict[str, float], float]:
        scores = scores_of(starting.inference(net, start, options.gpu))
        return scores, scores[main]

    def keep(metrics: dict[str, float]) -> None:
        starting.write_bundle(net, start, folder, task=task.name, max_length=options.max_len, metrics=metrics)

    began = time.monotonic()
    if options.only_inference:
        result: dict[str, Any] = {"metrics": evaluate()[0]}
    else:
        trainer = Trainer(net, loss_for(head), lambda batch: to_device(batch, start.config, device), options, device)
        epochs = starting.Epochs(train, options, tokenizer.pad_id)
        best = trainer.fit(epochs.batches, epochs.steps, evaluate, keep)
        result = {"metrics": best.metrics, "epoch": best.epoch + 1, "history": trainer.history}
    result = {"task": task.name, "model": options.model_parameters or options.bert_model, **result,
              "seconds": round(time.monotonic() - began, 1), "train_rows": len(train),
              "dev_rows": {name: len(data) for name, data in dev.items()}, "seed": options.seed}
    if splits.test:
        data = encode_examples(splits.test, tokenizer, options.max_len)
        forward = starting.inference(net, start, options.gpu)
        outputs = collect(forward, data, options.dev_batch_size, tokenizer.pad_id, "predicting")
        write_predictions(folder / "predictions.tsv", task, outputs, [e.id for e in splits.test])
    starting.write_result(folder, result)
    return result
