"""The command line of `make demo-serve`: from a clone to answers over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass.bench.traffic import demo
from bertpass.commands.run import guarded
from bertpass.options import check_output_folder, flag, parse


@dataclass
class DemoServeOptions:
    """Flags of bertpass demo-serve."""

    output_dir: str = flag("demo_output/serve", "folder for the server's log")
    qa: str | None = flag(None, "a question-answering model of your own to ask too: a bundle or a Hugging Face folder")
    keep: bool = flag(False, "leave the server running until Ctrl-C, for its page")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    def job() -> None:
        options = parse(DemoServeOptions, argv, "Serve MiniLM and, where it is there, the model of make demo; ask them "
                        "over HTTP.")
        check_output_folder("output_dir", options.output_dir)
        demo.run(options.output_dir, options.qa, options.keep)
    return guarded(job)
