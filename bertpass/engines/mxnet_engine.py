"""MXNet as an engine: an exported graph, our passes, and MXNet's own fusions on the CPU."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.base import Engine
from bertpass.errors import DeviceError, ModelError
from bertpass.mx import context, mx

DTYPES = ("float32", "float16")


def check_device(gpu: int | None, dtype: str) -> None:
    """Refuse, before any long work, a device that is not there or a precision that it cannot run.

    Raises
    ------
    DeviceError
        No such GPU, or float16 on a CPU (MXNet 1.x has no float16 FullyConnected there).
    """
    context(gpu)
    if dtype not in DTYPES:
        raise DeviceError(f"dtype {dtype}: the mxnet engine runs {' and '.join(DTYPES)}.")
    if dtype == "float16" and gpu is None:
        raise DeviceError("float16: MXNet computes float16 on a GPU only; give --gpu ID, or "
                          "--dtype float32 on this CPU.")


class MXNetEngine(Engine):
    """Runs a symbol and its parameters.

    Parameters
    ----------
    symbol
        Text of a symbol file. A graph may already hold our passes.
    params
        Arrays by their key in the params file (``arg:NAME``, ``aux:NAME``), any float type; cast to ``dtype``.
    inputs
        Names of the graph's inputs in the order ids, token types (where the family has them), valid length.
    gpu
        Device number, ``None`` for the CPU.
    fuse
        Apply MXNet's own ``MKLDNN`` subgraph fusions after loading (CPU only; a backend's subgraphs are made for one
        process and are not saved).
    """

    name = "mxnet"

    def __init__(self, symbol: str, params: dict[str, np.ndarray], inputs: list[str], *, gpu: int | None = None,
                 dtype: str = "float32", fuse: bool = True, report: dict[str, Any] | None = None) -> None:
        check_device(gpu, dtype)
        self._context, self._dtype, self._inputs = context(gpu), dtype, list(inputs)
        self._lock = threading.Lock()
        self._report = dict(report or {})
        self.fused = fuse and gpu is None
        try:
            graph = mx.sym.load_json(symbol)
        except (mx.base.MXNetError, ValueError) as error:
            raise ModelError(f"MXNet cannot read the exported graph: {str(error).splitlines()[0]}") from error
        arrays = {k.split(":", 1)[1]: mx.nd.array(v, ctx=self._context, dtype=v.dtype) for k, v in params.items()}
        if self.fused:
            mx.nd.waitall()  # MXNet 1.9 reads parameters that are still pending as garbage
            graph = graph.optimize_for("MKLDNN", arrays, {}, mx.cpu(), skip_infer=True)
        missing = sorted(set(graph.list_arguments()) - set(arrays) - set(self._inputs))
        if missing:
            raise ModelError(f"the params file lacks {', '.join(missing[:3])}"
                             + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
                             + ": symbol and params are not of one export.")
        self._block = mx.gluon.SymbolBlock(graph, [mx.sym.var(n) for n in self._inputs])
        for key, parameter in self._block.collect_params().items():
            if key in arrays:
                value = arrays[key]
                parameter.shape, parameter.dtype, parameter.grad_req = value.shape, value.dtype, "null"
                parameter.initialize(ctx=self._context)
                parameter.set_data(value)
        if dtype != "float32":
            self._block.cast(dtype)
        self._block.hybridize(static_alloc=True, static_shape=False)

    def arrays(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[Any]:
        """The inputs of one batch on the device: what a caller keeps when it wants to time the compute alone."""
        out = [mx.nd.array(input_ids, ctx=self._context, dtype="int32")]
        if len(self._inputs) == 3:
            out.append(mx.nd.array(token_types, ctx=self._context, dtype="int32"))
        out.append(mx.nd.array(valid_length, ctx=self._context, dtype=self._dtype))
        return out

    def run(self, arrays: list[Any]) -> list[Any]:
        """Compute on the device; returns when the outputs are ready, without copying them."""
        with self._lock:
            out = self._block(*arrays)
            outputs = list(out) if isinstance(out, (list, tuple)) else [out]
            for output in outputs:
                output.wait_to_read()
            return outputs

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        outputs = self.run(self.arrays(input_ids, token_types, valid_length))
        return [o.astype("float32").asnumpy() for o in outputs]

    def describe(self) -> dict[str, Any]:
        watched = ("OMP_NUM_THREADS", "MXNET_SAFE_ACCUMULATION", "MXNET_FC_TRUE_FP16", "MXNET_ENGINE_TYPE",
                   "MXNET_SUBGRAPH_BACKEND", "DNNL_MAX_CPU_ISA", "KMP_AFFINITY", "OMP_WAIT_POLICY")
        return {
            "engine": self.name,
            "mxnet": mx.__version__,
            "device": str(self._context),
            "dtype": self._dtype,
            "threads": machine.threads(),
            "mkldnn_fusions": self.fused,
            "environment": {name: os.environ[name] for name in watched if name in os.environ},
            **self._report,
        }
