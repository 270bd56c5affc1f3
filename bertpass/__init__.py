"""bertpass: put BERT-type encoders into production.

``bertpass.load("minilm").encode(["a text"])`` gives sentence vectors; docs/python.md has the methods of a model.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["CrossEncoder", "MultiVectorEncoder", "SentenceEncoder", "SparseEncoder", "__version__", "load",
           "quantize_embeddings"]

#: names at the package's face that are imported on first use -> their module
_FACE = {**dict.fromkeys(("SentenceEncoder", "CrossEncoder", "MultiVectorEncoder", "SparseEncoder"),
                         "bertpass.engines.encoders"),
         "quantize_embeddings": "bertpass.engines.vectors"}

if TYPE_CHECKING:
    from bertpass.engines.encoders import CrossEncoder, MultiVectorEncoder, SentenceEncoder, SparseEncoder
    from bertpass.engines.model import Model
    from bertpass.engines.vectors import quantize_embeddings


def load(path_or_name: str | os.PathLike[str], engine: str = "native", *, dtype: str | None = None,
         threads: int | None = None, keep: Mapping[str, str] | None = None, max_error: float | None = None,
         kind: str | None = None, labels: Sequence[str] | None = None, max_length: int | None = None,
         vocab: str | None = None, num_heads: int | None = None, case: str | None = None, allow_pickle: bool = False,
         gpu: int | None = None, device: int | None = None, passes: str | list[str] | None = None,
         **options: Any) -> "Model":
    """Load a model, ready for texts. What had to be assumed or was left out is logged as warnings (logger "bertpass")
    and stands in ``Model.notes``.

    Parameters
    ----------
    path_or_name
        A bundle, a Hugging Face folder, a GluonNLP ``.params`` file, "minilm", a size such as "bert_12_768_12", a
        Hugging Face hub id such as "BAAI/bge-small-en-v1.5", or for the native engine a file of ``bertpass pack``.
    engine
        What computes: "native" (our own for CPUs), "cuda" (our own for NVIDIA GPUs), "mxnet", "onnxruntime" (or
        "onnx"), "openvino", "tensorflow", "torch" (or "pytorch"), "tvm"; the last five run on the CPU and are extras
        of the same names.
    dtype
        Precision. native: "auto", "float32", "bfloat16" ("bf16"), "int8", "float16" ("fp16", computed in bfloat16 or
        float32, with a warning); default "auto", or a packed file's own. mxnet: "float32"; "float16" on a GPU;
        "bfloat16" and "int8" on a CPU. cuda: "float16" (default), "bfloat16", "float32".
    threads
        Of one call, on CPUs (default: OMP_NUM_THREADS, else all usable processors).
    keep, max_error
        native: parts in another precision, as in ``{"0": "bfloat16", "5.down": "float32"}``; the relative error that
        "auto" allows (0.01). See :class:`bertpass.engines.native.NativeEngine`.
    kind, labels, max_length
        What the outputs are, what they are called, and the tokens to which texts are cut, where the model's files do
        not say it or something else is wanted: ``kind="ranking"`` makes a classifier of one output rank passages. The
        kinds are those of :class:`bertpass.model.config.HeadConfig`.
    vocab, num_heads, case
        For a ``.params`` file without a bundle beside it: its vocabulary file, its attention heads, and "uncased" or
        "cased".
    allow_pickle
        Read pytorch_model.bin files too; a pickle can run code.
    gpu, passes
        mxnet: number of the GPU (default: the CPU); "auto", "none" or names of graph passes.
    device
        cuda: number of the GPU.
    **options
        Further options of the engine, see its class in :mod:`bertpass.engines`.

    Returns
    -------
    Model
        With ``encode``, ``encode_sparse``, ``predict``, ``answer``, ``tag``, ``rerank`` and ``forward``; see
        :class:`bertpass.engines.model.Model`. It can be used from several threads.

    Raises
    ------
    UsageError
        No such engine or option, or a value that the engine does not take.
    ModelError, DownloadError, MissingDependencyError
        The model cannot be had; the text says why and what to do.
    """
    from bertpass import engines  # loaded on use: ``import bertpass`` stays light

    return engines.load(path_or_name, engine, dtype=dtype, threads=threads, keep=keep, max_error=max_error, kind=kind,
                        labels=labels, max_length=max_length, vocab=vocab, num_heads=num_heads, case=case,
                        allow_pickle=allow_pickle, gpu=gpu, device=device, passes=passes, **options)


def __getattr__(name: str) -> Any:
    """The compiled modules, and what else is at the face, on first use; a sentence where they are not there."""
    if name in _FACE:
        import importlib

        return getattr(importlib.import_module(_FACE[name]), name)
    if name not in ("_core", "_native"):
        raise AttributeError(f"module 'bertpass' has no attribute '{name}'")
    import importlib

    try:
        return importlib.import_module(f"bertpass.{name}")
    except ModuleNotFoundError as error:
        from bertpass.errors import MissingDependencyError

        folder = os.path.dirname(os.path.abspath(__file__))
        raise MissingDependencyError(
            f"the compiled parts of bertpass are not in {folder}, which Python takes because it is in the current "
            "folder or on the path: build them there with pip install -e . (or make build), or start in another folder "
            "to use an installed bertpass.") from error
