"""int8 that changes the outputs of matrix products least, on sentences like those to come.

The engine's int8 has a scale for each output channel of the weights and finds the range of each token's activations as
it runs. Calibration chooses two things more, both at no cost when the model runs.

Factors. A few channels of the activations are much larger than the others and leave these few of the 256 levels. Such
a channel is halved as often as it takes and the weights that read it are doubled as often, which is exact; the same is
done the other way round where a weight is larger than the others of its row (Xiao et al. 2022, arXiv:2211.10438, scale
all channels; here only those beyond a threshold move, which is searched, since every move costs the other side).

Rounding. The error that one rounded weight makes is made up for by those that are rounded after it, in the measure in
which their inputs go together (GPTQ, Frantar et al. 2022, arXiv:2210.17323; the blocks are those of its section 3.3).
The mean of what is left goes into the bias. A calibrated weight is a float32 matrix of whole multiples of its rows'
scales. In every row the largest of the elements and of the sums of pairs is +-127 of them, so that packing finds the
same scales again (:func:`scales_of`) and rounds nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from bertpass.model import parameters
from bertpass.model.config import EncoderConfig
from bertpass.model.low_precision import numpy_encoder
from bertpass.model.low_precision.plan import PRODUCTS, products
from bertpass.model.record import Checkpoint

LEVELS = 127
_LIMITS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995)  # share of the channels that are left as they are
_SEARCHED = 1024  # tokens on which factors are tried
_COMPENSATED = 0.5  # share of the squared error of rounding weights that is left after compensation, about
_DAMPING = 0.01  # of the mean of the diagonal, as in the paper
_BLOCK = 128


def calibrated(checkpoint: Checkpoint, rows: numpy_encoder.Rows) -> Checkpoint:
    """The checkpoint with the weights of all its layers rounded for int8, its biases corrected, and factors for the
    inputs of each layer's products (:func:`factors_name`).

    Each product is rounded for the inputs that it gets once those before it are in int8.

    Parameters
    ----------
    rows : ids and token types of each calibration sequence, without padding; a few thousand tokens are enough
    """
    config = checkpoint.config
    changed: dict[str, np.ndarray] = {}

    factors: dict[str, np.ndarray] = {}

    def dense(part: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        factors[part] = factor = choose_factors(x[::max(1, len(x) // _SEARCHED)], weight)
        low = to_bytes(x * factor)
        names = numpy_encoder.names_of(config, part)
        biased = f"{names[0]}.bias" in checkpoint.params  # or nothing makes up for the mean of the errors
        rounded = round_weights(weight / factor, low - low.mean(0) if biased else low) * factor
        low /= factor
        corrected = bias + (x @ weight.T - low @ rounded.T).mean(0) if biased else bias
        for name, w, b in zip(names, np.split(rounded, len(names)), np.split(corrected, len(names)), strict=True):
            changed.update({f"{name}.weight": w}, **({f"{name}.bias": b} if biased else {}))
        return low @ rounded.T + corrected

    numpy_encoder.states(config, checkpoint.params, rows, dense)
    for layer in range(config.num_layers):
        changed[factors_name(config, layer)] = np.concatenate([factors[f"{layer}.{name}"] for name in PRODUCTS])
    return dataclasses.replace(checkpoint, params={**checkpoint.params, **changed})


def chosen(checkpoint: Checkpoint, rounded: Checkpoint, plan: str) -> Checkpoint:
    """``rounded`` (of :func:`calibrated`) where a plan computes in int8, and ``checkpoint`` where it does not."""
    kept = [part for part, kind in products(plan, checkpoint.config.num_layers).items() if kind != "int8"]
    return dataclasses.replace(rounded, params={**rounded.params, **_layers(checkpoint, kept)})


def _layers(checkpoint: Checkpoint, parts: Iterable[str]) -> dict[str, np.ndarray]:
    return {f"{name}.{kind}": checkpoint.params[f"{name}.{kind}"] for part in parts
            for name in numpy_encoder.names_of(checkpoint.config, part) for kind in ("weight", "bias")
            if f"{name}.{kind}" in checkpoint.params}


def factors_name(config: EncoderConfig, layer: int) -> str:
    """The parameter with a layer's factors, float32 (3 units + hidden size,): for qkv, proj, up and down in turn.

    The graph does not use it; whatever packs the layer's weights in int8 looks for it beside the others.
    """
    return f"{config.root}.encoder.transformer_cells.{layer}.ffn.layer_norm{parameters.FACTORS}"


def choose_factors(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What each channel of ``x`` (tokens, depth) is multiplied by before it becomes bytes: powers of two, (depth,).

    ``weight`` (columns, depth) is divided by them.
    """
    best = np.ones(x.shape[1], np.float32)
    least = _expected_error(x, weight, best)
    for channels, direction in ((np.abs(x).max(0), -1), (np.abs(weight).max(0), 1)):
        start = best
        for limit in np.quantile(channels, _LIMITS):
            steps = np.ceil(np.log2(np.maximum(channels / max(limit, 1e-30), 1)))
            tried = (start * np.exp2(direction * steps)).astype(np.float32)
            error = _expected_error(x, weight, tried)
            if error < least:
                best, least = tried, error
    return best


def _expected_error(x: np.ndarray, weight: np.ndarray, factors: np.ndarray) -> float:
    """The squared error of a product in int8, were all rounding errors independent of each other."""
    scaled = x * factors
    rows = np.square((to_bytes(scaled) - scaled) / factors).sum(0) @ np.square(weight).sum(0)
    scales = scales_of(weight / factors)
    return float(rows + _COMPENSATED * np.square(scaled).sum() * np.square(scales).sum() / 12)


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Rows as the engine quantises activations: 256 levels from the least to the largest element, zero among them."""
    least, most = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = np.where(most > least, (most - least) / 255, 1)
    zero = np.round(-least / scale)
    return ((np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale).astype(x.dtype)


def scales_of(weight: np.ndarray) -> np.ndarray:
    """What a level is worth in each row of ``weight`` (columns, depth): of the elements and the sums of pairs (2 k,
    2 k + 1) the largest is 127 levels. A processor without instructions for bytes adds two products in 16 bits, which
    such pairs do not exceed.
    """
    even, odd = weight[:, ::2], weight[:, 1::2]
    most = np.abs(weight).max(-1)
    if odd.size:
        most = np.maximum(most, np.abs(even[:, :odd.shape[1]] + odd).max(-1))
    return most / LEVELS


def _bounds(left: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For ``left`` (columns, depth) in levels: the least and the largest level of each element, (columns, depth); the
    pair of each row that decides its scale, and what that pair's sum is to be: +-127, or NaN where one element of it
    decides, whose bounds are both +-127.
    """
    columns, depth = left.shape
    low, high = np.full((columns, depth), -LEVELS, np.float64), np.full((columns, depth), LEVELS, np.float64)
    rows = np.arange(columns)
    wide = np.pad(left, ((0, 0), (0, depth % 2)))
    sums = wide[:, ::2] + wide[:, 1::2]
    pair, largest = np.abs(sums).argmax(-1), np.abs(left).argmax(-1)
    together = np.abs(sums[rows, pair]) > np.abs(left[rows, largest])
    pair = np.where(together, pair, largest // 2)
    sign = np.sign(np.where(together, sums[rows, pair], left[rows, largest]))
    far = np.where(together, sign, -sign) * LEVELS  # an element of the pair is between zero and this
    for element in (2 * pair, np.minimum(2 * pair + 1, depth - 1)):
        alone = ~together & (element == largest)
        low[rows, element] = np.where(alone, sign * LEVELS, np.minimum(far, 0))
        high[rows, element] = np.where(alone, sign * LEVELS, np.maximum(far, 0))
    return low, high, pair, np.where(together, sign * LEVELS, np.nan)


def round_weights(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``weight`` (columns, depth) in whole multiples of each row's scale (:func:`scales_of`), nearest for inputs ``x``.

    Parameters
    ----------
    x : (tokens, depth) of mean zero: what the weights are multiplied with
    """
    depth = weight.shape[1]
    scale = scales_of(weight)
    scale[scale == 0] = 1
    left = weight.astype(np.float64) / scale[:, None]  # in levels; what is still to be rounded
    low, high, decisive, total = _bounds(left)
    moments = x.T.astype(np.float64) @ x.astype(np.float64)
    moments[np.diag_indices(depth)] += _DAMPING * max(float(np.diag(moments).mean()), 1e-12)
    order = np.argsort(-np.diag(moments), kind="stable")  # what matters most first, while all others can make up for it
    place = np.argsort(order)  # of each element in the order
    left = left[:, order]
    upper = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    for first in range(0, depth, _BLOCK):
        last = min(first + _BLOCK, depth)
        errors = np.empty((len(left), last - first))
        for k in range(first, last):
            element, partner = order[k], order[k] ^ 1
            level = np.clip(np.round(left[:, k]), low[:, element], high[:, element])
            if partner < depth and place[partner] > k:  # the other of the pair has to keep to what this one leaves
                np.clip(low[:, partner], -LEVELS - level, None, out=low[:, partner])
                np.clip(high[:, partner], None, LEVELS - level, out=high[:, partner])
                fixed = (decisive == element // 2) & ~np.isnan(total)
                low[fixed, partner] = high[fixed, partner] = (total - level)[fixed]
            errors[:, k - first] = (left[:, k] - level) / upper[k, k]
            left[:, k] = level
            left[:, k + 1:last] -= np.outer(errors[:, k - first], upper[k, k + 1:last])
        left[:, last:] -= errors @ upper[first:last, last:]
    return (left[:, place] * scale[:, None]).astype(np.float32)
