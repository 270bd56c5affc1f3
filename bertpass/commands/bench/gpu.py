"""The command line ``bertpass bench gpu``: the CUDA engine on this machine's GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertpass.bench.gpu.check import GpuOptions, check, graphics_card
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.model.config import named
from bertpass.options import check_output_folder, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 1 where a check failed."""
    def job() -> int:
        options = parse(GpuOptions, argv, "Build, check and measure the CUDA engine on this machine's GPU.")
        from bertpass.bench.gpu import measure

        config = named(options.model)
        cases = [measure.case_of(name) for name in options.cases or measure.CASES]
        for case in cases:
            if case.length > config.max_length:
                raise UsageError(f"--cases {case.name}: {options.model} has {config.max_length} positions.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        return check(options, cases, graphics_card())
    return guarded(job)
