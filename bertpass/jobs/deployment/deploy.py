"""Deployment: export, apply the passes, run the validation set, report speed and metric."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpass import machine
from bertpass.engines.cuda import library as cuda_library
from bertpass.errors import UsageError
from bertpass.jobs.deployment import workload as work
from bertpass.jobs.deployment.measure import Latency
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.jobs.deployment.precision import encoder_dtype
from bertpass.jobs.tasks.predict import collect
from bertpass.model.low_precision.plan import base_of, products
from bertpass.passes import select
from bertpass.passes.select import NATIVE_ENCODER
from bertpass.progress import Bar, log
from bertpass.text.data.tasks import Task, get_task
from bertpass.text.tokens.batching import batches

if TYPE_CHECKING:
    from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
    from bertpass.jobs.deployment.model import Deployed, Found
    from bertpass.jobs.low_precision.lower import Judge

WARMUP = 2  # batches that are run and not timed


@dataclass
class Timing:
    """Seconds a batch of one engine: on the device alone, and with making and copying the batch."""

    compute: list[float]
    total: list[float]


def set_environment(options: DeployOptions) -> dict[str, str]:
    """Set what MXNet reads at its start; returns what was set. Has to come before MXNet is imported."""
    wanted = {}
    if options.dtype == "float16" and options.gpu is not None:
        wanted["MXNET_SAFE_ACCUMULATION"] = "1"
    if options.true_fp16:
        wanted["MXNET_FC_TRUE_FP16"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
        log.info("%s=%s", name, os.environ[name])
    return wanted


def run(options: DeployOptions) -> dict[str, Any]:
    """Everything that deploy.py does; returns what result.json holds.

    Raises
    ------
    BertpassError
        Of the kind that fits the fault; flags, library, data and device are checked before the export.
    """
    options.check()
    set_environment(options)
    task = get_task(options.task) if options.task else None
    source = None
    if task is not None and not options.single and not options.eval_file:
        source = work.read(options, task, None)
    passes = [info.name for info in select(options.pass_names(), "cpu" if options.gpu is None else "gpu")]
    if options.gpu is not None and NATIVE_ENCODER in passes:
        cuda_library.library()  # refuses where it is not built
    from bertpass.engines.frameworks.mxnet_engine import (  # starts MXNet: only after what needs none
        MXNetEngine,
        check_device,
    )
    from bertpass.jobs.deployment.model import export, find
    from bertpass.passes.library import Library

    encoder = encoder_dtype(options, passes) if options.gpu is None else "float32"
    check_device(options.gpu, base_of(encoder) if options.gpu is None else options.dtype)
    if options.custom_pass is not None:
        Library(options.custom_pass)
    found = find(options, task, [] if source is None else source.examples)
    check_fit(options, found)
    products(encoder, found.config.num_layers)  # refuses a plan for layers that there are not
    asked, load = None, None
    if options.single:
        asked = read_single(options)
    else:
        task = task or work.own_task(found.name, found.head.kind, found.labels, options)
        if task.open:
            task = dataclasses.replace(task, labels=tuple(found.labels))
        source = dataclasses.replace(source or work.read(options, task, found.labels), task=task)
        work.refuse_other_pairs(source, found.model.pairs)
        load = work.encode(source, found.tokenizer(), options)
    rows, judge = [], None
    if load is not None and task is not None and encoder != "float32":
        judge = judge_of(options, task, load, found.tokenizer().pad_id)
        rows = work.calibration_rows(options, task, found.tokenizer(), load)
    deployed = export(options, found, passes, encoder, rows, judge)
    bundle = deployed.bundle
    if options.only_calibration:
        return _written(deployed, {"task": task.name if task else None, "model": found.model.source,
                                   "exported": deployed.prefix, "settings": {"passes": deployed.report},
                                   "command": machine.command()})
    engine = MXNetEngine.from_files(deployed.prefix, bundle.inputs, gpu=options.gpu, report={"passes": deployed.report})
    if task is None or source is None or load is None:
        return _single(options, asked or [], engine, deployed)
    engines = {"passes": engine}
    if options.compare:
        engines["plain"] = MXNetEngine.from_files(deployed.plain, bundle.inputs, gpu=options.gpu)
    outputs, timings = _run_batches(engines, load, options, bundle.tokenizer().pad_id)
    result = _result(options, task, source, load, deployed, engine, outputs, timings)
    if options.check_accuracy:
        load.write(Path(deployed.prefix).parent, outputs["passes"])
    return _written(deployed, result)


def _written(deployed: Deployed, result: dict[str, Any]) -> dict[str, Any]:
    """The result, once it is in result.json beside the deployed pair."""
    path = Path(deployed.prefix).parent / "result.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def judge_of(options: DeployOptions, task: Task, load: work.Workload, pad_id: int) -> Judge | None:
    """What --max_metric_drop holds the model against: the metrics of all rows; UsageError where none has a label."""
    from bertpass.jobs.low_precision.lower import Judge

    if options.max_metric_drop is None:
        return None
    score = load.score
    if score is None:
        raise UsageError("--max_metric_drop: these rows have no labels to compute a metric from; give a labelled "
                         "--split or --eval_file.")
    return Judge(lambda forward: score(collect(forward, load.dataset, options.test_batch_size, pad_id, "the metric")),
                 task.main_metric, 100.0 if task.kind == "qa" else 1.0)


def check_fit(options: DeployOptions, found: Found) -> None:
    """Refuse what the model cannot do, before it is exported."""
    found.tokenizer()
    kind = found.head.kind
    if options.seq_length > found.config.max_length:
        raise UsageError(f"--seq_length {options.seq_length}: the model has {found.config.max_length} positions.")
    if options.question is not None and kind != "qa":
        raise UsageError(f"--question: this is a {kind} model and answers no questions; give --text.")
    if options.text is not None and kind == "qa":
        raise UsageError("--text: this is a question answering model; give --question and --context.")
    if options.text_pair is not None and not found.head.has_classifier:
        raise UsageError(f"--text_pair: this is a {kind} model and takes one text at a time.")


def _run_batches(engines: dict[str, MXNetEngine], load: work.Workload, options: DeployOptions,
                 pad_id: int) -> tuple[dict[str, list[np.ndarray]], dict[str, Timing]]:
    """Run every batch on every engine in turn; the order of the engines alternates from batch to batch."""
    plan = batches(load.dataset.encodings, options.test_batch_size, pad_id=pad_id, pad_to=options.seq_length,
                   sort="none")
    count = min(len(plan), options.max_iters or len(plan))
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    timings = {name: Timing([], []) for name in engines}
    first = next(iter(plan))
    for _ in range(WARMUP):
        for engine in engines.values():
            engine.forward(first.input_ids, first.token_types, first.valid_length)
    names = list(engines)
    iterator = iter(plan)
    with Bar("inference", count, "batches") as bar:
        for turn in range(count):
            began = time.perf_counter()
            batch = next(iterator)
            made = time.perf_counter() - began
            for name in names if turn % 2 == 0 else names[::-1]:
                start = time.perf_counter()
                arrays = engines[name].arrays(batch.input_ids, batch.token_types, batch.valid_length)
                ready = time.perf_counter()
                result = engines[name].run(arrays)
                done = time.perf_counter()
                table = result[0].astype("float32").asnumpy()
                timings[name].compute.append(done - ready)
                timings[name].total.append(made + time.perf_counter() - start)
                for row, length in zip(table, batch.valid_length, strict=True):
                    outputs[name].append(row[:length] if load.dataset.per_token else row)
            bar.advance(1, f"{np.median(timings[names[0]].compute) * 1e3:.1f} ms a batch")
    return outputs, timings


def _speed(timing: Timing, options: DeployOptions, rows: int) -> dict[str, Any]:
    batch = options.test_batch_size
    full = timing.compute[:-1] if rows % batch and len(timing.compute) > 1 else timing.compute
    return {
        "latency_ms": Latency.of(full).to_dict(),
        "throughput_samples_per_s": round(rows / sum(timing.compute), 2),
        "throughput_with_data_loading": round(rows / sum(timing.total), 2),
    }


def _result(options: DeployOptions, task: Task, source: work.Source, load: work.Workload, deployed: Deployed,
            engine: MXNetEngine, outputs: dict[str, list[np.ndarray]], timings: dict[str, Timing]) -> dict[str, Any]:
    rows = len(outputs["passes"])
    result: dict[str, Any] = {
        "task": task.name, "files": source.files, "model": deployed.bundle.source, "exported": deployed.prefix,
        "batch_size": options.test_batch_size, "sequence_length": options.seq_length,
        "iterations": len(timings["passes"].compute), "sequences": rows, "rows": load.rows,
        "complete": rows == len(load.dataset),
        **_speed(timings["passes"], options, rows),
        "metrics": load.score(outputs["passes"]) if load.score is not None else {},
        "settings": engine.describe(), "machine": machine.describe(), "versions": machine.versions(),
        "command": machine.command(),
    }
    if options.compare:
        plain, ours = timings["plain"], timings["passes"]
        difference = max(float(np.abs(a - b).max()) for a, b in
                         zip(outputs["plain"], outputs["passes"], strict=True))
        result["compare"] = {
            "plain": _speed(plain, options, rows),
            "ratio_of_median_latency": round(float(np.median(plain.compute) / np.median(ours.compute)), 3),
            "max_output_difference": difference,
            "metrics_without_passes": load.score(outputs["plain"]) if load.score is not None else {},
        }
    return result


def read_single(options: DeployOptions) -> list[str]:
    """The texts, or the one context, that the flags give; "-" stands for standard input."""
    if options.question is not None:
        found = [sys.stdin.read() if options.context == "-" else options.context or ""]
    else:
        found = [line.rstrip("\n") for line in sys.stdin] if options.text == "-" else [options.text or ""]
    found = [text for text in found if text.strip()]
    if not found:
        raise UsageError(f"--{'text' if options.question is None else 'context'}: there is no text in it.")
    return found


def _single(options: DeployOptions, texts: list[str], engine: MXNetEngine, deployed: Deployed) -> dict[str, Any]:
    """One question, one text or many lines of them."""
    from bertpass.engines.model import Model

    bundle = deployed.bundle
    model = Model(engine, bundle.config, bundle.head, bundle.tokenizer(), bundle.labels or (), options.seq_length,
                  getattr(bundle, "sentence", None))  # an exported pair says nothing about it
    if options.question is not None:
        found = model.answer(options.question, texts[0], max_answer_length=options.QA_max_answer_length,
                             doc_stride=options.QA_doc_stride, version_2=options.QA_version_2,
                             null_score_diff_threshold=options.QA_null_score_diff_threshold)
        return {"question": options.question, "answer": found.text, "score": found.score,
                "start": found.start, "end": found.end}
    if model.head.kind == "tokens":
        return {"tagged": [{"text": t, "entities": [vars(e) for e in tagged]}
                           for t, tagged in zip(texts, model.tag(texts), strict=True)]}
    if model.head.has_classifier:
        pairs = [options.text_pair] * len(texts) if options.text_pair is not None else None
        return {"predictions": [{"text": t, "label": p.label, "score": p.score, "scores": p.scores}
                                for t, p in zip(texts, model.predict(texts, pairs), strict=True)]}
    return {"embeddings": [{"text": t, "embedding": [float(f"{v:.9g}") for v in e]}
                           for t, e in zip(texts, model.encode(texts), strict=True)]}
