"""The ONNX graph against a float64 computation in NumPy, in ONNX Runtime without any optimisation.

Largest relative L2 errors measured on valid positions: 7e-7 for token states, 3e-6 for a single regression output.
"""

import builtins

import numpy as np
import pytest

from bertpass.errors import MissingDependencyError, ModelError
from bertpass.model.onnx import graph as written
from tests.helpers import reference

onnx = pytest.importorskip("onnx", reason="pip install '.[onnxruntime]' to test the ONNX graph")
runtime = pytest.importorskip("onnxruntime", reason="pip install '.[onnxruntime]' to test the ONNX graph")

CASES = [(family, head) for family in ("bert", "distilbert", "roberta") for head in reference.HEADS
         if family == "bert" or head != "pooled"]
CASES += [("xlm-roberta", "classification"), ("camembert", "tokens")]


def run(content, ids, types, lengths):
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {"input_ids": ids, "token_types": types, "valid_length": lengths}
    return session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})


def same(found, expected):
    assert [a.shape for a in found] == [a.shape for a in expected]
    for got, wanted in zip(found, expected, strict=True):
        assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("family", "head"), CASES)
def test_parity(family, head, fused):
    checkpoint = reference.tiny(family, head)
    batch = reference.batch(checkpoint.config, [9, 1, 4, 12])
    same(run(written.to_onnx(checkpoint, fused).SerializeToString(), *batch), reference.outputs(checkpoint, *batch))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_activations(activation, fused):
    checkpoint = reference.tiny("bert", "none", activation=activation)
    batch = reference.batch(checkpoint.config, [7, 3])
    same(run(written.to_onnx(checkpoint, fused).SerializeToString(), *batch), reference.outputs(checkpoint, *batch))


@pytest.mark.parametrize("fused", [False, True])
def test_bert_without_token_types(fused):
    checkpoint = reference.tiny("bert", "none", token_type_vocab_size=0)
    batch = reference.batch(checkpoint.config, [7, 3])
    same(run(written.to_onnx(checkpoint, fused).SerializeToString(), *batch), reference.outputs(checkpoint, *batch))


@pytest.mark.parametrize(("lengths", "padded"), [([1], 1), ([40], 40), ([1, 2, 3], 17)])
@pytest.mark.parametrize("fused", [False, True])
def test_any_batch_and_length(lengths, padded, fused, tmp_path):
    checkpoint = reference.tiny("bert", "pooled")
    path = written.write(tmp_path / "model.onnx", written.to_onnx(checkpoint, fused))
    batch = reference.batch(checkpoint.config, lengths, padded)
    same(run(path.read_bytes(), *batch), reference.outputs(checkpoint, *batch))


def test_what_the_file_says():
    model = written.to_onnx(reference.tiny("bert", "pooled"))
    assert [(o.domain, o.version) for o in model.opset_import] == [("", written.OPSET)]
    assert [i.name for i in model.graph.input] == ["input_ids", "token_types", "valid_length"]
    assert [o.name for o in model.graph.output] == ["token_states", "pooled"]
    assert [i.name for i in written.to_onnx(reference.tiny("distilbert", "qa")).graph.input] == ["input_ids",
                                                                                                "valid_length"]
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_mxnet_gives_the_same():
    from bertpass.engines.frameworks import mxnet_engine

    checkpoint = reference.tiny("roberta", "classification")
    batch = reference.batch(checkpoint.config, [9, 1, 4])
    same(run(written.to_onnx(checkpoint).SerializeToString(), *batch),
         mxnet_engine.from_checkpoint(checkpoint, passes="none").forward(*batch))


def test_errors(monkeypatch, tmp_path):
    checkpoint = reference.tiny("bert", "none")
    with pytest.raises(ModelError, match="cannot write"):
        written.write(tmp_path / "no" / "folder.onnx", written.to_onnx(checkpoint))
    monkeypatch.setattr(written, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="2 GiB"):
        written.to_onnx(checkpoint)
    del checkpoint.params["bert.encoder.layer_norm.gamma"]
    with pytest.raises(ModelError, match=r"layer_norm\.gamma"):
        written.to_onnx(checkpoint)
    real = builtins.__import__
    monkeypatch.setattr("importlib.import_module", lambda name: real("not_" + name))
    with pytest.raises(MissingDependencyError, match=r"\.\[onnx\]"):
        written.to_onnx(checkpoint)
