"""bertpass finetune classifier, squad and embeddings; scripts of the published recipe are the first two."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bertpass import progress
from bertpass.commands.run import guarded
from bertpass.jobs.machines import local_workers
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.options import parse

CLASSIFIER_EXAMPLES = """examples:
  %(prog)s --task_name SST --bert_model minilm --data_dir GLUE --max_len 128
  %(prog)s --bert_model minilm --train_file train.csv --dev_file dev.csv
"""
SQUAD_EXAMPLES = """examples:
  %(prog)s --max_seq_length 128 --gpu
  %(prog)s --bert_model minilm --data_dir DATA --epochs 2
"""
EMBEDDING_EXAMPLES = """examples:
  %(prog)s minilm --train_file pairs.tsv --dev_file scored.tsv
  %(prog)s minilm --data_dir DATA --epochs 2
"""


def _run(options: FinetuneOptions, job: Callable[[Any], dict[str, Any]], function: str, argv: Sequence[str] | None,
         ) -> None:
    """Run the job here, or in several processes where ``--workers`` asks for them."""
    if options.workers > 1 and local_workers.role() is None:
        options.check()  # faults show once, and before processes start
        local_workers.run(f"{__name__}:{function}", sys.argv[1:] if argv is None else argv, options.workers)
        return
    if local_workers.role() is None:
        _note_earlier(options)
    _tell(job(options)["metrics"])


def _note_earlier(options: LoopOptions) -> None:
    earlier = Path(options.output_dir) / "net.params"
    if earlier.exists() and not options.resume:
        progress.note(f"{earlier} is of an earlier run and is going to be replaced; --output_dir names another folder.")


def _tell(metrics: dict[str, float]) -> None:
    if metrics:  # only the first of several workers has them
        print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


def classifier(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv``; returns the exit code."""
    def main() -> None:
        local_workers.serve_if_told()
        from bertpass.jobs.training import classify
        options = parse(classify.ClassifierOptions, argv, "Fine-tune BERT for any task but question answering.",
                        CLASSIFIER_EXAMPLES)
        _run(options, classify.run, "classifier", argv)
    return guarded(main)


def squad(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv``; returns the exit code."""
    def main() -> None:
        local_workers.serve_if_told()
        from bertpass.jobs.training import squad as job
        options = parse(job.SquadOptions, argv, "Fine-tune BERT for question answering.", SQUAD_EXAMPLES)
        _run(options, job.run, "squad", argv)
    return guarded(main)


def embeddings(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv``; returns the exit code."""
    def main() -> None:
        from bertpass.jobs.training import embeddings as job
        options = parse(job.EmbeddingOptions, argv, "Fine-tune a sentence-embedding model on pairs, triplets or scored "
                        "pairs, with the losses of sentence-transformers.", EMBEDDING_EXAMPLES)
        _note_earlier(options)
        _tell(job.run(options)["metrics"])
    return guarded(main)
