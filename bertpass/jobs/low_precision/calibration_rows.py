"""Which rows calibration looks at: batches of 32 from all over a data set, up to a number of tokens that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BATCH = 32  # rows
_TOKENS = 8192


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of the items, from all over them."""
    return [items[int(at)] for at in np.linspace(0, len(items) - 1, min(count, len(items)))]


def calibration_rows(encodings: Sequence[Any], batches: int) -> list[Any]:
    """Encoded sequences for that many calibration batches."""
    chosen = spread(encodings, batches * BATCH)
    within = np.cumsum([len(encoding) for encoding in chosen]) <= _TOKENS
    return chosen[:max(1, int(within.sum()))]
