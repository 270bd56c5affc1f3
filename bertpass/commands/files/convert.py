"""bertpass convert: a model in another layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass import progress
from bertpass.commands.run import guarded
from bertpass.model.given import Given
from bertpass.options import check_new, flag, overwrite_flag, parse

FORMATS = ("huggingface", "gluonnlp", "bundle")


@dataclass
class ConvertOptions(Given):
    """Words and flags of bertpass convert."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id", positional=True,
                      formerly=("--input",))
    output: str = flag("", "folder to write; for gluonnlp the .params file", positional=True, formerly=("--output",))
    format: str = flag("huggingface", "layout to write", choices=FORMATS)
    overwrite: bool = overwrite_flag()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(ConvertOptions, argv, "Write a model in another layout.")
        check_new(options.output, options.overwrite)
        from bertpass.model.checkpoint import load_checkpoint
        from bertpass.model.layouts import gluonnlp, huggingface

        checkpoint = load_checkpoint(options.model, given=options.given)
        if options.format == "huggingface":
            huggingface.write_folder(options.output, checkpoint)
        elif options.format == "gluonnlp":
            gluonnlp.write(options.output, checkpoint)
            checkpoint.notes.append("a .params file holds weights alone: kind, labels, length, case and settings stay "
                                    "behind. The format bundle keeps them.")
        else:
            from bertpass.model.export import export_bundle
            export_bundle(checkpoint, options.output)
        for note in checkpoint.notes:
            progress.note(note)
        print(f"wrote {options.output}")
    return guarded(job)
