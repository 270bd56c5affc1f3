"""Positions without a table: rotary angles, windows, slopes.

Rotary positions turn the pair (i, i + size / 2) of a head's query or key at place t by the angle t / base^(2 i / size)
(Su et al., arXiv:2104.09864). A factor for longer texts than those of training makes the base `factor` times as large
and divides all angles by factor^(2 / size), the "NTK" form of GTE's models.
"""

from __future__ import annotations

import numpy as np

from bertpass.model.config import EncoderConfig


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
