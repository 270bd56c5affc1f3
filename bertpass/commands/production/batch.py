"""bertpass batch: what a model makes of each row of a file, on one machine or a Ray cluster."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.model.given import Given
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import log, start_logging

EPILOG = """examples:
  bertpass batch minilm texts.parquet vectors.parquet --keep id
  bertpass batch FOLDER tickets.csv labels.csv --column message --keep id
  bertpass batch FOLDER questions.jsonl answers.jsonl --column question --pair_column context    # question answering
  bertpass batch FOLDER pairs.jsonl scores.jsonl --column query --pair_column passage            # re-ranking"""


@dataclass
class BatchOptions(Given):
    """Words and flags of bertpass batch."""

    model: str = flag("", "the model: a bundle, a Hugging Face folder, a .params or packed file, minilm",
                      positional=True, formerly=("--model",))
    input: str = flag("", "the file to read: .csv, .tsv, .jsonl (also with .gz), otherwise Parquet", positional=True)
    output: str = flag("", "the file to write: .csv, .jsonl, otherwise Parquet; its parts are in OUTPUT.parts until it "
                       "is whole", positional=True)
    dtype: str = flag("float32", "precision", group="model", choices=("float32", "bfloat16", "int8"))
    column: str = flag("text", "column of the texts, questions or queries; a row without a text gets null",
                       group="data")
    pair_column: str | None = flag(None, "column of the second texts: of a classifier of pairs, the contexts of "
                                   "questions, or the passages of queries", group="data")
    keep: list[str] = flag([], "columns of the input that are copied to the output", group="data")
    overwrite: bool = flag(False, "replace the output if it is there already", group="data")
    part_rows: int = flag(4096, "rows that are computed and stored together", group="data", least=1, most=1_000_000,
                          rare=True)
    ray: bool = flag(False, "compute on Ray (pip install '.[ray]'); every node has to see the files", group="Ray",
                     rare=True)
    ray_address: str | None = flag(None, "address of a running Ray cluster; auto is the one of this machine (default: "
                                   "Ray is started here)", group="Ray", rare=True)
    workers: int | None = flag(None, "processes on Ray (default: one per core of this machine)", group="Ray", least=1,
                               rare=True)
    cores_per_worker: int = flag(1, "cores per worker", group="Ray", least=1, rare=True)

    def __post_init__(self) -> None:
        if not self.ray and (self.ray_address or self.workers):
            raise UsageError("--ray_address and --workers are for --ray; without it all cores of this machine compute.")
        if os.path.realpath(self.input) == os.path.realpath(self.output):
            raise UsageError(f"{self.output}: the output would replace the input; name another file.")


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the file; returns the exit code."""
    def job() -> None:
        options = parse(BatchOptions, argv, "Embeddings, labels, entities, answers, ranks or weights of words for each "
                        "row of a file.", EPILOG)
        check_output_folder("output", Path(options.output).parent)
        start_logging()
        from bertpass.jobs.machines import batch

        model = os.path.abspath(options.model) if os.path.exists(options.model) else options.model
        work = batch.Work(os.path.abspath(options.input), os.path.abspath(options.output), model, options.column,
                          options.pair_column, tuple(dict.fromkeys(options.keep)), options.dtype, options.part_rows,
                          dataclasses.replace(options.given, vocab=options.vocab and os.path.abspath(options.vocab)),
                          options.overwrite)
        spread = None
        if options.ray:
            from bertpass.jobs.machines import batch_ray
            spread = batch_ray.spread(options.ray_address, options.workers or machine.threads(),
                                      options.cores_per_worker)
        rows = batch.run(work, spread=spread)
        log.info("wrote %s: %d rows", options.output, rows)
    return guarded(job)
