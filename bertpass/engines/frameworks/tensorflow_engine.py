"""TensorFlow as an engine: the network in its own operators, as a graph or compiled by XLA, in float32."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bertpass.engines.base import PaddedEngine, check_dtype, check_threads
from bertpass.errors import MissingDependencyError, UsageError, unknown
from bertpass.extras import require
from bertpass.model import heads, parameters
from bertpass.model.config import EncoderConfig
from bertpass.model.record import Checkpoint

DTYPES = ("float32",)
MODES = ("graph", "xla")
EXTRA = "tensorflow"
MASKED = -1e9  # an addend whose exponential is exactly 0 in float32


class TensorFlowEngine(PaddedEngine):
    """Runs a checkpoint's network in TensorFlow on the CPU; several Python threads may call it at once.

    Parameters
    ----------
    dtype
        "float32".
    threads
        Of all of TensorFlow in this process, which takes the first number that it is given; ``None`` takes
        :func:`bertpass.machine.threads`.
    mode
        "graph": one graph for all shapes, its weights constants, so that TensorFlow fuses products with what follows
        them; making it takes many times their memory (BERT-base: 7.7 GiB for a moment). "xla": compiled once for each
        shape that comes (seconds each); there ids past the vocabulary are taken as the last.

    Raises
    ------
    MissingDependencyError
        TensorFlow is not installed.
    UsageError
        ``dtype``, ``threads`` or ``mode`` cannot be used, or TensorFlow already runs with other threads.
    """

    name = "tensorflow"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float32", threads: int | None = None,
                 mode: str = "graph") -> None:
        check_dtype(self.name, dtype, DTYPES)
        threads = check_threads(threads)
        if mode not in MODES:
            raise UsageError(unknown("mode of the tensorflow engine", str(mode), MODES))
        tf = _tensorflow(threads)
        self._tf = tf
        self._run: Any = _compiled(tf, checkpoint, xla=mode == "xla")
        self._about = {"engine": self.name, "tensorflow": tf.__version__, "device": "cpu", "dtype": dtype,
                       "threads": threads, "mode": mode}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        arrays = [self._tf.constant(np.asarray(a, np.int32)) for a in (input_ids, token_types, valid_length)]
        return [output.numpy() for output in self._run(*arrays)]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._run = None


def _tensorflow(threads: int) -> Any:
    """TensorFlow with that many threads, without a GPU and without its notes on start-up."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        tf = require("tensorflow", EXTRA)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error} `make tensorflow` gives it an environment of its own, which bertpass "
                                     "bench finds; BERTPASS_TENSORFLOW_PYTHON names another.") from error
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise UsageError(f"threads {threads}: TensorFlow already runs with another number in this process; give it "
                         "the same again, or load the model in a new process.") from error
    return tf


def _compiled(tf: Any, checkpoint: Checkpoint, xla: bool) -> Callable[..., Any]:
    """A function (ids, token types, valid length) -> outputs; ModelError where parameters are missing or misshapen."""
    config, given = checkpoint.network()
    parameters.refuse_more_than_bert(config, "the tensorflow engine")
    heads.refuse_words(checkpoint.head, "the tensorflow engine")
    values = {name: np.ascontiguousarray(array.T if name.endswith(".weight") and "_embed." not in name else array,
                                         np.float32) for name, array in given.items()}
    for layer in range(config.num_layers):
        cell = f"{config.root}.encoder.transformer_cells.{layer}.attention_cell"
        for kind in ("weight", "bias"):
            parts = [values.pop(f"{cell}.proj_{part}.{kind}") for part in ("query", "key", "value")]
            values[f"{cell}.qkv.{kind}"] = np.concatenate(parts, axis=-1)
    # XLA compiles constants into each shape's program, so there weights are tensors
    layout = heads.layout(config, checkpoint.head)
    network = _Network(tf, config, layout, {n: tf.constant(a) for n, a in values.items()} if xla else values)
    signature = [tf.TensorSpec(shape, tf.int32) for shape in ([None, None], [None, None], [None])]
    return tf.function(network.outputs, input_signature=signature, jit_compile=xla)


class _Network:
    """The network in TensorFlow's operators; ``values`` are its parameters, weights as (depth, columns)."""

    def __init__(self, tf: Any, config: EncoderConfig, layout: heads.Layout, values: Mapping[str, Any]) -> None:
        self._tf, self._config, self._layout, self._values = tf, config, layout, values

    def outputs(self, ids: Any, types: Any, lengths: Any) -> list[Any]:
        tf, layout = self._tf, self._layout
        shape = tf.shape(ids)
        inside = tf.sequence_mask(lengths, shape[1], tf.float32)
        states = self._encoded(ids, types, inside, shape) * inside[:, :, None]
        outputs = [states] if layout.states else []
        if not layout.takes:
            return outputs
        if layout.takes == "mean":
            x = tf.reduce_sum(states, 1) / tf.cast(lengths, tf.float32)[:, None]
        else:
            x = states[:, 0] if layout.takes == "first" else tf.reshape(states, (-1, self._config.units))
        if layout.normalize:
            x = tf.math.l2_normalize(x, axis=-1, epsilon=1e-24)
        for layer in layout.layers:
            x = self._activated(self._dense(x, layer.name), layer.activation)
        if layout.takes == "tokens":
            x = tf.reshape(x, (shape[0], shape[1], layout.layers[-1].outputs))
        return [*outputs, x]

    def _encoded(self, ids: Any, types: Any, inside: Any, shape: Any) -> Any:
        """Embeddings and all layers: token states (batch, sequence, units), padding not yet zeroed."""
        tf, config, root = self._tf, self._config, self._config.root
        x = tf.gather(self._values[f"{root}.word_embed.0.weight"], ids)
        if config.token_type_vocab_size:  # one row is added to every token
            table = self._values[f"{root}.token_type_embed.0.weight"]
            x += tf.gather(table, types) if config.takes_token_types else table
        x += tf.gather(self._values[f"{root}.encoder.position_weight"], tf.range(shape[1]))
        x = self._norm(tf.reshape(x, (-1, config.units)), f"{root}.encoder.layer_norm")
        mask = (1.0 - inside)[:, None, None, :] * MASKED
        for layer in range(config.num_layers):
            cell = f"{root}.encoder.transformer_cells.{layer}"
            attended = self._attention(self._dense(x, f"{cell}.attention_cell.qkv"), mask, shape)
            x = self._norm(self._dense(attended, f"{cell}.proj") + x, f"{cell}.layer_norm")
            inner = self._activated(self._dense(x, f"{cell}.ffn.ffn_1"), config.activation)
            x = self._norm(self._dense(inner, f"{cell}.ffn.ffn_2") + x, f"{cell}.ffn.layer_norm")
        return tf.reshape(x, (shape[0], shape[1], config.units))

    def _attention(self, qkv: Any, mask: Any, shape: Any) -> Any:
        """softmax(Q K^T / sqrt(size)) V: (tokens, 3 units) -> (tokens, units)."""
        tf, heads = self._tf, self._config.num_heads
        size = self._config.units // heads
        parts = tf.transpose(tf.reshape(qkv, (shape[0], shape[1], 3, heads, size)), (2, 0, 3, 1, 4))
        scores = tf.matmul(parts[0] * size ** -0.5, parts[1], transpose_b=True) + mask
        mixed = tf.matmul(tf.nn.softmax(scores), parts[2])
        return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, self._config.units))

    def _dense(self, x: Any, name: str) -> Any:
        return self._tf.nn.bias_add(self._tf.matmul(x, self._values[f"{name}.weight"]), self._values[f"{name}.bias"])

    def _activated(self, x: Any, function: str) -> Any:
        tf = self._tf
        return {"none": lambda x: x, "tanh": tf.tanh, "relu": tf.nn.relu, "gelu": tf.nn.gelu,
                "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True)}[function](x)

    def _norm(self, x: Any, name: str) -> Any:
        mean, variance = self._tf.nn.moments(x, axes=[-1], keepdims=True)
        return self._tf.nn.batch_normalization(x, mean, variance, self._values[f"{name}.beta"],
                                               self._values[f"{name}.gamma"], self._config.layer_norm_eps)


from_checkpoint = TensorFlowEngine
