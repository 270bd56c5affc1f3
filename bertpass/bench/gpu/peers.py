"""Peers next to PyTorch, where they are installed: ONNX Runtime's CUDA provider, and MXNet's GPU builds.

ONNX Runtime runs our own export in its fused operators on tensors that lie on the GPU, timed as the others are. MXNet
runs in a process of its own, because its CUDA libraries are of another generation, and is timed by the host's clock,
with warm weights: with the published passes, and with the encoder of the pass native_encoder.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.bench.gpu import apart
from bertpass.bench.gpu.measure import Case, Clock
from bertpass.errors import BertpassError
from bertpass.extras import require
from bertpass.model.onnx import fused, graph
from bertpass.model.record import Checkpoint

NOT_INSTALLED = "not installed"
MXNET_BUILDS = ("mxnet-cu102", "mxnet-cu110", "mxnet-cu112", "mxnet-cu117")
MXNET_LIMIT = 120.0  # seconds for all of MXNet's figures


def in_half(model: Any) -> Any:
    """Make an ONNX model of float32 one of float16, outputs included; changes it in place and returns it."""
    package = require("onnx", "onnx")
    single, half = package.TensorProto.FLOAT, package.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        if tensor.data_type == single:
            values = package.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(package.numpy_helper.from_array(values, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = half
    for output in model.graph.output:
        output.type.tensor_type.elem_type = half
    return model


class OnnxRuntime:
    """A checkpoint's token states by ONNX Runtime on a device of PyTorch ("cuda", or "cpu" for tests).

    Raises
    ------
    BertpassError
        It is not installed for this device, or computes no ``dtype``: it has float32 and float16.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, torch: Any, device: str) -> None:
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
            raise BertpassError(NOT_INSTALLED)
        runtime = require("onnxruntime", "onnxruntime")
        if provider not in runtime.get_available_providers():
            raise BertpassError(f"{NOT_INSTALLED} with {provider}")
        if dtype not in ("float32", "float16"):
            raise BertpassError(f"has no {dtype}")
        model = graph.to_onnx(checkpoint, fused=fused.computes(checkpoint.config))
        content = (in_half(model) if dtype == "float16" else model).SerializeToString()
        self._torch, self._device, self._dtype = torch, device, getattr(torch, dtype)
        self._stream = torch.cuda.Stream() if device == "cuda" else None
        options = {} if self._stream is None else {"user_compute_stream": str(self._stream.cuda_stream)}
        quiet = runtime.SessionOptions()
        quiet.log_severity_level = 3
        self._session = runtime.InferenceSession(content, quiet, providers=[(provider, options)])
        if self._session.get_providers()[0] != provider:
            raise BertpassError(f"{provider} does not start here")
        self._run_options = runtime.RunOptions()
        if self._stream is not None:  # or every call would wait for its end
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._units = checkpoint.config.units
        self.version = runtime.__version__

    def _bound(self, ids: Any, types: Any, lengths: np.ndarray) -> tuple[Any, Any, list[Any]]:
        """A binding, the tensor that it writes, and what has to stay in memory for it."""
        binding = self._session.io_binding()
        feed = {"input_ids": ids, "token_types": types,
                "valid_length": self._torch.from_numpy(lengths.astype(np.int32)).to(self._device)}
        for name in (value.name for value in self._session.get_inputs()):
            binding.bind_input(name, self._device, 0, np.int32, tuple(feed[name].shape), feed[name].data_ptr())
        states = self._torch.full((*ids.shape, self._units), float("nan"), dtype=self._dtype, device=self._device)
        element = np.float16 if self._dtype == self._torch.float16 else np.float32
        binding.bind_output(self._session.get_outputs()[0].name, self._device, 0, element, tuple(states.shape),
                            states.data_ptr())
        return binding, states, list(feed.values())

    @contextlib.contextmanager
    def _on_stream(self) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(self._torch.cuda.current_stream())
        with self._torch.cuda.stream(self._stream):
            yield

    def states(self, ids: Any, types: Any, lengths: np.ndarray) -> Any:
        """Token states (rows, length, units) of int32 tensors on the device."""
        binding, states, _kept = self._bound(ids, types, lengths)
        with self._on_stream():
            self._session.run_with_iobinding(binding, self._run_options)
        if self._stream is not None:
            self._stream.synchronize()
        return states

    def time(self, clock: Clock, inputs: tuple[Any, Any, np.ndarray], seconds: float, cold: bool) -> dict[str, float]:
        """As the times of :class:`bertpass.bench.gpu.measure.Bench`."""
        binding, _states, _kept = self._bound(*inputs)
        with self._on_stream():
            return clock.measure(lambda: self._session.run_with_iobinding(binding, self._run_options), seconds, cold)


def mxnet_build() -> str | None:
    """Name and version of the GPU build of MXNet that is installed, None where there is none."""
    found = ((name, machine.version(name)) for name in MXNET_BUILDS)
    return next((f"{name} {version}" for name, version in found if version), None)


def mxnet_times(model: str, dtype: str, cases: Sequence[Case], seconds: float, limit: float,
                program: Sequence[str] = ("-m", "bertpass.bench.gpu.mxnet_process")) -> Iterator[dict[str, Any]]:
    """What :mod:`bertpass.bench.gpu.mxnet_process` says of a model of a published size, within ``limit`` seconds:
    figures as ``{"name", "case", "ms"}`` as far as it came, then what went wrong as ``{"error"}``."""
    return apart.figures(program, {"model": model, "dtype": dtype, "seconds": seconds,
                                   "cases": [[case.name, list(case.lengths), case.length] for case in cases]}, limit)
