"""A checkpoint as an ONNX graph, written node by node from the parameters: no framework traces anything.

Inputs are int32: ``input_ids`` (batch, sequence), ``token_types`` of the same shape (families that take them) and
``valid_length`` (batch); the outputs are those of :meth:`bertpass.engines.base.Engine.forward` in their order, float32.
Batch and sequence are free. The graph uses standard operators alone, in the forms that the fusions of ONNX Runtime and
OpenVINO look for: one product for each of query, key and value, ``GELU`` by ``Erf``, the padding as an addend of -10000
(whose exponential is exactly 0 in float32). The fused form has ONNX Runtime's operators instead
(:mod:`bertpass.model.onnx.fused`), which nothing else runs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.extras import require
from bertpass.model import heads, parameters, positions
from bertpass.model.onnx import fused as onnx_fused
from bertpass.model.onnx.writer import Writer
from bertpass.model.record import Checkpoint

OPSET = 20
IR_VERSION = 9  # that of ONNX 1.15, which brought opset 20
MASKED = -10000.0
MOST_BYTES = 2**31 - 1  # of one protocol buffer

_NORM_EPS = 1e-24  # under the root: the smallest length is 1e-12, as in bertpass/model/nets.py


def to_onnx(checkpoint: Checkpoint, fused: bool = False, check: bool = True) -> Any:
    """The checkpoint's network as an ``onnx.ModelProto`` of opset :data:`OPSET`.

    Parameters
    ----------
    fused
        With the encoder in operators of ONNX Runtime, which read ``token_types`` and ``valid_length`` as they are.
    check
        By onnx.checker, which takes longer than everything else here.

    Raises
    ------
    ModelError
        Parameters are missing or misshapen, ``fused`` operators do not compute the encoder, or the model is larger than
        an ONNX file of one part can be (2 GiB).
    MissingDependencyError
        The package onnx is not installed.
    """
    onnx = require("onnx", "onnx")
    config, params = checkpoint.network()
    if sum(array.size * 4 for array in {id(array): array for array in params.values()}.values()) > MOST_BYTES:
        raise ModelError("this model has more than 2 GiB of float32 weights and does not fit into one ONNX file; "
                         "take a smaller one.")
    if fused and not onnx_fused.computes(config):
        raise ModelError(f"ONNX Runtime's own operators do not compute encoders of the family {config.family} with "
                         f"{config.activation}; write the graph in standard operators, without fusions.")
    writer = Writer(onnx, config, params)
    outputs = _network(writer, checkpoint, fused)
    names = ["input_ids", *(["token_types"] if config.takes_token_types else []), "valid_length"]
    value, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    inputs = [value(name, types.INT32, ["batch"] if name == "valid_length" else ["batch", "sequence"])
              for name in names]
    results = [value(name, types.FLOAT, shape) for name, shape in outputs.items()]
    graph = onnx.helper.make_graph(writer.nodes, "bertpass", inputs, results, writer.weights)
    sets = {"": OPSET, **({onnx_fused.DOMAIN: onnx_fused.VERSION} if fused else {})}
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(*one) for one in sets.items()],
                                   ir_version=IR_VERSION, producer_name="bertpass")
    if check:
        onnx.checker.check_model(model, full_check=True)
    return model


def to_float16(model: Any) -> Any:
    """A model of :func:`to_onnx` with weights and activations in float16, its inputs and outputs as before.

    By onnxruntime.transformers.float16, checked by onnx.checker. Sums over tokens stay in float32.

    Raises
    ------
    MissingDependencyError
        The package onnxruntime is not installed.
    """
    convert = require("onnxruntime.transformers.float16", "onnxruntime")
    small = convert.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True,
                                             op_block_list=[*convert.DEFAULT_OP_BLOCK_LIST, "ReduceSum"])
    require("onnx", "onnx").checker.check_model(small)
    return small


def operators(model: Any) -> dict[str, int]:
    """How many nodes of each operator a model has, the most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


def write(path: str | os.PathLike[str], model: Any) -> Path:
    """Write an ``onnx.ModelProto`` to ``path``; ModelError where the file cannot be written."""
    try:
        Path(path).write_bytes(model.SerializeToString())
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}.") from error
    return Path(path)


def _network(w: Writer, checkpoint: Checkpoint, fused: bool) -> dict[str, list[Any]]:
    """Embeddings, layers and head; the outputs' names with their shapes."""
    config, layout = w.config, heads.layout(w.config, checkpoint.head)
    length = w.add("Shape", "input_ids", start=1, end=2)
    place = w.cast(w.add("Range", w.constant(0, np.int64), w.add("Squeeze", length), w.constant(1, np.int64)), "INT32")
    inside = w.cast(w.add("Less", place, w.add("Unsqueeze", "valid_length", w.constant([1]))), "INT32")
    away = w.add("Sub", w.add("Unsqueeze", place, w.constant([0])), w.add("Unsqueeze", place, w.constant([1])))
    bias = _distance_bias(w, away)
    x = onnx_fused.encoder(w, bias) if fused else _encoder(w, length, inside, bias, away)
    kept = w.cast(w.add("Unsqueeze", inside, w.constant([2])), "FLOAT")  # token states past the valid length are zero
    states = w.add("Mul", x, kept, output="token_states" if layout.states else None)
    found: dict[str, list[Any]] = {"token_states": ["batch", "sequence", config.units]} if layout.states else {}
    if not layout.takes:
        return found
    x, name = states, layout.outputs[-1]
    if layout.takes != "tokens":
        x = _vectors(w, states, layout, None if layout.layers else name)
    for layer in layout.layers:
        last = name if layer is layout.layers[-1] and not layout.over else None
        plain = layer.activation == "none"
        x = w.layer(x, layer, output=last if plain else None)
        x = x if plain else w.activation(x, layer.activation, last)
        x = w.norm(x, layer.norm) if layer.norm else x
    if layout.over:
        _over(w, w.add("Mul", w.add("Relu", x), kept), layout, name)
    width = layout.layers[-1].outputs if layout.layers else config.units
    return found | {name: ["batch", *(["sequence"] if layout.per_token else []), width]}


def _over(w: Writer, x: str, layout: heads.Layout, output: str) -> str:
    """What becomes of every token's results, not below zero and zero for padding: (batch, sequence, width) -> (batch,
    width)."""
    for _ in range(layout.logs):
        x = w.add("Log", w.add("Add", x, w.constant(1.0)))
    return w.add("ReduceMax" if layout.over == "max" else "ReduceSum", x, w.constant([1]), keepdims=0, output=output)


def _distance_bias(w: Writer, away: str) -> str:
    """What every layer's scores get: (1, heads, sequence, sequence), or nothing; ``away`` is the way from query to key.
    """
    bias = parameters.distance_bias(w.config, w.params)
    if bias is None:
        return ""
    distances = w.add("Add", away, w.constant(bias.shape[1] // 2, np.int32))
    return w.add("Gather", w.store("distance_bias", bias[None]), distances, axis=2)


def _relative_rows(w: Writer, away: str) -> str:
    """The row of the embeddings of distances for each query and key: (sequence, sequence) int64, or nothing."""
    rows = parameters.relative_rows(w.config)
    if rows is None:
        return ""
    distances = w.add("Add", away, w.constant(len(rows) // 2, np.int32))
    return w.add("Gather", w.store("distance_rows", rows), distances, axis=0)


def _encoder(w: Writer, length: str, inside: str, bias: str, away: str) -> str:
    """Embeddings and all layers in standard operators; ``inside`` is 1 for tokens that are not padding."""
    config, about = w.config, w.config.about
    spread = w.cast(w.add("Unsqueeze", w.add("Unsqueeze", inside, w.constant([1])), w.constant([2])), "FLOAT")
    mask = w.add("Mul", w.add("Sub", w.constant(1.0), spread), w.constant(MASKED))
    if bias:
        mask = w.add("Add", mask, bias)
    masks, angles, rows = {False: mask}, {}, _relative_rows(w, away)
    if any(positions.is_local(config, layer) for layer in range(config.num_layers)):
        far = w.cast(w.add("Greater", w.add("Abs", away), w.constant(config.window, np.int32)), "FLOAT")
        masks[True] = w.add("Add", mask, w.add("Mul", far, w.constant(MASKED)))
    x = w.norm(_embeddings(w, length), f"{config.root}.encoder.layer_norm")
    if config.embedding_size:
        x = w.dense(x, f"{config.root}.{parameters.PROJECTION}")
    for layer in range(config.num_layers):
        cell, local = f"{config.root}.encoder.transformer_cells.{layer}", positions.is_local(config, layer)
        if local not in angles:
            angles[local] = _angles(w, layer, length)
        y = w.norm(x, f"{cell}.layer_norm") if about.norm_first and layer else x
        attended = _attention(w, y, f"{cell}.attention_cell", masks[local], angles[local], rows)
        attended = w.dense(attended, f"{cell}.proj")
        x = w.add("Add", attended, x)
        x = x if about.norm_first else w.norm(x, f"{cell}.layer_norm")
        y = w.norm(x, f"{cell}.ffn.layer_norm") if about.norm_first else x
        inner = w.activation(w.dense(y, f"{cell}.ffn.ffn_1"), config.activation)
        if about.gated:
            inner = w.add("Mul", inner, w.dense(y, f"{cell}.ffn.ffn_3"))
        x = w.add("Add", w.dense(inner, f"{cell}.ffn.ffn_2"), x)
        x = x if about.norm_first else w.norm(x, f"{cell}.ffn.layer_norm")
    return w.norm(x, f"{config.root}.encoder.final_norm") if about.norm_first else x


def _angles(w: Writer, layer: int, length: str) -> list[str]:
    """Cosines and sines of a layer's rotary positions, each (sequence, 1, size / 2); none where it has no such ones."""
    tables = positions.rotary(w.config, layer, w.config.max_length) or ()
    return [w.add("Slice", w.store(f"layer_{layer}.{name}", table[:, None]), w.constant([0]), length)
            for name, table in zip(("cosines", "sines"), tables, strict=False)]


def _turned(w: Writer, x: str, angles: list[str]) -> str:
    """Queries or keys (batch, sequence, heads, size), each by the angles of its place."""
    cos, sin = angles
    size, axis = w.config.units // w.config.num_heads, w.constant([3])
    left = w.add("Slice", x, w.constant([0]), w.constant([size // 2]), axis)
    right = w.add("Slice", x, w.constant([size // 2]), w.constant([size]), axis)
    first = w.add("Sub", w.add("Mul", left, cos), w.add("Mul", right, sin))
    second = w.add("Add", w.add("Mul", right, cos), w.add("Mul", left, sin))
    return w.add("Concat", first, second, axis=3)


def _embeddings(w: Writer, length: str) -> str:
    """Words, then token types, then positions: the order of the sum in GluonNLP."""
    config = w.config
    x = w.add("Gather", w.weight(f"{config.root}.word_embed.0.weight"), "input_ids")
    if config.token_type_vocab_size:
        table = w.weight(f"{config.root}.token_type_embed.0.weight")  # one row is added to every token
        x = w.add("Add", x, w.add("Gather", table, "token_types") if config.takes_token_types else table)
    if config.about.positions != "table":
        return x
    table = w.add("Slice", w.weight(f"{config.root}.encoder.position_weight"), w.constant([0]), length)
    return w.add("Add", x, table)


def _attention(w: Writer, x: str, cell: str, mask: str, angles: list[str], rows: str) -> str:
    size = w.config.units // w.config.num_heads
    split, joined = w.constant([0, 0, w.config.num_heads, size]), w.constant([0, 0, w.config.units])

    def heads(part: str, order: list[int]) -> str:
        apart = w.add("Reshape", w.dense(x, f"{cell}.proj_{part}"), split)
        apart = _turned(w, apart, angles) if angles and part != "value" else apart
        return w.add("Transpose", apart, perm=order)

    q, k, v = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores, scale = w.add("MatMul", q, k), size
    if rows:
        scores, scale = w.add("Add", scores, _by_distance(w, q, k, cell, rows)), 3 * size
    scores = w.add("Add", w.add("Div", scores, w.constant(float(np.sqrt(scale)))), mask)
    mixed = w.add("MatMul", w.add("Softmax", scores, axis=-1), v)
    return w.add("Reshape", w.add("Transpose", mixed, perm=[0, 2, 1, 3]), joined)


def _by_distance(w: Writer, q: str, k: str, cell: str, rows: str) -> str:
    """What the distances add to scores: products of the content with their embeddings as keys and as queries (He et
    al., arXiv:2006.03654, section 3.1). q (batch, heads, sequence, size), k (batch, heads, size, sequence)."""
    config, root = w.config, w.config.root
    table, norm = w.params[f"{root}.{parameters.RELATIVE}.weight"], f"{root}.{parameters.RELATIVE_NORM}"
    table = table - table.mean(-1, keepdims=True)
    table = table / np.sqrt((table * table).mean(-1, keepdims=True) + config.layer_norm_eps)
    table = table * w.params[f"{norm}.gamma"] + w.params[f"{norm}.beta"]
    spread = w.add("Expand", rows, w.add("Concat", w.add("Shape", q, start=0, end=3), w.add("Shape", q, start=2, end=3),
                                         axis=0))

    def gathered(content: str, part: str, index: str) -> str:
        made = table @ w.params[f"{cell}.proj_{part}.weight"].T + w.params[f"{cell}.proj_{part}.bias"]
        made = made.reshape(len(table), config.num_heads, -1).transpose(1, 2, 0)  # (heads, size, distances)
        return w.add("GatherElements", w.add("MatMul", content, w.store(f"{cell}.{part}_of_distance", made)), index,
                     axis=3)

    turned = gathered(w.add("Transpose", k, perm=[0, 1, 3, 2]), "query", w.add("Transpose", spread, perm=[0, 1, 3, 2]))
    return w.add("Add", gathered(q, "key", spread), w.add("Transpose", turned, perm=[0, 1, 3, 2]))


def _vectors(w: Writer, states: str, layout: heads.Layout, output: str | None) -> str:
    """The first token's state or the mean over the tokens: (batch, sequence, units) -> (batch, units)."""
    name = None if layout.normalize else output
    if layout.takes == "mean":
        lengths = w.cast(w.add("Unsqueeze", "valid_length", w.constant([1])), "FLOAT")
        vectors = w.add("Div", w.add("ReduceSum", states, w.constant([1]), keepdims=0), lengths, output=name)
    else:
        vectors = w.add("Gather", states, w.constant(0, np.int64), axis=1, output=name)
    if not layout.normalize:
        return vectors
    squared = w.add("ReduceSum", w.add("Mul", vectors, vectors), w.constant([1]), keepdims=1)
    return w.add("Div", vectors, w.add("Sqrt", w.add("Add", squared, w.constant(_NORM_EPS))), output=output)
