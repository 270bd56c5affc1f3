"""ONNX Runtime as an engine: our ONNX graph in its fused operators, in float32, float16 or with int8 products."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.base import PaddedEngine, check_dtype, check_threads
from bertpass.errors import DeviceError, UsageError, unknown
from bertpass.extras import require
from bertpass.model.onnx import fused, graph
from bertpass.model.record import Checkpoint

DTYPES = ("float32", "float16", "int8")
DEVICES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
EXTRA = "onnxruntime"


class ONNXRuntimeEngine(PaddedEngine):
    """Runs a checkpoint's network in ONNX Runtime; several Python threads may call it at once.

    Parameters
    ----------
    dtype
        "float32"; "float16", of weights and activations, for which ONNX Runtime has few kernels on a CPU: there it
        computes in float32 and rounds in between; or "int8", on a CPU: weights quantised per column, activations at
        each call (quantize_dynamic).
    threads
        For one forward; ``None`` takes :func:`bertpass.machine.threads`. They do not spin after a call.
    fusions
        Without them the portable graph runs operator by operator as it was written, in float32: what a fusion is
        worth. Encoders that ONNX Runtime's own operators do not compute are written in standard ones, fused or not.
    device
        "cpu", or "cuda", which the package onnxruntime-gpu brings.

    Raises
    ------
    MissingDependencyError
        onnxruntime or onnx is not installed.
    UsageError
        ``dtype``, ``threads`` or ``device`` cannot be used.
    DeviceError
        This ONNX Runtime has no CUDA, or CUDA does not start.
    """

    name = "onnxruntime"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float32", threads: int | None = None,
                 fusions: bool = True, device: str = "cpu") -> None:
        check_dtype(self.name, dtype, DTYPES if fusions else DTYPES[:1])
        threads = check_threads(threads)
        if device not in DEVICES:
            raise UsageError(unknown("device of the onnxruntime engine", str(device), DEVICES))
        if device != "cpu" and dtype == "int8":
            raise UsageError("int8 of the onnxruntime engine is for the CPU; on a GPU take float16.")
        runtime = require("onnxruntime", EXTRA)
        _check_provider(runtime.get_available_providers(), device)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if not fusions:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = graph.to_onnx(checkpoint, fused=fusions and fused.computes(checkpoint.config), check=False)
        if dtype == "float16":
            model = graph.to_float16(model)
        content = _quantized(model) if dtype == "int8" else model.SerializeToString()
        self._session: Any = runtime.InferenceSession(content, options, providers=list(dict.fromkeys(
            [DEVICES[device], DEVICES["cpu"]])))
        _check_provider(self._session.get_providers(), device)  # it goes on without what does not start
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._about = {"engine": self.name, "onnxruntime": runtime.__version__, "device": device, "dtype": dtype,
                       "threads": threads, "opset": graph.OPSET, "operators": graph.operators(model)}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        feed = {"input_ids": input_ids, "token_types": token_types, "valid_length": valid_length}
        return list(self._session.run(None, {name: np.asarray(feed[name], np.int32) for name in self._inputs}))

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._session = None


def _check_provider(providers: Sequence[str], device: str) -> None:
    if DEVICES[device] not in providers:
        raise DeviceError(f"ONNX Runtime cannot use {device} here, it has {', '.join(providers)}: onnxruntime-gpu in "
                          "place of onnxruntime, an NVIDIA driver and the CUDA that it was built for are needed; or "
                          "take device='cpu'.")


def _quantized(model: Any) -> bytes:
    """The fused graph with its matrix products in int8."""
    quantization = require("onnxruntime.quantization", EXTRA)
    logging.getLogger().addFilter(_not_the_advice)
    sets = machine.describe()["instruction_sets"]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "int8.onnx"
        quantization.quantize_dynamic(
            model, str(small), op_types_to_quantize=["MatMul", "Attention"], per_channel=True,
            reduce_range="avx512_vnni" not in sets and "avx_vnni" not in sets,  # without VNNI sums of pairs overflow
            weight_type=quantization.QuantType.QInt8,
            extra_options={"DefaultTensorType": require("onnx", EXTRA).TensorProto.FLOAT})
        return small.read_bytes()


def _not_the_advice(record: logging.LogRecord) -> bool:
    """Leave out the advice to preprocess: the shapes that it asks for are known where they matter."""
    return "pre-processing" not in record.getMessage()


from_checkpoint = ONNXRuntimeEngine
