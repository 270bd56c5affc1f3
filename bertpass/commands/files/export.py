"""bertpass export: a model as a file for ONNX Runtime, OpenVINO, PyTorch or TVM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import progress
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.model.given import Given
from bertpass.options import check_new, check_output_folder, flag, overwrite_flag, parse

SO_LENGTH = 128  # tokens of every row in a .so file, unless --max_length says otherwise


@dataclass
class ExportOptions(Given):
    """Words and flags of bertpass export."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id", positional=True)
    output: str = flag("", "file to write; its ending chooses the format: .onnx, .xml (OpenVINO IR, with a .bin file "
                       "next to it), .pt (TorchScript) or .so (TVM, for one shape)", positional=True)
    fused: bool = flag(False, "write ONNX with the encoder in ONNX Runtime's own operators (com.microsoft), which run "
                       "nowhere else")
    dtype: str = flag("float32", "precision of weights and activations in an .onnx file; inputs and outputs stay "
                      "float32", choices=("float32", "float16"))
    batch_size: int = flag(1, "rows per batch in a .so file", least=1)
    max_length: int | None = flag(None, "length in tokens to which texts are cut; in a .so file the length of every "
                                  "row (default there: 128)", group="model", least=3,
                                  formerly=("--length", "--sequence_length"))
    overwrite: bool = overwrite_flag()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(ExportOptions, argv, "Write a model as a file for another runtime, run it there and compare "
                        "its outputs.")
        from bertpass.jobs.deployment import export
        from bertpass.model.checkpoint import load_checkpoint

        export.format_of(Path(options.output))
        if options.fused and not options.output.endswith(".onnx"):
            raise UsageError(f"{options.output}: --fused is for ONNX files, whose ending is .onnx.")
        if options.dtype != "float32" and not options.output.endswith(".onnx"):
            raise UsageError(f"{options.output}: --dtype {options.dtype} is for ONNX files, whose ending is .onnx.")
        check_output_folder("output", Path(options.output).parent)
        check_new(options.output, options.overwrite)
        checkpoint = load_checkpoint(options.model, given=options.given)
        found = export.export(checkpoint, options.output,
                              export.Shape(options.fused, options.dtype, options.batch_size,
                                           options.max_length or SO_LENGTH))
        for note in filter(None, (*checkpoint.notes, checkpoint.sentence.outside)):
            progress.note(note)
        size = sum(os.path.getsize(file) for file in found.files) / 2**20
        print(f"wrote {' and '.join(map(str, found.files))}, {size:.1f} MiB: {found.what}")
        if found.operators:
            counts = ", ".join(f"{count} {op}" for op, count in found.operators.items())
            print(f"  {sum(found.operators.values())} nodes: {counts}")
        if found.unchecked:
            progress.note(f"not run: {found.unchecked}")
        else:
            print(f"  largest difference from the native engine in float32: {found.difference:.1e}")
    return guarded(job)
