"""Engines by name, and :func:`load`, which gives a model on one of them."""

from __future__ import annotations

import importlib
import os
from typing import Any

from bertpass.engines.base import Engine
from bertpass.engines.model import Model
from bertpass.errors import UsageError, unknown
from bertpass.model.checkpoint import load_checkpoint

#: name -> module with ``from_checkpoint(checkpoint, **options) -> Engine``; to add an engine, add its line
ENGINES = {
    "cuda": "bertpass.engines.cuda",
    "mxnet": "bertpass.engines.mxnet_engine",
    "native": "bertpass.engines.native",
    "onnxruntime": "bertpass.engines.onnxruntime_engine",
    "openvino": "bertpass.engines.openvino_engine",
    "tensorflow": "bertpass.engines.tensorflow_engine",
    "torch": "bertpass.engines.torch_engine",
    "tvm": "bertpass.engines.tvm_engine",
}

__all__ = ["ENGINES", "Engine", "Model", "load"]


def load(path_or_name: str | os.PathLike[str], engine: str = "mxnet", *, vocab: str | None = None,
         num_heads: int | None = None, allow_pickle: bool = False, **options: Any) -> Model:
    """Load a model.

    Parameters
    ----------
    path_or_name
        A bundle, a Hugging Face folder, a GluonNLP ``.params`` file, "minilm", a size such as "bert_12_768_12", a
        Hugging Face hub id, or for the native engine a file that ``bertpass pack`` wrote.
    engine
        What computes: "mxnet"; "native", our own engine for CPUs, and "cuda", our own for NVIDIA GPUs, which need no
        MXNet; "onnxruntime", "openvino", "tensorflow", "torch" or "tvm" on the CPU, each an extra of that name.
    vocab, num_heads, allow_pickle
        See :func:`bertpass.model.checkpoint.load_checkpoint`.
    **options
        Of the engine; mxnet: ``gpu`` (device number, default the CPU), ``dtype`` ("float32"; "float16" on a GPU;
        "bfloat16" and "int8" on a CPU, by the pass native_encoder), ``passes`` ("auto", "none" or names). native:
        ``dtype`` ("auto", "float32", "bfloat16", "int8", "float16"), ``keep`` (what has another precision, as in
        ``{"0": "bfloat16", "5.down": "float32"}``), ``max_error`` (that "auto" allows), ``threads``
        (default: as :func:`bertpass.machine.threads` counts them), see
        :class:`bertpass.engines.native.NativeEngine`. cuda: ``dtype`` ("float16", "bfloat16", "float32"), ``device``
        (number of the GPU), see :class:`bertpass.engines.cuda.CudaEngine`. The others: see their classes.

    Raises
    ------
    UsageError
        No such engine or option.
    ModelError, DownloadError, MissingDependencyError
        The model cannot be had; the text says why and what to do.
    """
    if engine not in ENGINES:
        raise UsageError(unknown("engine", engine, ENGINES))
    module = importlib.import_module(ENGINES[engine])
    for name in options:
        if name not in module.OPTIONS:
            raise UsageError(unknown(f"option of the {engine} engine", name, module.OPTIONS))
    checkpoint = load_checkpoint(path_or_name, vocab=vocab, num_heads=num_heads, allow_pickle=allow_pickle,
                                 packed=engine == "native")
    made = module.from_checkpoint(checkpoint, **options)
    return Model(made, checkpoint.config, checkpoint.head, checkpoint.tokenizer, checkpoint.labels or (),
                 checkpoint.max_length)
