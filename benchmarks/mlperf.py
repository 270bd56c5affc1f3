#!/usr/bin/env python
"""MLPerf's own load generator drives the native engine on the windows of SQuAD's dev set.

The scenarios are those of its BERT benchmark: SingleStream (one query after the other: 90th percentile), Offline (all
at once: samples per second), Server (queries at random times, the 99th percentile within a bound of 130 ms). The load
generator is the package mlcommons-loadgen. A run is shorter than the rules of a submission ask for, and the model is
what --model names, so the figures are no MLPerf results.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.bench import quiet
from bertpass.bench.cpu.report import environment
from bertpass.bench.models import checkpoint_for_speed
from bertpass.commands.run import guarded
from bertpass.engines.native import NativeEngine
from bertpass.engines.rows import joined
from bertpass.errors import BertpassError, MissingDependencyError, UsageError, unknown
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.options import check_output_folder, flag, parse
from bertpass.text.data.tasks import find_split, get_task
from bertpass.text.squad.data import read_squad
from bertpass.text.squad.windows import make_windows

SCENARIOS = ("SingleStream", "Offline", "Server")
LENGTH, STRIDE = 384, 128  # tokens of a window, as in MLPerf's BERT
BOUND_MS = 130  # of the 99th percentile in Server
BATCH_TOKENS = 4096  # tokens of one call in Offline and Server


@dataclass
class MlperfOptions:
    """Flags of benchmarks/mlperf.py."""

    model: str = flag("bert_12_768_12", "model to measure: a published size has random weights")
    dtype: str = flag("float32", "precision of the native engine")
    scenarios: list[str] = flag([*SCENARIOS], ", ".join(SCENARIOS))
    data_dir: str | None = flag(os.environ.get("BERTPASS_DATA"), "folder with SQuAD")
    seconds: float = flag(20.0, "least length of a scenario", least=1)
    samples: int = flag(1000, "windows of the dev set, spread over all of it", least=16)
    qps: float | None = flag(None, "queries per second in Server (default: 0.7 of Offline's samples per second)",
                             least=0.1)
    threads: int | None = flag(None, "threads of the engine (default: as bertpass.machine counts them)", least=1)
    output: str | None = flag(None, "write the figures to this JSON file")


def main(argv: Sequence[str]) -> int:
    return guarded(lambda: measure(parse(MlperfOptions, argv, "MLPerf's load generator on the native engine.")))


def windows(options: MlperfOptions) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and token types of windows of the dev set."""
    if options.data_dir is None:
        raise UsageError("give --data_dir or set BERTPASS_DATA: the folder that has SQuAD.")
    (file,) = find_split(get_task("QA"), options.data_dir, "dev")
    questions = read_squad(file).questions
    tokenizer = load_checkpoint("minilm").tokenizer  # BERT's uncased vocabulary
    assert tokenizer is not None
    step = max(1, len(questions) // options.samples)
    found = make_windows(questions[::step], tokenizer, max_seq_length=LENGTH, doc_stride=STRIDE)
    return [(one.ids, one.token_types) for one in found[:options.samples]]


class System:
    """The engine as the load generator sees it: queries come in, a thread computes what waits, answers go out."""

    def __init__(self, lg: Any, engine: NativeEngine, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self._lg, self._engine, self._rows = lg, engine, rows
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def issue(self, queries: Sequence[Any]) -> None:
        """Of several at once the long ones first, so that rows of one call are alike."""
        for one in sorted(queries, key=lambda q: -len(self._rows[q.index][0])):
            self._waiting.put(one)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        held = self._waiting.get()
        while held is not None:
            batch, tokens, held = [held], len(self._rows[held.index][0]), None
            while held is None and tokens < BATCH_TOKENS:  # all that waits, as long as it fits
                try:
                    found = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if found is None:
                    self._waiting.put(None)  # the end: for the next turn
                    break
                if tokens + len(self._rows[found.index][0]) > BATCH_TOKENS:
                    held = found
                else:
                    batch.append(found)
                    tokens += len(self._rows[found.index][0])
            self._answer(batch)
            held = held or self._waiting.get()

    def _answer(self, batch: Sequence[Any]) -> None:
        try:
            logits = self._engine.rows(*joined([self._rows[one.index] for one in batch]))[0].by_row()
        except BertpassError as error:
            self.failure = error
            logits = [np.zeros((1, 2), np.float32)] * len(batch)
        arrays = [np.ascontiguousarray(one) for one in logits]
        self._lg.QuerySamplesComplete([self._lg.QuerySampleResponse(one.id, array.ctypes.data, array.nbytes)
                                       for one, array in zip(batch, arrays, strict=True)])


def run(lg: Any, scenario: str, system: System, count: int, seconds: float, qps: float) -> dict[str, float | str]:
    """One scenario; what the generator's summary says."""
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1 if scenario == "Offline" else 100
    if scenario == "Offline":
        settings.offline_expected_qps = qps
    elif scenario == "Server":
        settings.server_target_qps = qps
        settings.server_target_latency_ns = BOUND_MS * 1_000_000
        settings.server_target_latency_percentile = 0.99
    else:
        settings.single_stream_expected_latency_ns = int(1e9 / qps)
    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.log_output.outdir = folder
        log.log_output.copy_summary_to_stdout = False
        log.enable_trace = False
        sut = lg.ConstructSUT(system.issue, system.flush)
        samples = lg.ConstructQSL(count, count, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, samples, settings, log)
        lg.DestroyQSL(samples)
        lg.DestroySUT(sut)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    if system.failure is not None:
        raise system.failure
    return read_summary(summary)


#: line of the generator's summary -> its name in our files
LINES = {"90.0th percentile latency (ns)": "p90_ms", "99.00 percentile latency (ns)": "p99_ms",
         "Mean latency (ns)": "mean_ms", "Samples per second": "samples_per_second",
         "Completed samples per second": "samples_per_second", "90th percentile latency (ns)": "p90_ms",
         "Scheduled samples per second": "scheduled_per_second", "Result is": "result"}


def read_summary(text: str) -> dict[str, float | str]:
    """The figures of a summary that are known here; times in milliseconds."""
    found: dict[str, float | str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        name = re.sub(r"\s+", " ", name).strip()
        if colon and name in LINES:
            found[LINES[name]] = value.strip() if name == "Result is" else float(value) / (
                1e6 if name.endswith("(ns)") else 1)
    return found


def measure(options: MlperfOptions) -> None:
    for word in options.scenarios:
        if word not in SCENARIOS:
            raise UsageError("--scenarios: " + unknown("scenario", word, SCENARIOS))
    try:
        import mlperf_loadgen as lg
    except ImportError as error:
        raise MissingDependencyError("the load generator is not there; install it with: pip install "
                                     "mlcommons-loadgen") from error
    if options.output:
        check_output_folder("output", Path(options.output).parent)
    rows = windows(options)
    threads = options.threads or machine.threads()
    checkpoint = checkpoint_for_speed(options.model)
    head = HeadConfig("qa")
    params = {**parameters.random(parameters.shapes(checkpoint.config, head), seed=0, random_bias=True),
              **{name: array for name, array in checkpoint.params.items()
                 if name in parameters.shapes(checkpoint.config, head)}}
    engine = NativeEngine(dataclasses.replace(checkpoint, head=head, params=params, labels=None), dtype=options.dtype,
                          threads=threads)
    tokens = sum(len(ids) for ids, _ in rows)
    print(f"{options.model}, {options.dtype}, {threads} threads: {len(rows)} windows of {tokens / len(rows):.0f} "
          "tokens on average")
    found: dict[str, dict[str, float | str]] = {}
    system = System(lg, engine, rows)
    try:
        for name in (name for name in SCENARIOS if name in options.scenarios):
            rate = options.qps or 0.7 * float(found.get("Offline", {}).get("samples_per_second", 30.0))
            found[name] = run(lg, name, system, len(rows), options.seconds, rate if name == "Server" else 50.0)
            print(f"{name:13} " + ", ".join(f"{key} {one:.4g}" if isinstance(one, float) else f"{key} {one}"
                                            for key, one in found[name].items()), flush=True)
    finally:
        system.close()
    if options.output:
        write_json(Path(options.output), {
            "environment": environment(threads, quiet.pick(threads), {}), "model": options.model,
            "dtype": options.dtype, "windows": len(rows), "tokens": tokens, "length": LENGTH, "bound_ms": BOUND_MS,
            "scenarios": found})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
