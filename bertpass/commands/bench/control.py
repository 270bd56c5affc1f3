"""The control of one fine-tuning run, in a process of its own: ``python -m bertpass.commands.bench.control``.

``RESULT.json classifier|squad FLAGS``, where FLAGS are those of finetune_classifier.py or finetune_squad.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bertpass.base.files import write_json
from bertpass.bench.finetuning import control
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.jobs.training.classify import ClassifierOptions
from bertpass.jobs.training.squad import SquadOptions
from bertpass.options import parse


def main() -> int:
    """Run one control; returns the exit code."""
    def job() -> None:
        if len(sys.argv) < 3 or sys.argv[2] not in ("classifier", "squad"):
            raise UsageError("usage: python -m bertpass.commands.bench.control RESULT.json classifier|squad FLAGS")
        target, which, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
        if which == "squad":
            found = control.squad_job(parse(SquadOptions, words, "The control of finetune_squad.py."))
        else:
            found = control.classifier_job(parse(ClassifierOptions, words, "The control of finetune_classifier.py."))
        write_json(target, control.run(found))
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
