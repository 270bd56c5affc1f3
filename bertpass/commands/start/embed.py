"""bertpass embed: sentence vectors of texts, or of a file of texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertpass.commands.run import guarded
from bertpass.commands.start.one_model import ComputeOptions, given_texts
from bertpass.errors import UsageError
from bertpass.options import check_new, check_output_folder, flag, overwrite_flag, parse
from bertpass.progress import Bar, log, start_logging

if TYPE_CHECKING:
    import numpy as np

    from bertpass.engines.model import Model

PART = 1024  # texts between two moves of the bar; inside, batches are of similar length
EPILOG = """examples:
  bertpass embed minilm "A man is eating food." "Somebody eats."
  bertpass embed minilm --file reviews.csv --column review --output reviews.npy
  cat texts.txt | bertpass embed FOLDER --file - --output vectors.jsonl"""


@dataclass
class EmbedOptions(ComputeOptions):
    """Words and flags of bertpass embed."""

    texts: list[str] = flag([], "texts to embed", positional=True, metavar="TEXT")
    output: str | None = flag(None, "file to write: .npy (one float32 row per text) or .jsonl (default: JSON lines on "
                              "standard output)", metavar="FILE", group="output")
    normalize: bool = flag(False, "scale every vector to length 1 (default: as the model says)")
    overwrite: bool = overwrite_flag()

    def __post_init__(self) -> None:
        if self.output is not None and Path(self.output).suffix not in (".npy", ".jsonl"):
            raise UsageError(f"--output {self.output}: give a name that ends in .npy or .jsonl.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(EmbedOptions, argv, "Sentence vectors of texts, computed by the native engine.", EPILOG)
        if options.output is not None:
            check_output_folder("output", Path(options.output).parent)
            check_new(options.output, options.overwrite)
        texts = given_texts(options, options.texts)
        start_logging()
        model = options.load()
        if options.output is None:
            for line in _lines(texts, _parts(model, texts, options)):
                sys.stdout.write(line)
            return
        _write(options.output, texts, _parts(model, texts, options), model.config.units)
        log.info("wrote %s: %d vectors of %d numbers", options.output, len(texts), model.config.units)
    return guarded(job)


def _parts(model: Model, texts: Sequence[str], options: EmbedOptions) -> Iterator[np.ndarray]:
    with Bar("embedding", len(texts), "texts", silent=len(texts) <= PART) as bar:
        for start in range(0, len(texts), PART):
            part = texts[start:start + PART]
            yield model.encode(part, batch_size=options.batch_size, normalize=options.normalize or None)
            bar.advance(len(part))


def _lines(texts: Sequence[str], parts: Iterator[np.ndarray]) -> Iterator[str]:
    place = 0
    for part in parts:
        for vector in part:
            yield json.dumps({"text": texts[place], "embedding": [float(f"{x:.9g}") for x in vector]},
                             ensure_ascii=False) + "\n"
            place += 1


def _write(output: str, texts: Sequence[str], parts: Iterator[np.ndarray], units: int) -> None:
    """The file, which appears when it is whole."""
    import numpy as np

    from bertpass.model.files.folders import replacing_file

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(output, "the vectors") as file:
        if output.endswith(".jsonl"):
            file.writelines(line.encode("utf-8") for line in _lines(texts, parts))
            return
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(texts), units)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, "<f4").tobytes())
