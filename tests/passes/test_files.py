"""Files to files, the library against the core, and every bad input as one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertpass import _core, passes
from bertpass.errors import BertpassError, DeviceError, GraphError, ModelError, PassError
from bertpass.model.files import params_file
from tests.helpers.pass_models import PARITY, Graph, Model, build, run, run_pass

LIBRARY = Path(_core.__file__).with_name("bertpass_lib.so")


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build(PARITY["tiny"])


def save(model: Model, prefix: Path) -> Path:
    prefix.with_name(prefix.name + "-symbol.json").write_text(model.symbol)
    params_file.write(prefix.with_name(prefix.name + "-0000.params"),
                      {"arg:" + name: value for name, value in model.params.items()})
    return prefix


def content(prefix: Path) -> tuple[str, bytes]:
    return (prefix.with_name(prefix.name + "-symbol.json").read_text(),
            prefix.with_name(prefix.name + "-0000.params").read_bytes())


@pytest.fixture
def saved(tiny: Model, tmp_path: Path) -> Path:
    return save(tiny, tmp_path / "in")


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_library_and_core_write_the_same_bytes(device: str, saved: Path) -> None:
    out = saved.parent / "new" / "folder"
    plain = passes.optimize(saved, out / "core", device=device)
    through = passes.optimize(saved, out / "library", device=device, library=LIBRARY)
    assert content(out / "core") == content(out / "library")
    assert [(r.name, r.rewrites, r.added, r.removed) for r in plain.passes] == [
        (r.name, r.rewrites, r.added, r.removed) for r in through.passes]
    assert plain.library is None and through.library == str(LIBRARY)


def test_report(saved: Path) -> None:
    report = passes.optimize(saved, saved.parent / "out", passes="interleave_qkv, remove_noops", check=True)
    assert [result.name for result in report.passes] == ["interleave_qkv", "remove_noops"]
    interleave = report.passes[0]
    assert (interleave.rewrites, len(interleave.added), len(interleave.removed)) == (2, 4, 12)
    assert interleave.seconds > 0 and report.max_error == 0.0
    as_json = json.loads(json.dumps(report.to_dict()))
    assert as_json["rewrites"] == report.rewrites and as_json["passes"][0]["added"] == list(interleave.added)
    table = str(report).splitlines()
    assert table[1].split() == ["interleave_qkv", "2", "+4", "-12", f"{interleave.seconds:.3f}", "0"]


def test_in_place_and_other_epochs(saved: Path) -> None:
    passes.optimize(saved, saved.parent / "out", passes="interleave_qkv")
    passes.optimize(saved, saved, passes="interleave_qkv")
    assert content(saved) == content(saved.parent / "out")
    assert passes.optimize(saved, saved, passes="interleave_qkv").rewrites == 0
    os.rename(f"{saved}-0000.params", f"{saved}-0007.params")
    passes.optimize(saved, saved, passes="remove_noops", epoch=7)
    assert sorted(path.name for path in saved.parent.glob("in-*")) == ["in-0007.params", "in-symbol.json"]


def test_names_keep_their_prefixes(tiny: Model) -> None:
    prefixed = {"arg:" + name: value for name, value in tiny.params.items()}
    _, params, _ = passes.optimize_graph(tiny.symbol, prefixed, passes="interleave_qkv")
    assert all(name.startswith("arg:") for name in params)
    _, params, _ = passes.optimize_graph(tiny.symbol, tiny.params, passes="interleave_qkv")
    assert not any(name.startswith("arg:") for name in params)
    assert len(params) == len(tiny.params) - 12 + 4


def test_a_failed_write_leaves_the_old_pair(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(saved)
    replace = os.replace

    def failing(source, target):
        if str(target).endswith("-symbol.json"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(ModelError, match="No space left"):
        passes.optimize(saved, saved)
    with pytest.raises(ModelError, match="No space left"):
        passes.optimize(saved, saved.parent / "out")
    assert content(saved) == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["in-0000.params", "in-symbol.json"]


def test_check_on_given_inputs(tiny: Model) -> None:
    _, _, report = passes.optimize_graph(tiny.symbol, tiny.params, passes="interleave_qkv", check=tiny.inputs)
    assert report.max_error == 0.0
    with pytest.raises(PassError, match="no value for the input"):
        passes.optimize_graph(tiny.symbol, tiny.params, check={"ids": tiny.inputs["ids"]})


def test_check_finds_a_wrong_pass(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """With query and key exchanged in the bias alone, the fault of an early pass of this kind, check must see it."""
    apply = _core.Graph.apply

    def wrong(graph, params, name, options):
        after, added, removed, rewrites = apply(graph, params, name, options)
        bias = next(name for name in added if name.endswith("bias"))
        parts = added[bias].reshape(4, 3, 6)
        added[bias] = parts[:, [0, 2, 1]].reshape(-1).copy()
        return after, added, removed, rewrites

    monkeypatch.setattr(_core.Graph, "apply", wrong)
    _, _, report = passes.optimize_graph(tiny.symbol, tiny.params, passes="interleave_qkv", check=True)
    assert report.max_error is not None and report.max_error > 0.01


def test_float16_parameters(tiny: Model) -> None:
    half = {name: value.astype("float16") for name, value in tiny.params.items()}
    _, params, _ = passes.optimize_graph(tiny.symbol, half, passes="interleave_qkv")
    assert {value.dtype for value in params.values()} == {np.dtype("float16")}
    with pytest.raises(DeviceError, match="float16"):
        passes.optimize_graph(tiny.symbol, half, passes="interleave_qkv", check=True)


def test_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPASS_CUDA", "none")  # whether the CUDA engine is built here or not
    names = [info.name for info in passes.available()]
    assert names == ["native_encoder", "remove_noops", "interleave_qkv", "bias_gelu", "mkldnn"]
    assert [info.name for info in passes.select("auto", "cpu")] == ["native_encoder", "remove_noops", "interleave_qkv",
                                                                    "mkldnn"]
    assert [info.name for info in passes.select("auto", "gpu")] == ["remove_noops", "interleave_qkv", "bias_gelu"]
    assert [info.name for info in passes.select(["mkldnn", "bias_gelu"])] == ["bias_gelu", "mkldnn"]
    assert passes.select("none") == []
    assert all(info.documentation and "\n" not in info.documentation for info in passes.available())


def nodes(change: Callable[[Graph], object]) -> Callable[[Model], Model]:
    return lambda model: model.edited(change)


def without(suffix: str) -> Callable[[Model], Model]:
    return lambda model: Model(model.symbol, {name: value for name, value in model.params.items()
                                              if not name.endswith(suffix)}, model.inputs)


def reshaped(suffix: str) -> Callable[[Model], Model]:
    return lambda model: Model(model.symbol, {name: value[:-1] if name.endswith(suffix) else value
                                              for name, value in model.params.items()}, model.inputs)


def text(symbol: str) -> Callable[[Model], Model]:
    return lambda model: Model(symbol, model.params, model.inputs)


# What is wrong, and the error and the words that a person meets.
BAD_MODELS: dict[str, tuple[Callable[[Model], Model], type[BertpassError], str]] = {
    "empty": (text(""), GraphError, "byte"),
    "no JSON": (text("PK\x03\x04"), GraphError, "byte"),
    "cut off": (lambda m: Model(m.symbol[:2000], m.params, m.inputs), GraphError, "byte"),
    "a list": (text("[]"), GraphError, "not a JSON object"),
    "no nodes": (text("{}"), GraphError, "no list 'nodes'"),
    "deep": (text('{"nodes":' + "[" * 100_000), GraphError, "deep"),
    "nodes of numbers": (text('{"nodes":[1],"heads":[[0,0,0]],"arg_nodes":[]}'), GraphError, "not an object"),
    "no heads": (nodes(lambda g: g.document.update(heads=[])), GraphError, "no heads"),
    "head out of range": (nodes(lambda g: g.document.update(heads=[[9999, 0, 0]])), GraphError, "9999"),
    "negative input": (nodes(lambda g: g.all("Dropout")[0].update(inputs=[[-1, 0, 0]])), GraphError, "-1"),
    "huge input": (nodes(lambda g: g.all("Dropout")[0].update(inputs=[[2**70, 0, 0]])), GraphError, "below"),
    "output that is none": (nodes(lambda g: g.all("softmax")[0]["inputs"][0].__setitem__(1, 3)), GraphError,
                            "output 3"),
    "input without output": (nodes(lambda g: g.all("softmax")[0]["inputs"].append([1])), GraphError, "list of a node"),
    "cycle": (nodes(lambda g: g.all("Dropout")[0].update(inputs=[[len(g.nodes) - 1, 0, 0]])), GraphError, "cycle"),
    "attribute that is a number": (nodes(lambda g: g.all("Dropout")[0]["attrs"].update(p=1)), GraphError, "not a text"),
    "no operator": (nodes(lambda g: g.all("Dropout")[0].pop("op")), GraphError, "'op'"),
    "unknown field": (nodes(lambda g: g.all("Dropout")[0].update(extra=1)), GraphError, "'extra'"),
    "unknown operator": (nodes(lambda g: g.all("Dropout")[0].update(op="Dorpout")), PassError, "Dorpout"),
    "two arguments of a name": (nodes(lambda g: g.all("null")[3].update(name="ids")), GraphError, "'ids'"),
    "row pointers that do not fit": (nodes(lambda g: g.document["node_row_ptr"].pop()), GraphError, "node_row_ptr"),
    "row pointers that go back": (nodes(lambda g: g.document["node_row_ptr"].__setitem__(5, 0)), GraphError,
                                  "node_row_ptr"),
    "weight missing": (without("key_weight"), GraphError, "key_weight' of the graph is missing"),
    "bias missing": (without("ffn_1_bias"), GraphError, "ffn_1_bias' of the graph is missing"),
    "weight misshapen": (reshaped("key_weight"), GraphError, r"key_weight' has the shape \(23, 24\)"),
    "dense bias misshapen": (reshaped("ffn_1_bias"), GraphError, "ffn_1_bias' has the shape"),
    "embedding misshapen": (reshaped("word_embed_embedding0_weight"), GraphError, r"\(39, 24\)"),
    "norm misshapen": (reshaped("layernorm0_gamma"), GraphError, "layernorm0_gamma' has the shape"),
}


@pytest.mark.parametrize(("make", "error", "words"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_bad_models(make, error: type[BertpassError], words: str, tiny: Model, tmp_path: Path) -> None:
    prefix = save(make(tiny), tmp_path / "bad")
    with pytest.raises(error, match=words) as caught:
        passes.optimize(prefix, tmp_path / "out")
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1 and sentence.endswith(".") and "\x00" not in sentence
    assert not list(tmp_path.glob("out*"))


def test_bad_arguments(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for keywords, error, words in (
        ({"passes": "interleve_qkv"}, PassError, "Did you mean 'interleave_qkv'"),
        ({"passes": ["remove_noops", "remove_noops"]}, PassError, "given twice"),
        ({"device": "tpu"}, PassError, "Known: cpu, gpu"),
        ({"library": tmp_path / "no.so"}, PassError, "no library"),
        ({"library": f"{saved}-symbol.json"}, PassError, "NOT a library file"),
        ({"epoch": 3}, ModelError, "in-0003.params"),
    ):
        with pytest.raises(error, match=words):
            passes.optimize(saved, out, **keywords)
    with pytest.raises(ModelError, match="missing-symbol"):
        passes.optimize(tmp_path / "missing", out)
    with pytest.raises(ModelError, match="given twice"):
        passes.optimize_graph(content(saved)[0], {"arg:a": np.ones(1), "aux:a": np.ones(1)})
    with pytest.raises(PassError, match="Did you mean 'bias_gelu'"):
        run_pass(content(saved)[0], {}, "bias_gleu")


@pytest.mark.parametrize(("what", "words"), [("text", "cannot be loaded"), ("module", "cannot be loaded")])
def test_files_that_are_no_pass_library(what: str, words: str, saved: Path, tmp_path: Path) -> None:
    """In a process of its own: MXNet keeps what it has loaded."""
    library = tmp_path / "foreign.so"
    library.write_bytes(b"not a library" if what == "text" else Path(_core.__file__).read_bytes())
    script = ("import sys\nfrom bertpass import passes, errors\n"
              "try: passes.optimize(sys.argv[1], sys.argv[1], library=sys.argv[2])\n"
              "except errors.PassError as error: print('PassError', error)")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, saved, library], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PassError") and words in done.stdout and len(done.stdout.splitlines()) == 1


def test_wrong_options_of_the_library_are_errors(tiny: Model) -> None:
    from bertpass.mx import load_library, mx

    load_library(LIBRARY)
    symbol = mx.sym.load_json(tiny.symbol)
    for name, options, words in (("bertpass", {"device": "tpu"}, "unknown device 'tpu'. Known: cpu, gpu"),
                                 ("bertpass", {"passes": "bias_gleu"}, "unknown pass 'bias_gleu'. Known: native_enc"),
                                 ("bertpass", {"passes": "remove_noops,mkldnn"}, "'mkldnn' is MXNet's own"),
                                 ("bertpass", {"passes": "remove_noops,remove_noops"}, "given twice"),
                                 ("bertpass", {"passes": "auto,remove_noops"}, "'auto' stands alone"),
                                 ("bertpass", {"passes": "bias_gelu", "dtype": "int8"}, "not among the passes"),
                                 ("bertpass", {"passes": "native_encoder", "dtype": "int8"}, "finds no encoder"),
                                 ("bertpass", {"level": 3}, "unknown option 'level'"),
                                 ("bias_gelu", {"level": 3}, "takes no option 'level'"),
                                 ("native_encoder", {"device": "tpu"}, "Known: cpu, gpu"),
                                 ("native_encoder", {"dtype": "float8"}, "give one of float32, bfloat16, int8")):
        with pytest.raises(mx.base.MXNetError, match=words):
            symbol.optimize_for(name, {}, {}, skip_infer=True, **options)


def test_the_library_runs_a_list_of_passes_at_once(tiny: Model) -> None:
    from bertpass.mx import load_library, mx

    load_library(LIBRARY)
    arrays = {name: mx.nd.array(value) for name, value in tiny.params.items()}
    mx.nd.waitall()
    symbol = mx.sym.load_json(tiny.symbol).optimize_for(
        "bertpass", arrays, {}, skip_infer=True, passes="interleave_qkv,bias_gelu")
    outputs = run(symbol.tojson(), {name: value.asnumpy() for name, value in arrays.items()}, tiny.inputs)
    before = run(tiny.symbol, tiny.params, tiny.inputs)
    assert max(np.abs(a - b).max() for a, b in zip(outputs, before, strict=True)) <= 3e-6
    counts = _core.Graph(symbol.tojson()).op_counts()
    assert "stack" not in counts and counts["broadcast_like"] == 2 and counts["Dropout"]
