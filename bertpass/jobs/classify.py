"""Fine-tuning of classification and regression tasks (GLUE, Chinese tasks, own data)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import UsageError
from bertpass.jobs.finetune_options import FinetuneOptions
from bertpass.options import flag
from bertpass.progress import log, start_logging
from bertpass.text.tasks import Task


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
        if not self.train_file and not self.task_name:
            raise UsageError("say what to train: --task_name SST (with --data_dir), or --train_file and --dev_file.")
        if self.only_inference and not self.model_parameters:
            raise UsageError("--only_inference needs --model_parameters: there is nothing to evaluate without weights.")
        if self.test_file and not Path(self.test_file).exists():
            raise UsageError(f"--test_file {self.test_file}: no such file.")


@dataclass
class Splits:
    """Data of one job before encoding."""

    task: Task
    train: list[Any]
    dev: dict[str, list[Any]]
    test: list[Any]


def main_value(task: Task, metrics: dict[str, float]) -> float:
    """The metric that decides which epoch is best."""
    return float(np.nan_to_num(metrics[task.main_metric], nan=-1.0))
