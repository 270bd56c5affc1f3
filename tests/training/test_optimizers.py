"""Every --optimizer against PyTorch's on the same gradients, or against the paper's formula in float64."""

import numpy as np
import pytest

from bertpass.jobs.training.loop_options import OPTIMIZERS
from bertpass.jobs.training.mxnet.optimizer import BY_NAME
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.mx import mx

RATES = (1e-2, 2e-2, 5e-3, 1e-2)
SHAPES = ((7, 5), (33,), (30, 25))
NO_DECAY = 1  # this tensor has none
EPSILON = 1e-6


def gradients():
    source = np.random.default_rng(1)
    return [[source.standard_normal(shape) * 0.1 for shape in SHAPES] for _ in RATES]


def start():
    source = np.random.default_rng(0)
    return [source.standard_normal(shape) for shape in SHAPES]


def ours(name, decay):
    """Weights after all steps by the optimiser as jobs/training/trainer.py makes it."""
    settings = {"learning_rate": 0.1, "wd": decay, **({} if name == "sgd" else {"epsilon": EPSILON})}
    parameters = [mx.gluon.Parameter(f"p{i}", shape=shape) for i, shape in enumerate(SHAPES)]
    for parameter, values in zip(parameters, start(), strict=True):
        parameter.initialize()
        parameter.set_data(mx.nd.array(values))
    parameters[NO_DECAY].wd_mult = 0.0
    trainer = mx.gluon.Trainer(parameters, BY_NAME.get(name, name), settings, kvstore=None)
    for rate, step in zip(RATES, gradients(), strict=True):
        with mx.autograd.record():
            products = [(parameter.data() * mx.nd.array(values)).sum()
                        for parameter, values in zip(parameters, step, strict=True)]
        mx.autograd.backward(products)
        trainer.set_learning_rate(rate)
        trainer.update(1)
    return [parameter.data().asnumpy() for parameter in parameters]


def by_torch(name, decay):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'bertpass[torch]'")
    tensors = [torch.nn.Parameter(torch.tensor(values)) for values in start()]
    groups = [{"params": [t], "weight_decay": 0.0 if i == NO_DECAY else decay} for i, t in enumerate(tensors)]
    made = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    optimizer = made(groups, lr=0.1, **({} if name == "sgd" else {"eps": EPSILON}))
    for t, (rate, step) in enumerate(zip(RATES, gradients(), strict=True), 1):
        for group in optimizer.param_groups:
            group["lr"] = rate
            if name == "adam":  # MXNet's is the paper's "epsilon hat", before the correction of the squares
                group["eps"] = EPSILON / np.sqrt(1 - 0.999 ** t)
        for tensor, values in zip(tensors, step, strict=True):
            tensor.grad = torch.tensor(values)
        optimizer.step()
    return [tensor.detach().numpy() for tensor in tensors]


def by_paper(name, decay):
    """bertadam: Devlin et al. 2018, without bias correction. lamb: You et al. 2020, algorithm 2, with the norms'
    function left out, as in MXNet 1.9 and upstream."""
    weights = start()
    means, squares = ([np.zeros(shape) for shape in SHAPES] for _ in range(2))
    for t, (rate, step) in enumerate(zip(RATES, gradients(), strict=True), 1):
        for i, gradient in enumerate(step):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient ** 2
            corrections = (1 - 0.9 ** t, 1 - 0.999 ** t) if name == "lamb" else (1, 1)
            update = means[i] / corrections[0] / (np.sqrt(squares[i] / corrections[1]) + EPSILON)
            update += (0 if i == NO_DECAY else decay) * weights[i]
            trust = np.linalg.norm(weights[i]) / np.linalg.norm(update) if name == "lamb" else 1
            weights[i] = weights[i] - rate * trust * update
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.1])  # adam's is a term of the gradient, in PyTorch as in MXNet
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update(name, decay):
    wanted = (by_paper if name in ("bertadam", "lamb") else by_torch)(name, decay)
    for found, right, first in zip(ours(name, decay), wanted, start(), strict=True):
        moved = np.abs(right - first).max()
        assert moved > 1e-3
        assert np.abs(found - right).max() <= 1e-4 * moved


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.01), ("bertadam", 0.01), ("lamb", 0.01)])
def test_default_decay(name, decay):
    assert FinetuneOptions(optimizer=name).decay == decay
    assert FinetuneOptions(optimizer=name, weight_decay=0.2).decay == 0.2
