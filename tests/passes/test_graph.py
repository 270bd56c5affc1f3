"""The graph as an object, and the rows that say what is special about a pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertpass import _core, passes
from bertpass.errors import GraphError, PassError
from tests.helpers.pass_models import PARITY, Graph, Model, build


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build(PARITY["tiny"])


@pytest.fixture
def without_mxnet(monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (passes.select, passes.optimize):
        monkeypatch.setitem(function.__globals__, "has_mxnet", lambda: False)


def test_a_pass_gives_another_graph(tiny: Model) -> None:
    graph = _core.Graph(tiny.symbol)
    text = graph.json()
    after, added, removed, rewrites = graph.apply(tiny.params, "interleave_qkv")
    assert graph.json() == text != after.json() and rewrites == 2
    params = {name: value for name, value in {**tiny.params, **added}.items() if name not in removed}
    after.verify(params, before=graph)
    assert after.apply(params, "interleave_qkv") == (after, {}, [], 0)
    assert after.apply(params, "interleave_qkv")[0] is after
    assert _core.Graph(after.json()).json() == after.json()


def test_verify(tiny: Model) -> None:
    graph = _core.Graph(tiny.symbol)
    with pytest.raises(GraphError, match="gamma' of the graph is missing"):
        graph.verify({name: value for name, value in tiny.params.items() if not name.endswith("gamma")})

    def renamed(changed: Graph) -> None:
        head = changed.document["heads"][0][0]
        changed.nodes[head]["name"] += "_other"

    with pytest.raises(GraphError, match=r"head 0 was .*_other output 0"):
        graph.verify(before=_core.Graph(tiny.edited(renamed).symbol))


def test_what_mxnet_leaves_on_nodes_is_not_read(tiny: Model) -> None:
    marked = tiny.edited(lambda g: [node.setdefault("attrs", {}).update(__ext_shape__="[1]") for node in g.nodes])
    assert "__ext_" in marked.symbol and _core.Graph(marked.symbol).json() == _core.Graph(tiny.symbol).json()


def test_the_text_is_read_once_and_written_once(tiny: Model, without_mxnet: None,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MXNet, whose inference needs the text after every pass."""
    calls = []
    read, write = _core.Graph.__init__, _core.Graph.json
    monkeypatch.setattr(_core.Graph, "__init__", lambda self, text: calls.append("read") or read(self, text))
    monkeypatch.setattr(_core.Graph, "json", lambda self: calls.append("write") or write(self))
    text, _, report = passes.optimize_graph(tiny.symbol, tiny.params)
    assert [result.name for result in report.passes] == ["native_encoder", "remove_noops", "interleave_qkv"]
    assert calls == ["read", "write"] and json.loads(text)["nodes"]


@pytest.mark.parametrize(("asked", "names"), [
    ("auto", ["native_encoder", "remove_noops", "interleave_qkv", "mkldnn"]), ("none", []), ([], []),
    ("mkldnn, AddBiasGelu,remove_noops", ["bias_gelu", "remove_noops", "mkldnn"]),
    (["remove_noops,MHAInterleave", "native_encoder"], ["remove_noops", "interleave_qkv", "native_encoder"]),
    ("MaskSoftmax", []), ("MaskSoftmax,bias_gelu", ["bias_gelu"])])
def test_the_choice(asked, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    chosen = passes.select(asked)
    assert [info.name for info in chosen] == names
    assert ("MaskSoftmax changes nothing here" in caplog.text) == ("MaskSoftmax" in asked)
    caplog.clear()
    assert passes.select(chosen) == chosen and not caplog.text  # a choice that is made stays


@pytest.mark.parametrize(("asked", "keywords", "words"), [
    ("", {}, "no pass is named; give auto, none or names"), (" , ", {}, "no pass is named"),
    (["auto", "remove_noops"], {}, "'auto' stands alone"), ("remove_noops,none", {}, "'none' stands alone"),
    ("bias_gelu,AddBiasGelu", {}, "the pass 'bias_gelu' is given twice"),
    ("MaskSoftmax,MaskSoftmax", {}, "the pass 'MaskSoftmax' is given twice"),
    ("Interleave_QKV", {}, "Did you mean 'interleave_qkv'"), ("x" * 1000, {}, "unknown pass 'x{100}'. Known: "),
    ("auto", {"device": "cpux"}, "unknown device 'cpux'. Did you mean 'cpu'"),
    ("mkldnn", {"dtype": "int8"}, "only the pass native_encoder computes in it"),
    ("none", {"dtype": "bfloat16,0=float32"}, "not among the passes")])
def test_a_choice_that_cannot_be(asked, keywords: dict[str, str], words: str) -> None:
    with pytest.raises(PassError, match=words) as caught:
        passes.select(asked, **keywords)
    assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith(".")


def test_what_is_not_installed_is_not_chosen_by_default(without_mxnet: None, monkeypatch: pytest.MonkeyPatch,
                                                         tmp_path: Path) -> None:
    everything = passes.available()
    assert passes.select("auto") == [p for p in everything if "cpu" in p.devices and p.provided_by != "mxnet"]
    monkeypatch.setenv("BERTPASS_CUDA", str(tmp_path / "none.so"))
    assert passes.select("auto", "gpu") == [p for p in everything if "gpu" in p.devices and not p.needs_cuda_engine]
    assert [info.name for info in passes.select("mkldnn")] == ["mkldnn"]  # asked for, so its absence is told later


@pytest.mark.parametrize("info", passes.available(), ids=lambda info: info.name)
def test_rows_say_what_passes_do(info: passes.PassInfo, tiny: Model) -> None:
    graph = _core.Graph(tiny.symbol)
    if info.provided_by == "mxnet":
        with pytest.raises(PassError, match="MXNet's own"):
            graph.apply(tiny.params, info.name)
        return
    after, _, _, rewrites = graph.apply(tiny.params, info.name)
    layers = {name: g.op_counts().get("LayerNorm", 0) for name, g in (("before", graph), ("after", after))}
    assert rewrites and layers["before"] == 5
    assert (layers["after"] == 0) == info.takes_encoder
    for option, value in (("dtype", "float32"), ("device", "cpu"), ("level", "3")):
        if option in info.options:
            assert graph.apply(tiny.params, info.name, {option: value})[3] == rewrites
        else:
            with pytest.raises(PassError, match=f"the pass '{info.name}' takes no option '{option}'"):
                graph.apply(tiny.params, info.name, {option: value})


def test_a_precision_that_nothing_computes_in_is_refused(tiny: Model) -> None:
    """By the pass itself, so in the library and in Python alike."""
    graph, added, removed, _ = _core.Graph(tiny.symbol).apply(tiny.params, "native_encoder", {"dtype": "int8"})
    params = {name: value for name, value in {**tiny.params, **added}.items() if name not in removed}
    with pytest.raises(PassError, match="dtype int8: the pass native_encoder finds no encoder"):
        graph.apply(params, "native_encoder", {"dtype": "int8"})
    assert graph.apply(params, "native_encoder", {"dtype": "float32"})[3] == 0
