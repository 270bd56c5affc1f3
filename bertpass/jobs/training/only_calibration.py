"""--only_calibration of the fine-tuning scripts: a fine-tuned model in int8, written as deploy.py writes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.engines.native import NativeEngine
from bertpass.errors import ModelError
from bertpass.jobs.deployment.model import check_own_folder, pair_prefix
from bertpass.jobs.low_precision import lower
from bertpass.jobs.low_precision.calibration_rows import calibration_rows
from bertpass.jobs.low_precision.lower import Judge
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.model import parameters
from bertpass.model.export import export_bundle
from bertpass.model.record import Checkpoint
from bertpass.passes.library import Library
from bertpass.progress import log


def run(options: FinetuneOptions, start: Checkpoint, task: str, max_length: int, encodings: Sequence[Any],
        judge: Judge) -> dict[str, Any]:
    """Write OUTPUT_DIR/TASK in int8 and measure it beside float32; gives what its result.json holds.

    Parameters
    ----------
    max_length : tokens to which the deployed model cuts texts
    encodings : rows of which some are taken for calibration
    judge : the development set
    """
    if not parameters.on_mxnet(start.config):
        raise ModelError("--only_calibration writes a graph of MXNet, which has no "
                         f"{parameters.more_than_bert(start.config)}; bertpass pack --dtype int8 writes the model in "
                         "int8.")
    prefix = pair_prefix(options.output_dir, task)
    check_own_folder(prefix)
    rows = calibration_rows(encodings, options.num_calib_batches)
    model = dataclasses.replace(start, max_length=min(max_length, start.config.max_length), notes=[], extras={})
    lowered = lower.lower(model, "int8", options.lowering, rows, judge)
    bundle = export_bundle(model, prefix.parent / BUNDLE, task=task)
    if options.custom_pass is not None:
        Library(options.custom_pass)
    report = lowered.write(str(bundle.symbol_path).removesuffix("-symbol.json"), prefix, options.pass_names(),
                           options.custom_pass)
    full = lowered.guarded.full if lowered.guarded else judge.metrics(NativeEngine(model))
    low = judge.metrics(MXNetEngine.from_files(prefix, bundle.inputs))
    log.info("float32: %s; int8: %s", *(", ".join(f"{k} {v:.4f}" for k, v in found.items()) for found in (full, low)))
    log.info("the model in int8 is %s-symbol.json and %s-0000.params", prefix, prefix)
    result = {"task": task, "model": start.source, "exported": str(prefix), "metrics": low,
              "metrics_float32": full, "settings": {"passes": report}, "command": machine.command()}
    write_json(prefix.parent / "result.json", result)
    return result
