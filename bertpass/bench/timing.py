"""Interleaved rounds over workers, and what their times say."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.quiet import REST, Others
from bertpass.bench.workloads import Workload
from bertpass.model.config import EncoderConfig

TURN = 0.1  # seconds that a worker's turn in a round should take, so that short calls are counted many times
MOST_CALLS = 25
LEAST_ROUNDS = 3
SETTLE = 0.2  # seconds below which a call's first run in a turn is not counted: its caches are another engine's
PAUSE = 0.03
NOISY = 0.2  # spread above which a figure is marked

Key = TypeVar("Key", bound=Hashable)


def shown(milliseconds: float) -> str:
    """Three digits."""
    return f"{milliseconds:.{0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2}f}"


@dataclass(frozen=True)
class Timing:
    """Times of one engine on one workload, in milliseconds.

    ``median`` and ``p99`` are over all counted calls; ``low`` and ``high`` are the 10th and 90th percentile of the
    rounds' medians. ``busy`` is how many processors its process kept busy during the calls; None where nobody asked.
    """

    median: float
    low: float
    high: float
    rounds: int
    calls: int
    p99: float | None = None
    busy: float | None = None

    @classmethod
    def of(cls, rounds: list[list[float]], busy: float | None = None) -> Timing:
        """From the seconds of the calls of each round."""
        middles = [float(np.median(calls)) for calls in rounds]
        low, high = np.percentile(middles, [10, 90])
        everything = [second for calls in rounds for second in calls]
        return cls(float(np.median(everything)) * 1e3, float(low) * 1e3, float(high) * 1e3, len(rounds),
                   len(everything), float(np.percentile(everything, 99)) * 1e3, busy)

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
                "p99_ms": _rounded(self.p99), "processors_busy": _rounded(self.busy),
                "spread": round(self.spread, 3), "noisy": self.noisy, "rounds": self.rounds, "calls": self.calls}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def plan(seconds: Mapping[Key, float], rounds: int, budget: float) -> tuple[int, dict[Key, tuple[int, int]]]:
    """How often to call, from the seconds of one call.

    Parameters
    ----------
    seconds : of one call, by whatever names a turn
    rounds : at most
    budget : seconds for all rounds together; slow calls get fewer rounds, at least :data:`LEAST_ROUNDS`

    Returns
    -------
    rounds, and the calls of each turn: uncounted ones and counted ones
    """
    turns = {key: (1 if one < SETTLE else 0, max(1, min(MOST_CALLS, int(TURN / one)))) for key, one in seconds.items()}
    each = sum(sum(turns[key]) * one + REST + PAUSE for key, one in seconds.items())
    return max(min(rounds, LEAST_ROUNDS), min(rounds, int(budget / max(each, 1e-9)))), turns


def measure(workers: Mapping[str, Worker], workloads: Sequence[Workload], config: EncoderConfig, *, rounds: int,
            budget: float, others: Others, failed: Callable[[str, str], None], tell: Callable[[int, str], None],
            warmup: int = 1) -> dict[str, dict[str, Timing]]:
    """Time some workloads in interleaved rounds: A on the first, A on the second, B on the first and so on, again.

    Parameters
    ----------
    workers : variant's name -> its worker
    workloads : those that will be compared with each other, the layouts of one batch
    budget : seconds, see :func:`plan`
    failed : called with a name and a sentence for a worker that fails; it takes no further part
    tell : called with the rounds done, ``rounds`` in all, and a note
    warmup : calls of each worker before the rounds; one more is timed to plan them

    Returns
    -------
    variant's name -> workload's name -> its timing, of every worker that finished at least one round
    """
    alive = dict(workers)

    def ask(name: str, command: str, *arguments: Any) -> Any:
        if name not in alive:
            return None
        try:
            return alive[name].ask(command, *arguments)
        except WorkerError as error:
            del alive[name]
            failed(name, str(error))
            return None

    family, first = workloads[0].family, {}
    for name, worker in workers.items():
        tell(0, f"{family}: warm-up of {name}")
        for work in workloads:
            if worker.variant.slow_start and work.layout == "groups":
                continue  # several shapes more, each of which it would have to build first
            second = ask(name, "prepare", work.name, work.batches(config), warmup)
            if second is not None:
                first[name, work.name] = second
        others.pause(PAUSE)
    count, turns = plan(first, rounds, budget)
    spent: dict[tuple[str, str], list[list[float]]] = {pair: [] for pair in first}
    for turn in range(count):
        for name, work_name in first:
            settle, calls = turns[name, work_name]
            seconds = ask(name, "time", work_name, settle + calls)
            if seconds is not None:
                spent[name, work_name].append(seconds[settle:])
                others.pause(PAUSE)
        tell(1 if turn < count - 1 else rounds - count + 1, f"{family}: round {turn + 1} of {count}")
    found: dict[str, dict[str, Timing]] = {}
    for (name, work_name), parts in spent.items():
        if parts:
            found.setdefault(name, {})[work_name] = Timing.of(parts, ask(name, "busy", work_name))
    return found
