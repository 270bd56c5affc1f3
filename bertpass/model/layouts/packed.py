"""A model in one file for the native engine: mapped, not copied, so that loading takes milliseconds.

It is a safetensors file. ``layers`` (uint8) are all layers as the engine's matrix products read them;
the tables, norms and the head are float32 arrays by the names of :mod:`bertpass.model.parameters`; ``tokenizer.json``
(uint8) is the tokenizer, where there is one. The metadata have ``format``, ``format_version`` and ``model``: JSON with
config, head, labels, max_length, dtype (a precision plan), special_tokens, tokenizer_config, source, and what is done
around the network (:mod:`bertpass.model.sentence`, with its layers' arrays). ``bertpass/csrc/capi`` reads the network
alone of it.

An unpacked model (:func:`write_unpacked`) has all arrays in float32 instead: for GPUs, whose layout is another one.
``bertpass/csrc/faces`` reads it for TensorFlow and TensorRT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeVar

import numpy as np

from bertpass import __version__
from bertpass.errors import ModelError
from bertpass.model import heads, parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files import safetensors_file
from bertpass.model.record import Checkpoint, PackedCheckpoint
from bertpass.model.sentence import Sentence
from bertpass.text.tokens.tokenizer import Tokenizer

FORMAT = "bertpass packed model"
VERSION = "2"
UNPACKED_FORMAT = "bertpass unpacked model"
UNPACKED_VERSION = "1"
SUFFIX = ".safetensors"
LAYERS, TOKENIZER = "layers", "tokenizer.json"
_CELLS = ".transformer_cells."
T = TypeVar("T")


def write(path: str | os.PathLike[str], checkpoint: Checkpoint, dtype: str, threads: int = 1) -> None:
    """Pack a checkpoint's network in a precision of the native engine, or by a plan of several
    (:mod:`bertpass.model.low_precision.plan`), and write it; the file appears whole or not.

    Raises
    ------
    ModelError
        The weights do not fit the network, or the file cannot be written.
    UsageError
        The plan does not fit the network.
    """
    tensors, description = _contents(checkpoint, dtype, threads)
    safetensors_file.write(path, tensors, _metadata(FORMAT, VERSION, description))


def dump(file: BinaryIO, checkpoint: Checkpoint, dtype: str, threads: int = 1) -> None:
    """:func:`write` to an open file; a checkpoint that is packed already is written as it is."""
    tensors, description = _contents(checkpoint, dtype, threads)
    safetensors_file.dump(file, tensors, _metadata(FORMAT, VERSION, description))


def _contents(checkpoint: Checkpoint, dtype: str, threads: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a packed file and its description of the model."""
    if isinstance(checkpoint, PackedCheckpoint):
        config, tensors, dtype = checkpoint.config, {LAYERS: checkpoint.layers, **checkpoint.params}, checkpoint.dtype
    else:
        from bertpass import _native  # here, because reading needs no code of the engine

        config, arrays = checkpoint.network()
        floats = parameters.as_floats(arrays | parameters.factors_of(checkpoint.params))
        layers = _native.pack(config.to_dict(), checkpoint.head.to_dict(), floats, dtype=dtype, threads=threads)
        tensors = {LAYERS: layers, **{name: floats[name] for name in _outside(arrays)}}
    tensors |= checkpoint.sentence.arrays()
    description = _description(config, checkpoint) | {"dtype": dtype}
    if checkpoint.tokenizer is not None:
        tensors[TOKENIZER] = np.frombuffer(checkpoint.tokenizer.to_json().encode("utf-8"), np.uint8)
        description["special_tokens"] = checkpoint.tokenizer.special
        description["tokenizer_config"] = checkpoint.tokenizer.config
    return tensors, description


def write_unpacked(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint's network in float32, for the CUDA engine's operators; the file appears whole or not.

    ModelError where the weights do not fit the network, or the file cannot be written.
    """
    config, arrays = checkpoint.network()
    parameters.refuse_embedded_distances(config, "the CUDA engine")
    heads.refuse_words(checkpoint.head, "the CUDA engine")
    floats = parameters.as_floats(arrays)
    metadata = _metadata(UNPACKED_FORMAT, UNPACKED_VERSION, _description(config, checkpoint))
    safetensors_file.write(path, floats, metadata)


def _description(config: EncoderConfig, checkpoint: Checkpoint) -> dict[str, Any]:
    return {"config": config.to_dict(), "head": checkpoint.head.to_dict(), "labels": checkpoint.labels,
            "max_length": checkpoint.max_length, "source": checkpoint.source, "special_tokens": None,
            "sentence": checkpoint.sentence.to_dict(), "carried": checkpoint.carried}


def _metadata(file_format: str, version: str, description: Mapping[str, Any]) -> dict[str, str]:
    return {"format": file_format, "format_version": version, "model": json.dumps(description),
            "created_by": f"bertpass {__version__}"}


def read(path: str | os.PathLike[str]) -> PackedCheckpoint:
    """The model in a file that :func:`write` wrote; its arrays are views of the mapped file.

    Raises
    ------
    ModelError
        The file is missing, damaged, another safetensors file or of another version.
    """
    tensors, metadata = safetensors_file.read(path)
    if metadata.get("format") == UNPACKED_FORMAT:
        raise ModelError(f"{path} is an unpacked model, which the operators for GPUs take; for the native engine write "
                         "one with bertpass pack without --unpacked.")
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} is a safetensors file, but no packed model; give the folder that it belongs to, or a "
                         "file that bertpass pack wrote.")
    if metadata.get("format_version") != VERSION:
        raise ModelError(f"{path} has format version {metadata.get('format_version')}; this bertpass reads version "
                         f"{VERSION}: pack the model again.")
    try:
        return _checkpoint(json.loads(metadata.get("model", "")), tensors, str(path))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its description of the model is damaged ({error}); pack the model again.") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _checkpoint(model: Mapping[str, Any], tensors: dict[str, np.ndarray], path: str) -> PackedCheckpoint:
    config, head = EncoderConfig.from_dict(model["config"]), HeadConfig.from_dict(model["head"])
    layers, text = tensors.pop(LAYERS, None), tensors.pop(TOKENIZER, None)
    if layers is None or layers.dtype != np.uint8 or layers.ndim != 1:
        raise ModelError("it has no packed layers; pack the model again.")
    own = {name: tensors.pop(name) for name in list(tensors) if name.startswith("sentence.")}
    sentence = Sentence.from_dict(model["sentence"], own) if "sentence" in model else Sentence()
    parameters.check(tensors, _outside(parameters.shapes(config, head)), "the arrays beside the layers")
    labels, special = model["labels"], model["special_tokens"]
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise ModelError("its labels are not a list of names; pack the model again.")
    tokenizer = None
    if text is not None:
        tokenizer = Tokenizer.from_json(text.tobytes().decode("utf-8"), dict(special or {}), f"{path}, {TOKENIZER}",
                                        model.get("tokenizer_config"))
    return PackedCheckpoint(config, head, tensors, tokenizer=tokenizer, labels=labels, max_length=model["max_length"],
                            source=path, layers=layers, dtype=str(model["dtype"]), sentence=sentence,
                            carried=dict(model.get("carried") or {}))


def _outside(named: Mapping[str, T]) -> dict[str, T]:
    """What belongs to the parameters that are not part of a layer."""
    return {name: value for name, value in named.items() if _CELLS not in name}
