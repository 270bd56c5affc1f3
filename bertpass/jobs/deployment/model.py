"""Which model is deployed: from weights of any source, or what an earlier run wrote."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass.errors import ModelError, UsageError
from bertpass.jobs.tasks.described import bundle_of
from bertpass.jobs.tasks.exported import ExportedPair, bundle_beside
from bertpass.jobs.tasks.kinds import KINDS
from bertpass.jobs.tasks.opening import in_order, load
from bertpass.model import parameters
from bertpass.model.checkpoint import adapt
from bertpass.model.config import EncoderConfig, HeadConfig, named
from bertpass.model.layouts.bundle import Bundle
from bertpass.model.layouts.gluonnlp import cached, read_vocabulary
from bertpass.model.record import Checkpoint
from bertpass.progress import log
from bertpass.text.data.labels import placeholders
from bertpass.text.data.tasks import Task
from bertpass.text.example import Example
from bertpass.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Weights:
    """Where weights come from, and what their files do not say of them; the fields are the flags of deploy.py."""

    model_parameters: str | None = None
    bert_model: str | None = None
    dataset_name: str = "book_corpus_wiki_en_uncased"
    vocab: str | None = None
    num_heads: int | None = None
    allow_pickle: bool = False
    dropout: float = 0.1


@dataclass(frozen=True)
class Found:
    """A model before anything is written: a checkpoint to export, or the bundle of an earlier run or a pair of somebody
    else's; ``name`` is its task's."""

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
        """Names of the outputs; of a regression with several they are LABEL_0 and so on where it names none."""
        nameless = self.head.kind == "regression" and self.head.num_labels > 1
        return self.model.labels or (placeholders(self.head.num_labels) if nameless else [])

    def tokenizer(self) -> Tokenizer:
        """ModelError where the model has none."""
        if not isinstance(self.model, Checkpoint):
            return self.model.tokenizer()
        if self.model.tokenizer is None:
            raise ModelError(f"{self.model.source} has no vocabulary beside it; name one with --vocab.")
        return self.model.tokenizer


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


def find(weights: Weights, task: Task | None, examples: Sequence[Example] = ()) -> Found:
    """Load weights, with the head that a task needs.

    A task with open labels takes a model's own; for a head that is new they are those of ``examples``.
    """
    checkpoint = _checkpoint(weights, task, examples)
    if task is not None:
        return Found(task.name, checkpoint)
    bundle = bundle_of(weights.model_parameters or "")
    return Found(bundle.task if bundle is not None else None, checkpoint)


def find_exported(weights: Weights, task: Task | None, prefix: Path) -> Found:
    """Open a deployed pair; without a bundle beside it the task says its head and labels, the weights the rest."""
    bundle = bundle_beside(prefix)
    if bundle is not None:
        return Found(bundle.task, bundle)
    return Found(task.name if task is not None else None, _exported(weights, prefix, task))


def _exported(weights: Weights, prefix: Path, task: Task | None) -> ExportedPair:
    """A pair without a bundle, as GluonNLP's scripts export one: the task says its head and labels."""
    if task is None or task.open or task.kind == "embedding":
        raise UsageError(f"{prefix} has no bundle beside it, which would say what it computes: name its --task, "
                         "one with labels of its own.")
    vocabulary = None
    if weights.vocab:
        vocabulary = read_vocabulary(weights.vocab)
    elif weights.bert_model and Path(weights.bert_model).exists():
        vocabulary = load(weights.bert_model).tokenizer
    elif found := cached(weights.bert_model or "bert_12_768_12", weights.dataset_name):
        vocabulary = read_vocabulary(found[1]) if found[1] else None
    elif weights.dataset_name == "book_corpus_wiki_en_uncased":
        vocabulary = _borrowed_tokenizer()
    return ExportedPair.open(prefix, head_for(task), list(task.labels) or None, bert_model=weights.bert_model,
                             vocabulary=vocabulary, task=task.name)


def _checkpoint(weights: Weights, task: Task | None, examples: Sequence[Example]) -> Checkpoint:
    if weights.model_parameters:
        found = load(weights.model_parameters, bert_model=weights.bert_model, dataset=weights.dataset_name,
                     vocab=weights.vocab, num_heads=weights.num_heads, kind=task.kind if task else None,
                     allow_pickle=weights.allow_pickle)
    elif weights.bert_model in (None, "bert_12_768_12", "bert_24_1024_16"):
        known = None if task is None else _with_labels(task, examples)
        return random_checkpoint(weights.bert_model or "bert_12_768_12", weights.vocab, weights.dropout,
                                 head_for(known), known.labels if known else ())
    else:
        found = load(weights.bert_model or "", dataset=weights.dataset_name, vocab=weights.vocab,
                     num_heads=weights.num_heads, allow_pickle=weights.allow_pickle)
    if task is None or (task.open and found.head.kind == task.kind and found.labels):
        return found
    task = _with_labels(task, examples)
    wanted = head_for(task)
    if task.kind == "embedding":
        return found if found.head.kind == "embedding" else adapt(found, wanted)
    if (found.head.kind, found.head.num_labels) != (wanted.kind, wanted.num_labels):
        if weights.model_parameters:
            raise ModelError(f"--model_parameters {weights.model_parameters}: its head is '{found.head.kind}' with "
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
