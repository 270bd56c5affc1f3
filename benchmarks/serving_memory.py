#!/usr/bin/env python
"""How long `bertpass serve` takes until it is ready, and its memory over many ragged requests.

Memory is the resident set of the server and of its engine processes, of each for itself.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from serving_process import Process, httpx

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError
from bertpass.options import check_output_folder, flag, parse

TEXT = "the a film of great dull and moving story that nobody will ever quite forget , . ! 7"
_SAMPLES = 200


@dataclass
class MemoryOptions:
    """Flags of benchmarks/serving_memory.py."""

    model: str = flag("minilm", "a model that gives embeddings")
    engine: str = flag("native", "what computes it", choices=("dummy", "native"))
    dtype: str | None = flag(None, "precision of the native engine, by default the server's")
    starts: int = flag(5, "starts of the server", least=1)
    requests: int = flag(20000, "requests for the memory", least=_SAMPLES)
    clients: int = flag(4, "clients that send them at the same time", least=1)
    rows: int = flag(8, "most texts of a request", least=1)
    words: int = flag(48, "most words of a text", least=1)
    growth: float = flag(4.0, "MiB by which a process may grow over all requests", least=0)
    output: str | None = flag(None, "write the figures to this JSON file")


def command(options: MemoryOptions) -> list[Any]:
    """The words of bertpass serve."""
    chosen = ["--dtype", options.dtype] if options.dtype is not None else []
    return [options.model, "--port", 0, "--engine", options.engine, "--log_level", "info", *chosen]


def startup(options: MemoryOptions) -> dict[str, Any]:
    """Milliseconds from the start of the process until /ready is 200."""
    spent = []
    for _ in range(options.starts + 1):  # the first fills the system's file cache and does not count
        with Process(*command(options)) as process:
            process.url()
            spent.append(1000 * (time.monotonic() - process.started))
    counted = spent[1:]
    return {"starts": options.starts, "median_ms": round(statistics.median(counted)), "least_ms": round(min(counted)),
            "most_ms": round(max(counted))}


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ragged(source: np.random.Generator, options: MemoryOptions) -> list[str]:
    """1 to ``rows`` texts of 1 to ``words`` words."""
    words = TEXT.split()
    lengths = source.integers(1, options.words + 1, source.integers(1, options.rows + 1))
    return [" ".join(source.choice(words, length)) for length in lengths]


def memory(options: MemoryOptions) -> dict[str, Any]:
    """The memory of every process over the requests.

    The first request is as large as any batch can become, so that working memory has its size before the first sample.
    ``growth_mib`` is the slope of a line through the second half of the samples, times the number of requests: what all
    of them would add at that rate. In the first half allocators reach their level.
    """
    with Process(*command(options)) as process:
        url, pids = process.url(), {"server": process.process.pid}
        pids |= {f"engine {number}": pid for number, pid in enumerate(process.pids())}
        largest = [" ".join(TEXT.split() * options.words)[:8 * options.words]] * (options.clients * options.rows)
        httpx.post(url + "/embed", json={"inputs": largest, "truncate": True}, timeout=60).raise_for_status()
        every = max(1, options.requests // _SAMPLES)
        at, samples, wrong, lock, sent = [], [], [], threading.Lock(), iter(range(options.requests))

        def work(number: int) -> None:
            source = np.random.default_rng(number)
            with httpx.Client(timeout=60) as client:
                while True:
                    with lock:
                        mine = next(sent, None)
                        if mine is None:
                            return
                        if mine % every == 0:
                            at.append(mine)
                            samples.append([resident(pid) for pid in pids.values()])
                    status = client.post(url + "/embed", json={"inputs": ragged(source, options)}).status_code
                    if status != 200:
                        wrong.append(status)

        clients = [threading.Thread(target=work, args=(number,)) for number in range(options.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if wrong:
            raise BertpassError(f"{len(wrong)} of {options.requests} requests failed, the first with {wrong[0]}.")
    half, columns = len(at) // 2, np.array(samples, np.float64).T / 2**20
    found: dict[str, Any] = {"requests": options.requests}
    for name, column in zip(pids, columns, strict=True):
        slope = float(np.polyfit(at[half:], column[half:], 1)[0])
        found[name] = {"first_mib": round(column[0], 1), "middle_mib": round(column[half], 1),
                       "last_mib": round(column[-1], 1), "bytes_a_request": round(slope * 2**20, 2),
                       "growth_mib": round(slope * options.requests, 2),
                       "samples_mib": [round(each, 1) for each in column[::max(1, len(column) // 20)]]}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both; returns the exit code: 1 where a process grew by more than is allowed."""
    def job() -> None:
        options = parse(MemoryOptions, argv, "Start-up and memory of bertpass serve.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        told: dict[str, Any] = {"command": machine.command(), "machine": machine.describe(),
                                "versions": machine.versions()}
        told["startup"] = startup(options)
        print("ready after {median_ms} ms ({least_ms} to {most_ms}, {starts} starts)".format(**told["startup"]))
        told["memory"] = memory(options)
        grown = {name: each for name, each in told["memory"].items() if isinstance(each, dict)}
        for name, each in grown.items():
            print("{0}: {first_mib} MiB at first, {middle_mib} in the middle, {last_mib} at the end; {bytes_a_request} "
                  "bytes a request".format(name, **each))
        if options.output:
            write_json(options.output, told)
        for name, each in grown.items():
            if each["growth_mib"] > options.growth:
                raise BertpassError(f"the {name} grows by {each['growth_mib']} MiB over {options.requests} requests; "
                                    f"--growth allows {options.growth:g}.")
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
