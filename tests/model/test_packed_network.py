"""The training form of every family and head: losses and gradients are transformers', weights random and no bias zero.

Largest differences measured: 2e-6 of the loss, 1e-5 of a parameter's largest gradient.
"""

import numpy as np
import pytest

from bertpass.model import nets
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import TOKEN_KINDS, HeadConfig
from bertpass.mx import mx
from bertpass.text.tokens.batching import Batch
from tests.helpers.tiny_models import ON_MXNET, ragged_batch, torch_model

SEED = np.array([1, 2], np.int32)


def load(folder, kind):
    return load_checkpoint(folder, job="regression" if kind == "regression" else "classification")


def made(model, folder, kind):
    """Our network with the weights of a transformers model, and its training form."""
    from bertpass.jobs.training.mxnet.packed_network import PackedNetwork

    model.save_pretrained(folder)
    found = load(folder, kind)
    net = nets.build(found.config, found.head)
    nets.set_parameters(net, found.params)
    return net, PackedNetwork(net)


def batch_of(family, kind):
    ids, types, lengths = ragged_batch(family, rows=5, length=17)
    if family != "bert":
        types[:] = 0
    labels = {"qa": np.stack([lengths // 3, lengths - 1], 1).astype(np.int32), "classification": np.arange(5) % 3,
              "regression": np.linspace(-1, 2, 5).astype(np.float32)}[kind]
    return Batch(ids, types, lengths, labels, np.arange(5))


def torch_loss(model, family, batch, kind):
    import torch

    mask = torch.tensor(np.arange(batch.input_ids.shape[1]) < batch.valid_length[:, None])
    inputs = {"input_ids": torch.tensor(batch.input_ids).long(), "attention_mask": mask.long()}
    if family == "bert":
        inputs["token_type_ids"] = torch.tensor(batch.token_types).long()
    out, labels = model(**inputs), torch.tensor(batch.labels)
    if kind == "regression":
        return 0.5 * (out.logits.reshape(-1) - labels).square().sum()
    entropy = torch.nn.CrossEntropyLoss(reduction="sum")
    if kind == "classification":
        return entropy(out.logits, labels.long())
    spans = [logits.masked_fill(~mask, -1e9) for logits in (out.start_logits, out.end_logits)]
    return 0.5 * sum(entropy(logits, labels[:, i].long()) for i, logits in enumerate(spans))


def our_loss(packed_net, batch, kind):
    from bertpass.jobs.training.mxnet.losses import LOSSES
    from bertpass.jobs.training.mxnet.packed_network import packed

    with mx.autograd.record():
        loss = LOSSES[kind](packed_net(*packed(batch, kind in TOKEN_KINDS, mx.cpu(), SEED)), batch).sum()
    loss.backward()
    return loss.asscalar()


@pytest.mark.parametrize("kind", ["classification", "regression", "qa"])
@pytest.mark.parametrize("family", ON_MXNET)
def test_losses_and_gradients_are_transformers(tmp_path, family, kind):
    import torch

    suffix = "ForQuestionAnswering" if kind == "qa" else "ForSequenceClassification"
    off = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0} if family == "distilbert" else \
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    labels = {"classification": {"num_labels": 3}, "regression": {"num_labels": 1}, "qa": {}}[kind]
    model = torch_model(family, suffix, **off, **labels)
    net, packed_net = made(model, tmp_path / "model", kind)
    batch = batch_of(family, kind)
    loss = torch_loss(model, family, batch, kind)
    loss.backward()
    ours = our_loss(packed_net, batch, kind)
    assert abs(ours - loss.item()) <= 1e-5 * abs(loss.item())
    with torch.no_grad():  # gradients in the place of weights go the way of weights into our names
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(tmp_path / "gradients")
    wanted = load(tmp_path / "gradients", kind).params
    largest = max(np.abs(value).max() for value in wanted.values())
    for name, parameter in net._collect_params_with_prefix().items():
        found = parameter.grad().asnumpy()
        bound = 1e-4 * np.abs(wanted[name]).max() + 5e-6 * largest  # some gradients are nothing but rounding
        assert np.abs(found - wanted[name]).max() <= bound, name


def test_gradients_add_up(tiny):
    """With grad_req "add", where MXNet hands operators arrays to add to."""
    from bertpass.jobs.training.mxnet.packed_network import PackedNetwork

    start = tiny("bert", "classification", dropout=0.0)
    net = nets.build(start.config, start.head)
    nets.set_parameters(net, start.params)
    packed_net, batch = PackedNetwork(net), batch_of("bert", "classification")
    our_loss(packed_net, batch, "classification")
    once = {name: p.grad().asnumpy() for name, p in net._collect_params_with_prefix().items()}
    for parameter in net.collect_params().values():
        parameter.grad_req = "add"
    packed_net = PackedNetwork(net)
    for _ in range(2):
        our_loss(packed_net, batch, "classification")
    for name, parameter in net._collect_params_with_prefix().items():
        assert np.abs(parameter.grad().asnumpy() - 2 * once[name]).max() <= 1e-5 * np.abs(once[name]).max() + 1e-7, name


def test_the_seed_decides_what_is_dropped(tiny):
    from bertpass.jobs.training.mxnet.packed_network import PackedNetwork, packed

    start = tiny("bert", "classification", dropout=0.3)
    net = nets.build(start.config, start.head)
    nets.set_parameters(net, start.params)
    packed_net, batch = PackedNetwork(net), batch_of("bert", "classification")

    def outputs(seed):
        mx.random.seed(3)  # of the dropout that is MXNet's own
        with mx.autograd.record():
            return packed_net(*packed(batch, False, mx.cpu(), seed)).asnumpy()

    assert np.array_equal(outputs(SEED), outputs(SEED))
    assert not np.array_equal(outputs(SEED), outputs(SEED + np.int32(1)))


def test_only_heads_with_a_loss(tiny):
    from bertpass.errors import ModelError
    from bertpass.jobs.training.mxnet.packed_network import PackedNetwork

    with pytest.raises(ModelError, match="is not trained"):
        PackedNetwork(nets.build(tiny("bert", "none").config, HeadConfig("embedding")))
