"""Ways to serve the same requests on the same cores: one instance, several, several by length."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.bench import models
from bertpass.bench.instances import routing
from bertpass.bench.process import Worker, WorkerError
from bertpass.bench.variants import Variant
from bertpass.errors import BertpassError
from bertpass.placement import Instance, Topology, plan
from bertpass.progress import Bar

GRID = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512)  # lengths at which times are measured


@dataclass(frozen=True)
class Study:
    """``sizes``: cores of the instances; ``bounds`` as of :func:`bertpass.bench.instances.routing.by_length` (none:
    chosen so that work is shared evenly); ``loads``: shares of what the instances together can compute; ``count``
    requests a run."""

    variant: Variant
    sizes: Sequence[int]
    distribution: str
    loads: Sequence[float]
    count: int
    topology: Topology
    bounds: Sequence[int] = ()


def compare(study: Study, model: str) -> dict[str, Any]:
    """Measure times by length, from which bounds and loads follow, and run each way at each load.

    Returns
    -------
    what JSON holds: the instances with their times, bounds, and a list of runs with their latencies
    (:func:`bertpass.bench.instances.routing.summary`)

    Raises
    ------
    UsageError
        There are not so many cores.
    BertpassError
        The engine failed.
    ModelError, DownloadError, MissingDependencyError
        The model cannot be had.
    """
    split = plan(study.topology, sizes=study.sizes)
    whole = plan(study.topology, sizes=[sum(study.sizes)])
    checkpoint = models.token_states(model)
    config, longest = checkpoint.config, checkpoint.config.max_length
    source = checkpoint.source or model
    del checkpoint
    lengths = routing.drawn_lengths(study.distribution, study.count, longest)
    grid = [n for n in GRID if n <= max(lengths)]
    grid = grid if grid[-1] == max(lengths) else [*grid, int(max(lengths))]
    needed = sorted({*grid, *map(int, lengths)})
    steps = len(split) + 1 + 3 * len(study.loads)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, \
                Bar(model, steps, "steps") as bar:
            groups: list[list[Worker]] = []
            for instances in (whole, split):
                workers = []
                for instance in instances:
                    bar.advance(0, f"loading {study.variant.name}")
                    workers.append(_started(study.variant, model, instance, Path(folder), len(groups)))
                    stack.callback(workers[-1].close)
                    bar.advance(1)
                groups.append(workers)
            for workers in groups:
                bar.advance(0, "times by length")
                routing.prepare(workers, needed, config)
            curves = [routing.curves(workers, grid) for workers in groups]
            service = [routing.interpolated(curve) for curve in curves[1]]
            bounds = list(study.bounds) or routing.balanced(lengths, service)
            ways = [("one instance", 0, routing.anywhere(1)),
                    ("first free", 1, routing.anywhere(len(split))),
                    ("by length", 1, routing.by_length(bounds))]
            most = routing.capacity(lengths, service)
            runs = []
            for load in study.loads:
                requests = routing.poisson(load * most, lengths)
                for name, group, policy in ways:
                    bar.advance(0, f"load {load:g}, {name}")
                    latencies = routing.serve(groups[group], requests, policy)
                    runs.append({"way": name, "load": load, "requests_per_second": round(load * most, 2),
                                 **routing.summary(latencies, lengths)})
                    bar.advance(1)
    except WorkerError as error:
        raise BertpassError(f"{study.variant.name}: {error}") from error
    return {"model": model, "source": source, "engine": study.variant.name, "precision": study.variant.precision,
            "distribution": study.distribution, "requests": study.count,
            "mean_length": round(float(np.mean(lengths)), 1),
            "instances": [_about(*pair) for pair in zip(split, curves[1], strict=True)],
            "whole": _about(whole[0], curves[0][0]), "bounds": bounds, "capacity_per_second": round(most, 2),
            "runs": runs}


def _started(variant: Variant, model: str, instance: Instance, folder: Path, group: int) -> Worker:
    return Worker(variant, model, threads=len(instance.cpus), cpus=instance.cpus, memory=instance.memory,
                  log=folder / f"{group}-{instance.number}.log")


def _about(instance: Instance, curve: dict[int, float]) -> dict[str, Any]:
    return {"cpus": list(instance.cpus), "milliseconds_by_length": {n: round(s * 1e3, 3) for n, s in curve.items()}}
