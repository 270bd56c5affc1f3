"""The command line ``bertpass bench finetuning``: fine-tuning next to a PyTorch control, task by task."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.base.files import write_json, write_text
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, DataError, UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import log, start_logging
from bertpass.text.files import read_json

TASKS = ["SST", "CoLA", "MRPC", "STS-B", "RTE", "WNLI", "QNLI", "QQP", "MNLI", "QA", "SQuAD-rerank"]


@dataclass
class FinetuningOptions:
    """Flags of bertpass bench finetuning."""

    data_dir: str = flag("", "folder that holds the tasks' folders, in GLUE or SQuAD layout", group="data",
                         required=True)
    tasks: list[str] = flag(TASKS, "tasks, one after the other", group="data")
    max_dev_rows: int | None = flag(2000, "largest number of development rows (questions for QA), drawn from longer "
                                    "files; 0 takes all", group="data", least=0)
    model: str = flag("minilm", "model to start from", group="model", positional=True, formerly=("--bert_model",))
    chinese_model: str | None = flag(None, "model for XNLI, LCQMC and ChnSentiCorp", group="model")
    seeds: list[int] = flag([2], "seeds of the head, the order of the rows and dropout", group="training")
    training_steps: int = flag(360, "steps per task; 0 trains for --epochs", group="training", least=0)
    epochs: int = flag(1, "passes over the training data with --training_steps 0", group="training", least=1)
    batch_size: int = flag(16, "rows per step", group="training", least=1)
    lr: float = flag(3e-5, "peak learning rate", group="training", least=0)
    optimizer: str = flag("bertadam", "optimiser of both sides", group="training",
                          choices=("bertadam", "adam", "adamw"))
    max_length: int = flag(128, "longest row in tokens, of every task but QA", group="training", least=4,
                           formerly=("--max_len",))
    max_window: int = flag(256, "longest window of QA in tokens", group="training", least=16,
                           formerly=("--max_seq_length",))
    threads: int | None = flag(None, "threads of each side (default: OMP_NUM_THREADS, otherwise all processors)",
                               least=1)
    output: str = flag("bench_output/finetuning", "folder for finetuning.json, .md and .png; results that are there "
                       "already are kept", group="output")


def earlier(file: Path) -> list[dict[str, Any]]:
    """The results of a file that an earlier run left; DataError where it is damaged or another one's."""
    content = read_json(file)
    runs = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) and {"task", "seed", "model", "settings"} <= set(run)
                                             for run in runs):
        raise DataError(f"{file} holds no results of this command; name another --output or remove it.")
    return runs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparisons; returns the exit code, 1 where one of them failed."""
    def job() -> None:
        import os

        options = parse(FinetuningOptions, argv, "Fine-tune each task next to a PyTorch control of the same start, "
                        "data and steps.")
        check_output_folder("output", options.output)
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise UsageError(f"the control needs {package}; install it with: pip install '.[reference]'.")
        if options.threads:
            os.environ["OMP_NUM_THREADS"] = str(options.threads)  # both sides' processes inherit it
        from bertpass.bench.cpu import report
        from bertpass.bench.finetuning import report as finetuning_report
        from bertpass.bench.finetuning import run as finetuning

        folder = Path(options.output)
        wanted = finetuning.parts(options.tasks, options.seeds, options.model, options.chinese_model, folder)
        for part in wanted:  # faults of a name or a folder show before the first one trains
            finetuning.find_split(part.task, options.data_dir, "dev")
        settings = finetuning.Settings(options.training_steps or None, options.epochs, options.batch_size, options.lr,
                                       options.optimizer, options.max_length, options.max_window,
                                       options.max_dev_rows or None)
        start_logging()
        file = folder / "finetuning.json"
        about = report.environment(machine.threads(), [], {})

        def keep(results: list[dict[str, Any]]) -> None:
            write_json(file, {"environment": about, "runs": results})

        done = earlier(file) if file.is_file() else []
        results, failures = finetuning.run(wanted, settings, options.data_dir, done, keep)
        if results:
            found = finetuning_report.lines(results)
            title = f"Fine-tuning beside PyTorch, {machine.describe()['cpu']}, {machine.threads()} threads"
            finetuning_report.show(found, title)
            write_text(folder / "finetuning.md", finetuning_report.markdown(found))
            finetuning_report.draw(folder / "finetuning.png", found, title)
            log.info("wrote %s, finetuning.md and finetuning.png", file)
        if failures:
            raise BertpassError(f"{len(failures)} of {len(wanted)} comparisons failed: {' | '.join(failures)}")
    return guarded(job)
