"""How speed grows with cores, and with instances on disjoint cores.

A configuration is N instances of M cores. It answers a batch of B rows either by splitting it into N times B/N rows,
and is as fast as its slowest instance; or each instance has batches of B rows of its own, and the throughputs add up.
All instances of a configuration run at the same time, so that they compete for memory and caches as in service.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.bench import models, timing
from bertpass.bench.cpu import run as cpu
from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.quiet import Others
from bertpass.bench.timing import Timing
from bertpass.bench.variants import Variant
from bertpass.bench.workloads import of_family
from bertpass.engines.base import Batch
from bertpass.engines.checking import check_batch
from bertpass.errors import BertpassError, UsageError
from bertpass.model.config import EncoderConfig
from bertpass.placement import Topology, plan
from bertpass.progress import Bar

TURN, LEAST_CALLS = 0.3, 3  # seconds and calls of a configuration's turn in a round, whichever is more


@dataclass(frozen=True)
class Configuration:
    """``instances`` processes, each on ``cores`` cores of its own, with a thread a core."""

    instances: int
    cores: int

    def __str__(self) -> str:
        return f"{self.instances} x {self.cores}"


@dataclass(frozen=True)
class Cell:
    """One engine in one configuration: each instance computes batches of ``rows`` rows of ``length`` tokens.

    ``timing`` is that of the slowest instance; ``medians`` has the milliseconds of each.
    """

    variant: str
    configuration: Configuration
    rows: int
    length: int
    timing: Timing
    medians: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Sequences a second of all instances together."""
        return sum(self.rows / (median * 1e-3) for median in self.medians)

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        return {"engine": self.variant, "instances": self.configuration.instances, "cores": self.configuration.cores,
                "rows": self.rows, "length": self.length, **self.timing.to_dict(),
                "instance_medians_ms": [round(median, 3) for median in self.medians],
                "sequences_per_second": round(self.throughput, 2)}


@dataclass(frozen=True)
class Plan:
    """What to run: ``shapes`` are (rows, tokens) of the batches, ``rounds`` at most, ``seconds`` for those of one
    shape."""

    variants: Sequence[Variant]
    configurations: Sequence[Configuration]
    shapes: Sequence[tuple[int, int]]
    rounds: int
    seconds: float
    topology: Topology


@dataclass
class Results:
    """All cells of one model, and a sentence for what failed, by engine and configuration."""

    model: str
    source: str
    config: EncoderConfig
    plan: Plan
    variants: dict[str, Variant] = field(default_factory=dict)
    errors: dict[str, tuple[float, float]] = field(default_factory=dict)  # relative, largest
    cells: list[Cell] = field(default_factory=list)
    failures: dict[tuple[str, Configuration], str] = field(default_factory=dict)
    others_load: float = 0.0

    def cell(self, variant: str, configuration: Configuration, rows: int, length: int) -> Cell | None:
        return next((c for c in self.cells if (c.variant, c.configuration, c.rows, c.length)
                     == (variant, configuration, rows, length)), None)

    def split(self, variant: str, configuration: Configuration, shape: tuple[int, int]) -> Cell | None:
        """The cell that answers a batch of that shape in equal parts; None where it cannot be split so."""
        rows, rest = divmod(shape[0], configuration.instances)
        return None if rest else self.cell(variant, configuration, rows, shape[1])

    def fastest(self, shape: tuple[int, int], variant: str | None = None) -> Cell | None:
        """The lowest latency of a batch, split where that helps."""
        found = [self.split(name, c, shape) for name in self.variants for c in self.plan.configurations
                 if variant in (None, name)]
        return min((c for c in found if c), key=lambda c: c.timing.median, default=None)

    def busiest(self, shape: tuple[int, int], variant: str | None = None) -> Cell | None:
        """The highest throughput of batches of a shape, each computed by one instance."""
        found = [c for c in self.cells if (c.rows, c.length) == shape and variant in (None, c.variant)]
        return max(found, key=lambda c: c.throughput, default=None)

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        def about(cell: Cell | None) -> dict[str, Any] | None:
            return None if cell is None else {
                "engine": cell.variant, "instances": cell.configuration.instances,
                "cores": cell.configuration.cores, "rows": cell.rows,
                "latency_ms": round(cell.timing.median, 3), "sequences_per_second": round(cell.throughput, 2)}

        return {"model": self.model, "source": self.source, "encoder": self.config.to_dict(),
                "others_load": round(self.others_load, 3), "shapes": [f"{b}x{n}" for b, n in self.plan.shapes],
                "engines": [{"name": name, "engine": v.engine, "precision": v.precision, "ours": v.ours,
                             "options": v.options, "relative_error": self.errors.get(name, (None, None))[0],
                             "largest_error": self.errors.get(name, (None, None))[1]}
                            for name, v in self.variants.items()],
                "cells": [cell.to_dict() for cell in self.cells],
                "best": {f"{b}x{n}": {"latency": about(self.fastest((b, n))), "throughput": about(self.busiest((b, n)))}
                         for b, n in self.plan.shapes},
                "failures": [{"engine": name, "instances": c.instances, "cores": c.cores, "failure": sentence}
                             for (name, c), sentence in self.failures.items()]}


def configurations(topology: Topology, instances: Sequence[int] = (), cores: Sequence[int] = ()) -> list[Configuration]:
    """One instance on each of the numbers of ``cores``, and each number of ``instances`` on all cores in equal parts.

    By default both are 1, 2, 4, ... (instances at most 8). UsageError where there are not so many cores.
    """
    total = sum(len(instance.cores) for instance in plan(topology))
    doubling = [2 ** n for n in range(int(math.log2(total)) + 1)]
    for number in (*instances, *cores):
        if not 1 <= number <= total:
            raise UsageError(f"{number} instances or cores: between 1 and {total} are possible; the machine has "
                             f"{topology}.")
    found = [Configuration(1, number) for number in cores or sorted({*doubling, total})]
    found += [Configuration(number, total // number) for number in instances or [n for n in doubling if n <= 8]]
    return list(dict.fromkeys(found))


def work_of(configuration: Configuration, shapes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Shapes that an instance of a configuration computes: whole batches, and parts of those that can be split."""
    parts = [(rows // configuration.instances, length) for rows, length in shapes
             if rows % configuration.instances == 0]
    return list(dict.fromkeys([*shapes, *parts]))


def while_all(calls: Sequence[Sequence[tuple[float, float]]], settle: bool) -> list[list[float]]:
    """Seconds of the calls of each instance that ended while all instances were at work.

    Parameters
    ----------
    calls : begin and end of each call, by instance
    settle : leave out each instance's first call, whose caches are another engine's, where it has several
    """
    end = min(own[-1][1] for own in calls)
    found = []
    for own in calls:
        counted = own[1:] if settle and len(own) > 1 else own
        inside = [call for call in counted if call[1] <= end] or counted[:1]
        found.append([b - a for a, b in inside])
    return found


class _Group:
    """The workers of one engine in one configuration."""

    def __init__(self, variant: Variant, configuration: Configuration, topology: Topology, model: str, folder: Path,
                 ) -> None:
        self.variant, self.configuration, self.workers = variant, configuration, list[Worker]()
        for instance in plan(topology, sizes=[configuration.cores] * configuration.instances):
            log = folder / f"{variant.name}-{configuration.instances}x{configuration.cores}-{instance.number}.log"
            try:
                self.workers.append(Worker(variant, model, threads=configuration.cores, cpus=instance.cpus,
                                           memory=instance.memory, log=log))
            except WorkerError:
                self.close()
                raise

    def ask(self, command: str, *arguments: Any) -> list[Any]:
        """The same command to all at once; WorkerError where one fails."""
        for worker in self.workers:
            worker.begin(command, *arguments)
        return [worker.finish() for worker in self.workers]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


class _Run:
    def __init__(self, results: Results, folder: Path, tell: Callable[[int, str], None]) -> None:
        self.results, self.folder, self.tell = results, folder, tell
        self.groups: list[_Group] = []

    def load(self) -> None:
        for variant in self.results.plan.variants:
            for configuration in self.results.plan.configurations:
                self.tell(0, f"loading {variant.name}, {configuration}")
                try:
                    self.groups.append(_Group(variant, configuration, self.results.plan.topology, self.results.model,
                                              self.folder))
                except WorkerError as error:
                    self.results.failures[variant.name, configuration] = str(error)
                self.tell(1, "")

    def attempt(self, group: _Group, command: str, *arguments: Any) -> list[Any] | None:
        """The values of a group; None, and its failure kept, where one of its workers fails."""
        try:
            return group.ask(command, *arguments)
        except WorkerError as error:
            self.fail(group, str(error))
            return None

    def fail(self, group: _Group, sentence: str) -> None:
        self.results.failures[group.variant.name, group.configuration] = sentence
        group.close()
        self.groups.remove(group)

    def check(self, batch: Batch, reference: str) -> None:
        """Compare the token states of every worker with the reference's; a group with a wrong one is not timed."""
        inside = np.arange(batch[0].shape[1]) < batch[2][:, None]
        expected: np.ndarray | None = None
        for group in sorted(self.groups, key=lambda g: g.variant.name != reference):
            if expected is None and group.variant.name != reference:
                break
            states = self.attempt(group, "check", batch)
            if states is None:
                continue
            found = [one[inside].astype(np.float64) for one in states]
            expected = found[0] if expected is None else expected
            errors = max(cpu.errors(one, expected) for one in found)
            self.results.errors[group.variant.name] = max(errors, self.results.errors.get(group.variant.name, errors))
            wrong = cpu.fault(group.variant, errors[0])
            if wrong:
                self.fail(group, wrong)
        if expected is None:
            reasons = [why for (name, _), why in self.results.failures.items() if name == reference]
            raise BertpassError(f"the reference {reference} failed: {reasons[0]}")

    def measure(self, shape: tuple[int, int], others: Others) -> None:
        """Interleaved rounds of all groups on a shape and on the parts that it is split into."""
        done = {(c.variant, c.configuration, c.rows, c.length) for c in self.results.cells}
        first: dict[tuple[_Group, int, int], float] = {}
        for group in list(self.groups):
            for rows, length in work_of(group.configuration, [shape]):
                if group not in self.groups or (group.variant.name, group.configuration, rows, length) in done:
                    continue
                key = f"{rows}x{length}"
                spans = self.attempt(group, "prepare", key, of_family(key)[0].batches(self.results.config))
                if spans is not None:
                    first[group, rows, length] = max(spans)
            others.pause(timing.PAUSE)
        turns = {key: max(TURN, LEAST_CALLS * one) for key, one in first.items()}
        plan = self.results.plan
        count = max(timing.LEAST_ROUNDS, min(plan.rounds, int(plan.seconds / max(sum(turns.values()), 1e-9))))
        spent: dict[tuple[_Group, int, int], list[list[list[float]]]] = {key: [] for key in first}
        for turn in range(count):
            for (group, rows, length), seconds in turns.items():
                if group not in self.groups:
                    continue
                calls = self.attempt(group, "run", f"{rows}x{length}", seconds)
                if calls is not None:
                    spent[group, rows, length].append(while_all(calls, first[group, rows, length] < timing.SETTLE))
                    others.pause(timing.PAUSE)
            self.tell(1 if turn < count - 1 else plan.rounds - count + 1,
                      f"{shape[0]}x{shape[1]}: round {turn + 1} of {count}")
        for (group, rows, length), rounds in spent.items():
            if rounds:
                each = [Timing.of([one[n] for one in rounds]) for n in range(group.configuration.instances)]
                self.results.cells.append(Cell(group.variant.name, group.configuration, rows, length,
                                               max(each, key=lambda t: t.median), tuple(t.median for t in each)))

    def close(self) -> None:
        for group in self.groups:
            group.close()


def measure(plan: Plan, model: str, others: Others | None = None) -> Results:
    """Measure every engine in every configuration, all in the same rounds.

    ``others`` adds up the load of other processes, for a caller that measures more than this.

    Raises
    ------
    UsageError
        A shape is longer than the model's positions, or no engine computes in float32, to check the others against.
    BertpassError
        The engine to check against failed.
    ModelError, DownloadError, MissingDependencyError
        The model cannot be had.
    """
    reference = cpu.reference_of(plan.variants)
    checkpoint = models.token_states(model)
    longest = max(length for _, length in plan.shapes)
    if longest > checkpoint.config.max_length:
        raise UsageError(f"--shapes: {longest} tokens are more than the {checkpoint.config.max_length} positions of "
                         f"{model}.")
    results = Results(model, checkpoint.source or model, checkpoint.config, plan, {v.name: v for v in plan.variants})
    batch, others = check_batch(checkpoint), others or Others()
    del checkpoint  # the workers have their own
    steps = len(plan.variants) * len(plan.configurations) + plan.rounds * len(plan.shapes)
    with tempfile.TemporaryDirectory() as folder, Bar(model, steps, "steps") as bar:
        run = _Run(results, Path(folder), bar.advance)
        try:
            run.load()
            run.check(batch, reference)
            for shape in plan.shapes:
                run.measure(shape, others)
        finally:
            run.close()
    results.others_load = others.load
    return results
