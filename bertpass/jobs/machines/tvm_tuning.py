"""The fastest schedule of each kernel of the TVM engine, found by measuring all of them within a time budget.

TVM's own search (MetaSchedule) is not used: on these networks it needs many minutes for one shape, and what it finds is
slower than the kernels' schedules by default, which this search begins with.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.tvm import engine, records
from bertpass.engines.tvm.kernels import MOST_BYTES, Kernels
from bertpass.engines.tvm.network import Network
from bertpass.engines.tvm.records import Record
from bertpass.model.record import Checkpoint
from bertpass.progress import Bar

CHUNKS = (64, 128, 256)  # rows that a panel of weights may pass over before the next one comes
MARGIN = 0.02  # a schedule has to be faster by this than that by default to be taken for it
ROUNDS = 25  # at most
LEAST_ROUNDS = 3
TURN = 0.004  # seconds of a schedule's turn in a round
COLD = 64 * 2**20  # bytes of weights that take turns: in a network none is still in a cache when its call comes
TOLERANCE = 1e-4  # of a schedule's results, relative to those by default


def space(kernels: Kernels, kernel: str, arguments: Sequence[Any]) -> list[dict[str, int]]:
    """The schedules of a kernel, that by default, ``{}``, first; only that for a kernel that has no others."""
    if kernel == "dense":
        shape = arguments[0]
        rows = shape[0] if len(shape) == 2 else shape[0] * shape[1]
        chunks = [0, *(size for size in CHUNKS if size < rows and rows % size == 0)]
        tiles = [0, *(size for size in (kernels.tile // 2, kernels.tile // 4) if size and rows % size == 0)]
        choices: Iterator[tuple[str, str, int, int]] = (("tile", "chunk", *pair) for pair in
                                                        itertools.product(tiles, chunks))
    elif kernel == "attention":
        _, padded, _, size = arguments
        widths = [n * kernels.lanes for n in (1, 2, 4) if size % (n * kernels.lanes) == 0]
        tiles = [n for n in (2, 4, 8, 16) if padded % n == 0]
        usual = kernels.tile, min(kernels.columns, max(widths))
        choices = (("tile", "width", *pair) for pair in itertools.product(tiles, widths)
                   if pair != usual and pair[0] * pair[1] * 4 <= MOST_BYTES)
    else:
        return [{}]
    found = [{name: value for name, value in ((a, x), (b, y)) if value} for a, b, x, y in choices]
    return [{}, *(schedule for schedule in found if schedule)]


def tune(checkpoint: Checkpoint, shapes: Sequence[tuple[int, int]], minutes: float, threads: int) -> list[Record]:
    """Measure the schedules of a network's kernels.

    Parameters
    ----------
    shapes : (batch, sequence length) of the programs whose kernels are meant
    minutes : for all of them together; each kernel gets an equal share of what is left, three rounds at least
    threads : of TVM's pool, in this process

    Returns
    -------
    A record of each kernel that has several schedules.

    Raises
    ------
    MissingDependencyError
        apache-tvm is not installed.
    UsageError
        The network has widths that the kernels do not take.
    """
    end = time.monotonic() + minutes * 60
    tvm = engine.start(threads)
    network = Network(tvm, checkpoint, threads)
    cpu, lanes = machine.describe()["cpu"], network.kernels.lanes
    waiting = [call for call in dict.fromkeys(call for shape in shapes for call in network.calls(*shape))
               if len(space(network.kernels, *call)) > 1]
    found = []
    with Bar("tuning", len(waiting), "kernels") as bar:
        for place, (kernel, arguments) in enumerate(waiting):
            words = records.written(arguments)
            bar.advance(0, f"{kernel} {words}")
            seconds = max(0.0, end - time.monotonic()) / (len(waiting) - place)
            times, schedules = measured(tvm, network, kernel, arguments, seconds)
            best = min(range(len(times)), key=times.__getitem__)
            if times[best] > times[0] * (1 - MARGIN):
                best = 0
            found.append(Record(cpu, lanes, threads, kernel, words, schedules[best], round(times[best] * 1e6, 1),
                                round(times[0] * 1e6, 1), tvm.__version__))
            bar.advance(1)
    return found


def measured(tvm: Any, network: Network, kernel: str, arguments: Sequence[Any], seconds: float,
              ) -> tuple[list[float], list[dict[str, int]]]:
    """Seconds of a call of each schedule, the least that was seen, and the schedules.

    Half of the time is for compiling; schedules that it is too short for are left out.
    """
    begin = time.monotonic()
    made: list[tuple[Any, dict[str, int]]] = []
    inputs: list[list[Any]] = []
    for schedule in space(network.kernels, kernel, arguments):
        if made and time.monotonic() - begin > seconds / 2:
            break
        function = getattr(network.kernels, kernel)(*arguments, **schedule)
        inputs = inputs or _inputs(tvm, function, kernel)
        module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        run = tvm.compile(module, network.target)["main"]
        run(*inputs[0])
        result = inputs[0][-1].numpy()
        if not made:
            expected = result
        elif np.linalg.norm(result - expected) > TOLERANCE * np.linalg.norm(expected):
            continue  # a schedule must not change what is computed
        made.append((run, schedule))
    times = [float("inf")] * len(made)
    sets, calls = itertools.cycle(inputs), [0] * len(made)
    for count in range(ROUNDS):
        if count >= LEAST_ROUNDS and time.monotonic() - begin > seconds:
            break
        for number, (run, _) in enumerate(made):
            own = [next(sets) for _ in range(calls[number] or 1)]
            start = time.perf_counter()
            for arrays in own:
                run(*arrays)
            once = (time.perf_counter() - start) / len(own)
            times[number] = min(times[number], once)
            calls[number] = calls[number] or max(1, min(200, int(TURN / once)))
    return times, [schedule for _, schedule in made]


def _inputs(tvm: Any, function: Any, kernel: str) -> list[list[Any]]:
    """Random arguments of a kernel, output included: several sets, which differ in where their weights lie."""
    source = np.random.default_rng(0)
    buffers = list(function.params)

    def filled(buffer: Any) -> Any:
        shape = [int(size) for size in buffer.shape]
        if str(buffer.dtype) == "int32":  # attention's lengths: no padding
            return tvm.runtime.tensor(np.full(shape, int(buffers[-1].shape[1]), np.int32))
        return tvm.runtime.tensor(source.standard_normal(shape, dtype=np.float32))

    first = [filled(buffer) for buffer in buffers]
    if kernel != "dense":
        return [first]
    size = 4 * int(np.prod([int(n) for n in buffers[1].shape]))
    copies = max(1, min(16, -(-COLD // size)))
    return [first, *([first[0], filled(buffers[1]), *first[2:]] for _ in range(copies - 1))]
