"""The operators of fine-tuning, called with their gradients on NumPy arrays."""

import numpy as np

from bertpass.mx import load_library, mx
from bertpass.passes.library import LIBRARY

SEED = np.array([123456789, -987654321], np.int32)


def load():
    """MXNet knows the operators afterwards."""
    if not hasattr(mx.nd, "bertpass_train_attention"):
        load_library(LIBRARY)


def recorded(call, inputs, gradients):
    """Outputs of a call on arrays, and the gradients of its inputs from those of its outputs."""
    arrays = [mx.nd.array(value, dtype=value.dtype) for value in inputs]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        outputs = call(*arrays)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    mx.autograd.backward(outputs[:1], [mx.nd.array(gradients)])
    return [o.asnumpy() for o in outputs], [a.grad.asnumpy() for a in arrays if a.dtype == np.float32]


def attention(qkv, offsets, gradient, heads, dropout=0.0, seed=SEED, place=1):
    def call(*inputs):
        return mx.nd.bertpass_train_attention(*inputs, heads=heads, dropout=dropout, place=place)
    outputs, gradients = recorded(call, [qkv, np.asarray(offsets, np.int32), seed], gradient)
    return outputs[0], gradients[0]


def sum_norm(arrays, gradient, epsilon=1e-5, dropout=0.0, seed=SEED, place=1):
    def call(*inputs):
        return mx.nd.bertpass_train_sum_norm(*inputs, epsilon=epsilon, dropout=dropout, place=place)
    outputs, gradients = recorded(call, [*arrays, seed], gradient)
    return outputs[0], gradients
