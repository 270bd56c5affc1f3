"""Positions without a table: rotary angles, windows, slopes; how a config.json says them, and their values.

Rotary positions turn the pair (i, i + size / 2) of a head's query or key at place t by the angle t / base^(2 i / size)
(Su et al., arXiv:2104.09864). A factor for longer texts than those of training makes the base `factor` times as large
and divides all angles by factor^(2 / size), the "NTK" form of GTE's models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpass.errors import ModelError

if TYPE_CHECKING:
    from bertpass.model.config import EncoderConfig

_FULL, _LOCAL = "full_attention", "sliding_attention"


def is_local(config: EncoderConfig, layer: int) -> bool:
    """Whether a layer's tokens attend to those within the window only."""
    return bool(config.window) and layer % config.global_every != 0


def base(config: EncoderConfig, layer: int) -> float:
    """The base of a layer's rotary angles; 0 where it turns nothing."""
    local = is_local(config, layer) and config.rope_local_theta
    return config.rope_local_theta if local else config.rope_theta


def rotary(config: EncoderConfig, layer: int, length: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Cosines and sines of a layer's angles, each (length, head size / 2) float32; None where it turns nothing."""
    if not base(config, layer):
        return None
    size = config.units // config.num_heads
    exponents = np.arange(0, size, 2, dtype=np.float64) / size
    inverse = 1 / (base(config, layer) * config.rope_factor) ** exponents / config.rope_factor ** (2 / size)
    angles = np.arange(length, dtype=np.float32)[:, None] * inverse.astype(np.float32)
    return np.cos(angles), np.sin(angles)


def slopes(heads: int) -> np.ndarray:
    """ALiBi's slope of each head, float32: powers of 2^(-8 / n) for n the largest power of two within ``heads``, then
    every second of those for 2 n (Press et al., arXiv:2108.12409, and their code for other numbers of heads)."""
    power = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * (at + 1) / power) for at in range(power)]
    rest = [2 ** (-4 * (at + 1) / power) for at in range(0, 2 * (heads - power), 2)]
    return np.array(first + rest, np.float32)


def read(family: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of EncoderConfig that a config.json says about positions without a table.

    Raises
    ------
    ModelError
        It asks for a form of them that is not computed.
    """
    if family == "modernbert":
        return _modernbert(content)
    if family == "nomic_bert":
        for key, fine in (("rotary_emb_fraction", 1.0), ("rotary_emb_interleaved", False),
                          ("rotary_scaling_factor", None), ("rotary_emb_scale_base", None)):
            if content.get(key, fine) != fine:
                raise ModelError(f"config.json says {key} {content[key]!r}; only {fine!r} is computed.")
        return {"rope_theta": float(content.get("rotary_emb_base", 10000.0))}
    if family == "new":
        scaling = content.get("rope_scaling") or {}
        kind = scaling.get("type", scaling.get("rope_type", "ntk"))
        if kind != "ntk" or set(scaling) - {"type", "rope_type", "factor"}:
            raise ModelError(f"config.json says rope_scaling {scaling!r}; only the type 'ntk' with a factor is computed.")
        return {"rope_theta": float(content.get("rope_theta", 10000.0)),
                "rope_factor": float(scaling.get("factor", 1.0))}
    return {}


def _modernbert(content: Mapping[str, Any]) -> dict[str, Any]:
    theta, local = content.get("global_rope_theta", 160000.0), content.get("local_rope_theta", 10000.0)
    said = content.get("rope_parameters")
    if said is not None:  # the form of transformers 5
        for part in (_FULL, _LOCAL):
            rule = said.get(part) or {}
            if rule.get("rope_type", "default") != "default":
                raise ModelError(f"config.json says rope_type '{rule['rope_type']}' for {part}; only 'default' is "
                                 "computed.")
        theta = (said.get(_FULL) or {}).get("rope_theta", theta)
        local = (said.get(_LOCAL) or {}).get("rope_theta", local)
    every = int(content.get("global_attn_every_n_layers", 3))
    kinds = content.get("layer_types")
    if kinds is not None:
        count = int(content.get("num_hidden_layers", len(kinds)))
        every = next((n for n in range(1, count + 1)
                      if list(kinds) == [_FULL if layer % n == 0 else _LOCAL for layer in range(count)]), 0)
        if not every:
            raise ModelError("config.json's layer_types are not full_attention in every Nth layer from the first on; "
                             "only that is computed.")
    return {"rope_theta": float(theta), "rope_local_theta": float(theta if local is None else local),
            "window": int(content.get("local_attention", 128)) // 2, "global_every": every}


def write(config: EncoderConfig, carried: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a config.json that say the same; of ``carried`` only what another form of them would contradict."""
    if config.family == "modernbert":
        fields: dict[str, Any] = {"global_rope_theta": config.rope_theta, "local_rope_theta": config.rope_local_theta,
                                  "local_attention": carried.get("local_attention", 2 * config.window),
                                  "global_attn_every_n_layers": config.global_every}
        return fields
    if config.family == "nomic_bert":
        return {"rotary_emb_base": config.rope_theta, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False}
    if config.family == "new":
        scaling = {"type": "ntk", "factor": config.rope_factor} if config.rope_factor != 1 else None
        return {"rope_theta": config.rope_theta, "rope_scaling": scaling, "position_embedding_type": "rope"}
    if config.about.positions == "alibi":
        return {"position_embedding_type": "alibi"}
    return {}
