"""bertpass optimize: graph passes on an exported model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass.commands.run import guarded
from bertpass.options import check_new, flag, overwrite_flag, parse


@dataclass
class OptimizeOptions:
    """Words and flags of bertpass optimize."""

    input: str = flag("", "prefix of the -symbol.json and -0000.params files to read", positional=True,
                      formerly=("--input",))
    output: str = flag("", "prefix of the files to write", positional=True, formerly=("--output",))
    passes: list[str] = flag(["auto"], "auto, none or names of passes")
    device: str = flag("cpu", "device that the model is to run on", choices=("cpu", "gpu"))
    dtype: str = flag("float32", "precision of the encoder that the pass native_encoder puts in; float16 is for a GPU",
                      choices=("float32", "float16", "bfloat16", "int8"))
    check: bool = flag(False, "compare the outputs before and after every pass")
    overwrite: bool = overwrite_flag()
    library: str | None = flag(None, "library of passes that runs them inside MXNet, such as bertpass_lib.so",
                               rare=True)
    keep: list[str] = flag([], "layers, or products of layers, in another precision, as 0=bfloat16 5.down=float32 "
                           "(products: qkv, proj, up, down)", rare=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(OptimizeOptions, argv, "Apply graph passes to an exported model.")
        check_new(f"{options.output}-symbol.json", options.overwrite)
        from bertpass import passes

        print(passes.optimize(options.input, options.output, passes=",".join(options.passes),
                              library=options.library, device=options.device, check=options.check,
                              dtype=",".join((options.dtype, *options.keep))))
    return guarded(job)
