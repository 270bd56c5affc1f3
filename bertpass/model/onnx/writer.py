"""Collects the nodes and weights of an ONNX graph; :mod:`bertpass.model.onnx.graph` says what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertpass.model.config import EncoderConfig
from bertpass.model.heads import Dense
from bertpass.model.parameters import as_floats


class Writer:
    """Collects nodes and weights; every method that adds a node returns the name of its output.

    ``params`` are the network's parameters by our names, in float32.
    """

    def __init__(self, onnx: Any, config: EncoderConfig, params: Mapping[str, np.ndarray]) -> None:
        self.config, self.params = config, as_floats(params)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._onnx = onnx
        self._constants: dict[Any, str] = {}
        self._weights: dict[Any, str] = {}

    def add(self, op: str, *inputs: str, output: str | None = None, unread: int = 0, **attributes: Any) -> str:
        """A node; ``unread`` outputs follow its first one because the operator must have them."""
        name = output or f"{op.lower()}_{len(self.nodes)}"
        outputs = [name, *(f"{name}_unread_{number}" for number in range(unread))]
        self.nodes.append(self._onnx.helper.make_node(op, inputs, outputs, name=name, **attributes))
        return name

    def constant(self, value: float | Sequence[int], dtype: Any = np.float32) -> str:
        """A number, or a list of them in int64; the same one is stored once."""
        array = np.asarray(value, np.int64 if isinstance(value, Sequence) else dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.store(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def weight(self, name: str, transposed: bool = False) -> str:
        """A parameter of ours; ``transposed`` ones are stored as (depth, columns), as MatMul reads them."""
        return self.joined(f"{name}.transposed" if transposed else name, [name], transposed)

    def joined(self, name: str, parts: Sequence[str], transposed: bool = False) -> str:
        """Parameters one after the other; what several layers share is stored once."""
        arrays = [self.params[part] for part in parts]
        key = (transposed, *map(id, arrays))
        if key not in self._weights:
            array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
            self._weights[key] = self.store(name, array.T if transposed else array)
        return self._weights[key]

    def store(self, name: str, array: np.ndarray) -> str:
        """An array under a name that no other one has."""
        self.weights.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def cast(self, x: str, dtype: str) -> str:
        return self.add("Cast", x, to=getattr(self._onnx.TensorProto, dtype))

    def product(self, x: str, name: str) -> str:
        """A dense layer without its bias."""
        return self.add("MatMul", x, self.weight(f"{name}.weight", transposed=True))

    def dense(self, x: str, name: str, output: str | None = None) -> str:
        """With a bias where there is one; without one ``output`` cannot be named."""
        product = self.product(x, name)
        if f"{name}.bias" not in self.params:
            return product
        return self.add("Add", product, self.weight(f"{name}.bias"), output=output)

    def layer(self, x: str, layer: Dense, output: str | None = None) -> str:
        """A layer of a head without its activation function; a table of the embeddings is stored once."""
        if not layer.table:
            return self.dense(x, layer.name, output)
        product = self.add("MatMul", x, self.add("Transpose", layer.table, perm=[1, 0]))
        return self.add("Add", product, self.weight(f"{layer.name}.bias"), output=output)

    def norm(self, x: str, name: str) -> str:
        arrays = [self.weight(f"{name}.{kind}") for kind in ("gamma", "beta") if f"{name}.{kind}" in self.params]
        return self.add("LayerNormalization", x, *arrays, axis=-1, epsilon=self.config.layer_norm_eps)

    def activation(self, x: str, function: str, output: str | None = None) -> str:
        number = self.constant
        if function in ("relu", "tanh"):
            return self.add(function.capitalize(), x, output=output)
        if function == "silu":
            return self.add("Mul", x, self.add("Sigmoid", x), output=output)
        if function == "gelu":  # x (1 + erf(x / sqrt 2)) / 2
            inner = self.add("Erf", self.add("Div", x, number(float(np.sqrt(2.0)))))
        else:  # x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
            cubed = self.add("Mul", self.add("Pow", x, number(3.0)), number(0.044715))
            inner = self.add("Tanh", self.add("Mul", self.add("Add", x, cubed), number(float(np.sqrt(2 / np.pi)))))
        return self.add("Mul", self.add("Mul", x, self.add("Add", inner, number(1.0))), number(0.5), output=output)
