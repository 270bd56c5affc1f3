"""Graphs that differ from an encoder in one point are left alone by native_encoder, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bertpass import _core
from bertpass.mx import load_library
from bertpass.passes.library import LIBRARY
from tests.helpers.pass_models import PARITY, Graph, Model, build, run, run_pass

NAME = "native_encoder"
QK, VALUES = "_contrib_interleaved_matmul_selfatt_qk", "_contrib_interleaved_matmul_selfatt_valatt"
Edit = Callable[[Graph], object]


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build(PARITY["tiny"])


def assert_left_alone(model: Model, params: dict[str, np.ndarray] | None = None) -> None:
    text, added, removed, rewrites = run_pass(model.symbol, params or model.params, NAME)
    assert (rewrites, added, removed) == (0, {}, []) and text == _core.Graph(model.symbol).json()


def test_what_the_misses_differ_from_is_taken(tiny: Model) -> None:
    assert run_pass(tiny.symbol, tiny.params, NAME)[3] == 1


def norm(graph: Graph, number: int) -> dict:
    """The embeddings' normalisation, then two of each layer."""
    return graph.all("LayerNorm")[number]


def dense(graph: Graph, number: int) -> dict:
    """Of each layer: query, key and value; projection; first and second of the feed-forward network."""
    return graph.all("FullyConnected")[number]


def named(graph: Graph, end: str) -> dict:
    return next(node for node in graph.nodes if node["name"].endswith(end))


def between(graph: Graph, node: dict, slot: int, op: str, **attrs: str) -> None:
    """Put an operator between a node and its input."""
    graph.nodes.append({"op": op, "name": f"between{len(graph.nodes)}", "attrs": attrs,
                        "inputs": [node["inputs"][slot]]})
    node["inputs"][slot] = [len(graph.nodes) - 1, 0, 0]
    graph.document.pop("node_row_ptr", None)


def other_input(graph: Graph, node: dict, slot: int, name: str = "stranger") -> None:
    """Feed a node's input from a new input of the graph."""
    graph.nodes.append({"op": "null", "name": name, "inputs": []})
    node["inputs"][slot] = [len(graph.nodes) - 1, 0, 0]
    graph.document.pop("node_row_ptr", None)


def rewire(graph: Graph, node: dict, slot: int, source: dict) -> None:
    node["inputs"][slot] = [graph.index(source), 0, 0]


def no_bias(node: dict) -> None:
    node["attrs"]["no_bias"] = "True"
    node["inputs"].pop()


def swap(node: dict) -> None:
    node["inputs"].reverse()


def head(graph: Graph, node: dict) -> None:
    graph.document["heads"].append([graph.index(node), 0, 0])


MISSES: dict[str, Edit] = {
    # used elsewhere
    "first layer's output used elsewhere": lambda g: g.add_head(norm(g, 2)),
    "embeddings used elsewhere": lambda g: g.add_head(norm(g, 0)),
    "embeddings' sum used elsewhere": lambda g: g.add_head(g.all("transpose")[0]),
    "last layer before the mask used elsewhere": lambda g: g.add_head(norm(g, 4)),
    "mask used elsewhere": lambda g: g.add_head(g.all("SequenceMask")[0]),
    "probabilities used elsewhere": lambda g: g.add_head(g.all("softmax")[0]),
    "a dropout's mask used elsewhere": lambda g: g.add_head(g.all("Dropout")[2], output=1),
    "probabilities are a head": lambda g: head(g, g.all("softmax")[1]),
    "hidden state is a head": lambda g: head(g, dense(g, 2)),
    "a weight used elsewhere": lambda g: g.add_head(g.source(dense(g, 3), 1)),
    "a query weight used elsewhere": lambda g: g.add_head(named(g, "query_weight")),
    "a gamma used elsewhere": lambda g: g.add_head(g.source(norm(g, 1), 1)),
    "the lengths' column used elsewhere": lambda g: g.add_head(g.source(g.all("Cast")[0], 0)),
    "a control dependency": lambda g: norm(g, 2).update(control_deps=[g.index(norm(g, 0))]),
    # normalisation
    "another axis": lambda g: norm(g, 2)["attrs"].update(axis="1"),
    "another axis of the embeddings": lambda g: norm(g, 0)["attrs"].update(axis="0"),
    "another epsilon in one layer": lambda g: norm(g, 3)["attrs"].update(eps="1e-5"),
    "another epsilon of the embeddings": lambda g: norm(g, 0)["attrs"].update(eps="1e-5"),
    "epsilon is no number": lambda g: norm(g, 3)["attrs"].update(eps="small"),
    "another normalisation": lambda g: norm(g, 3).update(op="InstanceNorm"),
    # dense layers
    "projection without bias": lambda g: no_bias(dense(g, 1)),
    "feed-forward without bias": lambda g: no_bias(dense(g, 6)),
    "query, key and value without bias": lambda g: no_bias(dense(g, 0)),
    "flattening": lambda g: dense(g, 3)["attrs"].update(flatten="True"),
    "flattening by default": lambda g: dense(g, 3)["attrs"].pop("flatten"),
    "num_hidden lies": lambda g: dense(g, 2)["attrs"].update(num_hidden="41"),
    "activation of another kind": lambda g: g.all("LeakyReLU")[0]["attrs"].update(act_type="elu"),
    "activations differ": lambda g: g.all("LeakyReLU")[0].update(op="Activation", attrs={"act_type": "relu"}),
    "no activation": lambda g: rewire(g, dense(g, 7), 0, dense(g, 6)),
    "scaled feed-forward": lambda g: between(g, dense(g, 3), 0, "_mul_scalar", scalar="2"),
    # the residual stream
    "residual from another layer": lambda g: rewire(g, g.all("elemwise_add")[3], 1, norm(g, 0)),
    "scaled residual": lambda g: between(g, g.all("elemwise_add")[2], 1, "_mul_scalar", scalar="2"),
    "difference in place of the sum": lambda g: g.all("elemwise_add")[2].update(op="elemwise_sub"),
    "dropout that is always on": lambda g: g.all("Dropout")[3]["attrs"].update(mode="always"),
    # attention
    "scaled scores": lambda g: between(g, g.all("softmax")[0], 0, "_mul_scalar", scalar="0.5"),
    "temperature": lambda g: g.all("softmax")[0]["attrs"].update(temperature="2.0"),
    "softmax over the queries": lambda g: g.all("softmax")[0]["attrs"].update(axis="1"),
    "softmax in another type": lambda g: g.all("softmax")[0]["attrs"].update(dtype="float16"),
    "softmax without lengths": lambda g: (g.all("softmax")[0]["attrs"].update(use_length="False"),
                                          g.all("softmax")[0]["inputs"].pop()),
    "log of the softmax": lambda g: g.all("softmax")[0].update(op="log_softmax"),
    "heads of the scores": lambda g: g.all(QK)[0]["attrs"].update(heads="6"),
    "heads of the values": lambda g: g.all(VALUES)[1]["attrs"].update(heads="2"),
    "heads that do not divide": lambda g: [n["attrs"].update(heads="5") for n in g.all(QK) + g.all(VALUES)],
    "values of another product": lambda g: rewire(g, g.all(VALUES)[1], 0, dense(g, 0)),
    "encoder-decoder attention": lambda g: g.all(QK)[0].update(op="_contrib_interleaved_matmul_encdec_qk"),
    "masked scores": lambda g: between(g, g.all("softmax")[0], 0, "_plus_scalar", scalar="-10000"),
    # lengths
    "lengths from another input": lambda g: other_input(g, g.source(g.source(g.all("Cast")[0], 0), 0), 0),
    "mask from another input": lambda g: other_input(g, g.all("SequenceMask")[0], 1),
    "mask along the batch": lambda g: g.all("SequenceMask")[0]["attrs"].update(axis="1"),
    "mask of another value": lambda g: g.all("SequenceMask")[0]["attrs"].update(value="1.0"),
    "mask without lengths": lambda g: (g.all("SequenceMask")[0]["attrs"].update(use_sequence_length="False"),
                                       g.all("SequenceMask")[0]["inputs"].pop()),
    "lengths of another type": lambda g: g.all("Cast")[0]["attrs"].update(dtype="int64"),
    "lengths spread over other heads": lambda g: g.all("broadcast_axis")[0]["attrs"].update(size="2"),
    "lengths spread along the batch": lambda g: g.all("broadcast_axis")[0]["attrs"].update(axis="0"),
    "lengths expanded elsewhere": lambda g: g.source(g.all("broadcast_axis")[0], 0)["attrs"].update(axis="2"),
    "lengths joined in another order": lambda g: g.source(g.all("softmax")[0], 1)["attrs"].update(reverse="False"),
    "lengths plus one": lambda g: between(g, g.all("Cast")[0], 0, "_plus_scalar", scalar="1"),
    "each query has its own length": lambda g: g.all("zeros_like")[0].update(op="identity"),
    "the lengths' row from elsewhere": lambda g: other_input(g, g.all("zeros_like")[0], 0),
    # embeddings
    "positions from 1": lambda g: g.all("_contrib_arange_like")[0]["attrs"].update(start="1"),
    "every second position": lambda g: g.all("_contrib_arange_like")[0]["attrs"].update(step="2"),
    "positions repeated": lambda g: g.all("_contrib_arange_like")[0]["attrs"].update(repeat="2"),
    "positions along the batch": lambda g: g.all("_contrib_arange_like")[0]["attrs"].update(axis="1"),
    "positions from an input": lambda g: other_input(g, g.all("Embedding")[2], 0),
    "positions along the batch's axis": lambda g: g.source(g.all("broadcast_add")[0], 1)["attrs"].update(axis="0"),
    "scaled words": lambda g: between(g, g.all("transpose")[0], 0, "_mul_scalar", scalar="4.9"),
    "words of another width": lambda g: g.all("Embedding")[0]["attrs"].update(output_dim="12"),
    "words of another type": lambda g: g.all("Embedding")[0]["attrs"].update(dtype="float16"),
    "more words than rows": lambda g: g.all("Embedding")[0]["attrs"].update(input_dim="41"),
    "words times types": lambda g: g.all("elemwise_add")[0].update(op="elemwise_mul"),
    "batch and length not exchanged": lambda g: g.all("transpose")[0]["attrs"].update(axes="(0, 1, 2)"),
    "not exchanged back": lambda g: g.all("transpose")[1]["attrs"].update(axes="(0, 2, 1)"),
}


@pytest.mark.parametrize("edit", MISSES.values(), ids=MISSES)
def test_graph(edit: Edit, tiny: Model) -> None:
    changed = tiny.edited(edit)
    assert _core.Graph(changed.symbol).json() != _core.Graph(tiny.symbol).json()
    assert_left_alone(changed)


TANH: dict[str, Edit] = {
    "factor": lambda g: g.all("_mul_scalar")[1]["attrs"].update(scalar="0.05"),
    "half": lambda g: g.all("_mul_scalar")[0]["attrs"].update(scalar="1"),
    "root": lambda g: g.all("_mul_scalar")[2]["attrs"].update(scalar="0.8"),
    "power": lambda g: g.all("_power_scalar")[0]["attrs"].update(scalar="2"),
    "one": lambda g: g.all("_plus_scalar")[0]["attrs"].update(scalar="2"),
    "another function": lambda g: g.all("tanh")[0].update(op="sigmoid"),
    "another operand": lambda g: rewire(g, g.all("elemwise_mul")[0], 0, g.all("_mul_scalar")[1]),
}


@pytest.fixture(scope="module")
def by_tanh(tiny: Model) -> Model:
    """The tiny model with GELU by its tanh approximation, in the nodes that GluonNLP exports for it."""
    def edit(graph: Graph) -> None:
        for gelu in graph.all("LeakyReLU"):
            x = gelu["inputs"][0]

            def add(op: str, *inputs: list[int], graph: Graph = graph, **attrs: str) -> list[int]:
                graph.nodes.append({"op": op, "name": f"gelu{len(graph.nodes)}", "attrs": attrs,
                                    "inputs": list(inputs)})
                return [len(graph.nodes) - 1, 0, 0]

            half = add("_mul_scalar", x, scalar="0.5")
            cube = add("_mul_scalar", add("_power_scalar", x, scalar="3"), scalar="0.044715")
            tangent = add("tanh", add("_mul_scalar", add("elemwise_add", x, cube), scalar="0.7978845608028654"))
            gelu.update(op="elemwise_mul", attrs={}, inputs=[half, add("_plus_scalar", tangent, scalar="1")])
        graph.document.pop("node_row_ptr", None)

    return tiny.edited(edit)


def test_gelu_by_tanh_is_taken(by_tanh: Model) -> None:
    assert run_pass(by_tanh.symbol, by_tanh.params, NAME)[3] == 1


@pytest.mark.parametrize("edit", TANH.values(), ids=TANH)
def test_gelu_by_tanh(edit: Edit, by_tanh: Model) -> None:
    assert_left_alone(by_tanh.edited(edit))


PARAMETERS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda array: None,
    "float64": lambda array: array.astype("float64"),
    "int32": lambda array: array.astype("int32"),
    "other byte order": lambda array: array.astype(">f4"),
    "a row less": lambda array: array[:-1],
    "one dimension more": lambda array: array[None],
}
PARTS = ["word_embed_embedding0_weight", "position_weight", "token_type_embed_embedding0_weight", "layernorm0_beta",
         "query_weight", "value_bias", "proj_bias", "ffn_1_weight", "ffn_2_bias", "positionwiseffn0_layernorm0_gamma"]


@pytest.mark.parametrize("change", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("part", PARTS)
def test_parameters(change, part: str, tiny: Model) -> None:
    name = next(name for name in tiny.params if name.endswith(part))
    params = dict(tiny.params)
    changed = change(params.pop(name))
    if changed is not None:
        params[name] = changed
    assert_left_alone(tiny, params)


def test_no_layers(tiny: Model) -> None:
    def empty(graph: Graph) -> None:
        graph.all("SequenceMask")[0]["inputs"][0] = [graph.index(norm(graph, 0)), 0, 0]

    assert_left_alone(tiny.edited(empty))


def test_layers_of_two_widths(tiny: Model) -> None:
    """The first layer's feed-forward network is narrower than the second's; each is right in itself."""
    params = dict(tiny.params)

    def edit(graph: Graph) -> None:
        up, down = dense(graph, 2), dense(graph, 3)
        up["attrs"]["num_hidden"] = "16"
        for node, slot, size in ((up, 1, (16, 24)), (up, 2, (16,)), (down, 1, (24, 16))):
            params[graph.source(node, slot)["name"]] = np.ones(size, "float32")

    assert_left_alone(tiny.edited(edit), params)


def shared(graph: Graph) -> None:
    for slot in (1, 2):
        dense(graph, 7)["inputs"][slot] = dense(graph, 3)["inputs"][slot]


HARMLESS: dict[str, Edit] = {
    "sums the other way round": lambda g: [swap(node) for node in g.all("elemwise_add")],
    "identity anywhere": lambda g: [between(g, norm(g, 2), 0, "identity"), between(g, dense(g, 3), 0, "_copy"),
                                    between(g, g.all("SequenceMask")[0], 0, "Dropout", p="0.5")],
    "axis from the front": lambda g: [node["attrs"].update(axis="2") for node in g.all("LayerNorm")],
    "epsilon in other words": lambda g: norm(g, 1)["attrs"].update(eps="0.000000000001"),
    "a weight shared by both layers": shared,
    "the last state taken twice": lambda g: g.add_head(g.all("transpose")[1]),
}


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS)
def test_other_words_for_the_same(edit: Edit, tiny: Model) -> None:
    load_library(LIBRARY)
    changed = tiny.edited(edit)
    text, added, removed, rewrites = run_pass(changed.symbol, changed.params, NAME)
    params = {name: value for name, value in {**changed.params, **added}.items() if name not in removed}
    assert rewrites == 1
    for found, wanted in zip(run(text, params, changed.inputs), run(changed.symbol, changed.params, changed.inputs),
                             strict=True):
        assert np.linalg.norm(found - wanted) <= 1e-6 * np.linalg.norm(wanted)
