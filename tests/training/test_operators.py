"""The operators of fine-tuning against PyTorch's autograd, their dropout, and every instruction set against the others.

Largest differences measured, relative to the largest element: 1e-6 forward, 3e-6 gradients (head sizes 6 to 64, rows of
1 to 70 tokens).
"""

import contextlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from bertpass import _native
from bertpass.mx import mx
from tests.helpers import ROOT
from tests.helpers.training_operators import SEED, attention, load, sum_norm

torch = pytest.importorskip("torch", reason="pip install '.[reference]' to compare with PyTorch")


@pytest.fixture(scope="module", autouse=True)
def operators():
    """MXNet knows the operators."""
    load()


def near(found, wanted, most=1e-5):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= most * np.abs(wanted).max()


def torch_attention(qkv, offsets, gradient, heads, factors=None):
    """The same by PyTorch; factors: what dropout multiplies the weights by, for (sequence, head)."""
    x = torch.tensor(qkv, requires_grad=True)
    units = qkv.shape[1] // 3
    out = torch.zeros(len(qkv), units)
    for s, (first, last) in enumerate(itertools.pairwise(offsets)):
        q, k, v = (part.reshape(last - first, heads, units // heads).transpose(0, 1)
                   for part in x[first:last].split(units, dim=1))
        weights = torch.softmax(q @ k.transpose(1, 2) / np.sqrt(q.shape[-1]), -1)
        if factors is not None:
            weights = weights * torch.stack([torch.tensor(factors[s, h]) for h in range(heads)])
        out = torch.cat([out[:first], (weights @ v).transpose(0, 1).reshape(last - first, units), out[last:]])
    out.backward(torch.tensor(gradient))
    return out.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("heads, size, lengths", [(3, 12, [5, 1, 0, 33]), (2, 32, [64, 70, 17]), (4, 6, [13, 2]),
                                                  (1, 64, [48]), (2, 40, [1])])
def test_attention_and_its_gradient(heads, size, lengths):
    source, offsets = np.random.default_rng(size), np.concatenate([[0], np.cumsum(lengths)])
    rows = offsets[-1] + 5  # some belong to no sequence
    qkv = source.standard_normal((rows, 3 * heads * size), np.float32)
    gradient = source.standard_normal((rows, heads * size), np.float32)
    out, qkv_gradient = attention(qkv, offsets, gradient, heads)
    wanted, wanted_gradient = torch_attention(qkv, offsets, gradient, heads)
    near(out, wanted)
    near(qkv_gradient, wanted_gradient)
    assert not out[offsets[-1]:].any() and not qkv_gradient[offsets[-1]:].any()


def test_attention_with_dropout():
    """Values that are unit vectors show the weights after dropout; with these the gradients are PyTorch's."""
    heads, size, lengths, rate = 2, 64, [60, 37], 0.3
    source, offsets = np.random.default_rng(0), np.concatenate([[0], np.cumsum(lengths)])
    units = heads * size
    qkv = source.standard_normal((offsets[-1], 3 * units), np.float32)
    gradient = source.standard_normal((offsets[-1], units), np.float32)
    shown = qkv.copy()
    for first, last in itertools.pairwise(offsets):
        shown[first:last, 2 * units:] = np.tile(np.eye(last - first, size, dtype=np.float32), heads)
    plain, dropped = (attention(shown, offsets, gradient, heads, dropout)[0] for dropout in (0.0, rate))
    factors = {}
    for s, (first, last) in enumerate(itertools.pairwise(offsets)):
        for h in range(heads):
            block = slice(first, last), slice(h * size, h * size + last - first)
            factors[s, h] = np.where(dropped[block] > 0, 1 / (1 - rate), 0).astype(np.float32)
            near(dropped[block], plain[block] * factors[s, h])
    kept = np.concatenate([f.ravel() for f in factors.values()]) > 0
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    assert not np.array_equal(factors[0, 0], factors[0, 1])
    out, qkv_gradient = attention(qkv, offsets, gradient, heads, rate)
    wanted, wanted_gradient = torch_attention(qkv, offsets, gradient, heads, factors)
    near(out, wanted)
    near(qkv_gradient, wanted_gradient)


@pytest.mark.parametrize("rows, units, rate", [(1, 36, 0.0), (70, 36, 0.0), (70, 36, 0.4), (97, 64, 0.1), (5, 7, 0.5)])
def test_sum_norm_and_its_gradient(rows, units, rate):
    """The gradient of x is zero where it was dropped; with these zeros everything is PyTorch's."""
    source = np.random.default_rng(units)
    arrays = [source.standard_normal(shape, np.float32) for shape in ((rows, units), (rows, units), units, units)]
    gradient = source.standard_normal((rows, units), np.float32)
    out, gradients = sum_norm(arrays, gradient, dropout=rate)
    factors = np.where(gradients[0] != 0, 1 / (1 - rate), 0).astype(np.float32)
    assert abs((factors > 0).mean() - (1 - rate)) <= 4 * np.sqrt(rate * (1 - rate) / factors.size)
    x, residual, gamma, beta = tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    wanted = torch.nn.functional.layer_norm(x * torch.tensor(factors) + residual, (units,), gamma, beta, 1e-5)
    wanted.backward(torch.tensor(gradient))
    near(out, wanted.detach().numpy())
    for found, tensor in zip(gradients, tensors, strict=True):
        near(found, tensor.grad.numpy())


def test_seed_and_place_decide_what_is_dropped():
    ones = [np.ones((40, 50), np.float32)] * 2 + [np.ones(50, np.float32)] * 2
    gradient = np.random.default_rng(0).standard_normal((40, 50), np.float32)

    def kept(**how):
        return sum_norm(ones, gradient, dropout=0.5, **how)[1][0] != 0

    first = kept()
    assert np.array_equal(first, kept())
    for other in (kept(place=2), kept(seed=SEED + np.int32(1))):
        assert 0.4 < (first == other).mean() < 0.6


CHILD = """
import sys
import numpy as np
from tests.helpers import training_operators as here
here.load()
source = np.random.default_rng(3)
offsets = np.array([0, 40, 75, 76])
qkv, gradient = (source.standard_normal((80, n), np.float32) for n in (3 * 72, 72))
arrays = [source.standard_normal(s, np.float32) for s in ((80, 72), (80, 72), 72, 72)]
out, gradients = here.sum_norm(arrays, gradient, dropout=0.2)
np.savez(sys.argv[1], *here.attention(qkv, offsets, gradient, 3, 0.2), out, *gradients)
"""


@pytest.mark.slow
def test_instruction_sets_agree(tmp_path):
    """Also on what is dropped."""
    found = {}
    for isa in (name for name in _native.instruction_sets() if "amx" not in name):
        subprocess.run([sys.executable, "-c", CHILD, tmp_path / isa],
                       env={**os.environ, "BERTPASS_ISA": isa, "OMP_NUM_THREADS": "2"},
                       cwd=ROOT, check=True, timeout=120)
        with np.load(tmp_path / f"{isa}.npz") as arrays:
            found[isa] = dict(arrays)
    for arrays in found.values():
        for key, wanted in found["portable"].items():
            near(arrays[key], wanted)


@pytest.mark.parametrize("change, words", [
    ({"heads": 5}, "3 x units"), ({"dropout": 1.0}, "'dropout'"), ({"offsets": [0, 9, 4]}, "rise"),
    ({"offsets": [0, 4, 99]}, "at most the number of rows")])
def test_misuse_is_a_sentence(change, words):
    how = {"offsets": [0, 4, 9], "heads": 3, "dropout": 0.0, **change}
    ones = np.ones((9, 36), np.float32)
    with pytest.raises(mx.base.MXNetError, match=words):
        attention(ones, how["offsets"], ones[:, :12], how["heads"], how["dropout"])
    with contextlib.suppress(mx.base.MXNetError):
        mx.nd.waitall()  # MXNet says an error again at its next wait, which would be another test's
