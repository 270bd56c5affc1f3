"""Fine-tuning of sentence-embedding models on pairs, triplets or scored pairs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import DataError, ModelError, UsageError
from bertpass.extras import require
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.jobs.tasks.opening import load
from bertpass.jobs.tasks.own_columns import ColumnOptions
from bertpass.jobs.training import starting
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.jobs.training.sentence_rows import METRICS, Rows, SentenceEpochs, encode, judge, read_own, read_stsb
from bertpass.jobs.training.torch.optimizer import check_optimizer
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.model.layouts.huggingface import write_folder
from bertpass.model.record import Checkpoint
from bertpass.options import flag
from bertpass.progress import log, start_logging

#: class of sentence_transformers.losses -> the kinds of rows that it takes
LOSSES = {"MultipleNegativesRankingLoss": ("pairs", "triplets"), "CoSENTLoss": ("scored",),
          "CosineSimilarityLoss": ("scored",), "TripletLoss": ("triplets",)}


@dataclass
class EmbeddingOptions(ColumnOptions, LoopOptions):
    """Flags of bertpass finetune embeddings."""

    model: str = flag("", "embedding model or encoder to start from: minilm, mpnet, a folder or a hub id",
                      positional=True)
    negative_column: str | None = flag(None, "column of texts that do not belong (default: negative, if there is one)",
                                       group="data")
    max_length: int | None = flag(None, "longest text in tokens, here and in the model that is written (default: the "
                               "model's)", group="data", least=4, most=8192)
    loss: str = flag("auto", "loss of sentence-transformers; auto is CoSENTLoss for scored pairs and "
                     "MultipleNegativesRankingLoss for others", group="training", choices=("auto", *LOSSES))
    dev_batch_size: int = flag(32, "rows per batch in evaluation", group="training", least=1, rare=True)
    lr: float = flag(2e-5, "peak learning rate", group="training", least=0)

    @property
    def columns(self) -> Mapping[str, str]:
        """Field -> column, of those that are named."""
        return super().columns if self.negative_column is None else {**super().columns,
                                                                     "negative": self.negative_column}

    def check(self) -> None:
        """Checks that need no data."""
        self.check_loop()
        check_optimizer(self.optimizer)
        for name in ("train_file", "dev_file"):
            if getattr(self, name) is None and self.data_dir is None:
                raise UsageError(f"--{name} is missing: name one, or with --data_dir a folder with STS-B.")
        if self.columns and self.train_file is None and self.dev_file is None:
            raise UsageError("columns are named for files of your own alone, and none is given.")
        if len({name.strip().lower() for name in self.columns.values()}) < len(self.columns):
            raise UsageError("two flags name one column: give each of them a column of its own.")


def read_rows(options: EmbeddingOptions) -> tuple[Rows, Rows]:
    """Training and development rows; every fault of a file shows here."""
    found = {split: read_own(path, options.columns) if path is not None else read_stsb(options.data_dir or "", split)
             for split, path in (("train", options.train_file), ("dev", options.dev_file))}
    return found["train"], found["dev"]


def loss_for(options: EmbeddingOptions, rows: Rows) -> str:
    """The loss for these rows; UsageError or DataError where it does not take them."""
    loss = options.loss
    if loss == "auto":
        loss = "CoSENTLoss" if rows.kind == "scored" else "MultipleNegativesRankingLoss"
    if rows.kind not in LOSSES[loss]:
        able = ", ".join(name for name, kinds in LOSSES.items() if rows.kind in kinds)
        raise UsageError(f"--loss {loss} is for {' and '.join(LOSSES[loss])}, and the training rows are {rows.kind}: "
                         f"leave --loss out or take {able}.")
    if loss == "CosineSimilarityLoss" and rows.scores is not None and np.abs(rows.scores).max() > 1:
        raise DataError(f"--loss CosineSimilarityLoss: scores are cosines, from -1 to 1, and one is "
                        f"{rows.scores[np.abs(rows.scores).argmax()]:g}; divide them, or take CoSENTLoss.")
    return loss


def start_of(options: EmbeddingOptions) -> Checkpoint:
    """The model to start from, with a head that gives vectors: its own, else the mean over the tokens, as bertpass.load
    gives it.

    Raises
    ------
    ModelError
        It has no vocabulary, makes no vectors, or does more to them than the network.
    """
    found = load(options.model, allow_pickle=options.allow_pickle)
    if found.tokenizer is None:
        raise ModelError(f"{options.model} has no vocabulary beside it.")
    around = found.sentence
    if around.changes_vectors or (not around.include_prompt and around.prompt()):
        raise ModelError(f"{options.model}: after the network come a pooling, layers or a cut that are not "
                         "trained here; train such a model with sentence-transformers.")
    if found.head.kind not in ("embedding", "none", "pooled"):
        raise ModelError(f"{options.model} is a {found.head.kind} model and gives no vectors; name an encoder.")
    if found.head.kind != "embedding":
        found = adapt(found, HeadConfig("embedding", pooling="mean"))
    length = options.max_length or found.max_length or found.config.max_length
    if length > found.config.max_length:
        raise UsageError(f"--max_length {length}: the model has {found.config.max_length} positions.")
    return dataclasses.replace(found, max_length=length)


def run(options: EmbeddingOptions) -> dict[str, Any]:
    """Fine-tune and evaluate; writes the model as a folder of sentence-transformers into OUTPUT_DIR/bundle, net.params
    and metrics.json.

    Returns
    -------
    dict
        What metrics.json holds: metrics of the best evaluation and those before training, history, seconds.
    """
    options.check()
    train_rows, dev_rows = read_rows(options)
    loss = loss_for(options, train_rows)
    from bertpass.jobs.training.torch.sentences import EXTRA, SentenceTrainer
    from bertpass.jobs.training.torch.trainer import check_gpu

    check_gpu(options.gpu)
    require("sentence_transformers", EXTRA)
    start = start_of(options)
    folder = Path(options.output_dir)
    starting.check_place(folder / BUNDLE, has_graph=False)
    trainer = SentenceTrainer(start, options, loss)
    start_logging(folder / "finetune.log")
    starting.tell(start, trainer)
    tokenizer, prompt = start.tokenizer, start.sentence.prompt()
    assert tokenizer is not None and start.max_length is not None  # of start_of
    train, dev = (encode(rows, tokenizer, start.max_length, prompt) for rows in (train_rows, dev_rows))
    log.info("%s: %d %s to train on, %d %s to judge by", loss, len(train_rows), train_rows.kind, len(dev_rows),
             dev_rows.kind)

    def evaluate() -> tuple[dict[str, float], float]:
        found = judge(trainer.inference(), dev, dev_rows.kind, options.dev_batch_size, tokenizer.pad_id)
        return found, found[METRICS[dev_rows.kind][0]]

    def keep(metrics: dict[str, float]) -> None:
        write_folder(folder / BUNDLE, dataclasses.replace(trainer.trained(), notes=[]))

    began = time.monotonic()
    before = evaluate()[0]
    log.info("before training: %s", ", ".join(f"{name} {value:.4f}" for name, value in before.items()))
    epochs = SentenceEpochs(train, options, tokenizer.pad_id, apart=loss == "MultipleNegativesRankingLoss")
    best = trainer.fit(epochs, evaluate, keep)
    result = {"task": "embeddings", "model": options.model, "loss": loss, "trainer": trainer.name,
              "before": before, "metrics": best.metrics, "epoch": trainer.history[best.stretch]["epoch"],
              "history": trainer.history, "samples_per_second": trainer.samples_per_second,
              "seconds": round(time.monotonic() - began, 1), "train_rows": len(train_rows), "dev_rows": len(dev_rows),
              "seed": options.seed}
    starting.write_result(folder, result)
    return result
