"""The comparison of all CPU engines on one model: load, check, time in turn."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bertpass.bench import models, timing
from bertpass.bench.cpu.results import Measured, ModelResults
from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.quiet import Others
from bertpass.bench.timing import Timing
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.bench.workloads import Workload, flops
from bertpass.engines.base import Batch
from bertpass.engines.checking import check_batch
from bertpass.errors import BertpassError, UsageError
from bertpass.model.config import EncoderConfig
from bertpass.progress import Bar


@dataclass(frozen=True)
class Plan:
    """What to run: ``rounds`` at most, ``seconds`` for the rounds of one workload, ``threads`` on ``cpus``; ``warmup``
    calls of each engine come before."""

    variants: Sequence[Variant]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    threads: int
    cpus: Sequence[int]
    warmup: int = 1


@dataclass
class Run:
    """The workers of one model; each failure is kept as that variant's result."""

    plan: Plan
    model: str
    folder: Path
    tell: Callable[[int, str], None]
    source: str
    config: EncoderConfig
    reference: str
    workers: dict[str, Worker] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    left_out: dict[str, float] = field(default_factory=dict)
    others: Others = field(default_factory=Others)

    def load(self) -> None:
        for variant in self.plan.variants:
            self.tell(0, f"loading {variant.name}")
            entry = self.measured[variant.name] = Measured(variant)
            start = time.perf_counter()
            try:
                worker = Worker(variant, self.model, threads=self.plan.threads, cpus=self.plan.cpus,
                                log=self.folder / f"{variant.name}.log")
            except WorkerError as error:
                entry.failure = str(error)
            else:
                self.workers[variant.name] = worker
                entry.about, entry.load_seconds = worker.about, time.perf_counter() - start
                entry.resident_bytes = worker.resident()
            self.tell(1, "")

    def check(self, batch: Batch, reference: str) -> None:
        """Compare every engine's token states with the reference's; what is wrong or fails is not timed."""
        lengths = batch[2]
        inside = np.arange(batch[0].shape[1]) < lengths[:, None]
        expected: np.ndarray | None = None
        for name in sorted(self.workers, key=lambda name: name != reference):
            entry = self.measured[name]
            try:
                found = self.workers[name].ask("check", batch)[inside].astype(np.float64)
            except WorkerError as error:
                self.fail(name, str(error))
                continue
            if expected is None:
                if name != reference:
                    raise BertpassError(f"the reference {reference} failed: {self.measured[reference].failure}")
                expected = found
            entry.relative_error, entry.largest_error = errors(found, expected)
            wrong = fault(entry.variant, entry.relative_error)
            if wrong:
                self.fail(name, wrong)

    def time(self, workloads: Sequence[Workload], rounds: int, budget: float) -> dict[str, dict[str, Timing]]:
        """Time layouts of one batch, see :func:`bertpass.bench.timing.measure`; ``measured`` gets the timings too."""
        found = timing.measure(self.workers, workloads, self.config, rounds=rounds, budget=budget, others=self.others,
                               failed=self.fail, tell=self.tell, warmup=self.plan.warmup)
        for name, timings in found.items():
            self.measured[name].timings.update(timings)
            if name in self.workers:
                self.measured[name].peak_bytes = self.workers[name].peak()
        return found

    def least(self, workloads: Sequence[Workload]) -> float:
        """Seconds that the fewest rounds of these workloads take, from the largest that was timed; 0 before the first.
        """
        timed = [w for w in self.plan.workloads if any(w.name in m.timings for m in self.measured.values())]
        if not timed:
            return 0.0
        last = max(timed, key=lambda w: self.work([w]))
        once = sum(m.timings[last.name].median for m in self.measured.values() if last.name in m.timings) / 1e3
        calls = self.plan.warmup + 1 + timing.LEAST_ROUNDS
        return once * calls * self.work(workloads) / self.work([last])

    def work(self, workloads: Sequence[Workload]) -> float:
        """Floating-point operations of the workloads, padding included."""
        return sum(flops(self.config, [length] * len(rows)) for w in workloads for rows, length in w.groups)

    def fail(self, name: str, sentence: str) -> None:
        self.measured[name].failure = sentence
        worker = self.workers.pop(name, None)
        if worker is not None:
            worker.close()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def errors(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """L2 norm of the difference over that of ``expected``, and the largest absolute difference."""
    difference = found - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected)), float(np.abs(difference).max())


def fault(variant: Variant, relative: float) -> str:
    """A sentence where a relative error is above the bound of the variant's precision, else nothing."""
    if relative <= variant.bound:  # false for NaN
        return ""
    return f"wrong: relative error {relative:.1e}, bound {variant.bound:.0e}."


def reference_of(variants: Sequence[Variant]) -> str:
    """The variant whose outputs count as right: plain MXNet, else the first in float32; UsageError without one."""
    exact = [v.name for v in variants if v.precision == "float32"]
    if not exact:
        raise UsageError("--engines: at least one must compute in float32, to check the others against it.")
    return REFERENCE if REFERENCE in exact else exact[0]


@contextlib.contextmanager
def running(plan: Plan, model: str, tell: Callable[[int, str], None]) -> Iterator[Run]:
    """The plan's engines on one model, loaded and checked; they end with the context.

    Parameters
    ----------
    model : as in :func:`bertpass.bench.models.checkpoint_for_speed`
    tell : called with 1 for each engine that was loaded, and with notes

    Raises
    ------
    UsageError
        A workload is longer than the model's positions, or no variant computes in float32.
    BertpassError
        The reference failed, so nothing can be checked.
    ModelError, DownloadError, MissingDependencyError
        The model cannot be had.
    """
    reference = reference_of(plan.variants)
    checkpoint = models.token_states(model)
    longest = max(length for w in plan.workloads for _, length in w.groups)
    if longest > checkpoint.config.max_length:
        raise UsageError(f"--shapes: {longest} tokens are more than the {checkpoint.config.max_length} positions of "
                         f"{model}.")
    batch, source, config = check_batch(checkpoint), checkpoint.source or model, checkpoint.config
    del checkpoint  # the workers have their own; a large model's memory is theirs
    with tempfile.TemporaryDirectory() as folder:
        run = Run(plan, model, Path(folder), tell, source, config, reference)
        try:
            run.load()
            run.check(batch, reference)
            yield run
        finally:
            run.close()


def compare(plan: Plan, model: str, budget: float | None = None) -> ModelResults:
    """Run the plan on one model; parameters and errors as :func:`running`.

    With a ``budget``, in seconds from now and loading included, the batches with the least to compute come first
    (padding not counted), each with an equal share of what is left; one that would go over it is left out.
    """
    end = None if budget is None else time.monotonic() + budget
    families: dict[str, list[Workload]] = {}
    for workload in plan.workloads:
        families.setdefault(workload.family, []).append(workload)
    with Bar(model, len(plan.variants) + plan.rounds * len(families), "steps") as bar, \
            running(plan, model, bar.advance) as run:
        waiting = list(families)
        if end is not None:
            waiting.sort(key=lambda family: flops(run.config, families[family][0].lengths))
        while waiting:
            layouts = families[waiting[0]]
            seconds = plan.seconds * len(layouts)
            if end is not None:
                left, least = end - time.monotonic(), run.least(layouts)
                if least > left:
                    run.left_out[waiting.pop(0)] = least
                    bar.advance(plan.rounds, f"{layouts[0].family} goes over the budget")
                    continue
                seconds = min(seconds, max(left, 0) / len(waiting))
            run.time(layouts, plan.rounds, seconds)
            waiting.pop(0)
    return ModelResults(model, run.source, run.config, list(plan.workloads), run.reference, list(run.measured.values()),
                        run.others.load, run.left_out)
