"""MXNet's operator on a GPU: what the pass native_encoder puts into a graph for one, and the forward that computes it,
called by a program as MXNet does (mxnet_host.cc), with the twin library."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import build_cuda
import numpy as np
import pytest

from bertpass import _core, passes
from bertpass.engines.frameworks import mxnet_engine
from bertpass.errors import DeviceError, MissingDependencyError, PassError
from bertpass.model.export import graph_of
from bertpass.mx import mx
from bertpass.passes.library import LIBRARY, symbol_of
from tests.helpers import reference

SIZES = {"units": 64, "hidden_size": 48, "num_heads": 2}  # a head size that the CUDA engine has
BOUND = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-2}
LENGTHS = [9, 0, 4, 14, 1]  # with a row without tokens
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int64": 6}  # mshadow's
HEADER = 16  # floats before the weights


def weights_in_order(config, params):
    """The tensors in the order of csrc/passes/encoder_weights.cc, written down once more."""
    root, dense, norm = config.root, (".weight", ".bias"), (".gamma", ".beta")
    names = [f"{root}.word_embed.0.weight", f"{root}.encoder.position_weight"]
    names += [f"{root}.token_type_embed.0.weight"] if config.token_type_vocab_size else []
    names += [f"{root}.encoder.layer_norm{end}" for end in norm]
    for layer in range(config.num_layers):
        cell = f"{root}.encoder.transformer_cells.{layer}"
        for part, ends in (*((f".attention_cell.proj_{one}", dense) for one in ("query", "key", "value")),
                           (".proj", dense), (".layer_norm", norm), (".ffn.ffn_1", dense), (".ffn.ffn_2", dense),
                           (".ffn.layer_norm", norm)):
            names += [cell + part + end for end in ends]
    return np.concatenate([params[name].ravel() for name in names])


def rewritten(checkpoint, graph_dtype="float32", **options):
    """Of the operator that the pass puts in the attributes and weights; the nodes by name; the removed parameters."""
    symbol, params = graph_of(checkpoint, graph_dtype)
    after, added, removed, count = _core.Graph(symbol).apply({name[4:]: array for name, array in params.items()},
                                                             "native_encoder", {"device": "gpu", **options})
    assert count == len(added) == 1
    nodes = {node["name"]: node for node in json.loads(after.json())["nodes"]}
    encoder = next(node for node in nodes.values() if node["op"] == _core.ENCODER_OPERATOR)
    return encoder["attrs"], next(iter(added.values())), nodes, removed


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("host") / "host"
    build_cuda.run([*build_cuda.compiler(), "-std=c++17", "-Wall", "-Wextra",
                    str(Path(__file__).with_name("mxnet_host.cc")), "-o", str(out), "-ldl", "-pthread"])
    return out


class Host:
    """A script for the program, and its answers."""

    def __init__(self, program, twin, folder):
        self.program, self.folder, self.lines = program, folder, []
        self.environment = {**os.environ, "BERTPASS_CUDA": str(twin), "BERTPASS_CUBLASLT": str(twin)}

    def file(self, array):
        path = self.folder / f"{len(list(self.folder.iterdir()))}.bin"
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        return path

    def say(self, *words):
        self.lines.append(" ".join(map(str, words)))

    def input(self, number, array):
        self.say("input", number, FLAGS[array.dtype.name], self.file(array), array.ndim, *array.shape)

    def operator(self, attributes, inputs):
        for name, value in attributes.items():
            self.say("attribute", name, value)
        for number, array in enumerate(inputs):
            self.input(number, array)
        self.shape = (*inputs[0].shape, int(attributes["units"]))
        self.say("output", 3, *self.shape)

    def call(self, context="gpu", threads=1):
        out = self.file(np.array(0))
        self.say("call", context, threads, out)
        return out

    def run(self, library=LIBRARY):
        script = self.folder / "script"
        script.write_text("\n".join(self.lines))
        done = subprocess.run([self.program, library, script], env=self.environment, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def output(self, path):
        return np.fromfile(path, np.float32).reshape(self.shape)


@pytest.fixture
def host(program, twin, tmp_path):
    (tmp_path / "host").mkdir()
    return Host(program, twin, tmp_path / "host")


def batch_of(checkpoint, lengths=LENGTHS):
    return reference.batch(checkpoint.config, lengths, 14)


def inputs_of(checkpoint, weights, batch, types=("int32", "int32", "float32")):
    arrays = [array.astype(dtype) for array, dtype in zip(batch, types, strict=True)]
    if not checkpoint.config.token_type_vocab_size:
        del arrays[1]
    return [*arrays, weights]


def states_of(checkpoint, batch):
    """By NumPy; zeros for a row without tokens."""
    ids, types, lengths = batch
    states = reference.outputs(checkpoint, ids, types, np.maximum(lengths, 1))[0]
    states[lengths == 0] = 0
    return states


def error(found, wanted):
    assert found.shape == wanted.shape and np.isfinite(found).all()
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("graph_dtype", ["float32", "float16"])
def test_the_graph_and_the_weights(family, graph_dtype):
    checkpoint = reference.tiny(family, "classification", **SIZES)
    attributes, weights, nodes, removed = rewritten(checkpoint, graph_dtype)
    wanted = weights_in_order(checkpoint.config, checkpoint.params).astype(graph_dtype).astype(np.float32)
    assert weights.dtype == np.float32 and np.array_equal(weights[HEADER:], wanted)
    assert attributes["form"] == "unpacked" and attributes["dtype"] == graph_dtype
    assert attributes["packed"] == str(weights.size) and attributes["layers"] == "2" and attributes["heads"] == "2"
    encoder_names = {name for name in checkpoint.params if ".encoder." in name or "_embed." in name}
    assert set(removed) == encoder_names
    operators = [node["op"] for node in nodes.values() if node["op"] != "null"]
    assert operators.count(_core.ENCODER_OPERATOR) == 1 and not {"LayerNorm", "softmax", "Embedding"} & set(operators)
    behind = [node for node in nodes.values() if node["op"] == "Cast" and node["attrs"] == {"dtype": "float16"}]
    assert len([node for node in behind if "transpose" in node["name"]]) == (graph_dtype == "float16")


def test_heads_keep_their_names():
    for dtype in ("float32", "float16"):
        symbol, params = graph_of(reference.tiny(**SIZES), dtype)
        text, _, report = passes.optimize_graph(symbol, params, "native_encoder", device="gpu")
        _core.Graph(text).verify(before=_core.Graph(symbol))
        assert report.dtype == dtype and report.passes[0].rewrites == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_mxnet_takes_the_graph(dtype):
    """Types and shapes are inferred and the library gives the same as without MXNet; a CPU refuses to compute it."""
    symbol, params = graph_of(reference.tiny(head="qa", **SIZES), dtype)
    text, arrays, _ = passes.optimize_graph(symbol, params, "native_encoder", device="gpu")
    same, others, _ = passes.optimize_graph(symbol, params, "native_encoder", device="gpu", library=LIBRARY)
    assert text == same and arrays.keys() == others.keys()
    assert all(array.tobytes() == others[name].tobytes() for name, array in arrays.items())
    arrays = {name[4:]: mx.nd.array(array, dtype=array.dtype) for name, array in arrays.items()}
    inputs = {"data0": mx.nd.ones((2, 7), dtype="int32"), "data1": mx.nd.zeros((2, 7), dtype="int32"),
              "data2": mx.nd.array([7, 2])}
    graph = symbol_of(text)
    known = {**arrays, **inputs}
    assert graph.infer_shape(**{name: array.shape for name, array in known.items()})[1] == [(2, 7, 2)]
    assert graph.infer_type(**{name: array.dtype for name, array in known.items()})[1] == [np.dtype(dtype).type]
    outputs = graph.get_internals()
    encoder = outputs[next(name for name in outputs.list_outputs() if "_transpose1" in name and "_weights" not in name)]
    with pytest.raises(mx.base.MXNetError, match="weights for a GPU here and runs on a CPU"):
        mx.nd.CachedOp(encoder)(*(known[name] for name in encoder.list_inputs())).wait_to_read()


def test_the_engine_refuses_the_form_of_the_other_device(monkeypatch, twin, tmp_path):
    symbol, params = graph_of(reference.tiny(**SIZES))
    text, arrays, _ = passes.optimize_graph(symbol, params, "native_encoder", device="gpu")
    with pytest.raises(DeviceError, match="put in for GPUs"):
        mxnet_engine.MXNetEngine(text, arrays, ["data0", "data1", "data2"])
    with pytest.raises(DeviceError, match="put in for CPUs"):
        mxnet_engine.encoder_device([{}], 0)
    monkeypatch.setenv("BERTPASS_CUBLASLT", str(twin))
    monkeypatch.setenv("BERTPASS_CUDA", str(tmp_path / "none.so"))
    with pytest.raises(MissingDependencyError, match="make cuda"):
        mxnet_engine.encoder_device([{"form": "unpacked"}], 0)
    monkeypatch.setenv("BERTPASS_CUDA", str(twin))
    assert mxnet_engine.encoder_device([{"form": "unpacked"}], 0) == {"cuda_engine": str(twin)}


@pytest.mark.parametrize("sizes", [{"num_heads": 4}, {"hidden_size": 44}, {"units": 2112, "num_heads": 33}])
def test_what_the_engine_does_not_compute_is_left_alone(sizes):
    for dtype in ("float32", "float16"):  # that of the parameters, so nobody asked for it
        symbol, params = graph_of(reference.tiny(**{**SIZES, "num_layers": 1, **sizes}), dtype)
        text, _, report = passes.optimize_graph(symbol, params, "native_encoder", device="gpu")
        assert report.rewrites == 0 and text == _core.Graph(symbol).json()


def test_options_of_the_pass():
    checkpoint = reference.tiny(**SIZES)
    assert rewritten(checkpoint, dtype="bfloat16")[0]["dtype"] == "bfloat16"
    assert rewritten(checkpoint, "float16", dtype="float32")[0]["dtype"] == "float32"
    for options, words in (({"dtype": "int8"}, "give one of float32, float16, bfloat16"),
                           ({"device": "tpu"}, "Known: cpu, gpu")):
        with pytest.raises(PassError, match=words):
            rewritten(checkpoint, **options)


def test_auto_takes_it_where_the_engine_is_built(monkeypatch, tmp_path):
    library = tmp_path / "libbertpass_cuda.so"
    monkeypatch.setenv("BERTPASS_CUDA", str(library))
    assert [info.name for info in passes.select("auto", "gpu")] == ["remove_noops", "interleave_qkv", "bias_gelu"]
    library.write_bytes(b"")
    assert passes.select("auto", "gpu")[0].name == "native_encoder"


@pytest.mark.parametrize(("family", "graph_dtype", "dtype"), [
    ("bert", "float32", "float32"), ("bert", "float16", "float16"), ("bert", "float32", "bfloat16"),
    ("distilbert", "float32", "float32"), ("roberta", "float16", "float16")])
def test_the_forward(host, family, graph_dtype, dtype):
    checkpoint = reference.tiny(family, **SIZES)
    attributes, weights, *_ = rewritten(checkpoint, graph_dtype, dtype=dtype)
    batch = batch_of(checkpoint)
    host.operator(attributes, inputs_of(checkpoint, weights, batch))
    out = host.call()
    assert host.run() == ["same"]
    wanted = states_of(checkpoint, batch)
    assert error(host.output(out), wanted) <= BOUND[dtype]
    padding = np.arange(14) >= np.array(LENGTHS)[:, None]
    assert not host.output(out)[padding].any()


def test_inputs_of_other_types_and_batches(host):
    checkpoint = reference.tiny(**SIZES)
    attributes, weights, *_ = rewritten(checkpoint)
    wanted, outs = [], []
    for lengths, types in ((LENGTHS, ("float32",) * 3), ([2], ("int64", "float64", "float16")),
                           ([0, 0], ("int32",) * 3), ([14] * 9, ("float32", "int32", "int64"))):
        batch = batch_of(checkpoint, lengths)
        host.operator(attributes, inputs_of(checkpoint, weights, batch, types))
        outs.append((host.call(), (*batch[0].shape, 64)))
        wanted.append(states_of(checkpoint, batch))
    assert host.run() == ["same"] * 4
    for (path, shape), right in zip(outs, wanted, strict=True):
        found = np.fromfile(path, np.float32).reshape(shape)
        assert np.isfinite(found).all() and np.linalg.norm(found - right) <= 1e-5 * max(np.linalg.norm(right), 1)


def test_several_threads(host):
    checkpoint = reference.tiny(**SIZES)
    attributes, weights, *_ = rewritten(checkpoint)
    batch = batch_of(checkpoint)
    host.operator(attributes, inputs_of(checkpoint, weights, batch))
    out = host.call(threads=4)  # the first calls of all of them meet a model that is not loaded
    assert host.run() == ["same"]
    assert error(host.output(out), states_of(checkpoint, batch)) <= BOUND["float32"]


def test_weights_are_read_once_and_other_weights_are_seen(host):
    first, second = (reference.tiny(seed=seed, **SIZES) for seed in (3, 4))
    attributes, weights, *_ = rewritten(first)
    others = rewritten(second)[1]
    batch = batch_of(first)
    host.operator(attributes, inputs_of(first, weights, batch))
    outs = [host.call()]
    changed = weights.copy()
    changed[HEADER:] = np.nan  # under the old header: not looked at any more
    host.say("write", 3, host.file(changed))
    outs.append(host.call())
    host.say("write", 3, host.file(others))  # as set_data does
    outs.append(host.call())
    host.input(3, weights)  # as a parameter in new memory
    outs.append(host.call())
    assert host.run() == ["same"] * 4
    found = [host.output(out) for out in outs]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[3])
    assert error(found[2], states_of(second, batch)) <= BOUND["float32"]


def test_more_models_than_are_kept(host):
    checkpoints = [reference.tiny(seed=seed, num_layers=1, **SIZES) for seed in range(10)]
    batch = batch_of(checkpoints[0])
    outs = []
    for checkpoint in (*checkpoints, checkpoints[0]):
        attributes, weights, *_ = rewritten(checkpoint)
        host.operator(attributes, inputs_of(checkpoint, weights, batch))
        outs.append(host.call())
    assert host.run() == ["same"] * 11
    assert np.array_equal(host.output(outs[0]), host.output(outs[-1]))
    for checkpoint, out in zip(checkpoints, outs, strict=False):
        assert error(host.output(out), states_of(checkpoint, batch)) <= BOUND["float32"]


def damaged(weights, at, value):
    copy = weights.copy()
    copy.view(np.uint32)[at] = value
    return copy


#: what changes the inputs or the attributes, and what the error says
BAD = {
    "id": (lambda inputs, _: inputs[0].__setitem__((0, 1), 61), "input_ids must be from 0 to 60, not 61"),
    "type": (lambda inputs, _: inputs[1].__setitem__((0, 1), 2), "token_types must be from 0 to 1, not 2"),
    "length": (lambda inputs, _: inputs[2].__setitem__(0, 15), "valid_length must be from 0 to 14, not 15"),
    "number type": (lambda inputs, _: inputs.__setitem__(2, inputs[2].astype("uint8")), "cast them before"),
    "header": (lambda inputs, _: inputs.__setitem__(3, damaged(inputs[3], 0, 0)), "not in this version's form"),
    "weights": (lambda inputs, _: inputs.__setitem__(3, damaged(inputs[3], 99, 1)), "are damaged; deploy"),
    "layers": (lambda _, attributes: attributes.update(layers="1"), "of another model than the graph"),
    "sizes": (lambda _, attributes: attributes.update(heads="64"), "sizes that the CUDA engine does not"),
    "many layers": (lambda _, attributes: attributes.update(layers="99999999999"), "sizes that the CUDA engine"),
    "no layers": (lambda _, attributes: attributes.pop("layers"), "needs the attribute 'layers'"),
    "form": (lambda _, attributes: attributes.update(form="other"), "one of packed unpacked; deploy"),
    "dtype": (lambda _, attributes: attributes.update(dtype="float8"), "one of float32 float16 bfloat16; deploy"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_sentences(host, name):
    checkpoint = reference.tiny(**SIZES)
    attributes, weights, *_ = rewritten(checkpoint)
    inputs = inputs_of(checkpoint, weights, batch_of(checkpoint))
    BAD[name][0](inputs, attributes)
    host.operator(attributes, inputs)
    host.call()
    answer, = host.run()
    assert answer.startswith("error: ") and BAD[name][1] in answer and answer.endswith(".")


def test_the_form_of_the_other_device(host):
    checkpoint = reference.tiny(**SIZES)
    attributes, weights, *_ = rewritten(checkpoint)
    host.operator(attributes, inputs_of(checkpoint, weights, batch_of(checkpoint)))
    host.call("cpu")
    host.say("attribute", "form", "packed")
    host.call("gpu")
    on_cpu, on_gpu = host.run()
    assert "holds weights for a GPU here and runs on a CPU; deploy the model again without --gpu" in on_cpu
    assert "holds weights for a CPU here and runs on a GPU; deploy the model again with --gpu" in on_gpu


def test_without_the_engine(host, tmp_path):
    """The library loads all the same; a forward on a GPU says what to do, and works once the engine is there."""
    checkpoint = reference.tiny(**SIZES)
    attributes, weights, *_ = rewritten(checkpoint)
    host.operator(attributes, inputs_of(checkpoint, weights, batch_of(checkpoint)))
    host.call()
    twin = host.environment.pop("BERTPASS_CUDA")
    shutil.copy(LIBRARY, tmp_path / "bertpass_lib.so")
    assert "build it with: make cuda" in host.run(tmp_path / "bertpass_lib.so")[0]
    shutil.copy(twin, tmp_path / "libbertpass_cuda.so")  # where it is looked for: beside the library
    assert host.run(tmp_path / "bertpass_lib.so") == ["same"]
