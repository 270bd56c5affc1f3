"""A model as a plain pair of symbol and parameters, and its speed: what the published export.py does."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.errors import ModelError
from bertpass.jobs.deployment.model import random_checkpoint
from bertpass.jobs.published.options import ExportPairOptions
from bertpass.jobs.tasks.opening import load
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.model.export import export_bundle
from bertpass.model.files import params_file
from bertpass.passes.optimize import write_pair
from bertpass.progress import log

HEADS = {"classification": HeadConfig("classification", 2), "regression": HeadConfig("regression", 1),
         "question_answering": HeadConfig("qa")}
TRIALS = 10


def run(options: ExportPairOptions) -> str:
    """Write the pair; the line with the speed of one sequence. Several tasks may share a folder.

    Raises
    ------
    ModelError
        The weights have another head than the task.
    """
    options.check()
    head = HEADS[options.task]
    prefix = Path(options.output_dir) / options.task
    if options.model_parameters:
        model = load(options.model_parameters, bert_model=options.model_name, dataset=options.dataset_name,
                     vocab=options.vocab, num_heads=options.num_heads, kind=head.kind)
        if model.head.kind != head.kind:
            raise ModelError(f"--model_parameters {options.model_parameters}: its head is '{model.head.kind}', and "
                             f"--task {options.task} needs '{head.kind}'.")
    elif options.model_name is not None and Path(options.model_name).exists():
        log.warning("WARNING: no --model_parameters: the head is random, so the predictions mean nothing.")
        model = adapt(load(options.model_name), head)
    else:
        model = random_checkpoint(options.model_name or "bert_12_768_12", options.vocab, options.dropout, head, ())
    length = min(options.seq_length + 10, model.config.max_length)
    with TemporaryDirectory() as folder:
        bundle = export_bundle(model, Path(folder) / "bundle", task=options.task)
        write_pair(prefix, bundle.symbol_path.read_text(encoding="utf-8"), params_file.read(bundle.params_path))
    engine = MXNetEngine.from_files(prefix, bundle.inputs)
    ids = np.arange(length, dtype=np.int32)[None] % model.config.vocab_size
    arrays = engine.arrays(ids, np.zeros_like(ids), np.array([length]))
    engine.run(arrays)
    began = time.perf_counter()
    for _ in range(TRIALS):
        engine.run(arrays)
    rate = TRIALS / (time.perf_counter() - began)
    return f"{prefix}-symbol.json, {prefix}-0000.params: batch size=1, throughput={rate:.2f} batches/s"
