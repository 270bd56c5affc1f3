"""A network as a program of TVM's Relax: its weights as the kernels read them, and their calls for one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.tvm import records
from bertpass.engines.tvm.kernels import Kernels
from bertpass.errors import UsageError
from bertpass.model import heads, parameters
from bertpass.model.config import EncoderConfig
from bertpass.model.record import Checkpoint


class Network:
    """A checkpoint's weights as the kernels read them, and the Relax program of any shape.

    Kernels have the schedules that were recorded for this processor and ``threads``.
    """

    def __init__(self, tvm: Any, checkpoint: Checkpoint, threads: int) -> None:
        self.config, given = checkpoint.network()
        parameters.refuse_more_than_bert(self.config, "the tvm engine")
        heads.refuse_words(checkpoint.head, "the tvm engine")
        self.layout = heads.layout(self.config, checkpoint.head)
        wide = "avx512f" in machine.describe()["instruction_sets"]
        self.kernels = Kernels(tvm, lanes=16 if wide else 8)
        _check(self.config, self.kernels)
        self.records = records.here(self.kernels.lanes, threads)
        self.recorded: set[tuple[str, tuple[Any, ...]]] = set()  # kernels in use that have a record
        self.target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
        self.weights = _packed(self.config, {name: np.asarray(a, np.float32) for name, a in given.items()},
                               self.kernels.columns)
        self.shapes = {name: array.shape for name, array in self.weights.items()}
        self._tvm = tvm

    def check(self, ids: np.ndarray, types: np.ndarray, lengths: np.ndarray) -> None:
        """Refuse a batch that would make the kernels read past their tables; UsageError."""
        kinds = self.shapes[f"{self.config.root}.token_type_embed.0.weight"][0]
        limits = [("token ids", ids, 0, self.config.vocab_size - 1), ("valid lengths", lengths, 1, ids.shape[1])]
        if kinds > 1:
            limits.append(("token types", types, 0, kinds - 1))
        for what, values, least, most in limits:
            if values.min() < least or values.max() > most:
                raise UsageError(f"{what} must be from {least} to {most}.")
        if ids.shape[1] > self.config.max_length:
            raise UsageError(f"{ids.shape[1]} tokens are more than the model's {self.config.max_length} positions.")

    def module(self, batch: int, length: int) -> Any:
        """The program for one shape: (ids, token types, valid length, weights ...) -> a tuple of the outputs."""
        return self._built(batch, length)[0]

    def calls(self, batch: int, length: int) -> list[tuple[str, tuple[Any, ...]]]:
        """The different kernels of the program for one shape, by name, with their arguments."""
        return self._built(batch, length)[1]

    def _built(self, batch: int, length: int) -> tuple[Any, list[tuple[str, tuple[Any, ...]]]]:
        relax = self._tvm.relax
        builder = relax.BlockBuilder()
        ids, types, lengths = inputs = [relax.Var(name, relax.TensorType(shape, "int32")) for name, shape in (
            ("input_ids", (batch, length)), ("token_types", (batch, length)), ("valid_length", (batch,)))]
        weights = {name: relax.Var(_word(name), relax.TensorType(shape, "float32"))
                   for name, shape in self.shapes.items()}
        with builder.function("main", [*inputs, *weights.values()]):
            program = _Program(self, builder, weights)
            with builder.dataflow():
                outputs = program.outputs(ids, types, lengths, batch, length)
                found = builder.emit_output(relax.Tuple(outputs))
            builder.emit_func_output(found)
        return builder.get(), list(program.functions)

    def whole(self, batch: int, length: int) -> Any:
        """The program with its weights in it: (ids, token types, valid length) -> a tuple of the outputs."""
        bound = {_word(name): array for name, array in self.weights.items()}
        return self._tvm.relax.transform.BindParams("main", bound)(self.module(batch, length))


def _word(name: str) -> str:
    """A parameter's name without dots, which Relax's names cannot have."""
    return name.replace(".", "_")


class _Program:
    """Writes the calls of the kernels; every method gives a Relax variable."""

    def __init__(self, network: Network, builder: Any, weights: Mapping[str, Any]) -> None:
        self._network, self._builder, self._weights = network, builder, weights
        self._relax, self._kernels = network._tvm.relax, network.kernels
        self.functions: dict[tuple[str, tuple[Any, ...]], Any] = {}

    def outputs(self, ids: Any, types: Any, lengths: Any, batch: int, length: int) -> list[Any]:
        config, layout = self._network.config, self._network.layout
        states = self._encoder(ids, types, lengths, batch, length)
        outputs = [states] if layout.states else []
        if not layout.takes:
            return outputs
        rows, depth = batch, config.units
        if layout.takes == "mean":
            x = self._call("mean", (batch, length, depth), [states, lengths], (batch, depth))
        elif layout.takes == "first":
            x = self._call("first", (batch, length, depth), [states], (batch, depth))
        else:
            rows = batch * length
            x = self._builder.emit(self._relax.op.reshape(states, (rows, depth)))
        if layout.normalize:
            x = self._call("unit_length", (rows, depth), [x], (rows, depth))
        for layer in layout.layers:
            x = self._layer(x, layer, (rows, depth))
            depth = layer.outputs
        if layout.takes == "tokens":
            x = self._builder.emit(self._relax.op.reshape(x, (batch, length, depth)))
        return [*outputs, x]

    def _encoder(self, ids: Any, types: Any, lengths: Any, batch: int, length: int) -> Any:
        config, root = self._network.config, self._network.config.root
        padded = -(-length // self._kernels.lanes) * self._kernels.lanes
        rows, size = batch * padded, config.units // config.num_heads
        tables = [f"{root}.word_embed.0.weight", f"{root}.token_type_embed.0.weight", f"{root}.encoder.position_weight"]
        x = self._call("embed", (batch, length, padded, tuple(self._network.shapes[t][0] for t in tables),
                                 config.units, config.layer_norm_eps),
                       [ids, types, *(self._weights[t] for t in tables), *self._norms(f"{root}.encoder.layer_norm")],
                       (rows, config.units))
        for layer in range(config.num_layers):
            cell = f"{root}.encoder.transformer_cells.{layer}"
            qkv = self._dense(x, f"{cell}.attention_cell.qkv", (rows, config.units))
            mixed = self._call("attention", (batch, padded, config.num_heads, size), [qkv, lengths],
                               (batch, padded, config.num_heads, size))
            x = self._dense(mixed, f"{cell}.proj", (batch, padded, config.num_heads, size), skip=x)
            x = self._norm(x, f"{cell}.layer_norm", rows)
            inner = self._dense(x, f"{cell}.ffn.ffn_1", (rows, config.units), config.activation)
            x = self._dense(inner, f"{cell}.ffn.ffn_2", (rows, config.hidden_size), skip=x)
            x = self._norm(x, f"{cell}.ffn.layer_norm", rows)
        return self._call("zeroed", (batch, length, padded, config.units), [x, lengths], (batch, length, config.units))

    def _dense(self, x: Any, name: str, shape: tuple[int, ...], activation: str = "none", skip: Any = None) -> Any:
        panels, _, columns = self._network.shapes[f"{name}.weight"]
        rows = shape[0] if len(shape) == 2 else shape[0] * shape[1]
        return self._call("dense", (shape, panels, activation, skip is not None),
                          [x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"],
                           *([] if skip is None else [skip])], (rows, panels * columns))

    def _layer(self, x: Any, layer: heads.Dense, shape: tuple[int, int]) -> Any:
        """A layer of the head, which may be of any width."""
        wide = self._dense(x, layer.name, shape, layer.activation)
        columns = self._network.shapes[f"{layer.name}.bias"][0]
        if columns == layer.outputs:
            return wide
        return self._call("cut", (shape[0], columns, layer.outputs), [wide], (shape[0], layer.outputs))

    def _norm(self, x: Any, name: str, rows: int) -> Any:
        config = self._network.config
        return self._call("norm", (rows, config.units, config.layer_norm_eps), [x, *self._norms(name)],
                          (rows, config.units))

    def _norms(self, name: str) -> list[Any]:
        return [self._weights[f"{name}.gamma"], self._weights[f"{name}.beta"]]

    def _call(self, kernel: str, arguments: tuple[Any, ...], inputs: list[Any], shape: tuple[int, ...]) -> Any:
        """A kernel of :class:`Kernels`, made once for the same arguments."""
        key = (kernel, arguments)
        if key not in self.functions:
            schedule = self._network.records.schedule(kernel, arguments)
            if schedule is not None:
                self._network.recorded.add(key)
            function = getattr(self._kernels, kernel)(*arguments, **(schedule or {}))
            self.functions[key] = self._builder.add_func(function, kernel)
        out = self._relax.TensorType(shape, "float32")
        return self._builder.emit(self._relax.call_tir(self.functions[key], inputs, out_ty=out))


def _check(config: EncoderConfig, kernels: Kernels) -> None:
    size = config.units // config.num_heads
    for what, value, multiple in (("width", config.units, kernels.columns), ("head size", size, kernels.lanes),
                                  ("hidden size", config.hidden_size, kernels.columns)):
        if value % multiple:
            raise UsageError(f"the tvm engine takes a {what} that is a multiple of {multiple}, not {value}; take "
                             "another engine for this model.")


def _packed(config: EncoderConfig, values: dict[str, np.ndarray], columns: int) -> dict[str, np.ndarray]:
    """Weights of matrix products as (panels, depth, columns), their biases as long as the panels, the rest as it is.

    Query, key and value are one product. Where there are no token types, their table is one row of zeros.
    """
    values.setdefault(f"{config.root}.token_type_embed.0.weight", np.zeros((1, config.units), np.float32))
    for layer in range(config.num_layers):
        cell = f"{config.root}.encoder.transformer_cells.{layer}.attention_cell"
        for kind in ("weight", "bias"):
            parts = [values.pop(f"{cell}.proj_{part}.{kind}") for part in ("query", "key", "value")]
            values[f"{cell}.qkv.{kind}"] = np.concatenate(parts)
    packed = {}
    for name, value in values.items():
        if name.endswith((".weight", ".bias")) and "_embed." not in name:
            value = np.pad(value, [(0, -len(value) % columns), *[(0, 0)] * (value.ndim - 1)])
            if value.ndim == 2:
                value = value.reshape(-1, columns, value.shape[1]).transpose(0, 2, 1)
        packed[name] = np.ascontiguousarray(value)
    return packed
