"""The encoder in NumPy, for what has to see the inputs of its matrix products. Written to be read, not for speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bertpass.model import positions
from bertpass.model.config import EncoderConfig
from bertpass.model.low_precision.plan import PRODUCTS
from bertpass.model.parameters import PROJECTION, RELATIVE, RELATIVE_NORM, as_floats, distance_bias, relative_rows

Rows = Sequence[tuple[np.ndarray, np.ndarray]]
#: part ("LAYER.PRODUCT"), its input (tokens, depth), weight (columns, depth), bias (columns,), zeros where there is
#: none -> (tokens, columns)
Dense = Callable[[str, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def names_of(config: EncoderConfig, part: str) -> list[str]:
    """The dense layers, without .weight and .bias, of which a product is made: three for qkv, two for a gated up, else
    one."""
    layer, _, product = part.partition(".")
    cell = f"{config.root}.encoder.transformer_cells.{layer}"
    return {"qkv": [f"{cell}.attention_cell.proj_{name}" for name in ("query", "key", "value")],
            "proj": [f"{cell}.proj"], "down": [f"{cell}.ffn.ffn_2"],
            "up": [f"{cell}.ffn.{name}" for name in (("ffn_1", "ffn_3") if config.about.gated else ("ffn_1",))],
            }[product]


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
    size, about = units // heads, config.about
    floats = as_floats({name: array for name, array in params.items() if name.startswith(root)})

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + config.layer_norm_eps)
        return x * scale * floats[f"{name}.gamma"] + floats.get(f"{name}.beta", np.float32(0))

    def product(part: str, x: np.ndarray) -> np.ndarray:
        names = names_of(config, part)
        weights = [floats[f"{name}.weight"] for name in names]
        biases = [floats.get(f"{name}.bias", np.zeros(len(weight), np.float32))
                  for name, weight in zip(names, weights, strict=True)]
        return dense(part, x, np.concatenate(weights), np.concatenate(biases))

    x = np.concatenate([_embedded(config, floats, ids, types) for ids, types in rows])
    bias, rows_of = distance_bias(config, floats), relative_rows(config)
    ends = np.cumsum([len(ids) for ids, _ in rows])
    x = norm(x, f"{root}.encoder.layer_norm")
    if config.embedding_size:
        x = plain("", x, floats[f"{root}.{PROJECTION}.weight"], floats[f"{root}.{PROJECTION}.bias"])
    for layer in range(config.num_layers):
        cell = f"{root}.encoder.transformer_cells.{layer}"
        y = norm(x, f"{cell}.layer_norm") if about.norm_first and layer else x
        qkv = product(f"{layer}.qkv", y).reshape(len(x), 3, heads, size)
        window = config.window if positions.is_local(config, layer) else 0
        if rows_of is not None:
            distances = norm(floats[f"{root}.{RELATIVE}.weight"], f"{root}.{RELATIVE_NORM}")
            names = [f"{cell}.attention_cell.proj_{part}" for part in ("query", "key")]
            query, key = (plain("", distances, floats[f"{name}.weight"], floats[f"{name}.bias"])
                          .reshape(len(distances), heads, size).transpose(1, 0, 2) for name in names)
            mixed = [_relative_attention(part, query, key, rows_of).reshape(-1, units)
                     for part in np.split(qkv, ends[:-1])]
        else:
            mixed = [_attention(_turned(config, layer, part), bias, window).reshape(-1, units)
                     for part in np.split(qkv, ends[:-1])]
        x = x + product(f"{layer}.proj", np.concatenate(mixed))
        x = x if about.norm_first else norm(x, f"{cell}.layer_norm")
        up = product(f"{layer}.up", norm(x, f"{cell}.ffn.layer_norm") if about.norm_first else x)
        inner = _activation(config.activation, up[:, :config.hidden_size])
        if about.gated:
            inner = inner * up[:, config.hidden_size:]
        x = x + product(f"{layer}.down", inner)
        x = x if about.norm_first else norm(x, f"{cell}.ffn.layer_norm")
    return norm(x, f"{root}.encoder.final_norm") if about.norm_first else x


def _embedded(config: EncoderConfig, params: Mapping[str, np.ndarray], ids: np.ndarray, types: np.ndarray,
              ) -> np.ndarray:
    root = config.root
    x = params[f"{root}.word_embed.0.weight"][ids]
    if config.about.positions == "table":
        x = x + params[f"{root}.encoder.position_weight"][:len(ids)]
    if not config.token_type_vocab_size:
        return x
    return x + params[f"{root}.token_type_embed.0.weight"][types if config.takes_token_types else np.zeros_like(types)]


def _turned(config: EncoderConfig, layer: int, qkv: np.ndarray) -> np.ndarray:
    """(tokens, 3, heads, size) of one sequence with queries and keys turned by the angles of their places."""
    angles = positions.rotary(config, layer, len(qkv))
    if angles is None:
        return qkv
    cos, sin = (table[:, None, None] for table in angles)
    left, right = np.split(qkv[:, :2], 2, axis=-1)
    turned = np.concatenate([left * cos - right * sin, right * cos + left * sin], -1)
    return np.concatenate([turned, qkv[:, 2:]], 1)


def _attention(qkv: np.ndarray, bias: np.ndarray | None, window: int) -> np.ndarray:
    """(tokens, 3, heads, size) of one sequence -> (tokens, heads, size); bias as of :func:`distance_bias`, window as of
    EncoderConfig or 0."""
    q, k, v = qkv.transpose(1, 2, 0, 3)
    scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(q.shape[-1]))
    away = np.arange(len(qkv)) - np.arange(len(qkv))[:, None]
    if bias is not None:
        scores += bias[:, bias.shape[1] // 2 + away]
    if window:
        scores = np.where(np.abs(away) <= window, scores, -np.inf)
    return _mixed(scores, v)


def _relative_attention(qkv: np.ndarray, query: np.ndarray, key: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The same with embeddings of distances as queries and as keys, (heads, rows, size) each: He et al.,
    arXiv:2006.03654, section 3.1; ``rows`` as of :func:`relative_rows`."""
    q, k, v = qkv.transpose(1, 2, 0, 3)
    place = np.arange(len(qkv))
    row = rows[len(rows) // 2 + place - place[:, None]][None]
    scores = q @ k.transpose(0, 2, 1) + np.take_along_axis(q @ key.transpose(0, 2, 1), row, -1)
    scores += np.take_along_axis(k @ query.transpose(0, 2, 1), row.transpose(0, 2, 1), -1).transpose(0, 2, 1)
    return _mixed(scores / np.float32(np.sqrt(3 * q.shape[-1])), v)


def _mixed(scores: np.ndarray, v: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of float32 numbers with an absolute error of 7e-7: Abramowitz and Stegun (1964), 7.1.26."""
    size = np.abs(x)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.zeros_like(size)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    return np.copysign(1 - series * np.exp(-size * size), x)


def _activation(name: str, x: np.ndarray) -> np.ndarray:
    if name == "relu":
        return np.maximum(x, 0)
    if name == "silu":
        return 0.5 * x * (1 + np.tanh(0.5 * x))
    if name == "gelu":
        return 0.5 * x * (1 + erf(x / np.float32(np.sqrt(2))))
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x ** 3)))  # gelu_tanh
