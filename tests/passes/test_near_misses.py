"""A graph that differs from a pass's pattern in one point is left alone, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bertpass import _core, passes
from tests.helpers.pass_models import PARITY, Graph, Model, build, run, run_pass

ATTENTION_QK, ATTENTION_VALUE = "_contrib_interleaved_matmul_selfatt_qk", "_contrib_interleaved_matmul_selfatt_valatt"
Edit = Callable[[Graph], object]


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build(PARITY["tiny"])


def assert_one_left_alone(model: Model, name: str, params: dict[str, np.ndarray] | None = None) -> None:
    """One of the two layers no more fits the pattern: the pass rewrites the other, and the rest stays as it was."""
    text, added, _, rewrites = run_pass(model.symbol, params or model.params, name)
    assert rewrites == 1
    # What the pass has not rewritten now is exactly what it does not match.
    again = run_pass(text, {**(params or model.params), **added}, name)
    assert again == (text, {}, [], 0)


def dense(graph: Graph) -> dict:
    return graph.first_attention()


def reshape(graph: Graph, slot: int, part: int) -> dict:
    """The Reshape of one of the three parts of the first layer's weight (slot 1) or bias (slot 2)."""
    return graph.source(graph.source(graph.source(dense(graph), slot), 0), part)


def weights_shared(graph: Graph) -> None:
    """The key's weight is the query's."""
    reshape(graph, 1, 1)["inputs"] = reshape(graph, 1, 0)["inputs"]


def weight_rows_by_head_reversed(graph: Graph) -> None:
    for part in range(3):  # (8, 3, 24): eight heads of three rows
        reshape(graph, 1, part)["attrs"]["shape"] = "(8, -1, 0)"


QKV: dict[str, Edit] = {
    "qk has other heads": lambda g: g.all(ATTENTION_QK)[0]["attrs"].update(heads="6"),
    "valatt has other heads": lambda g: g.all(ATTENTION_VALUE)[0]["attrs"].update(heads="6"),
    "heads is no number": lambda g: g.all(ATTENTION_QK)[0]["attrs"].update(heads="three"),
    "weight not reversed": lambda g: reshape(g, 1, 0)["attrs"].update(reverse="False"),
    "weight's reverse is no flag": lambda g: reshape(g, 1, 0)["attrs"].update(reverse="maybe"),
    "joined weight not reversed": lambda g: g.source(dense(g), 1)["attrs"].update(reverse="False"),
    "weight split into other heads": weight_rows_by_head_reversed,
    "bias split into other heads": lambda g: reshape(g, 2, 1)["attrs"].update(shape="(6, -1)"),
    "one weight split into other heads": lambda g: reshape(g, 1, 2)["attrs"].update(shape="(6, -1, 0)"),
    "weight shape overflows": lambda g: reshape(g, 1, 2)["attrs"].update(shape="(9223372036854775807, -1, 0)"),
    "weight shape is no shape": lambda g: reshape(g, 1, 2)["attrs"].update(shape="(3, -1"),
    "two unknown sizes": lambda g: reshape(g, 1, 2)["attrs"].update(shape="(-1, -1, 0)"),
    "weights joined along the heads": lambda g: g.source(g.source(dense(g), 1), 0)["attrs"].update(dim="0"),
    "weights joined along the inputs": lambda g: g.source(g.source(dense(g), 1), 0)["attrs"].update(dim="2"),
    "biases stacked along the heads": lambda g: g.source(g.source(dense(g), 2), 0)["attrs"].update(axis="0"),
    "biases stacked inside the heads": lambda g: g.source(g.source(dense(g), 2), 0)["attrs"].update(axis="2"),
    "num_args lies": lambda g: g.source(g.source(dense(g), 1), 0)["attrs"].update(num_args="2"),
    "two parts": lambda g: g.source(g.source(dense(g), 1), 0)["inputs"].pop(),
    "four parts": lambda g: g.source(g.source(dense(g), 1), 0)["inputs"].append([0, 0, 0]),
    "joined by another operator": lambda g: g.source(g.source(dense(g), 1), 0).update(op="add_n"),
    "split by another operator": lambda g: reshape(g, 1, 0).update(op="reshape_like"),
    "flattening": lambda g: dense(g)["attrs"].update(flatten="True"),
    "another num_hidden": lambda g: dense(g)["attrs"].update(num_hidden="96"),
    "no_bias with a bias": lambda g: dense(g)["attrs"].update(no_bias="True"),
    "no bias without no_bias": lambda g: dense(g)["inputs"].pop(),
    "key and query share a weight": weights_shared,
    "query weight used elsewhere": lambda g: g.add_head(g.source(reshape(g, 1, 0), 0)),
    "joined weight used elsewhere": lambda g: g.add_head(g.source(dense(g), 1)),
    "query bias used elsewhere": lambda g: g.add_head(g.source(reshape(g, 2, 0), 0)),
    "projection used elsewhere": lambda g: g.add_head(dense(g)),
    "projection is a head": lambda g: g.document["heads"].append([g.index(dense(g)), 0, 0]),
    "another consumer": lambda g: g.all(ATTENTION_QK)[0].update(op="_contrib_interleaved_matmul_encdec_qk"),
}


@pytest.mark.parametrize("edit", QKV.values(), ids=QKV)
def test_interleave(edit: Edit, tiny: Model) -> None:
    assert_one_left_alone(tiny.edited(edit), "interleave_qkv")


PARAMETERS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda array: None,
    "another dtype": lambda array: array.astype("float64"),
    "more rows": lambda array: np.concatenate([array, array]),
    "a row less": lambda array: array[:-1],
    "one dimension more": lambda array: array[None],
    "a scalar": lambda array: np.array(1, "float32"),
    "empty": lambda array: array[:0],
}


@pytest.mark.parametrize("change", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("which", ["key_weight", "value_bias"])
def test_interleave_parameters(change, which: str, tiny: Model) -> None:
    name = next(name for name in tiny.params if name.endswith(which))
    params = dict(tiny.params)
    changed = change(params.pop(name))
    if changed is not None:
        params[name] = changed
    assert_one_left_alone(tiny, "interleave_qkv", params)


def gelu_fc(graph: Graph) -> dict:
    return graph.source(graph.all("LeakyReLU")[0], 0)


def fed_by_an_input(graph: Graph) -> None:
    """The rank of a graph input is unknown: it may have two dimensions."""
    graph.nodes.append({"op": "null", "name": "unknown", "inputs": []})
    last = len(graph.nodes) - 1
    fc = gelu_fc(graph)
    fc["inputs"][0] = [last, 0, 0]
    del graph.document["node_row_ptr"]


def two_dimensions(graph: Graph) -> None:
    """Reshape the first feed-forward layer's input to two dimensions."""
    fc = gelu_fc(graph)
    graph.nodes.append({"op": "Reshape", "name": "rows", "attrs": {"shape": "(-1, 24)"}, "inputs": [fc["inputs"][0]]})
    fc["inputs"][0] = [len(graph.nodes) - 1, 0, 0]
    del graph.document["node_row_ptr"]


GELU: dict[str, Edit] = {
    "another activation": lambda g: g.all("LeakyReLU")[0]["attrs"].update(act_type="elu"),
    "the default activation": lambda g: g.all("LeakyReLU")[0]["attrs"].pop("act_type"),
    "no bias": lambda g: (gelu_fc(g)["attrs"].update(no_bias="True"), gelu_fc(g)["inputs"].pop()),
    "flattening": lambda g: gelu_fc(g)["attrs"].update(flatten="True"),
    "flattening by default": lambda g: gelu_fc(g)["attrs"].pop("flatten"),
    "used elsewhere": lambda g: g.add_head(gelu_fc(g)),
    "a head": lambda g: g.document["heads"].append([g.index(gelu_fc(g)), 0, 0]),
    "unknown dimensions": fed_by_an_input,
    "two dimensions": two_dimensions,
}


@pytest.mark.parametrize("edit", GELU.values(), ids=GELU)
def test_bias_gelu(edit: Edit, tiny: Model) -> None:
    assert_one_left_alone(tiny.edited(edit), "bias_gelu")


def drop_is_head(graph: Graph) -> None:
    graph.document["heads"].append([graph.index(graph.all("Dropout")[0]), 0, 0])


def mask_is_used(graph: Graph) -> None:
    first = graph.all("Dropout")[0]
    graph.add_head(first, output=1)


NOOPS: dict[str, Edit] = {
    "always on": lambda g: g.all("Dropout")[0]["attrs"].update(mode="always"),
    "a head": drop_is_head,
    "mask used": mask_is_used,
}


@pytest.mark.parametrize("edit", NOOPS.values(), ids=NOOPS)
def test_remove_noops(edit: Edit, tiny: Model) -> None:
    model = tiny.edited(edit)
    text, added, removed, rewrites = run_pass(model.symbol, model.params, "remove_noops")
    assert rewrites == len(Graph(model.symbol).all("Dropout")) - 1
    assert _core.Graph(text).op_counts()["Dropout"] == 1 and not added and not removed
    assert run_pass(text, model.params, "remove_noops") == (text, {}, [], 0)


def test_remove_noops_takes_chains_of_copies(tiny: Model) -> None:
    def chain(graph: Graph) -> None:
        norm = graph.all("LayerNorm")[-1]
        for op in ("identity", "_copy", "Dropout"):
            graph.nodes.append({"op": op, "name": op, "inputs": [norm["inputs"][0]]})
            norm["inputs"][0] = [len(graph.nodes) - 1, 0, 0]
        del graph.document["node_row_ptr"]

    model = tiny.edited(chain)
    before = run(model.symbol, model.params, model.inputs)
    text, params, report = passes.optimize_graph(model.symbol, model.params, passes="remove_noops")
    assert report.rewrites == len(Graph(tiny.symbol).all("Dropout")) + 3
    assert all((a == b).all() for a, b in zip(run(text, params, model.inputs), before, strict=True))


@pytest.mark.parametrize("name", [info.name for info in passes.available() if info.provided_by == "core"])
def test_a_graph_without_any_match_stays_as_it_is(name: str, caplog: pytest.LogCaptureFixture) -> None:
    from bertpass.mx import mx

    dense_only = mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=3, name="fc")
    params = {"fc_weight": np.ones((3, 2), "float32"), "fc_bias": np.ones(3, "float32")}
    text, after, report = passes.optimize_graph(dense_only.tojson(), params, passes=name)
    assert text == _core.Graph(dense_only.tojson()).json() and after.keys() == params.keys()
    assert report.rewrites == 0 and "NOTHING REWRITTEN" in str(report) and "nothing rewritten" in caplog.text
