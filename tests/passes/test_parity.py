"""Every pass on every architecture: how often it rewrites, and that the outputs stay what they were.

Largest absolute difference of any output, float32, biases N(0, 0.5), 2 layers, outputs up to 4.5, MXNet 1.9.1 on an
AVX-512 CPU with AMX:

    pass            bert_base  bert_large  distilbert  roberta  minilm
    remove_noops    0          0           0           0        0
    interleave_qkv  0          0           0           0        0
    bias_gelu       0          0           0           0        0
    mkldnn          9.1e-6     1.1e-5      5.7e-6      5.7e-6   3.2e-6

The first two rearrange numbers: their difference must be 0 on any machine. The others compute in another order.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertpass import _core, passes
from bertpass.mx import mx
from tests.helpers.pass_models import PARITY, SHAPES, Graph, Model, build, difference, run, run_pass

ARCHITECTURES = [name for name in SHAPES if name != "tiny"]
TOLERANCE = {"remove_noops": 0.0, "interleave_qkv": 0.0, "bias_gelu": 3e-6, "mkldnn": 2e-5}


def applied(model: Model, name: str) -> tuple[str, dict[str, np.ndarray], int]:
    text, params, report = passes.optimize_graph(model.symbol, model.params, passes=name)
    return text, params, report.passes[0].rewrites


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_counts_on_the_full_architecture(architecture: str) -> None:
    shape = SHAPES[architecture]
    model = build(shape, fill=False)
    dropouts = _core.Graph(model.symbol).op_counts()["Dropout"]
    text, added, removed, rewrites = run_pass(model.symbol, model.params, "interleave_qkv")
    assert rewrites == shape.layers
    assert len(added) == 2 * shape.layers and len(removed) == 6 * shape.layers
    counts = _core.Graph(text).op_counts()
    assert "stack" not in counts and "Concat" not in counts
    assert run_pass(text, {**model.params, **added}, "interleave_qkv")[3] == 0
    text, _, _, rewrites = run_pass(model.symbol, model.params, "bias_gelu")
    assert rewrites == shape.layers == _core.Graph(text).op_counts()["broadcast_like"]
    text, _, _, rewrites = run_pass(model.symbol, model.params, "remove_noops")
    assert rewrites == dropouts > shape.layers and "Dropout" not in _core.Graph(text).op_counts()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_outputs_stay_the_same(architecture: str) -> None:
    model = build(PARITY[architecture])
    before = run(model.symbol, model.params, model.inputs)
    for name, tolerance in TOLERANCE.items():
        text, params, rewrites = applied(model, name)
        assert rewrites >= PARITY[architecture].layers, name
        assert difference(run(text, params, model.inputs), before) <= tolerance, name


def test_all_passes_of_a_device_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPASS_CUDA", "none")  # whose graphs a CPU does not compute
    model = build(PARITY["minilm"])
    for device in ("cpu", "gpu"):
        _, _, report = passes.optimize_graph(model.symbol, model.params, device=device, check=True)
        defaults = [info.name for info in passes.select("auto", device)]
        assert [result.name for result in report.passes] == defaults
        assert report.max_error is not None and report.max_error <= 2e-5
        if device == "gpu":
            assert all(result.rewrites for result in report.passes)
        else:  # it takes all that the next two look for; what is left goes to MXNet's own
            assert [result.rewrites for result in report.passes] == [1, 0, 0, 1]


def test_a_second_encoder_in_the_process_and_two_encoders_in_one_graph() -> None:
    first, second = build(PARITY["tiny"], seed=1), build(PARITY["tiny"], seed=2)
    assert set(first.params).isdisjoint(second.params), "GluonNLP numbers its prefixes"
    other = second.edited(lambda graph: [node.update(name="second_" + node["name"]) for node in graph.all("null")
                                         if node["name"] in second.inputs])
    both = mx.sym.Group([mx.sym.load_json(first.symbol), mx.sym.load_json(other.symbol)])
    inputs = {**first.inputs, **{"second_" + name: value for name, value in second.inputs.items()}}
    pair = Model(both.tojson(), {**first.params, **second.params}, inputs)
    for model, layers in ((second, 2), (pair, 4)):
        before = run(model.symbol, model.params, model.inputs)
        for name in ("interleave_qkv", "bias_gelu"):
            text, params, rewrites = applied(model, name)
            assert rewrites == layers
            assert difference(run(text, params, model.inputs), before) <= TOLERANCE[name]


def without_bias(graph: Graph) -> None:
    for attention in graph.all("_contrib_interleaved_matmul_selfatt_qk"):
        dense = graph.source(attention, 0)
        dense["attrs"]["no_bias"] = "True"
        dense["inputs"].pop()


def with_other_spellings(graph: Graph) -> None:
    """Weights joined by stack, biases by Concat, sizes instead of -1: the same layout in other words."""
    dense = graph.first_attention()
    weight, bias = graph.source(dense, 1), graph.source(dense, 2)
    joined = graph.source(weight, 0)
    joined.update(op="stack", attrs={"axis": "-3", "num_args": "3"})
    weight["attrs"] = {"shape": "(72, 24)"}
    graph.source(bias, 0).update(op="Concat", attrs={"dim": "-1", "num_args": "3"})
    for slot in range(3):
        graph.source(joined, slot)["attrs"] = {"shape": "(4, 6, 24)"}


@pytest.mark.parametrize("edit", [without_bias, with_other_spellings])
def test_interleave_other_forms(edit) -> None:
    model = build(PARITY["tiny"]).edited(edit)
    before = run(model.symbol, model.params, model.inputs)
    text, added, removed, rewrites = run_pass(model.symbol, model.params, "interleave_qkv")
    params = {name: value for name, value in {**model.params, **added}.items() if name not in removed}
    assert rewrites == 2
    assert difference(run(text, params, model.inputs), before) == 0.0


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int64", "bool", "complex128", "S5"])
def test_interleave_any_dtype(dtype: str) -> None:
    random = np.random.default_rng(3)
    heads, width, inputs = 4, 3, 5
    weights = [random.integers(0, 256, (heads * width, inputs)).astype(dtype) for _ in range(3)]
    expected = np.stack([w.reshape(heads, width, inputs) for w in weights], axis=1).reshape(-1, inputs)
    joined = _core.interleave(*weights, heads=heads)
    assert joined.dtype == expected.dtype and (joined == expected).all()
    biases = [w[:, 0] for w in weights]  # strided views
    assert (_core.interleave(*biases, heads=heads) == expected[:, 0]).all()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_interleave_pass_keeps_the_dtype(dtype: str) -> None:
    model = build(PARITY["tiny"])
    params = {name: (value * 100).astype(dtype) for name, value in model.params.items()}
    _, added, removed, rewrites = run_pass(model.symbol, params, "interleave_qkv")
    assert rewrites == 2 and {value.dtype for value in added.values()} == {np.dtype(dtype)}
    weight = next(value for name, value in added.items() if name.endswith("weight"))
    assert (weight == _core.interleave(*(params[name] for name in removed[:3]), heads=4)).all()


def test_interleave_refuses_what_does_not_fit() -> None:
    array = np.ones((6, 2), "float32")
    for bad in ((array, array, array[:4], 2), (array, array, array.astype("float64"), 2), (array, array, array, 4),
                (array, array, array, 0), (array[None], array[None], array[None], 1)):
        with pytest.raises(ValueError):
            _core.interleave(*bad)


RELOAD = """
import sys
import numpy as np
for name, kind in dict(bool=bool, object=object, int=int, float=float, complex=complex, str=str).items():
    if name not in np.__dict__:
        setattr(np, name, kind)
import mxnet as mx
prefix, feed, want = sys.argv[1:]
inputs, want = np.load(feed), np.load(want)
names = list(inputs.files)
block = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", names, prefix + "-0000.params")
outputs = block(*(mx.nd.array(inputs[name]) for name in names))
worst = max(abs(output.asnumpy() - want[key]).max() for output, key in zip(outputs, sorted(want.files)))
assert "bertpass" not in sys.modules
maps = open("/proc/self/maps").read()
assert "bertpass_lib.so" not in maps and "bertpass/_core" not in maps
print("worst", worst)
"""


@pytest.mark.parametrize("passes_", ["remove_noops,interleave_qkv,bias_gelu", "remove_noops,interleave_qkv,mkldnn"])
def test_files_run_without_bertpass(passes_: str, tmp_path: Path) -> None:
    model = build(PARITY["tiny"])
    from bertpass.model.files import params_file

    (tmp_path / "a-symbol.json").write_text(model.symbol)
    params_file.write(tmp_path / "a-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    passes.optimize(tmp_path / "a", tmp_path / "b", passes=passes_)
    np.savez(tmp_path / "in.npz", **model.inputs)
    np.savez(tmp_path / "want.npz", *run(model.symbol, model.params, model.inputs))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", RELOAD, tmp_path / "b", tmp_path / "in.npz",
                           tmp_path / "want.npz"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("worst ")[1]) <= 2e-5
