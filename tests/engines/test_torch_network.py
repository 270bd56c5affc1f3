"""The torch engine's network in its form for training: gradients as transformers', dropout where it has to be."""

import dataclasses

import numpy as np
import pytest

from bertpass.model.layouts import huggingface
from tests.helpers.tiny_models import TINY, ragged_batch, torch_model

SUFFIXES = {"ForSequenceClassification": "logits", "ForTokenClassification": "logits",
            "ForQuestionAnswering": "start_logits"}


def opened(family, folder, suffix="ForSequenceClassification", **fields):
    """A model of transformers, and a function that makes our network of the same weights."""
    torch = pytest.importorskip("torch", reason="pip install '.[torch]'")
    from bertpass.engines.frameworks.torch_engine import network

    model = torch_model(family, suffix, **fields)
    model.save_pretrained(folder)
    checkpoint = huggingface.read_folder(folder)
    return model, checkpoint, lambda **changes: network(
        torch, dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, **changes)),
        torch.float32, trainable=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("family", TINY)
def test_gradients_are_those_of_transformers(family, suffix, tmp_path):
    import torch

    rates = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "qa_dropout": 0.0} \
        if family == "distilbert" else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    rates |= {"classifier_dropout_prob": 0.0} if family == "albert" else {}
    theirs, checkpoint, make = opened(family, tmp_path / "model", suffix, **rates)
    ours = make(dropout=0.0)
    ids, types, lengths = ragged_batch(family)
    inputs = {"input_ids": torch.tensor(ids).long(),
              "attention_mask": torch.tensor(np.arange(ids.shape[1]) < lengths[:, None]).long()}
    if checkpoint.config.takes_token_types:
        inputs["token_type_ids"] = torch.tensor(types).long()
    out = theirs.train()(**inputs)[SUFFIXES[suffix]]
    inside = inputs["attention_mask"].bool() if out.ndim > 1 and out.shape[1] == ids.shape[1] else slice(None)
    factors = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out * factors)[inside].sum().backward()
    got = ours.train()(torch.tensor(ids).long(), torch.tensor(types).long(), torch.tensor(lengths).long(), True)[0]
    got = got[..., 0] if suffix == "ForQuestionAnswering" else got
    (got * factors)[inside].sum().backward()
    named = {name.removeprefix(f"{checkpoint.config.about.prefix}."): p for name, p in theirs.named_parameters()}
    cut = checkpoint.config.about.padding_rows
    compared = set()
    for name in checkpoint.network()[1]:
        mine = ours.of(name).grad.numpy()
        whole, _, part = huggingface.tensor_name(checkpoint.config, name).partition("[")
        wanted = named[whole].grad.numpy()
        wanted = np.split(wanted, len(wanted) // len(mine))[int(part[0])] if part else wanted
        wanted = wanted[cut:] if name.endswith("position_weight") else wanted
        assert np.abs(mine - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max()), name
        compared.add(id(ours.of(name)))
    assert compared == set(map(id, ours.parameters()))


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_dropout_in_training_alone(family, tmp_path):
    import torch

    _, _, make = opened(family, tmp_path / "model")
    ids, types, lengths = (torch.tensor(a).long() for a in ragged_batch(family))
    with torch.no_grad():
        plain, kept = (make(dropout=rate)(ids, types, lengths, True)[0] for rate in (0.0, 0.5))
        assert torch.equal(plain, kept)
        net = make(dropout=0.5).train()
        draws = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            draws.append(net(ids, types, lengths, True)[0])
        assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
        assert torch.equal(make(dropout=0.0).train()(ids, types, lengths, True)[0], plain)
