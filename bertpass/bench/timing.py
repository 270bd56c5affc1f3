"""Interleaved rounds over workers, and what their times say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.quiet import Others
from bertpass.bench.workloads import Workload
from bertpass.model.config import EncoderConfig

TURN = 0.1  # seconds that a worker's turn in a round should take, so that short calls are counted many times
MOST_CALLS = 25
LEAST_ROUNDS = 3
SETTLE = 0.2  # seconds below which a call's first run in a turn is not counted: its caches are another engine's
PAUSE = 0.03
NOISY = 0.2  # spread above which a figure is marked


@dataclass(frozen=True)
class Timing:
    """Times of one engine on one workload, in milliseconds.

    ``median`` is over all counted calls; ``low`` and ``high`` are the 10th and 90th percentile of the rounds' medians.
    """

    median: float
    low: float
    high: float
    rounds: int
    calls: int

    @classmethod
    def of(cls, rounds: list[list[float]]) -> Timing:
        """From the seconds of the calls of each round."""
        middles = [float(np.median(calls)) for calls in rounds]
        low, high = np.percentile(middles, [10, 90])
        everything = [second for calls in rounds for second in calls]
        return cls(float(np.median(everything)) * 1e3, float(low) * 1e3, float(high) * 1e3, len(rounds),
                   len(everything))

    @property
    def spread(self) -> float:
        """Distance of ``high`` from ``low`` as a share of the median."""
        return (self.high - self.low) / self.median

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY

    def to_dict(self) -> dict[str, Any]:
        """For result files: milliseconds to the microsecond."""
        return {"median_ms": round(self.median, 3), "p10_ms": round(self.low, 3), "p90_ms": round(self.high, 3),
                "spread": round(self.spread, 3), "noisy": self.noisy, "rounds": self.rounds, "calls": self.calls}


def plan(seconds: Mapping[str, float], rounds: int, budget: float) -> tuple[int, dict[str, tuple[int, int]]]:
    """How often to call, from the seconds of one call.

    Parameters
    ----------
    seconds : engine -> one call
    rounds : at most
    budget : seconds for all rounds together; slow calls get fewer rounds, at least :data:`LEAST_ROUNDS`

    Returns
    -------
    rounds, and for each engine the calls of a turn: uncounted ones and counted ones
    """
    turns = {name: (1 if one < SETTLE else 0, max(1, min(MOST_CALLS, int(TURN / one)))) for name, one in
             seconds.items()}
    each = sum(sum(turns[name]) * one + PAUSE for name, one in seconds.items())
    return max(min(rounds, LEAST_ROUNDS), min(rounds, int(budget / max(each, 1e-9)))), turns


def measure(workers: Mapping[str, Worker], workload: Workload, config: EncoderConfig, *, rounds: int, budget: float,
            others: Others, failed: Callable[[str, str], None], tell: Callable[[int, str], None]) -> dict[str, Timing]:
    """Time one workload in interleaved rounds A B C A B C.

    Parameters
    ----------
    workers : variant's name -> its worker
    budget : seconds, see :func:`plan`
    failed : called with a name and a sentence for a worker that fails; it takes no further part
    tell : called with the rounds done and a note

    Returns
    -------
    the timing of every worker that finished at least one round
    """
    # sorted groups are several shapes more, each of which a slow starter would have to build first
    alive = {name: w for name, w in workers.items() if not (w.variant.slow_start and workload.layout == "groups")}

    def ask(name: str, command: str, *arguments: Any) -> Any:
        try:
            return alive[name].ask(command, *arguments)
        except WorkerError as error:
            del alive[name]
            failed(name, str(error))
            return None

    batches, first = workload.batches(config), {}
    for name in list(alive):
        tell(0, f"{workload.name}: warm-up of {name}")
        second = ask(name, "prepare", workload.name, batches)
        if second is not None:
            first[name] = second
        others.pause(PAUSE)
    count, turns = plan(first, rounds, budget)
    spent: dict[str, list[list[float]]] = {name: [] for name in alive}
    for turn in range(count):
        for name in list(alive):
            settle, calls = turns[name]
            seconds = ask(name, "time", workload.name, settle + calls)
            if seconds is not None:
                spent[name].append(seconds[settle:])
            others.pause(PAUSE)
        tell(1 if turn < count - 1 else rounds - count + 1, f"{workload.name}: round {turn + 1} of {count}")
    return {name: Timing.of(parts) for name, parts in spent.items() if parts}
