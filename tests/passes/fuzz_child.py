"""Fuzzing in a process of its own: ``python fuzz_child.py bytes|graph|values SEED COUNT``.

bytes and graph: the core reads damaged symbols; every one must give bertpass's error, or a graph that verifies, is
written and read again without change, and is not rewritten a second time. values: attributes of the patterns' nodes
change, and wherever MXNet still runs the graph it must give the same outputs after the pass: bit for bit, but for
native_encoder, which computes them itself. Prints how many were accepted (values: run by MXNet) and how many refused;
anything else ends the process.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import numpy as np

from bertpass import _core
from bertpass.errors import PassError
from bertpass.mx import load_library
from bertpass.passes.library import LIBRARY
from tests.helpers.pass_models import PARITY, Graph, Model, build, run, run_pass

PASSES = [info.name for info in _core.passes() if info.provided_by == "core"]
PIECES = ["", "null", "-1", "0", "1e999", "1" * 40, "[]", "{}", '"\\ud800"', "[[[[", '"', "\x00", "é", "true", "1.5"]
FLAGS = ["True", "False", "1", "0"]
VALUES = {"shape": ["(4, -1, 0)", "(-1, 0)", "(-1,)", "-1", "(4, -1)", "(2, -1, 0)", "(0, 0, -1)", "(4, -1, 24)",
                    "(24, 24)", "(4, 6, 24)", "(72, 24)", "(0, -1)", "(6, -1, 0)", "(6, -1)", "(4, 6)", "(72,)"],
          "axis": ["0", "1", "2", "-1", "-2", "-3"], "dim": ["0", "1", "2", "-1", "-2", "-3"],
          "reverse": FLAGS, "flatten": FLAGS, "no_bias": FLAGS, "p": ["0", "0.9"],
          "act_type": ["gelu", "elu", "leaky"], "axes": ["()", "(0,)", "1"], "num_hidden": ["72", "24"],
          "num_args": ["3", "2"], "cudnn_off": FLAGS, "eps": ["1e-12", "1e-5", "0.1"], "use_length": FLAGS,
          "use_sequence_length": FLAGS, "dtype": ["int32", "float32", "int64"], "size": ["4", "2", "1"]}
# Without the attention operators: MXNet does not check their heads and reads past the end of arrays for wrong ones.
TARGETS = ("Reshape", "Concat", "stack", "FullyConnected", "LeakyReLU", "Dropout", "LayerNorm", "softmax",
           "SequenceMask", "Cast", "expand_dims", "broadcast_axis", "_contrib_arange_like", "transpose")


def damaged_text(text: str, rng: random.Random) -> str:
    kind = rng.randrange(4)
    at = rng.randrange(len(text))
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + chr(rng.randrange(256)) + text[at + 1:]
    if kind == 2:
        return text[:at] + rng.choice(PIECES) + text[at + rng.randrange(8):]
    to = rng.randrange(len(text))
    return text[:at] + text[to:]


def junk(rng: random.Random) -> Any:
    return rng.choice([None, -1, 0, 1, 3, 2**31, 2**63, 2**70, 1.5, "", "null", "x" * 1000, [], {}, [0], [0, 0, 0],
                       [[]], {"a": 1}, True, [10**6, 0, 0], [1, 10**6, 0], [5, 1, 0]])


def damaged_graph(text: str, rng: random.Random) -> str:
    """Replace, remove or copy random things anywhere in the document."""
    document = json.loads(text)
    for _ in range(rng.randrange(1, 4)):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.85:
                place = place[key]
                continue
            action = rng.randrange(3)
            if action == 0:
                place[key] = junk(rng)
            elif action == 1:
                del place[key]
            elif isinstance(place, list):
                place.append(place[key])
            else:
                place[str(rng.choice(["op", "name", "inputs", "attrs", "subgraphs", "control_deps"]))] = place[key]
            break
    return json.dumps(document)


def check_core(text: str, model: Model) -> bool:
    try:
        canonical = _core.Graph(text).json()
        assert _core.Graph(canonical).json() == canonical
        for name in PASSES:
            after, added, _, _ = run_pass(text, model.params, name)
            _core.Graph(after).verify(before=_core.Graph(text))
            assert run_pass(after, {**model.params, **added}, name)[3] == 0
        _core.Graph(text).verify(model.params)
    except PassError as error:
        assert str(error).endswith(".") and "\n" not in str(error), error
        return False
    return True


def reshapes_keep_sizes(model: Model) -> bool:
    """False where a Reshape changes the number of elements, which MXNet 1.9.1 lets pass for some shapes and then reads
    past the end of the array: its outputs mean nothing."""
    from bertpass.mx import mx

    inside = mx.sym.load_json(model.symbol).get_internals()
    _, shapes, _ = inside.infer_shape(**{name: value.shape for name, value in model.inputs.items()})
    sizes = {name: int(np.prod(shape)) for name, shape in zip(inside.list_outputs(), shapes, strict=True)}
    graph = Graph(model.symbol)

    def size(node: dict[str, Any]) -> int:
        return sizes[node["name"] + ("" if node["op"] == "null" else "_output")]

    return all(size(node) == size(graph.source(node, 0)) for node in graph.all("Reshape"))


def check_values(model: Model, rng: random.Random) -> bool:
    """Whether MXNet runs the changed graph at all."""
    from bertpass.mx import mx

    def change(graph: Graph) -> None:
        for _ in range(rng.randrange(1, 3)):
            node = rng.choice([node for node in graph.nodes if node["op"] in TARGETS and node.get("attrs")])
            key = rng.choice(list(node["attrs"]))
            node["attrs"][key] = rng.choice(VALUES[key])

    changed = model.edited(change)
    try:
        if not reshapes_keep_sizes(changed):
            return False
        before = run(changed.symbol, changed.params, changed.inputs)
    except mx.base.MXNetError:
        check_core(changed.symbol, changed)
        return False
    for name in ("remove_noops", "interleave_qkv"):
        text, added, _, _ = run_pass(changed.symbol, changed.params, name)
        after = run(text, {**changed.params, **added}, changed.inputs)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(after, before, strict=True)), name
    text, added, _, rewrites = run_pass(changed.symbol, changed.params, "native_encoder")
    if rewrites:
        after = run(text, {**changed.params, **added}, changed.inputs)
        assert all(np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b) for a, b in zip(after, before, strict=True))
    return True


def main(kind: str, seed: int, count: int) -> None:
    model = build(PARITY["tiny"])
    load_library(LIBRARY)
    rng = random.Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(count):
        if kind == "values":
            outcomes[check_values(model, rng)] += 1
        else:
            damage = damaged_text if kind == "bytes" else damaged_graph
            outcomes[check_core(damage(model.symbol, rng), model)] += 1
    print(f"accepted {outcomes[True]} refused {outcomes[False]}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
