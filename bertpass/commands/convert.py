"""bertpass convert: a model in another layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass import progress
from bertpass.commands.run import guarded
from bertpass.options import check_new, flag, overwrite_flag, parse

FORMATS = ("huggingface", "gluonnlp", "bundle")


@dataclass
class ConvertOptions:
    """Words and flags of bertpass convert."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id", positional=True,
                      aliases=("--input",))
    output: str = flag("", "folder to write; for gluonnlp the .params file", positional=True, aliases=("--output",))
    format: str = flag("huggingface", "layout to write", choices=FORMATS)
    overwrite: bool = overwrite_flag()
    vocab: str | None = flag(None, "vocabulary file for a .params file", rare=True)
    num_heads: int | None = flag(None, "attention heads, for a .params file whose head size is not 64", least=1,
                                 rare=True)
    allow_pickle: bool = flag(False, "read pytorch_model.bin files (a pickle can run code)", rare=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(ConvertOptions, argv, "Write a model in another layout.")
        check_new(options.output, options.overwrite)
        from bertpass.model import gluonnlp, huggingface
        from bertpass.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(options.model, vocab=options.vocab, num_heads=options.num_heads,
                                     allow_pickle=options.allow_pickle)
        if options.format == "huggingface":
            huggingface.write_folder(options.output, checkpoint)
        elif options.format == "gluonnlp":
            gluonnlp.write(options.output, checkpoint)
        else:
            from bertpass.model.export import export_bundle
            export_bundle(checkpoint, options.output)
        for note in checkpoint.notes:
            progress.note(note)
        print(f"wrote {options.output}")
    return guarded(job)
