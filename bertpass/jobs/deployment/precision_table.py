"""What low precision costs one fine-tuned model: metrics on a whole split and the error of its token states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.engines.base import Engine
from bertpass.engines.native import NativeEngine
from bertpass.jobs.deployment import workload as work
from bertpass.jobs.deployment.model import Weights, find
from bertpass.jobs.deployment.steps import judge_of
from bertpass.jobs.low_precision import lower
from bertpass.jobs.low_precision.guard import Metrics, worst
from bertpass.jobs.low_precision.options import Lowering, TableOptions
from bertpass.jobs.tasks.predict import AnswerOptions
from bertpass.model.config import HeadConfig
from bertpass.model.record import Checkpoint
from bertpass.options import check_paths
from bertpass.progress import log
from bertpass.text.data.tasks import get_task

_STATES = 64  # rows whose token states are compared
_BATCH = 32


@dataclass(frozen=True)
class Line:
    """One precision: ``error`` is the L2 norm of the difference of the token states of some rows from float32's, over
    the norm of these; ``drop`` the main metric's, as a share of its range."""

    name: str
    metrics: Metrics
    drop: float
    error: float


def run(options: TableOptions) -> dict[str, Any]:
    """Measure all precisions of one model; gives what the JSON file holds."""
    check_paths(options, "vocab", "data_dir")
    settings = work.RowSettings(AnswerOptions(options.max_length), _BATCH, root=options.data_dir)
    task = get_task(options.task) if options.task else None
    found = find(Weights(options.model, vocab=options.vocab, num_heads=options.num_heads), task)
    model = found.model
    assert isinstance(model, Checkpoint)
    task = task or work.own_task(found.name, found.head.kind, found.labels)
    tokenizer = found.tokenizer()
    load = _cut(work.encode(work.read(settings, task, found.labels), tokenizer, settings), options.max_rows)
    judge = judge_of(task, load, _BATCH, tokenizer.pad_id)
    rows = work.calibration_rows(settings, task, tokenizer, load, options.num_calib_batches)
    states = dataclasses.replace(model, head=HeadConfig("none"), labels=None)

    def by(engine: str, dtype: str, mode: str) -> Callable[[Checkpoint], Engine]:
        lowering = Lowering(engine, "auto", mode, options.num_calib_batches, None)
        return lambda checkpoint: lower.lower(checkpoint, dtype, lowering, rows, None).engine()

    variants = {"bfloat16": by("native", "bfloat16", "none"),
                "int8, weights to nearest": by("native", "int8", "none"),
                "int8, calibrated": by("native", "int8", "customize"),
                **{f"int8 by MXNet, {mode}": by("mxnet", "int8", mode) for mode in options.modes if mode != "none"}}
    some = load.dataset.encodings[:_STATES]
    exact = _states(NativeEngine(states), some)
    full = judge.metrics(NativeEngine(model))
    lines = [Line("float32", full, 0.0, 0.0)]
    for name, made in variants.items():
        low = judge.metrics(made(model))
        error = float(np.linalg.norm(_states(made(states), some) - exact) / np.linalg.norm(exact))
        drop, metric = worst(full, low, judge.metric)
        lines.append(Line(name, low, drop / judge.span, error))
        log.info("%s: %s %.4f, error %.2e", name, metric, low[metric], error)
    return {"task": task.name, "model": options.model, "metric": judge.metric, "rows": load.rows,
            "calibration_rows": len(rows), "instruction_set": NativeEngine(states).describe()["instruction_set"],
            "lines": [dataclasses.asdict(line) for line in lines], "machine": machine.describe(),
            "versions": machine.versions(), "command": machine.command()}


def _cut(load: work.Workload, rows: int | None) -> work.Workload:
    """The first rows of a workload; all of it where no number is given."""
    if rows is None or rows >= load.rows:
        return load
    windows = load.dataset.windows
    count = sum(window.question < rows for window in windows) if windows else rows
    data = dataclasses.replace(load.dataset, encodings=load.dataset.encodings[:count], windows=windows[:count])
    return dataclasses.replace(load, dataset=data, rows=rows)


def _states(engine: Engine, encodings: Sequence[Any]) -> np.ndarray:
    """Token states of rows, one after another."""
    return np.concatenate([engine.forward(row.ids[None], row.token_types[None], np.array([len(row)]))[0][0]
                           for row in encodings])


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{result['task']}, {result['rows']} rows, {result['model']}")
    names = list(result["lines"][0]["metrics"])
    for title in ("precision", *names, f"drop of {result['metric']}", "error of states"):
        table.add_column(title, justify="left" if title == "precision" else "right")
    for line in result["lines"]:
        table.add_row(line["name"], *(f"{line['metrics'][name]:.4f}" for name in names), f"{line['drop']:+.4f}",
                      f"{line['error']:.1e}")
    Console(width=None if Console().is_terminal else 140).print(table)
