"""bertpass pack: a model as one file that the native engine maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpass import machine, progress
from bertpass.commands.run import guarded
from bertpass.errors import DataError, ModelError, UsageError
from bertpass.model.given import Given
from bertpass.options import check_new, flag, overwrite_flag, parse

if TYPE_CHECKING:
    from bertpass.model.record import Checkpoint


@dataclass
class PackOptions(Given):
    """Words and flags of bertpass pack."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id", positional=True)
    output: str = flag("", "the .safetensors file to write", positional=True)
    dtype: str = flag("bfloat16", "precision of the layers", choices=("float32", "bfloat16", "int8"))
    calibration_file: str | None = flag(None, "file with one sentence per line, for which --dtype int8 rounds the "
                                        "weights best; a hundred sentences are enough")
    overwrite: bool = overwrite_flag()
    keep: list[str] = flag([], "layers, or products of layers, in another precision, as 0=bfloat16 5.down=float32 "
                           "(products: qkv, proj, up, down)", rare=True)
    unpacked: bool = flag(False, "float32 weights for a GPU: for the TensorFlow operator and the TensorRT plugin",
                          rare=True)

    def __post_init__(self) -> None:
        if not self.output.endswith(".safetensors"):
            raise UsageError(f"{self.output or 'the output'}: give a file name that ends in .safetensors.")
        if self.calibration_file is not None and self.dtype != "int8":
            raise UsageError("--calibration_file is for --dtype int8: nothing else is calibrated.")
        if self.unpacked and (self.keep or self.calibration_file is not None):
            raise UsageError("--unpacked writes float32 weights, whose precision is chosen where they are loaded: "
                             "leave --keep and --calibration_file out.")


def _calibrated(checkpoint: Checkpoint, plan: str, file: str) -> Checkpoint:
    """The checkpoint with weights rounded for the sentences of a file where the plan computes in int8."""
    from bertpass.model.low_precision import calibration
    from bertpass.text.files import read_lines

    if checkpoint.tokenizer is None:
        raise ModelError(f"{checkpoint.source} has no vocabulary to read --calibration_file with; name one with "
                         "--vocab.")
    texts = [text for _, text in read_lines(Path(file)) if text.strip()]
    if not texts:
        raise DataError(f"--calibration_file {file}: there is no text in it.")
    rows = checkpoint.tokenizer.encode(texts, max_length=checkpoint.max_length or checkpoint.config.max_length)
    rounded = calibration.calibrated(checkpoint, [(row.ids, row.token_types) for row in rows])
    return calibration.chosen(checkpoint, rounded, plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(PackOptions, argv, "Write a model as one file that bertpass.load maps instead of reading it.")
        check_new(options.output, options.overwrite)
        from bertpass.model.checkpoint import load_checkpoint
        from bertpass.model.layouts import packed

        checkpoint = load_checkpoint(options.model, given=options.given)
        plan = ",".join((options.dtype, *options.keep))
        if options.calibration_file is not None:
            checkpoint = _calibrated(checkpoint, plan, options.calibration_file)
        if options.unpacked:
            packed.write_unpacked(options.output, checkpoint)
        else:
            packed.write(options.output, checkpoint, plan, machine.threads())
        apart = checkpoint.sentence.outside  # bertpass.load finds it in the file
        for note in (*checkpoint.notes, *([f"for the C library and others {apart}"] if apart else [])):
            progress.note(note)
        print(f"wrote {options.output}, {os.path.getsize(options.output) / 2**20:.1f} MiB")
    return guarded(job)
