"""Fine-tuning for question answering on SQuAD 1.1 and 2.0 or own files in their layout."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError
from bertpass.jobs.tasks.predict import (
    AnswerOptions,
    Dataset,
    Forward,
    answers,
    collect,
    encode_questions,
    first_questions,
    score_answers,
    write_answers,
)
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.model.config import HeadConfig
from bertpass.options import flag
from bertpass.progress import log, start_logging
from bertpass.text.data.download import download
from bertpass.text.data.tasks import find_split, get_task
from bertpass.text.squad import Prediction, SquadData, named, read_squad

DEBUG_QUESTIONS = 100  # as upstream


@dataclass
class SquadOptions(FinetuneOptions):
    """Flags of finetune_squad.py."""

    max_seq_length: int = flag(384, "longest window of question and context, in tokens", group="data", least=16,
                               most=8192)
    doc_stride: int = flag(128, "tokens between the starts of two windows", group="data", least=1, rare=True)
    max_query_length: int = flag(64, "longest question in tokens", group="data", least=1, rare=True)
    version_2: bool = flag(False, "SQuAD 2.0: questions may have no answer", group="data")
    strict_answers: bool = flag(False, "refuse a file with an answer that is not at its stated place; otherwise it is "
                                "searched for, or the question left out and counted", group="data", rare=True)
    n_best_size: int = flag(20, "answers kept per question", group="data", least=1, rare=True)
    max_answer_length: int = flag(30, "longest answer in tokens", group="data", least=1, rare=True)
    null_score_diff_threshold: float = flag(0.0, "lead that the score of 'no answer' needs for a question to get none",
                                            group="data", rare=True)
    test_batch_size: int = flag(24, "rows per batch in evaluation", group="training", least=1, rare=True)
    only_predict: bool = flag(False, "answer and score with --model_parameters and train nothing", group="training")
    debug: bool = flag(False, f"take the first {DEBUG_QUESTIONS} questions of each file alone, to see that all works",
                       group="data", rare=True)
    max_eval_questions: int | None = flag(None, "questions scored after each epoch but the last one; the final figure "
                                          "is of all questions", group="training", least=1, rare=True)

    @property
    def trains(self) -> bool:
        return super().trains and not self.only_predict

    def check(self) -> None:
        super().check()
        if (self.only_predict or self.only_calibration) and self.backend:
            raise UsageError("--only_predict and --only_calibration train nothing: leave --workers and --comm_backend "
                             "out.")
        if self.only_predict and self.only_calibration:
            raise UsageError("--only_predict and --only_calibration: give one of them.")
        if self.deploy and not self.only_predict:
            raise UsageError("--deploy --model_prefix: an exported model is evaluated, not trained: add "
                             "--only_predict.")
        if bool(self.train_file) != bool(self.dev_file) and not self.only_predict:
            raise UsageError("--train_file and --dev_file go together.")

    def answering(self) -> AnswerOptions:
        """How windows are cut and answers chosen."""
        return AnswerOptions(self.max_seq_length, self.doc_stride, self.max_query_length, self.n_best_size,
                             self.max_answer_length, self.version_2, self.null_score_diff_threshold)


def read_data(options: SquadOptions) -> tuple[SquadData | None, SquadData]:
    """Training (None with --only_predict) and development questions; every fault of a file shows here."""
    if options.dev_file:
        train_path, dev_path = options.train_file, options.dev_file
    else:
        task = get_task("QA")
        root = options.data_dir or download(task, version_2=options.version_2)
        version = "_v2" if options.version_2 else ""
        train_path = None if options.only_predict else str(find_split(task, root, f"train{version}")[0])
        dev_path = str(find_split(task, root, f"dev{version}")[0])
    dev = read_squad(dev_path, strict=options.strict_answers)
    if dev.version_2 and not options.version_2:
        raise UsageError(f"{dev_path} is SQuAD 2.0, whose questions may have no answer: add --version_2.")
    if options.only_predict or train_path is None:
        return None, dev
    train = _trainable(train_path, options.strict_answers)
    if not dev.labelled:
        raise DataError(f"{dev_path}: {len(dev.unlabelled)} of {len(dev.questions)} questions have no answers, so they "
                        f"cannot be scored ({named(dev.unlabelled)}); --only_predict needs none.")
    if train.version_2 and not options.version_2:
        raise UsageError(f"{train_path} is SQuAD 2.0, whose questions may have no answer: add --version_2.")
    return train, dev


def _trainable(path: str, strict: bool) -> SquadData:
    """A training file; questions without answers are left out with a note, unless all or ``strict``."""
    data = read_squad(path, train=True, strict=strict)
    lacking = set(data.unlabelled)
    if lacking and (strict or len(lacking) == len(data.questions)):
        raise DataError(f"{path}: {len(lacking)} of {len(data.questions)} questions have no answers, so they cannot be "
                        f"trained on ({named(data.unlabelled)}).")
    if not lacking:
        return data
    note = f"{path}: {len(lacking)} questions without answers were left out: {named(data.unlabelled)}."
    return SquadData(tuple(q for q in data.questions if q.id not in lacking), data.version_2, (*data.notes, note))


def first(data: SquadData) -> SquadData:
    """The questions that --debug leaves."""
    return SquadData(data.questions[:DEBUG_QUESTIONS], data.version_2, data.notes)


def run(options: SquadOptions) -> dict[str, Any]:
    """Fine-tune and evaluate; writes net.params, the bundle, predictions and metrics.json into ``--output_dir``."""
    options.check()
    train_data, dev_data = read_data(options)
    if options.debug:
        train_data, dev_data = train_data and first(train_data), first(dev_data)
    from bertpass.jobs.training import starting  # starts MXNet or PyTorch: only after the flags and the data are read
    from bertpass.jobs.training.epochs import Epochs

    head = HeadConfig("qa")
    start, tokenizer = starting.checkpoint(options, head)
    if options.max_seq_length > start.config.max_length:
        raise UsageError(f"--max_seq_length {options.max_seq_length}: the model has {start.config.max_length} "
                         "positions.")
    trainer = starting.trainer(options, start)
    answering = options.answering()
    dev = encode_questions(dev_data, tokenizer, answering)
    train = None if train_data is None else encode_questions(train_data, tokenizer, answering)
    rank = trainer.workers.rank if trainer else 0
    folder = Path(options.output_dir)
    start_logging(None if rank else folder / "finetune.log", verbose=not rank)
    starting.tell(start, trainer)
    for note in (*(() if train_data is None else train_data.notes), *dev_data.notes):
        log.warning("%s", note)
    if options.only_calibration:
        from bertpass.jobs.low_precision import lower
        from bertpass.jobs.training import only_calibration

        def scores_of(forward: Forward) -> dict[str, float]:
            outputs = collect(forward, dev, options.test_batch_size, tokenizer.pad_id, "answering")
            return score_answers(dev_data, answers(dev_data, dev, outputs, answering))

        return only_calibration.run(options, start, "QA", options.max_seq_length, (train or dev).encodings,
                                    lower.Judge(scores_of, "f1", 100.0))
    forward = starting.forwards(options, start, trainer)

    def score(data: SquadData, encoded: Dataset) -> tuple[dict[str, float], list[Prediction]]:
        outputs = collect(forward(), encoded, options.test_batch_size, tokenizer.pad_id, "answering")
        found = answers(data, encoded, outputs, answering)
        return (score_answers(data, found) if data.labelled else {}), found

    began = time.monotonic()
    answered: tuple[dict[str, float], list[Prediction]] | None = None  # all questions, by the weights that are kept
    result: dict[str, Any] = {"task": "QA", "model": options.named_model}
    if train_data is not None and train is not None and trainer is not None:
        log.info("%d training questions in %d windows, %d development questions", len(train_data.questions), len(train),
                 len(dev_data.questions))
        few = first_questions(dev_data, dev, options.max_eval_questions or len(dev_data.questions))

        def evaluate() -> tuple[dict[str, float], float]:
            nonlocal answered
            answered = score(*few)
            return answered[0], answered[0]["f1"]

        def keep(metrics: dict[str, float]) -> None:
            starting.write_model(trainer, folder, task="QA", max_length=options.max_seq_length, metrics=metrics)

        best = trainer.fit(Epochs(train, options, tokenizer.pad_id), evaluate, keep)
        result |= {"trainer": trainer.name, "epoch": trainer.history[best.stretch]["epoch"], "history": trainer.history,
                   "samples_per_second": trainer.samples_per_second, "train_questions": len(train_data.questions),
                   "train_windows": len(train)}
        if rank:
            return result | {"metrics": best.metrics}
        if best.stretch + 1 < len(trainer.history) or len(few[0].questions) < len(dev_data.questions):
            answered = None
    scores, found = answered or score(dev_data, dev)
    result |= {"metrics": scores, "seconds": round(time.monotonic() - began, 1), "seed": options.seed,
               "dev_questions": len(dev_data.questions)}
    if train_data is not None:
        keep(scores)
    write_answers(folder, found)
    starting.write_result(folder, result)
    return result
