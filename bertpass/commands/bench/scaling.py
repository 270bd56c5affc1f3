"""The command line ``bertpass bench scaling``: core counts and instances on disjoint cores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import machine, placement
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError
from bertpass.options import check_output_folder, flag, parse
from bertpass.placement import binding
from bertpass.progress import start_logging


@dataclass
class ScalingOptions:
    """Flags of bertpass bench scaling."""

    models: list[str] = flag(["minilm"], "published sizes (random weights: speed does not depend on them), minilm or "
                             "paths", positional=True, metavar="MODEL", formerly=("--models",))
    engines: list[str] = flag(["native-float32", "native-int8", "openvino-float32", "onnxruntime-float32"],
                              "engines (native, openvino, ...) or variants of them (openvino-int8, ...)")
    shapes: list[str] = flag(["1x128", "8x128"], "batch x sequence length, with full rows")
    instances: list[int] = flag([], "numbers of instances, which divide all cores among them (default: 1 2 4 8, as far "
                                "as there are cores)")
    cores: list[int] = flag([], "numbers of cores of a single instance (default: 1 2 4 ... all)")
    rounds: int = flag(9, "largest number of interleaved rounds", least=3)
    seconds: float = flag(60.0, "seconds per shape; slow engines get fewer rounds, at least 3", least=1)
    output: str = flag("bench_output", "folder for scaling.json and scaling.png")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code, 1 where no engine could be measured."""
    def job() -> None:
        options = parse(ScalingOptions, argv, "Measure engines on different numbers of cores and as several instances.")
        check_output_folder("output", options.output)
        shapes = sizes(options.shapes)
        from bertpass.bench import ceiling, quiet, variants
        from bertpass.bench.cpu import report
        from bertpass.bench.instances import scaling, scaling_report
        from bertpass.extras import require

        topology, unbound = binding.bindable(placement.here())
        wanted = scaling.configurations(topology, options.instances, options.cores)
        plan = scaling.Plan(variants.chosen(options.engines), wanted, shapes, options.rounds, options.seconds, topology)
        require("matplotlib", "bench")
        start_logging()
        if options.strict:
            quiet.demand()
        cpus = sorted(cpu for instance in placement.plan(topology) for cpu in instance.cpus)
        environment = {**report.environment(len(cpus), cpus, ceiling.peaks(len(cpus))), "topology": str(topology),
                       "memory": unbound or "bound to the nodes of the cores"}
        folder, found = Path(options.output), []
        for model in options.models:
            results = scaling.measure(plan, model)
            scaling_report.show(results)
            found.append(results)
            content = {"environment": environment, "scaling": [r.to_dict() for r in found]}
            write_json(folder / "scaling.json", content)
        if not any(results.cells for results in found):
            raise BertpassError("no engine could be measured; the reasons stand below the tables.")
        scaling_report.draw(folder / "scaling.png", found, f"{machine.describe()['cpu']}, {topology}, medians")
        print(f"wrote {folder / 'scaling.json'} and {folder / 'scaling.png'}")
    return guarded(job)


def sizes(shapes: Sequence[str]) -> list[tuple[int, int]]:
    """(batch, length) of each shape."""
    found = [re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", shape) for shape in shapes]
    if not found or None in found:
        raise UsageError(f"--shapes {' '.join(shapes)}: write batch x sequence length as in 1x128 8x128.")
    return list(dict.fromkeys((int(m[1]), int(m[2])) for m in found if m is not None))
