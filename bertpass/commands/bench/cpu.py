"""The command line ``bertpass bench cpu``: all CPU engines on the same weights in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import start_logging

MODELS = ["minilm", "bert_12_768_12"]
QUICK_SHAPES = ["1x128", "8x128", "sst"]


@dataclass
class CpuOptions:
    """Flags of bertpass bench cpu."""

    models: list[str] = flag([], "published sizes (random weights: speed does not depend on them), minilm or paths "
                             "(default: minilm bert_12_768_12; with --quick minilm)", positional=True, metavar="MODEL",
                             formerly=("--models",))
    engines: list[str] = flag([], "engines (native, openvino, ...) or variants of them (openvino-int8, ...) (default: "
                              "all, tensorflow where it has its environment; without --quick and --minutes also "
                              "onnxruntime-float16 and what compiles for each shape)")
    shapes: list[str] = flag([], "batch x sequence length with full rows; queries, sst and squad are ragged batches "
                             "(default: 1x16 1x128 8x128 1x384 32x128 queries sst squad; with --quick 1x128 8x128 sst)")
    beside: str | None = flag(None, "folder of another built checkout of bertpass, whose CPU engine is measured as "
                              "well")
    rounds: int | None = flag(None, "largest number of interleaved rounds (default: 15, with --quick 5)", least=3)
    seconds: float = flag(45.0, "seconds per layout of a batch; slow engines get fewer rounds, at least 3", least=1)
    minutes: float | None = flag(None, "minutes for everything, loading included; small batches come first, and what "
                                 "does not fit is left out and marked", least=0.1)
    threads: int | None = flag(None, "threads of every engine (default: OMP_NUM_THREADS, otherwise all processors)",
                               least=1, most=1024)
    output: str = flag("bench_output", "folder for cpu.json and cpu.png")
    quick: bool = flag(False, "MiniLM, three batches, 5 rounds: about three minutes")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code, 1 where no engine could be measured."""
    def job() -> None:
        start = time.monotonic()
        options = parse(CpuOptions, argv, "Measure every CPU engine on the same weights, interleaved.")
        check_output_folder("output", options.output)
        from bertpass.bench import ceiling, quiet, variants, workloads
        from bertpass.bench.cpu import plot, report, run
        from bertpass.extras import require

        wanted = variants.chosen(options.engines) if options.engines else \
            variants.usual(budget=options.quick or options.minutes is not None)
        if options.beside:
            wanted = variants.beside(wanted, options.beside)
        families = options.shapes or (QUICK_SHAPES if options.quick else list(workloads.SHAPES))
        batches = [w for family in dict.fromkeys(families) for w in workloads.of_family(family)]
        threads = options.threads or machine.threads()
        cpus = quiet.pick(threads)
        run.reference_of(wanted)
        require("matplotlib", "bench")
        start_logging()

        if options.strict:
            quiet.demand()
        peaks = ceiling.peaks(threads)
        plan = run.Plan(wanted, batches, options.rounds or (5 if options.quick else 15), options.seconds, threads, cpus)
        folder, found, entries = Path(options.output), [], []
        environment = report.environment(threads, cpus, peaks)
        wanted_models = options.models or (MODELS[:1] if options.quick else MODELS)
        for place, model in enumerate(wanted_models):
            budget = None
            if options.minutes is not None:
                budget = (options.minutes * 60 - (time.monotonic() - start)) / (len(wanted_models) - place)
            results = run.compare(plan, model, budget)
            report.show(results, peaks, threads)
            found.append(results)
            entries.append(results.to_dict(peaks))
            content = {"environment": environment, "models": entries}
            write_json(folder / "cpu.json", content)
        plot.draw(folder / "cpu.png", found, f"{machine.describe()['cpu']}, {threads} threads, medians")
        print(f"wrote {folder / 'cpu.json'} and {folder / 'cpu.png'}")
        if not any(entry.timings for results in found for entry in results.measured):
            raise BertpassError("no engine could be measured; the reasons stand below the tables.")
    return guarded(job)
