#!/usr/bin/env python
"""One native model under load for long: many threads give what one gives, bit for bit, and memory stays flat.

First ``--threads`` Python threads send ragged batches to one model for ``--seconds``, each result compared with the one
that the same batch gave alone; then one thread computes ``--batches`` ragged batches while resident memory is sampled
and a line is fitted to the second half of the samples.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.engines import load
from bertpass.engines.base import Engine
from bertpass.errors import BertpassError
from bertpass.model.config import EncoderConfig
from bertpass.options import check_output_folder, flag, parse

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
_SAMPLES = 400  # of the memory


@dataclass
class SoakOptions:
    """Flags of benchmarks/soak.py."""

    model: str = flag("minilm", "a model that bertpass.load takes")
    dtype: str | None = flag(None, "precision of the engine, by default its own")
    seconds: float = flag(60.0, "time under many threads", least=0)
    threads: int = flag(8, "Python threads", least=1)
    engine_threads: int | None = flag(None, "threads of each forward, by default those of the machine", least=1)
    batches: int = flag(20000, "batches for the memory", least=2)
    rows: int = flag(8, "most rows of a batch", least=1)
    length: int = flag(64, "most tokens of a row", least=1)
    growth: float = flag(2.0, "MiB by which memory may grow over all batches", least=0)
    output: str | None = flag(None, "write the figures to this JSON file")


def ragged(config: EncoderConfig, source: np.random.Generator, rows: int, length: int) -> Batch:
    """A batch of 1 to ``rows`` rows of 1 to ``length`` tokens, padded to its longest row."""
    lengths = source.integers(1, min(length, config.max_length) + 1, source.integers(1, rows + 1)).astype(np.int32)
    shape = (len(lengths), int(lengths.max()))
    types = source.integers(0, max(config.token_type_vocab_size, 1), shape).astype(np.int32)
    return source.integers(0, config.vocab_size, shape).astype(np.int32), types, lengths


def many_threads(engine: Engine, batches: Sequence[Batch], threads: int, seconds: float) -> dict[str, Any]:
    """Calls, and how many of them gave another result than the same batch alone, or failed."""
    alone = [engine.forward(*batch) for batch in batches]
    calls, wrong, failed = [0] * threads, [0] * threads, []
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        source = np.random.default_rng(number)
        try:
            while time.monotonic() < end:
                at = int(source.integers(len(batches)))
                found = engine.forward(*batches[at])
                wrong[number] += not all(map(np.array_equal, found, alone[at]))
                calls[number] += 1
        except Exception as error:  # a thread's failure must not go unseen
            failed.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"threads": threads, "seconds": seconds, "calls": sum(calls), "fewest_calls_of_a_thread": min(calls),
            "different": sum(wrong), "failed": failed}


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flat_memory(engine: Engine, config: EncoderConfig, count: int, rows: int, length: int) -> dict[str, Any]:
    """Resident memory over ``count`` ragged batches.

    ``growth_mib`` is the slope of a line through the second half of the samples, times ``count``: what all batches
    would add at that rate. In the first half the allocator and the arena reach their level.
    """
    source = np.random.default_rng(0)
    full = (np.zeros((rows, min(length, config.max_length)), np.int32),) * 2
    engine.forward(*full, np.full(rows, full[0].shape[1], np.int32))  # the largest batch there will be
    at, samples = [], []
    for number in range(count):
        engine.forward(*ragged(config, source, rows, length))
        if number % max(1, count // _SAMPLES) == 0:
            at.append(number)
            samples.append(resident())
    half = len(at) // 2
    slope = float(np.polyfit(at[half:], samples[half:], 1)[0]) if len(at) - half > 1 else 0.0
    return {"batches": count, "first_mib": samples[0] / 2**20, "middle_mib": samples[half] / 2**20,
            "last_mib": samples[-1] / 2**20, "bytes_a_batch": slope, "growth_mib": slope * count / 2**20}


def main(argv: Sequence[str] | None = None) -> int:
    """Run both parts; returns the exit code: 1 where a result differed or memory grew."""
    def job() -> None:
        options = parse(SoakOptions, argv, "One native model under many threads, and its memory over many batches.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        chosen = {"dtype": options.dtype} if options.dtype else {}
        model = load(options.model, engine="native", threads=options.engine_threads, **chosen)
        source = np.random.default_rng(1)
        batches = [ragged(model.config, source, options.rows, options.length) for _ in range(64)]
        told: dict[str, Any] = {"command": machine.command(), "settings": model.engine.describe(),
                                "machine": machine.describe(), "versions": machine.versions()}
        told["threads"] = many_threads(model.engine, batches, options.threads, options.seconds)
        print("{threads} threads, {seconds:g} s: {calls} calls, {different} different from the same batch alone, "
              "{0} failed".format(len(told["threads"]["failed"]), **told["threads"]))
        told["memory"] = flat_memory(model.engine, model.config, options.batches, options.rows, options.length)
        print("{batches} ragged batches: {first_mib:.1f} MiB after the first, {middle_mib:.1f} in the middle, "
              "{last_mib:.1f} after the last; slope {bytes_a_batch:.2f} bytes a batch".format(**told["memory"]))
        if options.output:
            write_json(options.output, told)
        if told["threads"]["different"] or told["threads"]["failed"]:
            raise BertpassError(f"results differ between threads: {told['threads']}.")
        if told["memory"]["growth_mib"] > options.growth:
            raise BertpassError(f"memory grows by {told['memory']['growth_mib']:.1f} MiB over {options.batches} "
                                f"batches; --growth allows {options.growth:g}.")
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
