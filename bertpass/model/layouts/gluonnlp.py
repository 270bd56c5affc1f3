"""GluonNLP's ``.params`` checkpoints, in and out, and its cache of downloaded models; needs neither GluonNLP nor MXNet.

A pretrained file has the bare names of a BERTModel (``encoder...``, ``word_embed.0.weight``, ``pooler...``, and the
``decoder`` and ``classifier`` of pretraining, which are not used here). A fine-tuned one has them under ``bert.`` or
``roberta.``, with a head beside them: ``classifier.N``, ``span_classifier`` or ``tag_classifier``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bertpass.errors import ModelError, unknown
from bertpass.model import heads, parameters
from bertpass.model.config import ALIASES, EncoderConfig, HeadConfig
from bertpass.model.families import FAMILIES
from bertpass.model.files import params_file
from bertpass.model.record import Checkpoint
from bertpass.text.tokens.tokenizer import Tokenizer

PathLike = str | os.PathLike[str]

_FIRST_CELL = "encoder.transformer_cells.0.proj.weight"
_PRETRAINING = ("decoder.", "classifier.")
# Widths for which 64 units a head is the rule, of the published sizes; MiniLM's 384 come with heads of 32 and of 64.
_KNOWN_UNITS = (768, 1024)
_ROBERTA_VOCABULARY = 50000  # RoBERTa's has 50265 tokens, DistilBERT's 30522 or 28996

_DATASETS = {"distilbert_6_768_12": "distilbert_book_corpus_wiki_en_uncased",
             "roberta_12_768_12": "openwebtext_ccnews_stories_books_cased",
             "roberta_24_1024_16": "openwebtext_ccnews_stories_books_cased"}
DEFAULT_DATASET = "book_corpus_wiki_en_uncased"


def read(path: PathLike, *, vocab: PathLike | None = None, lower: bool | None = None, family: str | None = None,
         num_heads: int | None = None, config: EncoderConfig | None = None,
         classifier: str | None = None, job: str | None = None) -> Checkpoint:
    """Read a ``.params`` file that GluonNLP or bertpass saved.

    Parameters
    ----------
    path : the file
    vocab : its vocabulary: a ``.vocab`` file of GluonNLP's, a vocab.txt, a tokenizer.json, or a folder with these
    lower : whether its text is put into lower case; by default what the vocabulary's name says ("uncased", "cased"), or
        else whether it holds no upper-case letter (only for ``.vocab`` files)
    family : a name of :data:`bertpass.model.families.FAMILIES`; by default "bert", "distilbert" or "roberta", from the
        names, the token types and the vocabulary's size
    num_heads : by default one for 64 units, in an encoder as wide as the published ones
    config : the whole encoder, instead of what the shapes tell (the number of heads, the activation, the epsilon and
        the dropout are in no shape)
    classifier : kind of a head with a classifier, of which the file says the width alone; one of
        :data:`bertpass.model.config.CLASSIFIERS`, needed where there is a classifier and no ``job``
    job : kind of the head that a job needs: what a classifier counts as where ``classifier`` does not say it. One whose
        width cannot be of that kind counts as the first kind that it can be, for the job to refuse or replace

    Raises
    ------
    ModelError
        The file is no such checkpoint, does not fit ``config``, or its number of heads or the kind of its classifier
        cannot be told.
    """
    arrays = {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in params_file.read(path).items()}
    prefix = _prefix(arrays, path)
    if family is None:
        family = config.family if config else _family(arrays, prefix)
    elif family not in FAMILIES:
        raise ModelError(unknown("encoder family", family, FAMILIES))
    notes: list[str] = []
    arrays = _our_names(arrays, prefix, family, notes)
    found = infer(arrays, family, num_heads if config is None else config.num_heads, str(path))
    if config is None:
        config = found
    else:
        fields = {**config.to_dict(), "use_pooler": found.use_pooler,
                  "token_type_vocab_size": found.token_type_vocab_size}
        config = EncoderConfig.from_dict(fields)
    checkpoint = Checkpoint(config, _head(arrays, config, classifier, job, path), arrays, source=str(path), notes=notes,
                            tokenizer=None if vocab is None else read_vocabulary(vocab, lower))
    checkpoint.check()
    return checkpoint


def write(path: PathLike, checkpoint: Checkpoint) -> None:
    """Write ``net.params``: with the head's names under a classifier or QA head, else the bare names of a BERTModel.

    GluonNLP's own blocks load it: BERTClassifier and RoBERTaClassifier (built with a dropout above 0, which their names
    count), BERTModel, RoBERTaModel and DistilBERTModel without decoder and classifier.
    """
    parameters.refuse_more_than_bert(checkpoint.config, "a .params file of GluonNLP")
    checkpoint.check()
    with_head = bool(heads.own_layers(checkpoint.config, checkpoint.head))
    root = "" if with_head else f"{checkpoint.config.root}."
    params_file.write(path, {name.removeprefix(root): array for name, array in checkpoint.params.items()})


def infer(arrays: Mapping[str, np.ndarray], family: str, num_heads: int | None = None, source: str = "the checkpoint",
          ) -> EncoderConfig:
    """The encoder that the shapes of ``arrays`` (by our names) describe; ModelError where they describe none."""
    root = FAMILIES[family].root

    def shape(name: str) -> tuple[int, int]:
        array = arrays.get(f"{root}.{name}")
        if array is None or array.ndim != 2:
            raise ModelError(f"{source}: '{root}.{name}' is missing or is not a matrix; this is not the checkpoint of "
                             "an encoder.")
        return array.shape[0], array.shape[1]

    vocab_size, units = shape("word_embed.0.weight")
    cells = {int(match[1]) for name in arrays
             if (match := re.match(rf"{root}\.encoder\.transformer_cells\.(\d{{1,6}})\.", name))}
    if num_heads is None:
        if units not in _KNOWN_UNITS:
            raise ModelError(f"{source}: the number of attention heads cannot be told from {units} units; "
                             "give --num_heads (MiniLM has 12), or name the model size where a command takes one.")
        num_heads = units // 64
    types = f"{root}.token_type_embed.0.weight" in arrays
    return EncoderConfig(
        family=family, num_layers=len(cells), units=units, num_heads=num_heads, vocab_size=vocab_size,
        hidden_size=shape("encoder.transformer_cells.0.ffn.ffn_1.weight")[0],
        max_length=shape("encoder.position_weight")[0], layer_norm_eps=FAMILIES[family].layer_norm_eps,
        token_type_vocab_size=shape("token_type_embed.0.weight")[0] if types else 0,
        use_pooler=f"{root}.pooler.weight" in arrays)


def read_vocabulary(path: PathLike, lower: bool | None = None) -> Tokenizer:
    """A tokenizer from a GluonNLP ``.vocab``, a vocab.txt, a tokenizer.json or their folder; ``lower`` as in
    :func:`read`."""
    path = Path(path)
    if path.is_dir():
        return Tokenizer.from_folder(path)
    if path.name in ("vocab.txt", "tokenizer.json"):
        return Tokenizer.from_folder(path.parent)
    if lower is None and "cased" in path.name:
        lower = "uncased" in path.name
    return Tokenizer.from_gluonnlp_vocab(path, lower)


def cache_folder() -> Path:
    """Where GluonNLP keeps downloaded models: $MXNET_HOME/models, by default ~/.mxnet/models."""
    return Path(os.path.expanduser(os.environ.get("MXNET_HOME", "").strip() or "~/.mxnet")) / "models"


def cached(name: str, dataset: str | None = None) -> tuple[Path, Path | None] | None:
    """The weights and the vocabulary of a published model in the cache, or None.

    The files are called ``NAME_DATASET-HASH.params`` and ``DATASET-HASH.vocab``, where HASH is the start of their
    SHA-1; ModelError where a file's content does not have it.
    """
    name = ALIASES.get(name, name)
    dataset = dataset or _DATASETS.get(name, DEFAULT_DATASET)
    params = _hashed(f"{name}_{dataset}", ".params")
    if params is None:
        return None
    return params, _hashed(dataset, ".vocab") or _hashed(dataset.removeprefix("distilbert_"), ".vocab")


def _hashed(stem: str, suffix: str) -> Path | None:
    pattern = re.compile(re.escape(stem) + r"-([0-9a-f]{8})" + re.escape(suffix))
    folder = cache_folder()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = pattern.fullmatch(path.name)
        if not match:
            continue
        digest = hashlib.sha1(usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if not digest.hexdigest().startswith(match[1]):
            raise ModelError(f"{path} is damaged (its SHA-1 does not start with {match[1]}); delete it.")
        return path
    return None


def _prefix(arrays: Mapping[str, np.ndarray], path: PathLike) -> str:
    for name in arrays:
        if name.endswith(_FIRST_CELL):
            return name[:-len(_FIRST_CELL)]
    raise ModelError(f"{path} holds no '{_FIRST_CELL}'; it is not a checkpoint of a GluonNLP encoder "
                     f"({len(arrays)} arrays, first {next(iter(arrays), 'none')!r}).")


def _family(arrays: Mapping[str, np.ndarray], prefix: str) -> str:
    if prefix == "roberta.":
        return "roberta"
    if f"{prefix}token_type_embed.0.weight" in arrays:
        return "bert"
    words = arrays.get(f"{prefix}word_embed.0.weight", np.empty((0, 0)))
    return "roberta" if len(words) > _ROBERTA_VOCABULARY else "distilbert"


def _our_names(arrays: Mapping[str, np.ndarray], prefix: str, family: str, notes: list[str]) -> dict[str, np.ndarray]:
    """Put the encoder under "bert." or "roberta.", drop the heads of pretraining, number the classifier's layers."""
    root = f"{FAMILIES[family].root}."
    ours: dict[str, np.ndarray] = {}
    dropped = 0
    for name, array in arrays.items():
        inside = name.removeprefix(prefix)
        if not name.startswith(prefix):
            ours[name] = array
        elif inside.startswith(_PRETRAINING):
            dropped += 1
        elif not prefix and inside.startswith(tuple(heads.TOKEN_LAYERS.values())):
            ours[name] = array
        else:
            ours[root + inside] = array
    if dropped:
        notes.append(f"ignored {dropped} parameters of pretraining (decoder, classifier of the next sentence).")
    layers = sorted({int(match[1]) for name in ours if (match := re.match(r"classifier\.(\d)\.", name))})
    # Saved from a network without dropout, the layers have the numbers 0 and 1 in place of 1 and 3.
    moved = {old: 2 * i + 1 for i, old in enumerate(layers)} if layers[:1] == [0] else {}
    return {re.sub(r"^classifier\.(\d)\.", lambda m: f"classifier.{moved.get(int(m[1]), int(m[1]))}.", name): array
            for name, array in ours.items()}


def _head(arrays: Mapping[str, np.ndarray], config: EncoderConfig, classifier: str | None, job: str | None,
          path: PathLike) -> HeadConfig:
    for kind, last in heads.TOKEN_LAYERS.items():
        if f"{last}.weight" in arrays:
            return HeadConfig(kind, num_labels=0 if kind == "qa" else len(arrays[f"{last}.weight"]))
    last = heads.layout(config, HeadConfig("regression")).layers[-1].name
    if f"{last}.weight" not in arrays:
        return HeadConfig("none")
    outputs = len(arrays[f"{last}.weight"])
    kinds = ("regression", "ranking") if outputs == 1 else ("classification", "multilabel", "regression")
    if classifier is None and job is not None:
        classifier = job if job in kinds else kinds[0]
    if classifier is None or classifier not in kinds:
        said = "does not say what they are" if classifier is None else f"cannot be of kind {classifier}"
        raise ModelError(f"{path} has a classifier of {outputs} output{'s'[:outputs != 1]} and {said}: give --kind "
                         f"({', '.join(kinds)}), or put its bundle beside it.")
    return HeadConfig(classifier, num_labels=outputs)
