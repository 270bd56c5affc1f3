"""int8 by MXNet's own oneDNN path: ``mx.contrib.quantization`` of MXNet 1.9.1 on an exported graph.

Its subgraph backend fuses every FullyConnected with what follows it and computes it and attention's products on bytes,
weights with a scale for each output channel. The scale of the rows is fixed: it comes from ranges that calibration
batches gave. The weights stay float32 in the file, and the operators round them when they first run. What is written
needs no library of ours, runs where MXNet has oneDNN, and gives the same outputs after reading it again.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bertpass import _core
from bertpass.errors import DeviceError, PassError

#: how ranges are found. naive: least and largest value; entropy: by Kullback-Leibler divergence (MXNet's own);
#: percentile: of each batch the range of all values but a share of 1e-4 at either end; customize: as naive with the
#: bounds of the published scripts on GELU's outputs (at most 10) and LayerNorm's (at least -50)
MODES = ("none", "naive", "entropy", "customize", "percentile")
DTYPES = ("auto", "int8", "uint8")

_BACKEND = "MKLDNN_QUANTIZE"
_MIXTURE = "_sg_mkldnn_selfatt_valatt"
_QUANTIZED = ("_sg_mkldnn_fully_connected", "_sg_mkldnn_selfatt_qk", _MIXTURE)
_OUTSIDE = 0.01  # percent of the values outside the range at either end
_GELU_MOST, _NORM_LEAST = 10.0, -50.0

Arrays = dict[str, np.ndarray]


class _Ranges:
    """Least and largest value of each of the named outputs over all batches; MXNet's monitor calls :meth:`collect`."""

    def __init__(self, wanted: Iterable[str], mode: str) -> None:
        self._wanted, self._mode = set(wanted), mode
        self.min_max_dict: dict[str, tuple[float, float]] = {}  # the name that calib_graph reads

    def collect(self, name: bytes, handle: int) -> None:
        from bertpass.mx import mx

        key = name.decode("utf-8")
        if key not in self._wanted:
            return
        values = mx.nd.NDArray(ctypes.cast(handle, mx.base.NDArrayHandle), writable=False).asnumpy()
        if self._mode == "percentile":
            least, most = (float(v) for v in np.percentile(values, (_OUTSIDE, 100 - _OUTSIDE)))
        else:
            least, most = float(values.min()), float(values.max())
        if self._mode == "customize":
            if "gelu" in key:
                most = min(most, _GELU_MOST)
            if "layernorm" in key:
                least = max(least, _NORM_LEAST)
        before = self.min_max_dict.get(key, (least, most))
        self.min_max_dict[key] = min(before[0], least), max(before[1], most)


def quantize(symbol: str, params: Mapping[str, np.ndarray], batches: Iterable[Mapping[str, np.ndarray]],
             mode: str = "customize", dtype: str = "auto", skip: Sequence[str] = ()) -> tuple[str, Arrays]:
    """The graph and its parameters with every matrix product but those of ``skip`` in int8.

    Parameters
    ----------
    symbol, params : a float32 graph (JSON) and its parameters by plain names; interleave_qkv has to come before,
        because weights that are joined in the graph cannot be quantised
    batches : inputs by name, of real text; each is run once in float32
    mode : of :data:`MODES`, but none
    dtype : of the activations' bytes: "int8", or "auto", which takes uint8 where no value is negative. "uint8"
        everywhere, as the published flag allows, is refused: most activations have negative values.
    skip : names of :func:`candidates` that stay in float32

    Raises
    ------
    DeviceError
        This MXNet is built without oneDNN.
    PassError
        MXNet cannot quantise the graph; the mode is "none"; the type is "uint8".
    """
    from bertpass.mx import message, mx
    from bertpass.passes.library import arrays_of

    if mode == "none":
        raise PassError("calib_mode none: MXNet's oneDNN path needs ranges that were calibrated; give another mode, or "
                        "take the native engine, which finds the range of every token as it runs.")
    if dtype == "uint8":
        raise PassError("quantized_dtype uint8: activations have negative values, which it cannot hold; take auto, "
                        "which uses it where there are none, or int8.")
    fused = _fused(symbol)
    skip = [*skip, *set(candidates(symbol)) - set(candidates(symbol, dtype))]
    known = arrays_of({name: value for name, value in params.items() if name in fused.list_arguments()})
    kind = "entropy" if mode == "entropy" else "customize"
    quantization = mx.contrib.quantization
    try:
        quantized, _, _, histograms = quantization.quantize_graph(
            fused, known, {}, excluded_sym_names=list(skip), calib_mode="entropy", quantized_dtype=dtype,
            quantize_mode="smart", quantize_granularity="channel-wise")
        ranges = histograms if mode == "entropy" else _Ranges(histograms.include_layer, mode)
        for batch in batches:
            feeds = {**known, **arrays_of(batch)}
            executor = fused.bind(mx.cpu(), [feeds[name] for name in fused.list_arguments()], grad_req="null")
            executor.set_monitor_callback(ranges.collect, monitor_all=True)
            for output in executor.forward(is_train=False):
                output.wait_to_read()
        quantized, arrays, _ = quantization.calib_graph(quantized, known, {}, ranges, calib_mode=kind,
                                                        quantized_dtype=dtype)
        graph = _core.Graph(quantized.get_backend_symbol(_BACKEND).tojson())
    except mx.base.MXNetError as error:
        raise PassError(f"MXNet cannot quantise this graph: {message(error)}") from error
    arguments = set(graph.arguments())
    return graph.json(), {name: value.asnumpy() for name, value in arrays.items() if name in arguments}


def candidates(symbol: str, dtype: str = "auto") -> list[str]:
    """Names of the nodes of a float32 graph that :func:`quantize` puts in int8, in their order: dense layers and
    the two products of each attention; with ``dtype`` "int8" the first product only, since MXNet has the second one
    for uint8 weights of attention alone."""
    kinds = [kind for kind in _QUANTIZED if dtype != "int8" or kind != _MIXTURE]
    return [node["name"] for node in json.loads(_fused(symbol).tojson())["nodes"] if node["op"] in kinds]


def quantized_nodes(symbol: str) -> list[str]:
    """Names of the nodes of a graph that compute in int8."""
    return [node["name"] for node in json.loads(symbol)["nodes"]
            if node["op"].startswith("_sg_mkldnn_") and node.get("attrs", {}).get("quantized") in ("True", "true", "1")]


def _fused(symbol: str):  # type: ignore[no-untyped-def]  # MXNet has no types
    from bertpass.mx import mx
    from bertpass.passes.library import symbol_of

    if not mx.runtime.Features().is_enabled("MKLDNN"):
        raise DeviceError(f"int8 by MXNet needs an MXNet with oneDNN and this one ({mx.__version__}) has none; take "
                          "the native engine.")
    return symbol_of(symbol).get_backend_symbol(_BACKEND)
