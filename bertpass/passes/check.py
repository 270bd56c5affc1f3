"""Check a rewritten graph in MXNet: its shapes still infer, and its outputs are those of the graph before."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from bertpass import _core
from bertpass.errors import DeviceError, PassError
from bertpass.mx import mx
from bertpass.passes.library import arrays_of, message, symbol_of

BATCH, LENGTH, SEED = 3, 12, 17
_UNARY = ("Cast", "identity", "_copy", "BlockGrad")
_LOOKUPS = {"Embedding": ("input_dim",), _core.ENCODER_OPERATOR: ("vocabulary", "token_types")}  # rows, by input


def random_inputs(text: str, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Random token ids and ragged valid lengths for the arguments of an encoder's graph that are no parameters.

    An argument is ids, int32 (3, 12) below the number of rows, where an Embedding looks it up; any other is a valid
    length, float32 (3,), from 1 to 12. A graph whose position table is shorter gets shorter rows.

    Raises
    ------
    PassError
        No argument is looked up in an Embedding: this is no encoder's graph.
    """
    nodes = json.loads(text)["nodes"]
    rows: dict[str, int] = {}
    length = LENGTH
    for node in nodes:
        for slot, key in enumerate(_LOOKUPS.get(node["op"], ())):
            size = int(node["attrs"][key])
            if not size:
                continue
            source = nodes[node["inputs"][slot][0]]
            while source["op"] in _UNARY:
                source = nodes[source["inputs"][0][0]]
            if source["op"] == "null":
                rows[source["name"]] = min(size, rows.get(source["name"], size))
            elif source["op"] != "zeros_like":
                length = min(length, size)
        if node["op"] == _core.ENCODER_OPERATOR:
            length = min(length, int(node["attrs"]["positions"]))
    if not rows:
        raise PassError("the graph looks nothing up in an Embedding, so no inputs can be made up for it; give check a "
                        "dict of inputs by name.")
    random = np.random.default_rng(SEED)
    inputs = {}
    for node in nodes:
        name = node["name"]
        if node["op"] != "null" or name in params:
            continue
        if name in rows:
            inputs[name] = random.integers(0, rows[name], (BATCH, length)).astype("int32")
        else:
            inputs[name] = np.array([length, 1, *random.integers(1, length + 1, BATCH - 2)], "float32")
    return inputs


class Checker:
    """Compares later states of a graph with its first one, on given or random inputs."""

    def __init__(self, text: str, params: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray] | None,
                 compute: bool):
        """``compute`` asks for outputs to be compared, not only their shapes.

        Raises PassError if no inputs can be made up and outputs are to be compared, DeviceError if outputs of float16
        are asked for, which MXNet does not compute on a CPU.
        """
        self._inputs: Mapping[str, np.ndarray] | None = inputs
        if inputs is None:
            try:
                self._inputs = random_inputs(text, params)
            except PassError:
                if compute:
                    raise
        if compute and any(value.dtype == np.float16 for value in params.values()):
            raise DeviceError("MXNet computes no float16 on a CPU, so the outputs cannot be checked; check the float32 "
                              "model and cast afterwards.")
        self._shapes = self.shapes(text, params)
        self._outputs = self.outputs(text, params) if compute else None

    def shapes(self, text: str, params: Mapping[str, np.ndarray]) -> list[tuple[int, ...]] | None:
        """Shapes of the outputs, by MXNet's inference; None where there are no inputs to start from."""
        if self._inputs is None:
            return None
        symbol = symbol_of(text)
        try:
            _, shapes, _ = symbol.infer_shape(
                **{name: value.shape for name, value in self._known(symbol, params).items()})
        except mx.base.MXNetError as error:
            raise PassError(f"the shapes of the graph and its parameters do not fit: {message(error)}") from error
        return shapes

    def outputs(self, text: str, params: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs of the graph on the CPU."""
        symbol = symbol_of(text)
        arrays = arrays_of(self._known(symbol, params))
        try:
            outputs = mx.nd.CachedOp(symbol)(*(arrays[name] for name in symbol.list_inputs()))
            return [output.asnumpy() for output in (outputs if isinstance(outputs, list) else [outputs])]
        except mx.base.MXNetError as error:
            raise PassError(f"MXNet cannot run the graph: {message(error)}") from error

    def _known(self, symbol: mx.sym.Symbol, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A value for every argument. MXNet must not infer shapes from fewer: for a custom operator with an input of
        unknown rank it writes past the end of a buffer of its own."""
        assert self._inputs is not None
        known = {**params, **self._inputs}
        missing = [name for name in symbol.list_inputs() if name not in known]
        if missing:
            raise PassError(f"check has no value for the input '{missing[0]}'; give check a dict with every input.")
        return {name: np.asarray(known[name]) for name in symbol.list_inputs()}

    def compare(self, text: str, params: Mapping[str, np.ndarray], after: str) -> float | None:
        """Largest absolute difference of any output from the first graph's; None where outputs are not compared.

        Raises
        ------
        PassError
            The shapes do not infer any more or are others, or an output holds NaN or infinity where the first did not.
        """
        shapes = self.shapes(text, params)
        if shapes != self._shapes:
            raise PassError(f"after the pass '{after}' the outputs have the shapes {shapes}, not {self._shapes}.")
        if self._outputs is None:
            return None
        worst = 0.0
        for ours, first in zip(self.outputs(text, params), self._outputs, strict=True):
            if not np.array_equal(np.isfinite(ours), np.isfinite(first)):
                raise PassError(f"after the pass '{after}' an output has NaN or infinity in other "
                                "places than before.")
            finite = np.isfinite(first)
            difference = np.abs(ours[finite].astype("float64") - first[finite].astype("float64"))
            worst = max(worst, float(difference.max(initial=0.0)))
        return worst
