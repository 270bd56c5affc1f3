"""``bertpass bench passes``: every graph pass against plain MXNet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.base.paths import LIBRARY
from bertpass.commands.run import guarded
from bertpass.errors import PassError, UsageError
from bertpass.options import check_output_folder, flag, gpu_flag, parse
from bertpass.progress import start_logging


@dataclass
class PassesOptions:
    """Flags of bertpass bench passes."""

    model: str = flag("bert_12_768_12", "a published size (random weights: speed does not depend on them), minilm or a "
                      "path", positional=True, formerly=("--bert_model",))
    shapes: list[str] = flag(["1x128", "8x128"], "batch x sequence length")
    rounds: int = flag(15, "interleaved rounds", least=3)
    library: str | None = flag(None, "library of graph passes, by default the one that is built here")
    gpu: int | None = gpu_flag()
    output: str | None = flag(None, "write the figures to this JSON file")

    def sizes(self) -> list[tuple[int, int]]:
        """The shapes as numbers."""
        found = [re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,3})", shape) for shape in self.shapes]
        if not found or None in found:
            raise UsageError(f"--shapes {' '.join(self.shapes)}: write batch x sequence length as in 1x128 8x128.")
        return [(int(m[1]), int(m[2])) for m in found if m is not None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    def job() -> None:
        options = parse(PassesOptions, argv, "Measure every graph pass against plain MXNet.")
        sizes = options.sizes()
        library = options.library or str(LIBRARY)
        if not Path(library).is_file():
            raise PassError(f"--library {library}: no such file; run make build.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        start_logging()
        from bertpass.bench.models import checkpoint_for_speed
        from bertpass.engines.frameworks.mxnet_engine import check_device
        from bertpass.jobs.deployment import pass_table

        check_device(options.gpu, "float32")
        checkpoint = checkpoint_for_speed(options.model)
        longest = max(length for _, length in sizes)
        if longest > checkpoint.config.max_length:
            raise UsageError(f"--shapes: {longest} tokens are more than the model's {checkpoint.config.max_length} "
                             "positions.")
        variants, _ = pass_table.compare(checkpoint, sizes, options.rounds, library=library, gpu=options.gpu)
        pass_table.show(variants, f"{options.model}, float32, {machine.threads()} threads, medians of "
                        f"{options.rounds} interleaved rounds")
        if options.output:
            content = {"command": machine.command(), "model": checkpoint.source, "threads": machine.threads(),
                       "machine": machine.describe(), "variants": [v.to_dict() for v in variants]}
            write_json(options.output, content)
    return guarded(job)
