"""What is timed: batches of one shape, and ragged batches in the layouts that an engine can choose from.

A name says all: "8x128" is batch x length, every row full. "queries", "sst" and "squad" are batches whose rows have the
lengths of search queries and of real data, each in several layouts: padded to the recipe's length, padded to the
longest row, and sorted by length in groups that are each padded to their longest. The best layout of an engine is its
time for that batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.engines.base import Batch
from bertpass.errors import UsageError, unknown
from bertpass.model.config import EncoderConfig
from bertpass.model.positions import is_local

#: share of rows -> tokens, of all 872 sentences of SST-2's dev split (longest of the test split at the end)
SST = ((0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1),
       (4, 10, 12, 16, 19, 21, 24.5, 27, 30, 34, 40, 44, 48, 64))
#: the same of the 10,833 windows of SQuAD 1.1's dev split, at most 384 tokens each
SQUAD = ((0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1),
         (41, 88, 110, 127, 139, 150, 164, 179, 198, 223, 272, 320, 384, 384))
#: what people type into a search box: as many of each length from 8 to 20 tokens
QUERIES = ((0, 1), (7.5, 20.5))
RAGGED = {"queries": (QUERIES, 32, 32, 4), "sst": (SST, 32, 128, 4),  # quantiles, rows, padded to, groups
          "squad": (SQUAD, 8, 384, 4)}
SHAPES = ("1x16", "1x128", "8x128", "1x384", "32x128", *RAGGED)
SEED = 7


@dataclass(frozen=True)
class Workload:
    """Rows of ``lengths`` tokens in one layout.

    ``family`` is what a person asked for ("8x128", "sst"); ``layout`` is "" for a full batch, else "padded to 128",
    "longest" or "groups"; ``groups`` holds the rows of each batch and the length that it is padded to.
    """

    family: str
    layout: str
    lengths: tuple[int, ...]
    groups: tuple[tuple[tuple[int, ...], int], ...]

    @property
    def name(self) -> str:
        return f"{self.family} {self.layout}".strip()

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return sum(self.lengths)

    def batches(self, config: EncoderConfig) -> list[Batch]:
        """Random ids of the model's vocabulary, the same ones for every layout; zeros past the valid length."""
        random = np.random.default_rng(SEED)
        rows = [random.integers(0, config.vocab_size, length, dtype=np.int32) for length in self.lengths]
        made = []
        for numbers, length in self.groups:
            ids = np.zeros((len(numbers), length), np.int32)
            for place, number in enumerate(numbers):
                ids[place, :self.lengths[number]] = rows[number]
            made.append((ids, np.zeros_like(ids), np.array([self.lengths[n] for n in numbers], np.int32)))
        return made


def drawn(quantiles: tuple[Sequence[float], Sequence[float]], rows: int) -> tuple[int, ...]:
    """``rows`` lengths of a distribution: its quantiles in the middles of equal shares, in a random, fixed order."""
    lengths = np.rint(np.interp((np.arange(rows) + 0.5) / rows, *quantiles)).astype(int)
    return tuple(int(n) for n in np.random.default_rng(SEED).permutation(lengths))


def of_family(family: str) -> list[Workload]:
    """The workloads of "BATCHxLENGTH" or of a name in :data:`RAGGED`; UsageError for anything else."""
    full = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", family)
    if full:
        batch, length = int(full[1]), int(full[2])
        return [Workload(family, "", (length,) * batch, ((tuple(range(batch)), length),))]
    if family not in RAGGED:
        raise UsageError(f"--shapes: {unknown('shape', family, [*SHAPES, 'BATCHxLENGTH'])}")
    quantiles, rows, padded, groups = RAGGED[family]
    lengths = drawn(quantiles, rows)
    ordered = sorted(range(rows), key=lambda n: -lengths[n])
    everything = tuple(range(rows))
    parts = [tuple(int(n) for n in part) for part in np.array_split(ordered, groups)]
    return [Workload(family, f"padded to {padded}", lengths, ((everything, padded),)),
            Workload(family, "longest", lengths, ((everything, max(lengths)),)),
            Workload(family, "groups", lengths, tuple((part, lengths[part[0]]) for part in parts))]


def flops(config: EncoderConfig, lengths: Sequence[int]) -> float:
    """Floating-point operations that the encoder needs for rows of these lengths, padding not counted.

    Two for each multiplication of a product: four of units x units and two of units x hidden size (three where layers
    are gated) per token, and scores and their sums over the values, each units per pair of tokens of one row that
    attend to each other.
    """
    tokens, units, hidden = float(sum(lengths)), config.units, config.hidden_size
    products = 4 * units * units + (3 if config.about.gated else 2) * units * hidden
    local = sum(is_local(config, layer) for layer in range(config.num_layers))
    pairs = {near: float(sum(_pairs(n, config.window if near else n) for n in lengths)) for near in (False, True)}
    attention = local * pairs[True] + (config.num_layers - local) * pairs[False]
    return config.num_layers * 2 * tokens * products + 4 * attention * units


def _pairs(length: int, window: int) -> int:
    """Pairs of tokens of a row at most ``window`` apart, both orders and a token with itself counted."""
    near = min(window, length - 1)
    return length * (2 * near + 1) - near * (near + 1)
