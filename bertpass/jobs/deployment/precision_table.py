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
from bertpass.errors import UsageError
from bertpass.jobs.deployment import workload as work
from bertpass.jobs.deployment.deploy import judge_of
from bertpass.jobs.deployment.model import find
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.jobs.low_precision import lower
from bertpass.jobs.low_precision.guard import Metrics, worst
from bertpass.jobs.low_precision.options import TableOptions
from bertpass.model.config import HeadConfig
from bertpass.model.record import Checkpoint
from bertpass.progress import log
from bertpass.text.data.tasks import get_task

_STATES = 64  # rows whose token states are compared


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
    if options.model_parameters is None:
        raise UsageError("--model_parameters is needed: the fine-tuned model to measure.")
    flags = DeployOptions(model_parameters=options.model_parameters, task=options.task, data_dir=options.data_dir,
                          vocab=options.vocab, num_heads=options.num_heads, seq_length=options.seq_length,
                          dtype="int8", max_metric_drop=1.0, test_batch_size=32,
                          num_calib_batches=options.num_calib_batches)
    flags.check()
    task = get_task(options.task) if options.task else None
    found = find(flags, task)
    task = task or work.own_task(found.name, found.head.kind, found.labels, flags)
    load = _cut(work.encode(work.read(flags, task, found.labels), found.tokenizer(), flags), options.max_rows)
    judge = judge_of(flags, task, load, found.tokenizer().pad_id)
    rows = work.calibration_rows(flags, task, found.tokenizer(), load)
    model = found.model
    if judge is None or not isinstance(model, Checkpoint):
        raise UsageError(f"--model_parameters {options.model_parameters}: give weights, not an exported pair.")
    states = dataclasses.replace(model, head=HeadConfig("none"), labels=None)

    def native(dtype: str, mode: str) -> Callable[[Checkpoint], Engine]:
        settings = dataclasses.replace(flags, dtype=dtype, calib_mode=mode)
        return lambda checkpoint: lower.lower(checkpoint, dtype, settings, rows, None).engine()

    def onednn(mode: str) -> Callable[[Checkpoint], Engine]:
        settings = dataclasses.replace(flags, engine="mxnet", calib_mode=mode)
        return lambda checkpoint: lower.lower(checkpoint, "int8", settings, rows, None).engine()

    variants = {"bfloat16": native("bfloat16", "none"), "int8, weights to nearest": native("int8", "none"),
                "int8, calibrated": native("int8", "customize"),
                **{f"int8 by MXNet, {mode}": onednn(mode) for mode in options.modes if mode != "none"}}
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
    return {"task": task.name, "model": options.model_parameters, "metric": judge.metric, "rows": load.rows,
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
