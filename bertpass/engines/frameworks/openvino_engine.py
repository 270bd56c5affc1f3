"""OpenVINO as an engine: our ONNX graph in float32, in bfloat16 by its precision hint, or in int8 by nncf."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.engines.base import Batch, PaddedEngine, check_dtype, check_threads
from bertpass.errors import DeviceError, UsageError
from bertpass.extras import require
from bertpass.model.onnx import graph
from bertpass.model.record import Checkpoint

DTYPES = ("float32", "bfloat16", "int8")
EXTRA = "openvino"

_CAPABILITY = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}


class OpenVINOEngine(PaddedEngine):
    """Runs a checkpoint's network in OpenVINO on the CPU; several Python threads take turns.

    Parameters
    ----------
    dtype
        "float32"; "bfloat16" (inference precision hint); "int8" (nncf's post-training quantisation for transformers;
        what stays floating runs in bfloat16 where the processor has it, OpenVINO's default).
    threads
        For one forward; ``None`` takes :func:`bertpass.machine.threads`.
    calibration
        For int8: batches (input_ids, token_types, valid_length) of real text, without padded rows.

    Raises
    ------
    MissingDependencyError
        openvino, nncf or onnx is not installed.
    UsageError
        ``dtype``, ``threads`` or ``calibration`` cannot be used.
    DeviceError
        The processor does not compute this precision.
    """

    name = "openvino"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float32", threads: int | None = None,
                 calibration: Sequence[Batch] = ()) -> None:
        check_dtype(self.name, dtype, DTYPES)
        threads = check_threads(threads)
        if (dtype == "int8") != bool(calibration):
            raise UsageError("the openvino engine needs calibration=[(input_ids, token_types, valid_length), ...] of "
                             "real text for int8, and for int8 only.")
        openvino = require("openvino", EXTRA)
        core = openvino.Core()
        if _CAPABILITY[dtype] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise DeviceError(f"{dtype}: OpenVINO does not compute it on this processor; take dtype float32.")
        model = _model(core, checkpoint)
        self._inputs = [value.any_name for value in model.inputs]
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        if dtype == "int8":
            model = self._quantized(model, calibration)
        else:
            settings["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        compiled = core.compile_model(model, "CPU", settings)
        self._request: Any = compiled.create_infer_request()
        self._lock = threading.Lock()
        self._about = {"engine": self.name, "openvino": openvino.__version__, "device": "cpu", "dtype": dtype,
                       "threads": threads, "opset": graph.OPSET, "settings": settings,
                       "precision_hint": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()}

    def _quantized(self, model: Any, calibration: Sequence[Batch]) -> Any:
        nncf = require("nncf", EXTRA)
        nncf.set_log_level(logging.ERROR)
        data = nncf.Dataset(list(calibration), self._feed)
        return nncf.quantize(model, data, subset_size=len(calibration), model_type=nncf.ModelType.TRANSFORMER)

    def _feed(self, batch: Batch) -> dict[str, np.ndarray]:
        values = dict(zip(("input_ids", "token_types", "valid_length"), batch, strict=True))
        return {name: np.ascontiguousarray(values[name], np.int32) for name in self._inputs}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        feed = self._feed((input_ids, token_types, valid_length))
        with self._lock:
            found = self._request.infer(feed, share_inputs=True)
            return [np.array(found[number], np.float32) for number in range(len(found))]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._request = None


def _model(core: Any, checkpoint: Checkpoint) -> Any:
    return core.read_model(io.BytesIO(graph.to_onnx(checkpoint, check=False).SerializeToString()))


def save(path: Path, checkpoint: Checkpoint) -> list[Path]:
    """Write OpenVINO's intermediate representation of the network in float32: ``path``, an .xml file, and the .bin file
    beside it. Batch and sequence are free; inputs and outputs are those of :mod:`bertpass.model.onnx.graph`.

    Raises
    ------
    MissingDependencyError
        openvino or onnx is not installed.
    """
    openvino = require("openvino", EXTRA)
    openvino.save_model(_model(openvino.Core(), checkpoint), str(path), compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


from_checkpoint = OpenVINOEngine
