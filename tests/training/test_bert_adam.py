"""``bertadam`` on CPUs against GluonNLP's own operators, and the kernel on every instruction set."""

import numpy as np
import pytest

from bertpass import _native
from bertpass.jobs.training.mxnet.optimizer import NativeBertAdam, norm, view
from bertpass.mx import mx, nlp

RATES = (1e-2, 2e-2, 5e-3)


def steps(optimizer, shapes=((7, 5), (33,), (1,), (300, 257))):
    """Weights and both averages after three steps; the last tensor has no decay."""
    source = np.random.default_rng(0)
    updater = mx.optimizer.get_updater(optimizer)
    optimizer.set_wd_mult({len(shapes) - 1: 0.0})
    weights = [mx.nd.array(source.standard_normal(shape, np.float32)) for shape in shapes]
    for rate in RATES:
        gradients = [mx.nd.array(source.standard_normal(shape, np.float32)) for shape in shapes]
        optimizer.set_learning_rate(rate)
        optimizer.rescale_grad = 0.3
        updater(list(range(len(shapes))), gradients, weights)
    states = [updater.states[i] for i in range(len(shapes))]
    return [a.asnumpy() for a in (*weights, *(m for m, _ in states), *(s for _, s in states))]


def test_the_update_is_gluonnlps():
    """Against float64 the squares' largest error is 1e-5 here (1 - 0.999 in float32) and 6e-5 there."""
    how = {"learning_rate": 1e-2, "wd": 0.1, "epsilon": 1e-6}
    for found, wanted in zip(steps(NativeBertAdam(**how)), steps(nlp.optimizer.BERTAdam(**how)), strict=True):
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_every_instruction_set(isa):
    source = np.random.default_rng(1)
    w, g, m = (source.standard_normal(1003, np.float32) for _ in range(3))
    s = np.abs(source.standard_normal(1003, np.float32))
    square = 0.99 * s.astype(float) + 0.01 * (0.5 * g.astype(float)) ** 2
    mean = 0.9 * m + 0.1 * (0.5 * g)
    wanted = w - 0.01 * (mean / (np.sqrt(square) + 1e-6) + 0.1 * w)
    _native.bert_adam([(w, g, m, s, 0.1)], rate=0.01, first=0.9, second=0.99, epsilon=1e-6, gradient_scale=0.5,
                      threads=2, isa=isa)
    for found, right in ((w, wanted), (m, mean), (s, square)):
        assert np.abs(found - right).max() <= 1e-6 * np.abs(right).max()


def test_only_arrays_that_can_be_written_in_place():
    ones = np.ones(4, np.float32)
    fixed = ones.copy()
    fixed.flags.writeable = False
    for wrong in (ones.astype(np.float64), np.ones(5, np.float32), np.ones(8, np.float32)[::2], fixed):
        with pytest.raises(ValueError):
            _native.bert_adam([(wrong, ones, ones, ones, 0.0)], rate=0.1, first=0.9, second=0.99, epsilon=1e-6)


def test_views_share_memory():
    array = mx.nd.ones((3, 4)) * 2
    view(array)[:] += 1
    assert (array.asnumpy() == 3).all()
    assert norm([array, mx.nd.array([2.0])]) == pytest.approx(np.sqrt(12 * 9 + 4))
