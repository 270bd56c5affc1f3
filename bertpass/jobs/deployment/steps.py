"""The steps of a deployment after its plan: the rows, the exported pair, its run over the rows, the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.errors import UsageError
from bertpass.jobs.deployment import workload as work
from bertpass.jobs.deployment.measure import Timing, over_batches
from bertpass.jobs.deployment.plan import Plan
from bertpass.jobs.low_precision import lower
from bertpass.jobs.low_precision.lower import Judge
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.jobs.tasks.exported import ExportedPair
from bertpass.jobs.tasks.predict import collect
from bertpass.model.export import export_bundle
from bertpass.model.layouts.bundle import Bundle
from bertpass.model.record import Checkpoint
from bertpass.passes import optimize
from bertpass.progress import log
from bertpass.text.data.tasks import Task
from bertpass.text.tokens.tokenizer import Encoding


@dataclass(frozen=True)
class Data:
    """The encoded rows, with what low precision needs of them: rows to calibrate on, and what the guard measures."""

    load: work.Workload
    settings: work.RowSettings
    pad_id: int
    calibration: Sequence[Encoding] = ()
    judge: Judge | None = None


@dataclass(frozen=True)
class Pair:
    """The deployed pair of files by its prefix, the plain bundle beside it, what the passes did."""

    prefix: Path
    bundle: Bundle | ExportedPair
    report: dict[str, Any]
    gpu: int | None

    def engine(self) -> MXNetEngine:
        """Runs the deployed pair."""
        return MXNetEngine.from_files(self.prefix, self.bundle.inputs, gpu=self.gpu, report={"passes": self.report})

    def plain(self) -> MXNetEngine:
        """Runs the same model without passes."""
        prefix = str(self.bundle.symbol_path).removesuffix("-symbol.json")
        return MXNetEngine.from_files(prefix, self.bundle.inputs, gpu=self.gpu)


@dataclass(frozen=True)
class Measured:
    """Outputs of every row and durations of every batch, by "passes" and, where it was run, "plain"."""

    settings: dict[str, Any]
    outputs: dict[str, list[np.ndarray]]
    timings: dict[str, Timing]


def data(plan: Plan) -> Data:
    """Encode the rows; UsageError where the guard has no labels to compute a metric from."""
    assert plan.source is not None and plan.task is not None, "a request has no rows"
    tokenizer = plan.found.tokenizer()
    load = work.encode(plan.source, tokenizer, plan.rows)
    if plan.encoder == "float32":
        return Data(load, plan.rows, tokenizer.pad_id)
    judge = None
    if plan.lowering.max_metric_drop is not None:
        judge = judge_of(plan.task, load, plan.rows.batch_size, tokenizer.pad_id)
    return Data(load, plan.rows, tokenizer.pad_id,
                work.calibration_rows(plan.rows, plan.task, tokenizer, load, plan.lowering.num_calib_batches), judge)


def judge_of(task: Task, load: work.Workload, batch_size: int, pad_id: int) -> Judge:
    """What --max_metric_drop holds the model against: the metrics of all rows; UsageError where none has a label."""
    score = load.score
    if score is None:
        raise UsageError("--max_metric_drop: these rows have no labels to compute a metric from; give a labelled "
                         "--split or --eval_file.")
    return Judge(lambda forward: score(collect(forward, load.dataset, batch_size, pad_id, "the metric")),
                 task.main_metric, 100.0 if task.kind == "qa" else 1.0)


def export(plan: Plan, data: Data | None = None) -> Pair:
    """Write the bundle and, with the passes applied, the deployed pair; with ``--only_infer`` both are there.

    A bundle for a CPU is float32, which plain MXNet runs there. Without ``data`` nothing is calibrated.
    """
    model = plan.found.model
    if not isinstance(model, Checkpoint):
        return Pair(plan.prefix, model, {"passes": "as exported"}, plan.gpu)
    lowered = None
    if plan.encoder != "float32":
        lowered = lower.lower(model, plan.encoder, plan.lowering, data.calibration if data else (),
                              data.judge if data else None)
    log.info("exporting %s as %s", model.source, plan.prefix)
    if model.sentence.outside:
        log.warning("WARNING: %s", model.sentence.outside)
    bundle = export_bundle(model, plan.prefix.parent / BUNDLE, task=plan.found.name or model.head.kind,
                           dtype=plan.dtype)
    plain = str(bundle.symbol_path).removesuffix("-symbol.json")
    if lowered is not None:
        return Pair(plan.prefix, bundle, lowered.write(plain, plan.prefix, plan.passes, plan.library), plan.gpu)
    report = optimize(plain, plan.prefix, passes=plan.passes, library=plan.library,
                      device="cpu" if plan.gpu is None else "gpu")
    log.info("%s", report)
    return Pair(plan.prefix, bundle, report.to_dict(), plan.gpu)


def measure(pair: Pair, data: Data, compare: bool = False) -> Measured:
    """Run the rows on the deployed pair and, to ``compare``, on the plain bundle in turn with it."""
    engines = {"passes": pair.engine()}
    if compare:
        engines["plain"] = pair.plain()
    outputs, timings = over_batches(engines, data.load.dataset, data.settings.batch_size, data.settings.length,
                                    data.pad_id, data.settings.max_batches)
    return Measured(engines["passes"].describe(), outputs, timings)


def result(plan: Plan, pair: Pair, data: Data, measured: Measured) -> dict[str, Any]:
    """What result.json holds."""
    assert plan.source is not None and plan.task is not None, "a request has no rows"
    load, batch, timing = data.load, plan.rows.batch_size, measured.timings["passes"]
    outputs = measured.outputs["passes"]
    found: dict[str, Any] = {
        "task": plan.task.name, "files": plan.source.files, "model": pair.bundle.source, "exported": str(pair.prefix),
        "batch_size": batch, "sequence_length": plan.rows.length, "iterations": len(timing.compute),
        "sequences": len(outputs), "rows": load.rows, "complete": len(outputs) == len(load.dataset),
        **timing.speed(len(outputs), batch), "metrics": load.metrics(outputs), "settings": measured.settings,
        "machine": machine.describe(), "versions": machine.versions(), "command": machine.command(),
    }
    if "plain" in measured.timings:
        plain, without = measured.timings["plain"], measured.outputs["plain"]
        found["compare"] = {
            "plain": plain.speed(len(outputs), batch),
            "ratio_of_median_latency": round(float(np.median(plain.compute) / np.median(timing.compute)), 3),
            "max_output_difference": max(float(np.abs(a - b).max()) for a, b in zip(without, outputs, strict=True)),
            "metrics_without_passes": load.metrics(without),
        }
    return found
