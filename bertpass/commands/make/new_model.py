"""bertpass new-model: a small BERT of random weights with a vocabulary learnt from files, to train from nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import progress
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import check_new, check_output_folder, flag, overwrite_flag, parse


@dataclass
class NewModelOptions:
    """Flags of bertpass new-model."""

    output: str = flag("", "folder to write, in Hugging Face's layout; fine-tune it with --bert_model FOLDER",
                       positional=True, formerly=("--output",))
    vocab_from: list[str] = flag([], "text files (plain or .gz, any layout) whose words and characters become the "
                                 "vocabulary", required=True, positional=True, metavar="FILE",
                                 formerly=("--vocab_from",))
    layers: int = flag(2, "transformer layers", least=1, most=48)
    units: int = flag(128, "width of the model; the feed-forward layers are four times as wide", least=8, most=4096)
    heads: int | None = flag(None, "attention heads (default: one per 64 units)", least=1)
    max_length: int = flag(512, "longest sequence in tokens", least=8, most=8192)
    vocab_size: int = flag(8000, "largest number of tokens in the vocabulary", least=100, most=200000)
    cased: bool = flag(False, "keep the case of texts")
    overwrite: bool = overwrite_flag()
    seed: int = flag(0, "seed of the random weights", least=0)

    def check(self) -> None:
        """Checks that need no data."""
        for name in self.vocab_from:
            if not Path(name).is_file():
                raise UsageError(f"{name}: no such file.")
        check_output_folder("output", self.output)
        check_new(self.output, self.overwrite)


def _lines(files: Sequence[str]) -> Iterator[str]:
    from bertpass.text.files import read_lines

    for name in files:
        for _, line in read_lines(Path(name)):
            yield line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(NewModelOptions, argv, "Make a small BERT of random weights, with a vocabulary for your texts.")
        options.check()
        from bertpass.model import parameters
        from bertpass.model.config import EncoderConfig, HeadConfig
        from bertpass.model.layouts import huggingface
        from bertpass.model.record import Checkpoint
        from bertpass.text.tokens.new_vocabulary import learn

        tokenizer = learn(_lines(options.vocab_from), options.vocab_size, lower=not options.cased)
        config = EncoderConfig(num_layers=options.layers, units=options.units, hidden_size=4 * options.units,
                               num_heads=options.heads or max(options.units // 64, 1), max_length=options.max_length,
                               vocab_size=tokenizer.vocab_size)
        params = parameters.random(parameters.encoder_shapes(config), options.seed)
        huggingface.write_folder(options.output, Checkpoint(config, HeadConfig("none"), params, tokenizer))
        count = sum(array.size for array in params.values())
        print(f"wrote {options.output}: {tokenizer.vocab_size} tokens, {count / 1e6:.1f} million parameters")
        progress.note("the weights are random; nothing was pretrained.")
    return guarded(job)
