"""The networks: every head, exported and read back by MXNet alone, types of inputs, faulty parameters."""

import dataclasses

import numpy as np
import pytest

from bertpass.errors import ModelError
from bertpass.model import nets, parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files import params_file
from bertpass.mx import mx
from tests.helpers.tiny_models import ON_MXNET, ragged_batch, run, same_arrays, token_types

CASES = [(family, kind) for family in ON_MXNET for kind in ("none", "classification", "regression", "qa", "embedding")]
CASES += [("bert", "pooled"), ("bert", "ranking"), *((family, "tokens") for family in ON_MXNET)]


def tiny_net(family, kind, seed=1, **fields):
    config = EncoderConfig(family=family, num_layers=2, units=24, hidden_size=40, num_heads=4, max_length=24,
                           vocab_size=60, token_type_vocab_size=token_types(family),
                           use_pooler=family == "bert", **fields)
    net = nets.build(config, HeadConfig(kind, num_labels=3 if kind in ("classification", "tokens") else 0,
                                     normalize=True))
    nets.initialize(net, seed, random_bias=True, scale=0.3)
    return net


@pytest.mark.parametrize("family, kind", CASES)
def test_export_gives_the_same_outputs_in_plain_mxnet(tmp_path, family, kind):
    net = tiny_net(family, kind)
    batch = ragged_batch(family)
    expected = run(net, net.config, *batch)
    rows, length = batch[0].shape
    assert [o.shape for o in expected] == {
        "none": [(rows, length, 24)], "pooled": [(rows, length, 24), (rows, 24)], "classification": [(rows, 3)],
        "regression": [(rows, 1)], "ranking": [(rows, 1)], "qa": [(rows, length, 2)], "tokens": [(rows, length, 3)],
         "embedding": [(rows, 24)]}[kind]
    net.hybridize()
    for left, right in zip(run(net, net.config, *batch), expected, strict=True):
        assert np.array_equal(left, right)
    symbol, params = nets.export(net, tmp_path / "model")
    assert (symbol.name, params.name) == ("model-symbol.json", "model-0000.params")
    stored = {name.removeprefix("arg:"): array for name, array in params_file.read(params).items()}
    same_arrays(stored, nets.get_parameters(net))
    assert {name: array.shape for name, array in stored.items()} == parameters.shapes(net.config, net.head)
    graph = mx.sym.load(str(symbol))
    assert set(graph.list_arguments()) == {*net.config.input_names, *stored} and not graph.list_auxiliary_states()
    block = mx.gluon.SymbolBlock.imports(str(symbol), list(net.config.input_names), str(params))
    for left, right in zip(run(block, net.config, *batch), expected, strict=True):
        assert np.array_equal(left, right)


def test_graphs_are_the_same_in_any_order_of_building():
    first = nets.symbol(tiny_net("bert", "qa"))
    assert nets.symbol(tiny_net("bert", "qa", seed=5)) == first


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_any_number_type_of_inputs_gives_the_same(dtype):
    net = tiny_net("bert", "classification")
    ids, types, lengths = ragged_batch("bert")
    expected = run(net, net.config, ids, types, lengths)[0]
    assert np.array_equal(run(net, net.config, ids, types, lengths.astype(dtype))[0], expected)
    if dtype != "int64":
        assert np.array_equal(run(net, net.config, ids.astype(dtype), types.astype(dtype), lengths)[0], expected)


def test_padding_changes_nothing():
    """A text alone and the same text padded beside a longer one."""
    for family in ON_MXNET:
        net = tiny_net(family, "embedding")
        ids, types, lengths = ragged_batch(family)
        together = run(net, net.config, ids, types, lengths)[0]
        for row, length in enumerate(lengths):
            alone = run(net, net.config, ids[row:row + 1, :length], types[row:row + 1, :length], lengths[row:row + 1])
            assert np.abs(alone[0][0] - together[row]).max() < 1e-6


def test_dropout_is_in_the_graph_only_when_asked_for():
    for kind, before_the_head in (("classification", 1), ("tokens", 1), ("qa", 0)):
        graph = nets.symbol(tiny_net("bert", kind, dropout=0.1))
        assert graph.count('"op": "Dropout"') - nets.symbol(tiny_net("bert", "none", dropout=0.1)).count(
            '"op": "Dropout"') == before_the_head
    assert '"op": "Dropout"' not in nets.symbol(tiny_net("bert", "classification", dropout=0.0))


def test_dropout_works_in_training_only():
    net = tiny_net("roberta", "classification", dropout=0.5)
    batch = ragged_batch("roberta")
    expected = run(net, net.config, *batch)[0]
    with mx.autograd.train_mode():
        assert not np.array_equal(run(net, net.config, *batch)[0], expected)
    assert np.array_equal(run(net, net.config, *batch)[0], expected)


@pytest.mark.parametrize("family", ON_MXNET)
def test_every_parameter_gets_a_gradient(family):
    net = tiny_net(family, "classification")
    ids, types, lengths = (mx.nd.array(array) for array in ragged_batch(family))
    with mx.autograd.record():
        loss = (net(ids, types, lengths) if net.config.takes_token_types else net(ids, lengths)).square().sum()
    loss.backward()
    for name, parameter in net.collect_params().items():
        if not name.endswith("key_bias"):  # a constant added to every score of a row changes no softmax
            assert parameter.grad().asnumpy().any(), name


def test_mean_of_large_half_precision_states_does_not_overflow():
    """The sum of 512 states of 1000 is beyond float16, and so is the squared length."""
    net = tiny_net("bert", "embedding")
    states = mx.nd.full((2, 512, 24), 1000, dtype="float16")
    lengths = mx.nd.array([512, 512], dtype="float16")
    vectors = net.vectors(mx.nd, states, lengths).asnumpy()
    assert vectors.dtype == np.float32 and np.abs(vectors - 24 ** -0.5).max() < 1e-6


def test_casting_a_network_exports_half_precision(tmp_path):
    net = tiny_net("bert", "classification")
    before = nets.get_parameters(net)
    net.cast("float16")
    _, params = nets.export(net, tmp_path / "half")
    for name, array in params_file.read(params).items():
        assert np.array_equal(array, before[name.removeprefix("arg:")].astype("float16"))
    assert '"dtype": "float16"' in (tmp_path / "half-symbol.json").read_text()


def test_initialization_is_berts_and_follows_the_seed():
    net = tiny_net("bert", "classification")
    nets.initialize(net, seed=7)
    first = nets.get_parameters(net)
    nets.initialize(net, seed=7)
    same_arrays(nets.get_parameters(net), first)
    nets.initialize(net, seed=8)
    assert not np.array_equal(nets.get_parameters(net)["bert.pooler.weight"], first["bert.pooler.weight"])
    assert not first["classifier.1.bias"].any() and (first["bert.encoder.layer_norm.gamma"] == 1).all()
    assert 0.018 < first["bert.word_embed.0.weight"].std() < 0.022


def test_training_goes_on_after_setting_parameters():
    net = tiny_net("bert", "classification")
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    nets.initialize(net, seed=2, random_bias=True)
    before = nets.get_parameters(net)
    with mx.autograd.record():
        loss = net(*[mx.nd.array(array) for array in ragged_batch("bert")]).square().sum()
    loss.backward()
    trainer.step(4)
    assert not np.array_equal(nets.get_parameters(net)["classifier.1.bias"], before["classifier.1.bias"])


FAULTS = {
    "missing": (lambda a: a.pop("classifier.1.bias"), "'classifier.1.bias' is missing; the network has 41"),
    "many missing": (lambda a: [a.pop(n) for n in list(a)[:5]], "and 2 more are missing"),
    "extra": (lambda a: a.update(span=np.ones(2)), "'span' is not part of this network"),
    "misshapen": (lambda a: a.update({"classifier.1.bias": np.ones(2)}), r"shape \(2,\) and the network has \(3,\)"),
    "not numbers": (lambda a: a.update({"classifier.1.bias": np.ones(3, "int32")}), "int32 values"),
}


@pytest.mark.parametrize("change, words", FAULTS.values(), ids=FAULTS)
def test_faulty_parameters_set_nothing(change, words):
    net = tiny_net("bert", "classification")
    before = nets.get_parameters(net)
    arrays = {name: array * 2 for name, array in before.items()}
    change(arrays)
    with pytest.raises(ModelError, match=words):
        nets.set_parameters(net, arrays)
    same_arrays(nets.get_parameters(net), before)


def test_misuse_is_a_sentence(tmp_path):
    config = tiny_net("bert", "none").config
    with pytest.raises(ModelError, match="needs a pooler and this encoder has none"):
        nets.build(config, HeadConfig("pooled"))
    net = nets.build(dataclasses.replace(config, use_pooler=True), HeadConfig("qa"))
    with pytest.raises(ModelError, match="takes 3 inputs"):
        net(mx.nd.ones((1, 2)), mx.nd.ones((1,)))
    with pytest.raises(ModelError, match="no value for 'bert"):
        nets.get_parameters(net)
    nets.initialize(net, 0)
    (tmp_path / "no").touch()
    with pytest.raises(ModelError, match="cannot write"):
        nets.export(net, tmp_path / "no" / "folder")
