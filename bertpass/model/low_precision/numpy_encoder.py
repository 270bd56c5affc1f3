"""The encoder in NumPy, for what has to see the inputs of its matrix products. Written to be read, not for speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bertpass.model.config import EncoderConfig
from bertpass.model.low_precision.plan import PRODUCTS
from bertpass.model.parameters import PROJECTION, as_floats, distance_bias

Rows = Sequence[tuple[np.ndarray, np.ndarray]]
#: part ("LAYER.PRODUCT"), its input (tokens, depth), weight (columns, depth), bias (columns,) -> (tokens, columns)
Dense = Callable[[str, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def names_of(config: EncoderConfig, part: str) -> list[str]:
    """The dense layers, without .weight and .bias, of which a product is made: three for qkv, else one."""
    layer, _, product = part.partition(".")
    cell = f"{config.root}.encoder.transformer_cells.{layer}"
    return {"qkv": [f"{cell}.attention_cell.proj_{name}" for name in ("query", "key", "value")],
            "proj": [f"{cell}.proj"], "up": [f"{cell}.ffn.ffn_1"], "down": [f"{cell}.ffn.ffn_2"]}[product]


def parts_of(config: EncoderConfig) -> list[str]:
    """All products of a model in the order in which they run."""
    return [f"{layer}.{product}" for layer in range(config.num_layers) for product in PRODUCTS]


def plain(part: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The product as it is."""
    return x @ weight.T + bias


def states(config: EncoderConfig, params: Mapping[str, np.ndarray], rows: Rows, dense: Dense = plain) -> np.ndarray:
    """Token states (tokens of all rows, units), float32.

    Parameters
    ----------
    rows : ids and token types of each sequence, without padding
    dense : computes the products
    """
    root, heads, units = config.root, config.num_heads, config.units
    size = units // heads
    floats = as_floats({name: array for name, array in params.items() if name.startswith(root)})

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + config.layer_norm_eps)
        return x * scale * floats[f"{name}.gamma"] + floats[f"{name}.beta"]

    def product(part: str, x: np.ndarray) -> np.ndarray:
        names = names_of(config, part)
        return dense(part, x, np.concatenate([floats[f"{name}.weight"] for name in names]),
                     np.concatenate([floats[f"{name}.bias"] for name in names]))

    x = np.concatenate([_embedded(config, floats, ids, types) for ids, types in rows])
    bias = distance_bias(config, floats)
    ends = np.cumsum([len(ids) for ids, _ in rows])
    x = norm(x, f"{root}.encoder.layer_norm")
    if config.embedding_size:
        x = plain("", x, floats[f"{root}.{PROJECTION}.weight"], floats[f"{root}.{PROJECTION}.bias"])
    for layer in range(config.num_layers):
        cell = f"{root}.encoder.transformer_cells.{layer}"
        qkv = product(f"{layer}.qkv", x).reshape(len(x), 3, heads, size)
        mixed = [_attention(part, bias).reshape(-1, units) for part in np.split(qkv, ends[:-1])]
        x = norm(x + product(f"{layer}.proj", np.concatenate(mixed)), f"{cell}.layer_norm")
        inner = _activation(config.activation, product(f"{layer}.up", x))
        x = norm(x + product(f"{layer}.down", inner), f"{cell}.ffn.layer_norm")
    return x


def _embedded(config: EncoderConfig, params: Mapping[str, np.ndarray], ids: np.ndarray, types: np.ndarray,
              ) -> np.ndarray:
    root = config.root
    x = params[f"{root}.word_embed.0.weight"][ids] + params[f"{root}.encoder.position_weight"][:len(ids)]
    if not config.token_type_vocab_size:
        return x
    return x + params[f"{root}.token_type_embed.0.weight"][types if config.takes_token_types else np.zeros_like(types)]


def _attention(qkv: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(tokens, 3, heads, size) of one sequence -> (tokens, heads, size); bias as of :func:`distance_bias`."""
    q, k, v = qkv.transpose(1, 2, 0, 3)
    scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(q.shape[-1]))
    if bias is not None:
        place = np.arange(len(qkv))
        scores += bias[:, bias.shape[1] // 2 + place - place[:, None]]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2)


def _activation(name: str, x: np.ndarray) -> np.ndarray:
    if name == "relu":
        return np.maximum(x, 0)
    if name == "gelu":
        from scipy.special import erf

        return 0.5 * x * (1 + erf(x / np.float32(np.sqrt(2))))
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x ** 3)))  # gelu_tanh
