"""What every fine-tuning job does with a model before and after its own work: tell about it, compute, write it."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpass.base.files import write_json
from bertpass.errors import ModelError, UsageError
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.jobs.tasks.exported import find_pair, inputs_of
from bertpass.jobs.tasks.opening import in_order, load
from bertpass.jobs.tasks.predict import Forward
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.jobs.training.trainer import Trainer, native_forward
from bertpass.model import parameters
from bertpass.model.checkpoint import adapt
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files.folders import BUNDLE_FILE, HUGGINGFACE_FILE
from bertpass.model.layouts.huggingface import write_folder
from bertpass.model.record import Checkpoint
from bertpass.progress import log
from bertpass.text.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertpass.jobs.training.mxnet.trainer import MXNetTrainer
    from bertpass.jobs.training.torch.trainer import TorchTrainer

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


def tell(start: Checkpoint, trainer: Trainer | None) -> None:
    """Say what the job starts from, and what trains it where that is not MXNet."""
    config = start.config
    log.info("model: %s (%s, %d layers, %d units, %d heads)", start.source, config.family, config.num_layers,
             config.units, config.num_heads)
    if trainer is not None and trainer.name != "mxnet":
        log.info("trained through PyTorch, on %s", trainer.device)
    for note in start.notes:
        log.info("note: %s", note)


def trainer_class(options: FinetuneOptions, config: EncoderConfig) -> type[MXNetTrainer] | type[TorchTrainer]:
    """What computes the gradients: MXNet for the families that its network computes, where it is installed; else
    PyTorch, or what --trainer names.

    Raises
    ------
    ModelError
        --trainer mxnet, and MXNet's network does not compute the encoder.
    UsageError
        OUTPUT_DIR/bundle is of another kind than what would be written there.
    """
    computed = parameters.on_mxnet(config)
    if options.trainer == "mxnet" and not computed:
        raise ModelError(f"--trainer mxnet: a network of MXNet has no {parameters.more_than_bert(config)}; leave "
                         "--trainer out, and PyTorch trains it.")
    if options.trains:
        check_place(Path(options.output_dir) / BUNDLE, _has_graph(config))
    if options.trainer == "mxnet" or (options.trainer == "auto" and _has_graph(config)):
        from bertpass.jobs.training.mxnet.trainer import MXNetTrainer
        return MXNetTrainer
    from bertpass.jobs.training.torch.trainer import TorchTrainer
    return TorchTrainer


def trainer(options: FinetuneOptions, start: Checkpoint) -> Trainer | None:
    """The trainer with the weights, once all that train together are there; None where nothing is trained and the
    native engine computes."""
    if not options.trains and options.gpu is None and options.dtype == "float32":
        return None
    made_by = trainer_class(options, start.config)
    return made_by(start, options, made_by.join(options))


def forwards(options: FinetuneOptions, start: Checkpoint, trainer: Trainer | None) -> Callable[[], Forward]:
    """Gives the forward of the moment: of the pair that --deploy names, of the checkpoint where nothing is trained, or
    with the trainer's weights."""
    if trainer is not None and not options.model_prefix:
        return trainer.inference
    found = exported(options.model_prefix) if options.model_prefix else native_forward(start)
    return lambda: found


def _has_graph(config: EncoderConfig) -> bool:
    """Whether a bundle can be written, whose graph MXNet exports."""
    return parameters.on_mxnet(config) and importlib.util.find_spec("mxnet") is not None


def check_place(place: Path, has_graph: bool) -> None:
    """Refuse, before any long work, a folder that could not be replaced after it."""
    wanted, other = (BUNDLE_FILE, HUGGINGFACE_FILE) if has_graph else (HUGGINGFACE_FILE, BUNDLE_FILE)
    if (place / other).is_file() and not (place / wanted).is_file():
        kinds = {BUNDLE_FILE: "a bundle", HUGGINGFACE_FILE: "a Hugging Face folder"}
        raise UsageError(f"{place} is {kinds[other]} of an earlier run, and this one would write {kinds[wanted]} "
                         "there; name another folder with --output_dir.")


def exported(prefix: str) -> Forward:
    """A forward of the exported pair that ``--deploy --model_prefix`` names, on the CPU."""
    from bertpass.engines.frameworks.mxnet_engine import MXNetEngine

    found = find_pair(Path(prefix))
    engine = MXNetEngine.from_files(found, inputs_of(found))
    return lambda batch: engine.forward(batch.input_ids, batch.token_types, batch.valid_length)


def write_model(trainer: Trainer, folder: Path, *, task: str, max_length: int, metrics: Mapping[str, Any]) -> None:
    """Write the trained model as OUTPUT_DIR/bundle, and a WordPiece vocabulary in GluonNLP's form beside net.params.

    It is a bundle where MXNet can export its graph; otherwise a Hugging Face folder stands in its place.
    """
    model = trainer.trained()
    model = dataclasses.replace(model, max_length=min(max_length, model.config.max_length), notes=[])
    if not _has_graph(model.config):
        write_folder(folder / BUNDLE, model)
        return
    from bertpass.model.export import export_bundle  # starts MXNet

    export_bundle(dataclasses.replace(model, extras={}), folder / BUNDLE, task=task, metrics=metrics,
                  trainer=trainer.name)
    if model.tokenizer is not None and model.tokenizer.family == "wordpiece":
        model.tokenizer.save_gluonnlp_vocab(folder / "net.vocab")


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write metrics.json, and say where the model is."""
    place = folder / BUNDLE
    if (place / BUNDLE_FILE).is_file():
        log.info("the model is in %s and %s", folder / "net.params", place)
    elif place.is_dir():
        log.info("the model is in %s, a Hugging Face folder; its weights are in %s too", place, folder / "net.params")
    write_json(folder / "metrics.json", result)
