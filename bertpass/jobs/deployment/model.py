"""From weights to the deployed pair of files: find the model, export it as a bundle, then the passes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import ModelError, UsageError
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.jobs.low_precision import lower
from bertpass.jobs.low_precision.lower import Judge
from bertpass.jobs.tasks.described import BUNDLE, bundle_of
from bertpass.jobs.tasks.exported import ExportedPair, bundle_beside, find_pair
from bertpass.jobs.tasks.kinds import KINDS
from bertpass.jobs.tasks.opening import in_order, load
from bertpass.model import parameters
from bertpass.model.checkpoint import adapt
from bertpass.model.config import EncoderConfig, HeadConfig, named
from bertpass.model.export import export_bundle
from bertpass.model.layouts.bundle import Bundle
from bertpass.model.layouts.gluonnlp import cached, read_vocabulary
from bertpass.model.record import Checkpoint
from bertpass.passes import optimize
from bertpass.progress import log
from bertpass.text.data.tasks import Task
from bertpass.text.example import Example
from bertpass.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Found:
    """A model before anything is written: a checkpoint to export, or with --only_infer the bundle of an earlier run or
    a pair of somebody else's.

    ``prefix`` is that of the deployed pair, ``name`` the task's.
    """

    prefix: Path
    name: str | None
    model: Checkpoint | Bundle | ExportedPair

    @property
    def config(self) -> EncoderConfig:
        return self.model.config

    @property
    def head(self) -> HeadConfig:
        return self.model.head

    @property
    def labels(self) -> list[str]:
        return self.model.labels or []

    def tokenizer(self) -> Tokenizer:
        """ModelError where the model has none."""
        if not isinstance(self.model, Checkpoint):
            return self.model.tokenizer()
        if self.model.tokenizer is None:
            raise ModelError(f"{self.model.source} has no vocabulary beside it; name one with --vocab.")
        return self.model.tokenizer


@dataclass(frozen=True)
class Deployed:
    """What deployment wrote: the prefix of the deployed pair, the plain bundle, what the passes did."""

    prefix: str
    bundle: Bundle | ExportedPair
    report: dict[str, Any]

    @property
    def plain(self) -> str:
        """Prefix of the same model without passes."""
        return str(self.bundle.symbol_path).removesuffix("-symbol.json")


def prefix_of(options: DeployOptions, name: str) -> Path:
    """Where the deployed pair goes: --exported_model, else OUTPUT_DIR/TASK/TASK."""
    return Path(options.exported_model) if options.exported_model else pair_prefix(options.output_dir, name)


def pair_prefix(output_dir: str, name: str) -> Path:
    """OUTPUT_DIR/TASK/TASK, for a name that a folder can have."""
    name = re.sub(r"[^\w.-]", "_", name)
    return Path(output_dir) / name / name


def check_own_folder(prefix: Path) -> None:
    """Refuse to write beside another model: each deployed pair has its folder, for the bundle there is its own."""
    others = [f.name for f in sorted(prefix.parent.glob("*-symbol.json")) if f.name != f"{prefix.name}-symbol.json"]
    others += [name for name in ("net.params",) if (prefix.parent / name).exists()]
    if others:
        raise UsageError(f"{prefix.parent} holds another model ({others[0]}) and each needs a folder of its own: name "
                         "another --output_dir or --exported_model.")


def head_for(task: Task | None) -> HeadConfig:
    """The head that a task needs (token states where no task is named)."""
    if task is None:
        return HeadConfig("none")
    return HeadConfig("qa") if task.kind == "qa" else KINDS[task.kind].head(task)


def find(options: DeployOptions, task: Task | None, examples: Sequence[Example] = ()) -> Found:
    """Load the weights that the flags name, or with ``--only_infer`` open what an earlier run wrote.

    A task with open labels takes a model's own; for a head that is new they are those of ``examples``.
    """
    if options.only_infer:
        prefix = find_pair(Path(options.exported_model or Path(options.output_dir, options.task or "")))
        bundle = bundle_beside(prefix)
        if bundle is None:
            return Found(prefix, options.task, _exported(options, prefix, task))
        return Found(prefix, bundle.task, bundle)
    checkpoint = _checkpoint(options, task, examples)
    known = None if task is not None else bundle_of(options.model_parameters or "")
    name = task.name if task is not None else known.task if known is not None else None
    prefix = prefix_of(options, name or checkpoint.head.kind)
    check_own_folder(prefix)
    return Found(prefix, name, checkpoint)


def export(options: DeployOptions, found: Found, passes: Sequence[str], encoder_dtype: str, rows: Sequence[Any] = (),
           judge: Judge | None = None) -> Deployed:
    """Write the bundle and, with the passes applied, the deployed pair; with ``--only_infer`` both are there.

    A bundle for a CPU is float32, which plain MXNet runs there; ``encoder_dtype`` is for the pair. ``rows`` and
    ``judge`` are for low precision, see :func:`bertpass.jobs.low_precision.lower`.
    """
    if not isinstance(found.model, Checkpoint):
        return Deployed(str(found.prefix), found.model, {"passes": "as exported"})
    prefix = found.prefix
    lowered = None
    if encoder_dtype != "float32":
        lowered = lower.lower(found.model, encoder_dtype, options, rows, judge)
    log.info("exporting %s as %s", found.model.source, prefix)
    if found.model.sentence.outside:
        log.warning("WARNING: %s", found.model.sentence.outside)
    bundle = export_bundle(found.model, prefix.parent / BUNDLE, task=found.name or found.head.kind,
                           dtype="float32" if options.gpu is None else options.dtype)
    plain = str(bundle.symbol_path).removesuffix("-symbol.json")
    if lowered is not None:
        return Deployed(str(prefix), bundle, lowered.write(plain, prefix, passes, options.custom_pass))
    report = optimize(plain, str(prefix), passes=passes, library=options.custom_pass,
                      device="cpu" if options.gpu is None else "gpu")
    log.info("%s", report)
    return Deployed(str(prefix), bundle, report.to_dict())


def _exported(options: DeployOptions, prefix: Path, task: Task | None) -> ExportedPair:
    """A pair without a bundle, as GluonNLP's scripts export one: the task says its head and labels."""
    if task is None or task.open or task.kind == "embedding":
        raise UsageError(f"{prefix} has no bundle beside it, which would say what it computes: name its --task, "
                         "one with labels of its own.")
    vocabulary = None
    if options.vocab:
        vocabulary = read_vocabulary(options.vocab)
    elif options.bert_model and Path(options.bert_model).exists():
        vocabulary = load(options.bert_model).tokenizer
    elif found := cached(options.bert_model or "bert_12_768_12", options.dataset_name):
        vocabulary = read_vocabulary(found[1]) if found[1] else None
    elif options.dataset_name == "book_corpus_wiki_en_uncased":
        vocabulary = _borrowed_tokenizer()
    return ExportedPair.open(prefix, head_for(task), list(task.labels) or None, bert_model=options.bert_model,
                             vocabulary=vocabulary, task=task.name)


def _checkpoint(options: DeployOptions, task: Task | None, examples: Sequence[Example]) -> Checkpoint:
    if options.model_parameters:
        found = load(options.model_parameters, bert_model=options.bert_model, dataset=options.dataset_name,
                     vocab=options.vocab, num_heads=options.num_heads, kind=task.kind if task else None,
                     allow_pickle=options.allow_pickle)
    elif options.bert_model in (None, "bert_12_768_12", "bert_24_1024_16"):
        known = None if task is None else _with_labels(task, examples)
        return random_checkpoint(options.bert_model or "bert_12_768_12", options.vocab, options.dropout,
                                 head_for(known), known.labels if known else ())
    else:
        found = load(options.bert_model or "", dataset=options.dataset_name, vocab=options.vocab,
                     num_heads=options.num_heads, allow_pickle=options.allow_pickle)
    if task is None or (task.open and found.head.kind == task.kind and found.labels):
        return found
    task = _with_labels(task, examples)
    wanted = head_for(task)
    if task.kind == "embedding":
        return found if found.head.kind == "embedding" else adapt(found, wanted)
    if (found.head.kind, found.head.num_labels) != (wanted.kind, wanted.num_labels):
        if options.model_parameters:
            raise ModelError(f"--model_parameters {options.model_parameters}: its head is '{found.head.kind}' with "
                             f"{found.head.num_labels} outputs, and task {task.name} needs '{wanted.kind}' with "
                             f"{wanted.num_labels}.")
        log.warning("WARNING: no --model_parameters: the head of %s is random, so its predictions mean nothing.",
                    task.name)
        return adapt(found, wanted, labels=list(task.labels) or None)
    return in_order(found, task.labels)


def _with_labels(task: Task, examples: Sequence[Example]) -> Task:
    """The task, with the labels of the data where it has none of its own."""
    if not task.open or not examples:
        return task
    return dataclasses.replace(task, labels=KINDS[task.kind].labels(examples))


def random_checkpoint(name: str, vocab: str | None, dropout: float, head: HeadConfig, labels: Sequence[str],
                      ) -> Checkpoint:
    """Random weights of a published size, to measure speed without a fine-tuned model."""
    log.warning("WARNING: no --model_parameters: the weights are random, so the predictions mean nothing.")
    config = dataclasses.replace(named(name), dropout=dropout)
    if vocab:
        tokenizer = read_vocabulary(vocab)
    else:
        tokenizer = _borrowed_tokenizer()
    if tokenizer.vocab_size > config.vocab_size:
        raise UsageError(f"--vocab: {tokenizer.vocab_size} tokens do not fit a model of {config.vocab_size}.")
    params = parameters.random({**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}, seed=0,
                               random_bias=True)
    return Checkpoint(config, head, params, tokenizer, list(labels) or None,
                      source=f"random weights ({name})")


def _borrowed_tokenizer() -> Tokenizer:
    """MiniLM's vocabulary is that of the published uncased BERT models."""
    from bertpass.model.checkpoint import load_checkpoint

    tokenizer = load_checkpoint("minilm").tokenizer
    if tokenizer is None:
        raise ModelError("the installed MiniLM package has no tokenizer; name a vocabulary with --vocab.")
    return tokenizer
