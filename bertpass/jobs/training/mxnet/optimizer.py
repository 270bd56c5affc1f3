"""BERT's Adam and PyTorch's AdamW, on CPUs in one pass over the memory of each tensor.

MXNet's own operator takes several times as long. The same update, settings and states as ``bertadam`` of GluonNLP, so
that checkpoints of one go on with the other. MXNet 1 has no AdamW; its ``adam`` adds the decay to the gradient.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass import _native, machine
from bertpass.mx import mx, nlp


def view(array: Any) -> np.ndarray:
    """A float32 NDArray's memory on a CPU as a flat array, once nothing that is under way reads or writes it."""
    library, pointer = mx.base._LIB, ctypes.c_void_p()
    mx.base.check_call(library.MXNDArrayWaitToWrite(array.handle))
    mx.base.check_call(library.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    return np.frombuffer((ctypes.c_float * array.size).from_address(pointer.value or 0), np.float32)


def on_cpu(array: Any) -> bool:
    """Whether :func:`view` can be had of an array."""
    return array.context.device_type == "cpu" and array.dtype == np.float32


def norm(arrays: Sequence[Any]) -> float:
    """The Euclidean norm of all arrays together; waits for them."""
    if all(map(on_cpu, arrays)):
        return math.sqrt(sum(float(np.dot(values, values)) for values in map(view, arrays)))
    return math.sqrt(mx.nd.multi_sum_sq(*arrays, num_arrays=len(arrays)).sum().asscalar())


@mx.optimizer.register
class NativeBertAdam(nlp.optimizer.BERTAdam):
    """``bertadam``, by the CPU engine where weights are float32 on a CPU."""

    def _update_impl(self, indices: Any, weight: Any, grad: Any, state: Any, multi_precision: bool = False) -> None:
        if multi_precision or not isinstance(indices, (tuple, list)) or not all(map(on_cpu, weight)):
            super()._update_impl(indices, weight, grad, state, multi_precision)
            return
        self._update_count(indices)
        rates = self._get_lrs(indices)
        tensors = [(view(w), view(g), view(mean), view(square), decay) for w, g, (mean, square), decay
                   in zip(weight, grad, state, self._get_wds(indices), strict=True)]
        _native.bert_adam(tensors, rate=rates[0], first=self.beta1, second=self.beta2, epsilon=self.epsilon,
                          gradient_scale=self.rescale_grad, threads=machine.threads())


@mx.optimizer.register
class AdamW(NativeBertAdam):
    """Adam with decoupled weight decay and bias correction (Loshchilov and Hutter 2019), as torch.optim.AdamW has it.

        w = w - rate * decay * w - rate / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)

    is bertadam's update at step t with another rate, decay and epsilon.
    """

    lr: float
    wd: float
    epsilon: float

    def _update_impl(self, indices: Any, weight: Any, grad: Any, state: Any, multi_precision: bool = False) -> None:
        first = indices[0] if isinstance(indices, (tuple, list)) else indices
        step = self._index_update_count.get(first, self.begin_num_update) + 1
        root = math.sqrt(1 - self.beta2 ** step)
        correction = root / (1 - self.beta1 ** step)
        given = self.lr, self.wd, self.epsilon
        self.lr, self.wd, self.epsilon = self.lr * correction, self.wd / correction, self.epsilon * root
        try:
            super()._update_impl(indices, weight, grad, state, multi_precision)
        finally:
            self.lr, self.wd, self.epsilon = given


#: What MXNet knows an optimiser by, where it is not the flag's value.
BY_NAME = {"bertadam": NativeBertAdam.__name__, "adamw": AdamW.__name__}
