"""A bundle: the folder that holds one model with all that is needed to use it.

======================  ==============================================================================================
bundle.json             what it is: see :class:`Bundle`
model-symbol.json       the plain exported graph, which MXNet loads without any library of ours
model-0000.params       its parameters, ``arg:`` and the names of :func:`bertpass.model.parameters.shapes`
tokenizer files         tokenizer.json and what else :class:`bertpass.text.tokens.tokenizer.Tokenizer` saves
sentence.safetensors    weights of layers after the pooling (:mod:`bertpass.model.sentence`), where there are any
======================  ==============================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import __version__
from bertpass.base.files import write_json
from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files import params_file, safetensors_file
from bertpass.model.files.folders import BUNDLE_FILE, read_json, replacing
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import Sentence
from bertpass.text.tokens.tokenizer import Tokenizer

SYMBOL_FILE = "model-symbol.json"
PARAMS_FILE = "model-0000.params"
SENTENCE_FILE = "sentence.safetensors"
BESIDE = "bundle"  # name of the folder beside net.params or a deployed pair
FORMAT = "bertpass bundle"
VERSION = 1
_REQUIRED = ("config", "head", "inputs", "max_length", "dtype")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, described by its bundle.json; :meth:`open` reads one and :meth:`save` writes one.

    ``config`` is the encoder as exported (no pooler that the head does not use) with the dropout of its training;
    ``inputs`` are the graph's inputs in order: ids, token types (if any), valid length. ``max_length`` is the
    number of tokens to which texts are cut. ``metrics`` are what was measured at the end of its training. ``pairs`` is
    whether it was trained on pairs of texts, None where that is not known. ``sentence`` and ``carried`` are those of
    :class:`~bertpass.model.record.Checkpoint`. ``trainer`` is what fine-tuned it, "mxnet" or "torch", None where that
    is not known.
    """

    path: Path
    config: EncoderConfig
    head: HeadConfig
    inputs: tuple[str, ...]
    max_length: int
    dtype: str
    task: str | None = None
    labels: list[str] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    pairs: bool | None = None
    source: str = ""
    created_by: str = ""
    sentence: Sentence = field(default_factory=Sentence)
    carried: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainer: str | None = None

    @property
    def symbol_path(self) -> Path:
        """The exported graph."""
        return self.path / SYMBOL_FILE

    @property
    def params_path(self) -> Path:
        """The exported parameters."""
        return self.path / PARAMS_FILE

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open a bundle and check that its parts are there and belong together; weights are not read.

        Raises
        ------
        ModelError
            A part is missing or damaged, or was written by a later version.
        """
        folder = Path(os.path.expanduser(path))
        if not folder.is_dir():
            raise ModelError(f"there is no bundle at {path}; give the folder that fine-tuning or deployment wrote.")
        for name, what in ((BUNDLE_FILE, "its description"), (SYMBOL_FILE, "the graph"), (PARAMS_FILE, "the weights")):
            if not (folder / name).is_file():
                raise ModelError(f"{path} is not a bundle or is incomplete: it has no {name} ({what}).")
        layers = folder / SENTENCE_FILE
        bundle = cls(path=folder, **_fields(read_json(folder / BUNDLE_FILE, "the bundle's description"),
                                            folder / BUNDLE_FILE,
                                            safetensors_file.read(layers)[0] if layers.is_file() else {}))
        shapes = parameters.shapes(bundle.config, bundle.head)
        _check_graph(read_json(bundle.symbol_path, "the exported graph"), bundle.inputs, shapes, bundle.symbol_path)
        bundle._check_parameters(params_file.read(bundle.params_path, mmap=True), shapes)
        return bundle

    def parameters(self, mmap: bool = False) -> dict[str, np.ndarray]:
        """The parameters by name, without ``arg:``; read-only views of the file with ``mmap``."""
        return {name.removeprefix("arg:"): array for name, array in params_file.read(self.params_path, mmap).items()}

    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer; ModelError where it has none."""
        return Tokenizer.from_folder(self.path)

    def checkpoint(self) -> Checkpoint:
        """The bundle as a checkpoint, to train it further or to write it in another format."""
        return Checkpoint(self.config, self.head, self.parameters(mmap=True), tokenizer=self.tokenizer(),
                          labels=self.labels, max_length=self.max_length, pairs=self.pairs, source=str(self.path),
                          sentence=self.sentence, carried=self.carried)

    @classmethod
    def save(cls, path: str | os.PathLike[str], checkpoint: Checkpoint, symbol: str, *, task: str | None = None,
             metrics: Mapping[str, Any] | None = None, trainer: str | None = None) -> Bundle:
        """Write a bundle: complete or not at all, in place of nothing, of an empty folder or of another bundle.

        Parameters
        ----------
        path : the folder
        checkpoint : weights in the type in which they are stored, with a tokenizer; see
            :func:`bertpass.model.export.export_bundle` for the common case
        symbol : the graph as JSON, with the parameters under their own names
        task, metrics, trainer : see the class

        Raises
        ------
        ModelError
            The graph and the parameters do not belong together, there is no tokenizer, or ``path`` is something else.
        """
        config, arrays = checkpoint.network()
        _check_graph(json.loads(symbol), config.input_names, arrays, Path(SYMBOL_FILE))
        if checkpoint.tokenizer is None:
            raise ModelError("a bundle needs a tokenizer and this checkpoint has none; give its vocabulary.")
        content = {
            "format": FORMAT, "format_version": VERSION, "created_by": f"bertpass {__version__}", "task": task,
            "config": config.to_dict(), "head": checkpoint.head.to_dict(), "labels": checkpoint.labels,
            "inputs": list(config.input_names), "max_length": checkpoint.max_length,
            "dtype": next(iter(arrays.values())).dtype.name, "metrics": dict(metrics or {}), "pairs": checkpoint.pairs,
            "source": checkpoint.source, "sentence": checkpoint.sentence.to_dict(), "carried": checkpoint.carried,
            "trainer": trainer,
        }
        with replacing(path, BUNDLE_FILE, "a bundle") as folder:
            params_file.write(folder / PARAMS_FILE, {f"arg:{name}": array for name, array in arrays.items()})
            (folder / SYMBOL_FILE).write_text(symbol, encoding="utf-8")
            checkpoint.tokenizer.save(folder, checkpoint.max_length, checkpoint.config.max_length)
            if checkpoint.sentence.layers:
                safetensors_file.write(folder / SENTENCE_FILE, checkpoint.sentence.arrays(), {})
            write_json(folder / BUNDLE_FILE, content)
        return cls.open(path)

    def _check_parameters(self, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
        parameters.check({name.removeprefix("arg:"): array for name, array in arrays.items()}, shapes,
                         str(self.params_path))
        kinds = {array.dtype.name for array in arrays.values()}
        if kinds != {self.dtype}:
            raise ModelError(f"{self.params_path} holds {', '.join(sorted(kinds))} values and {BUNDLE_FILE} says "
                             f"{self.dtype}.")


def bundle_of(path: str | os.PathLike[str]) -> Bundle | None:
    """The bundle at ``path`` or, for a file, beside or around it; None where there is none, ModelError where it is
    damaged."""
    at = Path(path)
    folders = (at,) if at.is_dir() else (at.parent / BESIDE, at.parent)
    return next((Bundle.open(folder) for folder in folders if (folder / BUNDLE_FILE).is_file()), None)


def _fields(content: Any, path: Path, layers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The checked fields of a bundle.json."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path} is not the description of a bundle (its format is not '{FORMAT}').")
    version = content.get("format_version")
    if version != VERSION:
        raise ModelError(f"{path} has format version {version}; this bertpass reads version {VERSION}: "
                         "use the one that wrote it, or export the model again.")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    try:
        config, head = EncoderConfig.from_dict(content["config"]), HeadConfig.from_dict(content["head"])
        sentence = Sentence.from_dict(content["sentence"], layers) if "sentence" in content else Sentence()
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if content["inputs"] != list(config.input_names):
        raise ModelError(f"{path}: inputs must be {list(config.input_names)} for the family {config.family}, "
                         f"not {content['inputs']}.")
    length = content["max_length"]
    if isinstance(length, bool) or not isinstance(length, int) or not 2 < length <= config.max_length:
        raise ModelError(f"{path}: max_length must be from 3 to {config.max_length}, not {length!r}.")
    labels = content.get("labels")
    if labels is not None and (not isinstance(labels, list) or not all(isinstance(label, str) for label in labels)
                               or (head.num_labels and len(labels) != head.num_labels)):
        raise ModelError(f"{path}: labels must be a list of {head.num_labels} names.")
    task, metrics = content.get("task"), content.get("metrics", {})
    if not isinstance(task, (str, type(None))) or not isinstance(metrics, dict):
        raise ModelError(f"{path}: task must be a name and metrics an object.")
    return {"config": config, "head": head, "inputs": config.input_names, "max_length": length,
            "dtype": str(content["dtype"]), "task": task, "labels": labels, "metrics": metrics,
            "pairs": content["pairs"] if isinstance(content.get("pairs"), bool) else None,
            "source": str(content.get("source", "")), "created_by": str(content.get("created_by", "")),
            "sentence": sentence, "carried": dict(content.get("carried") or {}),
            "trainer": content["trainer"] if isinstance(content.get("trainer"), str) else None}


def _check_graph(graph: Any, inputs: tuple[str, ...], shapes: Mapping[str, Any], path: Path) -> None:
    """Compare the variables of an exported graph with the inputs and parameters that it should have."""
    try:
        names = {node["name"] for node in graph["nodes"] if node["op"] == "null"}
    except (TypeError, KeyError) as error:
        raise ModelError(f"{path} is not an exported graph: it has no list of nodes with names.") from error
    for name in (*inputs, *shapes):
        if name not in names:
            raise ModelError(f"{path} does not use '{name}'; it is not the graph of this model.")
    strange = sorted(names - set(inputs) - set(shapes))
    if strange:
        raise ModelError(f"{path} uses '{strange[0]}', which is neither an input nor a parameter of this model.")
