"""What every fine-tuning job does with a model before and after its own work: tell about it, compute, write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass.base.files import write_json
from bertpass.errors import ModelError
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.jobs.tasks.exported import find_pair, inputs_of
from bertpass.jobs.tasks.opening import in_order, load
from bertpass.jobs.tasks.predict import Forward
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.model.export import export_bundle
from bertpass.model.layouts.bundle import Bundle
from bertpass.model.nets import Network, build, get_parameters, set_parameters
from bertpass.model.record import Checkpoint
from bertpass.progress import log
from bertpass.text.tokens.tokenizer import Tokenizer


def checkpoint(options: FinetuneOptions, head: HeadConfig,
               labels: tuple[str, ...] = ()) -> tuple[Checkpoint, Tokenizer]:
    """The checkpoint that a fine-tuning job starts from, with the head of its task, and its tokenizer.

    Raises
    ------
    ModelError
        Weights cannot be read, have no vocabulary, or (``--only_inference``) have another head than the task.
    """
    source = options.model_parameters or options.pretrained_bert_parameters or options.bert_model
    found = load(source, bert_model=options.bert_model, dataset=options.bert_dataset, vocab=options.vocab,
                 lower=True if options.uncased else False if options.cased else None, num_heads=options.num_heads,
                 kind=head.kind, allow_pickle=options.allow_pickle)
    if found.tokenizer is None:
        raise ModelError(f"{source} has no vocabulary beside it; name one with --vocab.")
    if options.model_parameters and (found.head.kind, found.head.num_labels) != (head.kind, head.num_labels):
        raise ModelError(f"--model_parameters {source}: its head is '{found.head.kind}' with {found.head.num_labels} "
                         f"outputs, and this task needs '{head.kind}' with {head.num_labels}.")
    fits = (found.head.kind, found.head.num_labels) == (head.kind, head.num_labels)
    lower = True if options.uncased else False if options.cased else None
    tokenizer = found.tokenizer if lower is None else found.tokenizer.with_lower(lower)
    found = in_order(dataclasses.replace(found, tokenizer=tokenizer), labels)
    start = adapt(found, head, options.seed, labels=list(labels) or None)
    if not (fits or options.trains or options.deploy):
        start.notes.append("WARNING: no --model_parameters, and nothing is trained: the predictions mean nothing.")
    return start, tokenizer


def tell(start: Checkpoint, options: FinetuneOptions) -> None:
    """Say what the job starts from."""
    config = start.config
    log.info("model: %s (%s, %d layers, %d units, %d heads)", start.source, config.family, config.num_layers,
             config.units, config.num_heads)
    for note in start.notes:
        log.info("note: %s", note)


def network(start: Checkpoint, contexts: Sequence[Any], seed: int) -> Network:
    """The network in training form (with dropout), on the devices, with its weights."""
    from bertpass.mx import mx

    mx.random.seed(seed)
    net = build(start.config, start.head)
    set_parameters(net, start.params, ctx=list(contexts))
    net.hybridize(static_alloc=True)
    return net


def inference(net: Network, start: Checkpoint, gpu: int | None) -> Forward:
    """A forward with the network's weights of this moment; on CPUs by the native engine, several times as fast."""
    if gpu is not None:
        from bertpass.jobs.training.trainer import net_forward
        from bertpass.mx import context

        return net_forward(net, start.config, context(gpu))
    from bertpass.engines.native import NativeEngine

    engine = NativeEngine(dataclasses.replace(start, params={**start.params, **get_parameters(net)}))
    return lambda batch: engine.forward(batch.input_ids, batch.token_types, batch.valid_length)


def exported(prefix: str) -> Forward:
    """A forward of the exported pair that ``--deploy --model_prefix`` names, on the CPU."""
    from bertpass.engines.frameworks.mxnet_engine import MXNetEngine

    found = find_pair(Path(prefix))
    engine = MXNetEngine.from_files(found, inputs_of(found))
    return lambda batch: engine.forward(batch.input_ids, batch.token_types, batch.valid_length)


def write_bundle(net: Network, start: Checkpoint, folder: Path, *, task: str, max_length: int,
                 metrics: Mapping[str, Any]) -> Bundle:
    """Write the trained network as OUTPUT_DIR/bundle, and its vocabulary in GluonNLP's form beside net.params."""
    trained = dataclasses.replace(start, params={**start.params, **get_parameters(net)},
                                  max_length=min(max_length, start.config.max_length), notes=[], extras={})
    bundle = export_bundle(trained, folder / BUNDLE, task=task, metrics=metrics)
    if trained.tokenizer is not None and trained.tokenizer.family == "wordpiece":
        trained.tokenizer.save_gluonnlp_vocab(folder / "net.vocab")
    return bundle


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write metrics.json, and say where the model is."""
    if (folder / BUNDLE).is_dir():
        log.info("the model is in %s and %s", folder / "net.params", folder / BUNDLE)
    write_json(folder / "metrics.json", result)
