"""Weights rounded to int8 so that the outputs of their products change least, on sentences like those to come.

The engine's int8 has a scale for each output channel of the weights and finds the range of each token's activations as
it runs; neither is changed. What calibration chooses is the direction in which each weight is rounded: the error that
one makes is made up for by those that are rounded after it, in the measure in which their inputs go together (GPTQ,
Frantar et al. 2022, arXiv:2210.17323; the blocks are those of its section 3.3). The mean of what is left goes into the
bias. A calibrated weight is a float32 matrix of whole multiples of its rows' scales, one of them +-127 in every row,
so that packing it finds the same scales again and rounds nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from bertpass.model import numpy_encoder
from bertpass.model.plan import products
from bertpass.model.record import Checkpoint

LEVELS = 127
_DAMPING = 0.01  # of the mean of the diagonal, as in the paper
_BLOCK = 128


def calibrated(checkpoint: Checkpoint, rows: numpy_encoder.Rows) -> Checkpoint:
    """The checkpoint with the weights of all its layers rounded for int8, and its biases corrected.

    Each product is rounded for the inputs that it gets once those before it are in int8.

    Parameters
    ----------
    rows : ids and token types of each calibration sequence, without padding; a few thousand tokens are enough
    """
    config = checkpoint.config
    changed: dict[str, np.ndarray] = {}

    def dense(part: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        low = to_bytes(x)
        rounded = round_weights(weight, low - low.mean(0))
        corrected = bias + (x @ weight.T - low @ rounded.T).mean(0)
        names = numpy_encoder.names_of(config, part)
        for name, w, b in zip(names, np.split(rounded, len(names)), np.split(corrected, len(names)), strict=True):
            changed[f"{name}.weight"], changed[f"{name}.bias"] = w, b
        return low @ rounded.T + corrected

    numpy_encoder.states(config, checkpoint.params, rows, dense)
    return dataclasses.replace(checkpoint, params={**checkpoint.params, **changed})


def chosen(checkpoint: Checkpoint, rounded: Checkpoint, plan: str) -> Checkpoint:
    """``rounded`` (of :func:`calibrated`) where a plan computes in int8, and ``checkpoint`` where it does not."""
    kept = [part for part, kind in products(plan, checkpoint.config.num_layers).items() if kind != "int8"]
    return dataclasses.replace(rounded, params={**rounded.params, **_layers(checkpoint, kept)})


def _layers(checkpoint: Checkpoint, parts: Iterable[str]) -> dict[str, np.ndarray]:
    return {f"{name}.{kind}": checkpoint.params[f"{name}.{kind}"] for part in parts
            for name in numpy_encoder.names_of(checkpoint.config, part) for kind in ("weight", "bias")}


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Rows as the engine quantises activations: 256 levels between the least and the largest element, zero among them."""
    least, most = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = np.where(most > least, (most - least) / 255, 1)
    zero = np.round(-least / scale)
    return ((np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale).astype(x.dtype)


def round_weights(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``weight`` (columns, depth) in whole multiples of each row's largest element / 127, nearest for inputs ``x``.

    Parameters
    ----------
    x : (tokens, depth) of mean zero: what the weights are multiplied with
    """
    from scipy.linalg import cholesky

    depth = weight.shape[1]
    scale = np.abs(weight).max(-1) / LEVELS
    scale[scale == 0] = 1
    left = weight.astype(np.float64) / scale[:, None]  # in levels; what is still to be rounded
    sign, largest = np.sign(left), np.abs(left).argmax(-1)
    products = x.T.astype(np.float64) @ x.astype(np.float64)
    products[np.diag_indices(depth)] += _DAMPING * max(float(np.diag(products).mean()), 1e-12)
    order = np.argsort(-np.diag(products), kind="stable")  # what matters most first, while all others can make up for it
    left, sign, largest = left[:, order], sign[:, order], np.argsort(order)[largest]
    upper = cholesky(np.linalg.inv(products[np.ix_(order, order)]))
    for first in range(0, depth, _BLOCK):
        last = min(first + _BLOCK, depth)
        errors = np.empty((len(left), last - first))
        for k in range(first, last):
            level = np.clip(np.round(left[:, k]), -LEVELS, LEVELS)
            level = np.where(largest == k, sign[:, k] * LEVELS, level)
            errors[:, k - first] = (left[:, k] - level) / upper[k, k]
            left[:, k] = level
            left[:, k + 1:last] -= np.outer(errors[:, k - first], upper[k, k + 1:last])
        left[:, last:] -= errors @ upper[first:last, last:]
    return (left[:, np.argsort(order)] * scale[:, None]).astype(np.float32)
