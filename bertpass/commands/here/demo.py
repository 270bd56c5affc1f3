"""The demo's command line, `make demo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass.base.paths import LIBRARY
from bertpass.commands.run import guarded
from bertpass.errors import PassError
from bertpass.options import flag, parse


@dataclass
class DemoOptions:
    """Flags of bertpass demo."""

    output_dir: str = flag("demo_output", "folder for the model and the figures")
    rounds: int = flag(12, "interleaved rounds of the speed table", least=2)
    training_steps: int | None = flag(None, "fine-tuning steps, in place of 200", least=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    def job() -> None:
        options = parse(DemoOptions, argv, "Fine-tune, deploy and use MiniLM on real reviews.")
        if not LIBRARY.is_file():
            raise PassError("bertpass_lib.so is not built yet: run make build.")
        from bertpass.jobs.demo import reviews
        reviews.run(Path(options.output_dir), LIBRARY, rounds=options.rounds,
                    training_steps=options.training_steps or reviews.TRAINING_STEPS)
    return guarded(job)
