"""Any checkpoint by its name or path, and a checkpoint with another head."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from bertpass.errors import ModelError, UsageError, unknown
from bertpass.model import parameters
from bertpass.model.config import ALIASES, CLASSIFIERS, NAMED, PACKAGED, EncoderConfig, HeadConfig
from bertpass.model.files.folders import BUNDLE_FILE, HUGGINGFACE_FILE, MODULES_FILE
from bertpass.model.given import FOR_PARAMS, Given, assumed, is_params, said
from bertpass.model.heads import needs_pooler
from bertpass.model.hub.names import meant
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import Sentence

# The readers are imported where they are used: a model needs one of them, and each takes its time.

__all__ = ["Checkpoint", "adapt", "load_checkpoint"]

_HUB = {  # the checkpoints from which GluonNLP's were converted, by size and data set
    ("bert_12_768_12", "book_corpus_wiki_en_uncased"): "google-bert/bert-base-uncased",
    ("bert_12_768_12", "book_corpus_wiki_en_cased"): "google-bert/bert-base-cased",
    ("bert_12_768_12", "wiki_multilingual_uncased"): "google-bert/bert-base-multilingual-uncased",
    ("bert_12_768_12", "wiki_multilingual_cased"): "google-bert/bert-base-multilingual-cased",
    ("bert_12_768_12", "wiki_cn_cased"): "google-bert/bert-base-chinese",
    ("bert_24_1024_16", "book_corpus_wiki_en_uncased"): "google-bert/bert-large-uncased",
    ("bert_24_1024_16", "book_corpus_wiki_en_cased"): "google-bert/bert-large-cased",
    ("distilbert_6_768_12", None): "distilbert/distilbert-base-uncased",
    ("modernbert_22_768_12", None): "answerdotai/ModernBERT-base",
    ("roberta_12_768_12", None): "FacebookAI/roberta-base",
    ("roberta_24_1024_16", None): "FacebookAI/roberta-large",
}


def load_checkpoint(name_or_path: str | os.PathLike[str], *, dataset: str | None = None,
                    vocab: str | os.PathLike[str] | None = None, lower: bool | None = None,
                    config: EncoderConfig | None = None, num_heads: int | None = None,
                    job: str | None = None, allow_pickle: bool = False, packed: bool = False,
                    given: Given | None = None) -> Checkpoint:
    """Load a checkpoint: a published size, a bundle, a Hugging Face folder, a ``.params`` file or a hub id.

    Parameters
    ----------
    name_or_path : "minilm" or "mpnet" (weights from Python packages, :mod:`bertpass.model.hub.packages`), another name
        of ``config.NAMED`` (weights from GluonNLP's cache, else from the Hugging Face hub), a path, or a hub id
        "organisation/name"
    dataset : GluonNLP's name of what a published size was trained on; "book_corpus_wiki_en_uncased" by default
    vocab, lower, config, num_heads, job : for a ``.params`` file, see :func:`bertpass.model.layouts.gluonnlp.read`. A
        bundle beside it that has the same parameters says all that is not given; without one the vocabulary is by
        default a ``.vocab`` file of its name. With any other model they say nothing
    allow_pickle : see :func:`bertpass.model.layouts.huggingface.read_folder`
    packed : also take a file that bertpass pack wrote; gives a :class:`~bertpass.model.record.PackedCheckpoint`
    given : what a person says about the model, in place of the same arguments here; its kind, labels and length are
        for every model

    Raises
    ------
    UsageError
        What ``given`` says is for a ``.params`` file and this is none, or does not fit the model.
    ModelError
        There is no such model, or its files are damaged or do not fit each other.
    MissingDependencyError
        "minilm" or "mpnet" was asked for and its packages are not installed.
    DownloadError
        The model is not on this machine and cannot be downloaded.
    """
    name = os.fspath(name_or_path)
    path = Path(os.path.expanduser(name))
    if is_params(name) and name not in (*NAMED, *ALIASES):
        return _params(path, given or Given(
            vocab=None if vocab is None else os.fspath(vocab), num_heads=num_heads,
            case=None if lower is None else "uncased" if lower else "cased"), config, job)
    given = given or Given(allow_pickle=allow_pickle)
    for flag in FOR_PARAMS:
        if getattr(given, flag) is not None:
            raise UsageError(f"--{flag} {getattr(given, flag)}: that is for a .params file, and {name} says it itself.")
    return said(_open(name, path, dataset, given, packed), given)


def _open(name: str, path: Path, dataset: str | None, given: Given, packed: bool) -> Checkpoint:
    """Any model but a ``.params`` file."""
    if name in PACKAGED:
        return _package(name)
    if name in NAMED or name in ALIASES:
        return _published(ALIASES.get(name, name), dataset, given)
    if path.is_dir():
        if (path / BUNDLE_FILE).exists():
            from bertpass.model.layouts.bundle import Bundle
            return Bundle.open(path).checkpoint()
        if (path / HUGGINGFACE_FILE).exists() or (path / MODULES_FILE).exists():
            from bertpass.model.layouts import huggingface
            return huggingface.read_folder(path, given.allow_pickle, given.kind)
        raise ModelError(f"{name} holds neither {BUNDLE_FILE} nor {HUGGINGFACE_FILE} nor {MODULES_FILE}; "
                         "give a bundle or a Hugging Face folder.")
    if path.is_file():
        from bertpass.model.layouts import packed as packed_file
        if not packed:
            raise ModelError(f"{name}: a packed model is for the native engine alone (engine='native' in Python); here "
                             "give what it was made from, or the folder of a safetensors file.")
        return packed_file.read(path)
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) and path.suffix != ".params" and not path.parent.exists():
        return _hub(name, given)
    raise ModelError(f"{unknown('model', name, [*NAMED, *ALIASES], meant(name))} Or give the path of a "
                     "bundle, of a Hugging Face "
                     "folder or of a .params file.")


def _params(path: Path, given: Given, config: EncoderConfig | None, job: str | None) -> Checkpoint:
    """A ``.params`` file, with what the bundle beside it says, else what a person says, else the ``job`` that opens it,
    else a refusal."""
    from bertpass.model.files import params_file
    from bertpass.model.layouts import gluonnlp

    known = _beside(path)
    if known is not None:
        arrays = {name.removeprefix("arg:"): array for name, array in params_file.read(path).items()}
        root = f"{known.config.root}."
        if not any(name.startswith(root) for name in arrays):  # an encoder alone has its bare names
            arrays = {root + name: array for name, array in arrays.items()}
        wanted = {name: array.shape for name, array in known.params.items()}
        if wanted == {name: array.shape for name, array in arrays.items() if not name.startswith(f"{root}pooler.")
                      or name in wanted}:
            arrays = {name: arrays[name] for name in wanted}
            if given.num_heads not in (None, known.config.num_heads):
                raise UsageError(f"--num_heads {given.num_heads}: the model {known.source} beside {path} says "
                                 f"{known.config.num_heads}.")
            if given.vocab is not None:
                known = dataclasses.replace(known, tokenizer=gluonnlp.read_vocabulary(given.vocab, given.lower))
            elif known.tokenizer is not None and given.lower is not None:
                known = dataclasses.replace(known, tokenizer=known.tokenizer.with_lower(given.lower))
            return said(dataclasses.replace(known, params=arrays, source=str(path)), given)
    vocabulary = path.with_suffix(".vocab")
    vocab = given.vocab or (vocabulary if vocabulary.is_file() else None)
    found = gluonnlp.read(path, vocab=vocab, lower=given.lower, config=config, num_heads=given.num_heads,
                          classifier=given.kind if given.kind in CLASSIFIERS else None, job=job)
    found = said(found, given)
    note = assumed(found, given, config is not None)
    return dataclasses.replace(found, notes=[*found.notes, note] if note else found.notes)


def _beside(path: Path) -> Checkpoint | None:
    """The model beside a ``.params`` file or around it: a bundle, or the Hugging Face folder that stands in its place
    where MXNet has no graph of the model; None where there is none."""
    from bertpass.model.layouts.bundle import BESIDE, bundle_of

    bundle = bundle_of(path)
    if bundle is not None:
        return bundle.checkpoint()
    if (path.parent / BESIDE / HUGGINGFACE_FILE).is_file():
        from bertpass.model.layouts import huggingface
        return huggingface.read_folder(path.parent / BESIDE)
    return None


def adapt(checkpoint: Checkpoint, head: HeadConfig, seed: int = 0, labels: list[str] | None = None) -> Checkpoint:
    """The same encoder with another head.

    A head of the same kind and size keeps its weights; a new one gets normal(0, 0.02) weights and zero biases, and so
    does a pooler that the head needs and the encoder lacks; the notes say so. The arrays of the encoder are shared.

    Parameters
    ----------
    head : the head wanted
    seed : of the new weights
    labels : names of the classes, in the order of the logits; kept from ``checkpoint`` where its head is kept
    """
    if head.kind == "embedding" and checkpoint.sentence.changes_vectors:
        raise ModelError(f"the vectors of {checkpoint.source} are pooled, or go through further layers, in a way that "
                         "no exported graph has; use it with bertpass.load, serve or batch.")
    config, notes = checkpoint.config, list(checkpoint.notes)
    fresh = {}
    if needs_pooler(config, head) and not config.use_pooler:
        bare = parameters.encoder_shapes(config)
        config = dataclasses.replace(config, use_pooler=True)
        fresh = {name: shape for name, shape in parameters.encoder_shapes(config).items() if name not in bare}
        notes.append("the encoder has no pooler; a fresh one was added.")
    same = (head.kind, head.num_labels) == (checkpoint.head.kind, checkpoint.head.num_labels)
    head_shapes = parameters.head_shapes(config, head)
    if not same and head_shapes:
        fresh.update(head_shapes)
        notes.append(f"the {head.kind} head is new and has random weights (seed {seed}): it has to be trained.")
    drawn = parameters.random(fresh, seed)
    wanted = {**parameters.encoder_shapes(config), **head_shapes}
    params = {name: drawn[name] if name in drawn else checkpoint.params[name] for name in wanted}
    # Prompts and pooling are of the old use of the encoder.
    kept = (checkpoint.sentence, checkpoint.carried) if same else (
        Sentence(), {name: file for name, file in checkpoint.carried.items() if name == HUGGINGFACE_FILE})
    return dataclasses.replace(checkpoint, config=config, head=head, params=params, notes=notes,
                               labels=labels if labels is not None or not same else checkpoint.labels,
                               sentence=kept[0], carried=kept[1])


def _package(name: str) -> Checkpoint:
    from bertpass.model.hub import packages
    from bertpass.model.layouts import huggingface

    folder, source = packages.folder(name)
    return dataclasses.replace(huggingface.read_folder(folder), source=source)


def _published(name: str, dataset: str | None, given: Given) -> Checkpoint:
    from bertpass.model.layouts import gluonnlp

    files = gluonnlp.cached(name, dataset)
    if files is not None:
        merges = NAMED[name].root == "roberta"  # its .vocab alone says nothing: the merges are elsewhere
        return gluonnlp.read(files[0], vocab=None if merges else files[1], config=NAMED[name])
    equivalent = _HUB.get((name, dataset or gluonnlp.DEFAULT_DATASET)) or _HUB.get((name, None))
    if equivalent is None:
        known = [data for size, data in _HUB if size == name and data]
        raise ModelError(f"{unknown('data set of ' + name, dataset or '', known)} Others can be read from "
                         f"{gluonnlp.cache_folder()}.")
    return _hub(equivalent, given)


def _hub(name: str, given: Given) -> Checkpoint:
    from bertpass.model.hub import download
    from bertpass.model.layouts import gluonnlp, huggingface

    folder = download.download(name, "give the path of a Hugging Face folder or of a .params file, or put GluonNLP's "
                               f"files into {gluonnlp.cache_folder()}.", given.allow_pickle)
    return dataclasses.replace(huggingface.read_folder(folder, given.allow_pickle, given.kind), source=name)
