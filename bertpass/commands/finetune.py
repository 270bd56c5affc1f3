"""The command lines finetune/finetune_classifier.py and finetune/finetune_squad.py."""

from __future__ import annotations

from collections.abc import Sequence

from bertpass.commands.run import guarded
from bertpass.options import parse

CLASSIFIER_EXAMPLES = """examples:
  python finetune/finetune_classifier.py --task_name SST --bert_model minilm --data_dir GLUE --max_len 128
  python finetune/finetune_classifier.py --bert_model minilm --train_file train.csv --dev_file dev.csv
"""
SQUAD_EXAMPLES = """examples:
  python finetune/finetune_squad.py --max_seq_length 128 --gpu
  python finetune/finetune_squad.py --bert_model minilm --data_dir DATA --epochs 2
"""


def _report(result: dict) -> None:
    print(", ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items()))


def classifier(argv: Sequence[str] | None = None) -> int:
    """Run finetune_classifier.py with ``argv``; returns the exit code."""
    def main() -> None:
        from bertpass.jobs import classify
        options = parse(classify.ClassifierOptions, argv, "Fine-tune BERT for any task but question answering.",
                        CLASSIFIER_EXAMPLES)
        _report(classify.run(options))
    return guarded(main)


def squad(argv: Sequence[str] | None = None) -> int:
    """Run finetune_squad.py with ``argv``; returns the exit code."""
    def main() -> None:
        from bertpass.jobs import squad as job
        options = parse(job.SquadOptions, argv, "Fine-tune BERT for question answering.", SQUAD_EXAMPLES)
        _report(job.run(options))
    return guarded(main)
