"""MXNet as an engine: an exported graph, our passes, and MXNet's own fusions on the CPU."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import _core, _native, machine
from bertpass.base.paths import cuda_engine
from bertpass.engines.base import PaddedEngine
from bertpass.engines.cuda import library as cuda_library
from bertpass.errors import DeviceError, GraphError, ModelError
from bertpass.model import parameters
from bertpass.model.export import graph_of
from bertpass.model.files import params_file
from bertpass.model.low_precision.plan import base_of
from bertpass.model.record import Checkpoint
from bertpass.mx import context, message, mx, operator_times
from bertpass.passes import optimize_graph
from bertpass.passes.library import load_operator
from bertpass.passes.quantize import quantized_nodes

DTYPES = ("float32", "float16", "bfloat16", "int8")
ENCODER_DTYPES = ("bfloat16", "int8")  # those in which only the pass native_encoder computes, on a CPU


def check_device(gpu: int | None, dtype: str) -> None:
    """Refuse, before any long work, a device that is not there or a precision that it cannot run.

    Raises
    ------
    DeviceError
        No such GPU, float16 on a CPU (MXNet 1.x has no float16 FullyConnected there), or what only our encoder computes
        on a GPU.
    """
    context(gpu)
    if dtype not in DTYPES:
        raise DeviceError(f"dtype {dtype}: the mxnet engine runs {' and '.join(DTYPES)}.")
    if dtype == "float16" and gpu is None:
        raise DeviceError("float16: MXNet computes float16 on a GPU only; give --gpu ID, or "
                          "--dtype float32 on this CPU.")
    if dtype in ENCODER_DTYPES and gpu is not None:
        raise DeviceError(f"{dtype}: on a GPU the mxnet engine runs float32 and float16; give one of these, or leave "
                          "--gpu out.")


class MXNetEngine(PaddedEngine):
    """Runs a symbol and its parameters.

    Parameters
    ----------
    symbol
        Text of a symbol file; the graph may hold passes, MXNet's own subgraph fusions among them.
    params
        Arrays by their key in the params file (``arg:NAME``), in the precision that the graph was made for.
    inputs
        Names of the graph's inputs in the order ids, token types (where the family has them), valid length.
    gpu
        Device number, ``None`` for the CPU.
    report
        Whatever else :meth:`describe` should tell, for example what the passes did.
    """

    name = "mxnet"

    def __init__(self, symbol: str, params: Mapping[str, np.ndarray], inputs: Sequence[str], *, gpu: int | None = None,
                 report: dict[str, Any] | None = None) -> None:
        arrays = {key.removeprefix("arg:"): array for key, array in params.items()}
        floats = {a.dtype.name for a in arrays.values() if a.dtype.kind == "f"}
        stored = "float16" if "float16" in floats else "float32"
        check_device(gpu, stored)
        self._context, self._inputs, self._report = context(gpu), list(inputs), dict(report or {})
        self._lock = threading.RLock()
        graph = _graph(symbol)
        encoders = [node["attrs"] for node in json.loads(symbol)["nodes"] if node["op"] == _core.ENCODER_OPERATOR]
        if encoders:
            self._report.update(encoder_device(encoders, gpu))
        self.dtype = encoders[0].get("dtype", stored) if encoders else "int8" if quantized_nodes(symbol) else stored
        missing = sorted(set(graph.list_inputs()) - set(arrays) - set(self._inputs))
        if missing:
            raise ModelError(f"the params file lacks {', '.join(missing[:3])}"
                             + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
                             + ": symbol and params are not of one export.")
        _check_shapes(graph, arrays, self._inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that the inputs' types are not known yet
            self._block = mx.gluon.SymbolBlock(graph, [mx.sym.var(name) for name in self._inputs])
        for name, parameter in self._block.collect_params().items():
            value = arrays[name]
            parameter.shape, parameter.dtype, parameter.grad_req = value.shape, value.dtype, "null"
            parameter.initialize(init=mx.init.Zero(), ctx=self._context)
            parameter.set_data(mx.nd.array(value, ctx=self._context, dtype=value.dtype))
        self._block.hybridize(static_alloc=True)

    @classmethod
    def from_files(cls, prefix: str | os.PathLike[str], inputs: Sequence[str], *, gpu: int | None = None,
                   report: dict[str, Any] | None = None) -> MXNetEngine:
        """From PREFIX-symbol.json and PREFIX-0000.params; ModelError where one is missing or damaged."""
        symbol, params = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-0000.params")
        for path in (symbol, params):
            if not path.is_file():
                raise ModelError(f"there is no {path}; export the model first (bertpass deploy without --only_infer).")
        try:
            text = symbol.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{symbol} is not an exported graph ({error}); export the model again.") from error
        try:
            return cls(text, params_file.read(params), inputs, gpu=gpu, report=report)
        except GraphError as error:
            raise ModelError(f"{symbol} is not an exported graph: {error}") from error

    def arrays(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[Any]:
        """The inputs of one batch on the device: what a caller keeps when it wants to time the compute alone."""
        out = [mx.nd.array(input_ids, ctx=self._context, dtype="int32")]
        if len(self._inputs) == 3:
            out.append(mx.nd.array(token_types, ctx=self._context, dtype="int32"))
        out.append(mx.nd.array(valid_length, ctx=self._context, dtype="float32"))
        return out

    def run(self, arrays: list[Any]) -> list[Any]:
        """Compute on the device; returns when the outputs are ready, without copying them.

        Raises
        ------
        ModelError
            MXNet cannot: a damaged params file, or ids or lengths that are out of range for the encoder's operator.
        """
        with self._lock:
            try:
                out = self._block(*arrays)
                outputs = list(out) if isinstance(out, (list, tuple)) else [out]
                for output in outputs:
                    output.wait_to_read()
            except mx.base.MXNetError as error:
                raise ModelError(f"MXNet cannot compute this batch: {message(error)}") from error
            return outputs

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        with self._lock:  # the outputs are copied before another thread can run the graph again
            outputs = self.run(self.arrays(input_ids, token_types, valid_length))
            return [o.astype("float32").asnumpy() for o in outputs]

    def profile(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray, calls: int = 1,
                ) -> dict[str, float]:
        """See :meth:`Engine.profile`; by MXNet's operator names, from the aggregate statistics of its profiler."""
        arrays = self.arrays(input_ids, token_types, valid_length)

        def work() -> None:
            for _ in range(calls):
                self.run(arrays)

        with self._lock:
            self.run(arrays)  # what the first forward of a shape prepares is not counted
            operators = operator_times(work, profile_symbolic=True, profile_imperative=True)
        return {name: values["Total"] / 1e3 / calls for name, values in operators.items()}

    def describe(self) -> dict[str, Any]:
        watched = ("OMP_NUM_THREADS", "MXNET_SAFE_ACCUMULATION", "MXNET_FC_TRUE_FP16", "MXNET_ENGINE_TYPE",
                   "MXNET_SUBGRAPH_BACKEND", "DNNL_MAX_CPU_ISA", "KMP_AFFINITY", "OMP_WAIT_POLICY")
        return {
            "engine": self.name,
            "mxnet": mx.__version__,
            "device": str(self._context),
            "dtype": self.dtype,
            "threads": machine.threads(),
            "environment": {name: os.environ[name] for name in watched if name in os.environ},
            **self._report,
        }


def encoder_device(encoders: Sequence[Mapping[str, str]], gpu: int | None) -> dict[str, Any]:
    """Check that what computes the operators of native_encoder is there, and tell what it is.

    Raises
    ------
    DeviceError
        The weights have the form of the other device.
    MissingDependencyError
        They are a GPU's and the CUDA engine is not built.
    """
    forms = {attributes.get("form", "packed") for attributes in encoders}
    if gpu is not None and "packed" in forms:
        raise DeviceError("the graph holds an encoder that the pass native_encoder put in for CPUs; export the model "
                          "again with --gpu, or leave --gpu out.")
    if gpu is None and "unpacked" in forms:
        raise DeviceError("the graph holds an encoder that the pass native_encoder put in for GPUs; export the model "
                          "again without --gpu, or give --gpu ID.")
    if gpu is None:
        return {"instruction_set": _native.selected()}
    cuda_library.library()
    os.environ.setdefault("BERTPASS_CUDA", str(cuda_engine()))  # MXNet's library may lie elsewhere
    if found := cuda_library.cublaslt():
        os.environ.setdefault("BERTPASS_CUBLASLT", found)
    return {"cuda_engine": str(cuda_engine())}


def _graph(symbol: str) -> Any:
    """MXNet's symbol of a text; GraphError where it is none (checked first: MXNet itself ends at some of them)."""
    text = _core.Graph(symbol).json()
    load_operator(text)
    try:
        return mx.sym.load_json(text)
    except mx.base.MXNetError as error:
        raise GraphError(f"MXNet {mx.__version__} cannot read it: {message(error)}") from error


def _check_shapes(graph: Any, arrays: Mapping[str, np.ndarray], inputs: Sequence[str]) -> None:
    """Infer the graph's shapes for one row of three tokens; ModelError where the parameters are another model's."""
    shapes = {name: array.shape for name, array in arrays.items() if name in graph.list_inputs()}
    shapes.update(dict.fromkeys(inputs[:-1], (1, 3)), **{inputs[-1]: (1,)})
    try:
        # MXNet prints every shape before it raises, and warns where it cannot tell one
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            graph.infer_shape(**shapes)
    except mx.base.MXNetError as error:
        raise ModelError("the shapes of the params file do not fit the graph: symbol and params are not of one "
                         "export.") from error


def from_checkpoint(checkpoint: Checkpoint, *, gpu: int | None = None, dtype: str = "float32",
                    passes: str | Sequence[str] = "auto") -> MXNetEngine:
    """An engine on a checkpoint's network, with ``passes`` applied in memory."""
    check_device(gpu, base_of(dtype))
    lower = base_of(dtype) in ENCODER_DTYPES or dtype != base_of(dtype)
    encoder = dtype if lower else "float32"
    symbol, params = graph_of(checkpoint, "float32" if lower else dtype)
    symbol, params, report = optimize_graph(symbol, params, passes, device="cpu" if gpu is None else "gpu",
                                            dtype=encoder)
    return MXNetEngine(symbol, params, parameters.network_config(checkpoint.config, checkpoint.head).input_names,
                       gpu=gpu, report={"passes": report.to_dict()})
