"""Encoder graphs with random parameters for the tests of the passes, built by GluonNLP's own classes.

The symbols come from GluonNLP; shapes from MXNet's inference; values from NumPy, none of them zero, biases least of
all: a pass that mixes up biases must not go unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bertpass import _core
from bertpass.mx import mx, nlp

VOCABULARY = 40


@dataclass(frozen=True)
class Shape:
    kind: str
    layers: int
    units: int
    hidden: int
    heads: int
    max_length: int = 32


SHAPES = {
    "bert_base": Shape("bert", 12, 768, 3072, 12),
    "bert_large": Shape("bert", 24, 1024, 4096, 16),
    "distilbert": Shape("distilbert", 6, 768, 3072, 12),
    "roberta": Shape("roberta", 12, 768, 3072, 12),
    "minilm": Shape("bert", 6, 384, 1536, 12),
    "tiny": Shape("bert", 2, 24, 40, 4),
}
PARITY = {name: replace(shape, layers=min(shape.layers, 2)) for name, shape in SHAPES.items()}


@dataclass
class Model:
    symbol: str
    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]

    def edited(self, edit: Callable[[Graph], Any]) -> Model:
        """A copy whose graph ``edit`` has changed."""
        graph = Graph(self.symbol)
        edit(graph)
        return Model(json.dumps(graph.document), dict(self.params), self.inputs)


class Graph:
    """A symbol's JSON with the few helpers that edits need."""

    def __init__(self, text: str):
        self.document = json.loads(text)
        self.nodes = self.document["nodes"]

    def all(self, op: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes if node["op"] == op]

    def index(self, node: dict[str, Any]) -> int:
        return next(i for i, other in enumerate(self.nodes) if other is node)

    def source(self, node: dict[str, Any], slot: int) -> dict[str, Any]:
        return self.nodes[node["inputs"][slot][0]]

    def first_attention(self) -> dict[str, Any]:
        """The first FullyConnected that feeds an attention operator."""
        return self.source(self.all("_contrib_interleaved_matmul_selfatt_qk")[0], 0)

    def add_head(self, node: dict[str, Any], op: str = "identity", output: int = 0) -> None:
        """A new head, computed from an output of ``node``."""
        self.nodes.append({"op": op, "name": f"extra{len(self.nodes)}", "inputs": [[self.index(node), output, 0]]})
        self.document["heads"].append([len(self.nodes) - 1, 0, 0])
        self.document.pop("node_row_ptr", None)


def values(shape: tuple[int, ...], name: str, random: np.random.Generator) -> np.ndarray:
    scale = 0.5 if name.endswith(("bias", "beta")) else 0.08
    array = random.normal(0, scale, shape)
    array += np.where(array >= 0, 0.01, -0.01) + (1.0 if name.endswith("gamma") else 0.0)
    return array.astype("float32")


def encoder(shape: Shape) -> Any:
    body = nlp.model.BERTEncoder(num_layers=shape.layers, units=shape.units, hidden_size=shape.hidden,
                                 max_length=shape.max_length, num_heads=shape.heads, dropout=0.1)
    kind = {"bert": nlp.model.BERTModel, "roberta": nlp.model.RoBERTaModel,
            "distilbert": nlp.model.DistilBERTModel}[shape.kind]
    extra = {"token_type_vocab_size": 2, "use_pooler": True, "use_classifier": False} if shape.kind == "bert" else {}
    if shape.kind != "distilbert":
        extra["use_decoder"] = False
    return kind(body, vocab_size=VOCABULARY, units=shape.units, embed_size=shape.units, **extra)


def build(shape: Shape, seed: int = 5, fill: bool = True, length: int = 10) -> Model:
    """A model of this shape; ``fill=False`` gives zeros, which cost no memory, for counting."""
    random = np.random.default_rng(seed)
    inputs = {"ids": random.integers(0, VOCABULARY, (3, length)).astype("float32"),
              "types": random.integers(0, 2, (3, length)).astype("float32"),
              "valid": np.array([length, 4, 1], "float32")}
    if shape.kind != "bert":
        del inputs["types"]
    outputs = encoder(shape)(*(mx.sym.var(name) for name in inputs))
    symbol = mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs
    shapes, _, _ = symbol.infer_shape(**{name: value.shape for name, value in inputs.items()})
    params = {name: values(size, name, random) if fill else np.zeros(size, "float32")
              for name, size in zip(symbol.list_arguments(), shapes, strict=True) if name not in inputs}
    return Model(symbol.tojson(), params, inputs)


def run(symbol: str, params: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of the graph as MXNet computes them as it stands, without its own graph optimisation."""
    loaded = mx.sym.load_json(symbol)
    known = {**params, **inputs}
    arrays = [mx.nd.array(known[name], dtype=known[name].dtype) for name in loaded.list_inputs()]
    outputs = mx.nd.CachedOp(loaded)(*arrays)
    return [output.asnumpy() for output in (outputs if isinstance(outputs, list) else [outputs])]


def run_pass(symbol: str, params: dict[str, np.ndarray], name: str, options: dict[str, str] | None = None,
             ) -> tuple[str, dict[str, np.ndarray], list[str], int]:
    """The symbol after one pass, the arrays that are new, the arguments that are gone, and the places rewritten."""
    after, added, removed, rewrites = _core.Graph(symbol).apply(params, name, options or {})
    return after.json(), added, removed, rewrites


def difference(left: list[np.ndarray], right: list[np.ndarray]) -> float:
    assert [a.shape for a in left] == [b.shape for b in right]
    assert all(np.isfinite(a).all() and np.abs(a).max() > 0.1 for a in left)
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))
