"""The command `bertpass`: the project's command lines under one name, and small tools for models."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpass import __version__, machine
from bertpass.commands.run import guarded
from bertpass.errors import DataError, ModelError, UsageError, unknown
from bertpass.options import flag, parse

if TYPE_CHECKING:
    from bertpass.model.record import Checkpoint

#: name -> (module under bertpass.commands, function, what it does)
COMMANDS = {
    "finetune-classifier": ("finetune", "classifier", "fine-tune for every task but question answering"),
    "finetune-squad": ("finetune", "squad", "fine-tune for question answering"),
    "deploy": ("deploy", "main", "export, apply the graph passes, run the validation set"),
    "optimize": ("main", "optimize", "apply graph passes to an exported model"),
    "convert": ("main", "convert", "write a checkpoint in another format"),
    "export": ("export", "main", "write a model as a file for ONNX Runtime, OpenVINO, PyTorch or TVM"),
    "tune": ("tune", "main", "the fastest schedules of the TVM engine's kernels on this machine"),
    "pack": ("main", "pack", "write a model as one file for the native engine"),
    "bench": ("bench", "main", "every graph pass against plain MXNet; cpu, scaling, routing: engines; report: a page"),
    "compare": ("compare", "main", "two result files of one bench, engine by engine"),
    "launch": ("launch", "main", "run a program as several instances on cores of their own"),
    "plan": ("plan", "main", "what a million requests cost, by measured results and prices"),
    "serve": ("serve", "main", "models over HTTP"),
    "batch": ("batch", "main", "embeddings or labels for a Parquet file, also on a Ray cluster"),
    "load": ("load", "main", "requests at a server, and what came back"),
    "reproduce": ("reproduce", "main", "published tables and figures beside what this machine measures"),
    "new-model": ("new_model", "main", "a small model of random weights with a vocabulary for your texts"),
    "demo": ("demo", "main", "fine-tune, deploy and use MiniLM on real reviews"),
    "demo-serve": ("demo_serve", "main", "make a question-answering model, serve it, ask it over HTTP"),
    "env": ("env", "main", "what this machine and this installation have"),
}
FORMATS = ("huggingface", "gluonnlp", "bundle")


@dataclass
class OptimizeOptions:
    """Flags of bertpass optimize."""

    input: str = flag("", "prefix of the -symbol.json and -0000.params to read")
    output: str = flag("", "prefix to write")
    passes: list[str] = flag(["auto"], "auto, none or names")
    library: str | None = flag(None, "run them inside MXNet through this library")
    device: str = flag("cpu", "device that the model is to run on", choices=("cpu", "gpu"))
    dtype: str = flag("float32", "precision of the encoder that the pass native_encoder puts in (float16: on a GPU)",
                      choices=("float32", "float16", "bfloat16", "int8"))
    keep: list[str] = flag([], "layers, or products of layers, in another precision, as 0=bfloat16 5.down=float32 "
                           "(products: qkv, proj, up, down)")
    check: bool = flag(False, "compare the outputs before and after every pass")


@dataclass
class ConvertOptions:
    """Flags of bertpass convert."""

    input: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id")
    output: str = flag("", "folder to write, or for gluonnlp the .params file")
    format: str = flag("huggingface", "format to write", choices=FORMATS)
    vocab: str | None = flag(None, "vocabulary for a .params file")
    num_heads: int | None = flag(None, "attention heads, for a .params file whose head size is not 64", least=1)
    allow_pickle: bool = flag(False, "read pytorch_model.bin files (a pickle can run code)")


@dataclass
class PackOptions:
    """Words and flags of bertpass pack."""

    model: str = flag("", "a bundle, a Hugging Face folder, a .params file, minilm or a hub id", positional=True)
    output: str = flag("", "the .safetensors file to write", positional=True)
    dtype: str = flag("bfloat16", "precision of the layers", choices=("float32", "bfloat16", "int8"))
    keep: list[str] = flag([], "layers, or products of layers, in another precision, as 0=bfloat16 5.down=float32 "
                           "(products: qkv, proj, up, down)")
    calibration_file: str | None = flag(None, "for int8: a text file, one sentence a line, for which weights are "
                                        "rounded best (a hundred sentences are enough)")
    unpacked: bool = flag(False, "float32 weights for a GPU: for the TensorFlow operator and the TensorRT plugin")
    vocab: str | None = flag(None, "vocabulary for a .params file")
    num_heads: int | None = flag(None, "attention heads, for a .params file whose head size is not 64", least=1)
    allow_pickle: bool = flag(False, "read pytorch_model.bin files (a pickle can run code)")

    def __post_init__(self) -> None:
        if not self.output.endswith(".safetensors"):
            raise UsageError(f"{self.output or 'the output'}: give a file name that ends in .safetensors.")
        if self.calibration_file is not None and self.dtype != "int8":
            raise UsageError("--calibration_file is for --dtype int8: nothing else is calibrated.")
        if self.unpacked and (self.keep or self.calibration_file is not None):
            raise UsageError("--unpacked writes float32 weights, whose precision is chosen where they are loaded: "
                             "leave --keep and --calibration_file out.")


def _need(options: OptimizeOptions | ConvertOptions) -> None:
    for name in ("input", "output"):
        if not getattr(options, name):
            raise UsageError(f"--{name} is needed.")


def optimize(argv: Sequence[str] | None = None) -> int:
    """bertpass optimize."""
    def job() -> None:
        options = parse(OptimizeOptions, argv, "Apply graph passes to an exported model.")
        _need(options)
        from bertpass import passes
        names = options.passes[0] if options.passes in (["auto"], ["none"]) else options.passes
        print(passes.optimize(options.input, options.output, passes=names, library=options.library,
                              device=options.device, check=options.check,
                              dtype=",".join((options.dtype, *options.keep))))
    return guarded(job)


def convert(argv: Sequence[str] | None = None) -> int:
    """bertpass convert."""
    def job() -> None:
        options = parse(ConvertOptions, argv, "Write a checkpoint in another format.")
        _need(options)
        from bertpass.model import gluonnlp, huggingface
        from bertpass.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(options.input, vocab=options.vocab, num_heads=options.num_heads,
                                     allow_pickle=options.allow_pickle)
        if options.format == "huggingface":
            huggingface.write_folder(options.output, checkpoint)
        elif options.format == "gluonnlp":
            gluonnlp.write(options.output, checkpoint)
        else:
            from bertpass.model.export import export_bundle
            export_bundle(checkpoint, options.output)
        for note in checkpoint.notes:
            print(f"note: {note}", file=sys.stderr)
        print(f"wrote {options.output}")
    return guarded(job)


def _calibrated(checkpoint: Checkpoint, plan: str, file: str) -> Checkpoint:
    """The checkpoint with weights rounded for the sentences of a file where the plan computes in int8."""
    from bertpass.model import calibration
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


def pack(argv: Sequence[str] | None = None) -> int:
    """bertpass pack."""
    def job() -> None:
        options = parse(PackOptions, argv, "Write a model as one file that bertpass.load(..., engine='native') maps.")
        from bertpass.model import packed
        from bertpass.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(options.model, vocab=options.vocab, num_heads=options.num_heads,
                                     allow_pickle=options.allow_pickle)
        plan = ",".join((options.dtype, *options.keep))
        if options.calibration_file is not None:
            checkpoint = _calibrated(checkpoint, plan, options.calibration_file)
        if options.unpacked:
            packed.write_unpacked(options.output, checkpoint)
        else:
            packed.write(options.output, checkpoint, plan, machine.threads())
        for note in checkpoint.notes:
            print(f"note: {note}", file=sys.stderr)
        print(f"wrote {options.output}, {os.path.getsize(options.output) / 2**20:.1f} MiB")
    return guarded(job)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print("usage: bertpass COMMAND [flags]; bertpass COMMAND --help lists them\n")
        print("\n".join(f"  {name:<20} {what}" for name, (_, _, what) in COMMANDS.items()))
        return 0
    if words[0] == "--version":
        print(__version__)
        return 0

    def job() -> int:
        if words[0] not in COMMANDS:
            raise UsageError(unknown("command", words[0], COMMANDS))
        module, function, _ = COMMANDS[words[0]]
        return int(getattr(importlib.import_module(f"bertpass.commands.{module}"), function)(words[1:]))
    return guarded(job)
