#!/usr/bin/env python
"""Samples a second of fine-tuning on the CPU, step by step beside PyTorch and beside plain MXNet, on the same batches.

Every batch is trained on by each side in turn: ours, GluonNLP's network and optimiser, and a transformers model with
torch.optim.AdamW, all in one process with the same number of threads. The batches are real ones: SST-2 sentences
(32 a batch) and SQuAD windows (12 of 256 tokens), bucketed by length, and the same padded to the longest allowed.
``--profile`` prints MXNet's own account of our steps by operator instead.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import flag, parse
from bertpass.text.tokens.batching import Batch, batches


@dataclass
class SpeedOptions:
    """Flags of benchmarks/finetuning_speed.py."""

    data_dir: str | None = flag(os.environ.get("BERTPASS_DATA"), "folder with SST-2 and SQuAD")
    bert_model: str = flag("minilm", "model to start from")
    cases: list[str] = flag(["sst", "sst-128", "squad", "squad-256"], "batches: bucketed, or padded to the longest")
    sides: list[str] = flag(["ours", "plain", "torch"], "who trains")
    steps: int = flag(12, "steps of each side that are counted", least=2)
    warm: int = flag(3, "steps before them, which are not", least=0)
    profile: bool = flag(False, "time by operator of ours and of plain MXNet instead")
    output: str | None = flag(None, "JSON file to write")


@dataclass
class Case:
    """Batches, and the options under which both sides train on them."""

    name: str
    options: Any
    batches: list[Batch]


def cases(options: SpeedOptions, folder: Path) -> list[Case]:
    """The batches of every case, of real rows; models are written into ``folder`` for both sides to read."""
    from bertpass.bench.finetuning import run
    from bertpass.jobs.tasks.predict import encode_examples, encode_questions
    from bertpass.jobs.training import classify, squad
    from bertpass.model.checkpoint import load_checkpoint
    from bertpass.text.data.tasks import get_task

    if options.data_dir is None:
        raise UsageError("name the folder with SST-2 and SQuAD by --data_dir or BERTPASS_DATA.")
    tokenizer, found = load_checkpoint(options.bert_model).tokenizer, []
    count = options.warm + options.steps
    for name in options.cases:
        task = get_task("QA" if name.startswith("squad") else "SST")
        start = run.start_folder(run.Part(task, 2, options.bert_model, folder), folder / task.name)
        shared = {"bert_model": str(start), "data_dir": options.data_dir, "output_dir": str(folder / "out")}
        if task.kind == "qa":
            made: Any = squad.SquadOptions(max_seq_length=256, batch_size=12, **shared)
            data = encode_questions(squad.read_data(made)[0], tokenizer, made.answering())
        else:
            made = classify.ClassifierOptions(task_name="SST", max_len=128, **shared)
            data = encode_examples(classify.read_splits(made).train, tokenizer, made.max_len)
        _, _, pad_to = name.partition("-")
        plan = batches(data.encodings, made.batch_size, pad_id=tokenizer.pad_id, labels=data.labels, shuffle=True,
                       seed=2, round_to=8, pad_to=int(pad_to) if pad_to else None, drop_last=True)
        found.append(Case(name, made, [batch for batch, _ in zip(plan, range(count), strict=False)]))
    return found


def mxnet_side(case: Case, packed: bool) -> Callable[[Batch], float]:
    """A step of ours; without ``packed`` of GluonNLP's network and optimiser as they are."""
    from bertpass.jobs.training.mxnet.trainer import MXNetTrainer
    from bertpass.model.checkpoint import load_checkpoint
    from bertpass.mx import mx

    trainer = MXNetTrainer(load_checkpoint(case.options.bert_model), case.options)
    if packed and trainer.packed is None:
        raise UsageError("bertpass_lib.so is not built; run python setup.py build_ext --inplace.")
    if not packed:
        trainer.packed = None
        trainer.trainer = mx.gluon.Trainer(trainer.net.collect_params(), "bertadam", {"epsilon": 1e-6, "wd": 0.01})
    steps = iter(range(10**9))

    def step(batch: Batch) -> float:
        value = trainer.step([batch], 1e-5, next(steps))
        mx.nd.waitall()
        return value
    return step


def torch_side(case: Case) -> Callable[[Batch], float]:
    """A step of the control, with PyTorch's own AdamW."""
    from bertpass.bench.finetuning.control import Control, Job

    kind = "qa" if case.name.startswith("squad") else "classification"
    control = Control(Job(replace(case.options, optimizer="adamw"), kind, None, None, None))
    control.torch.set_num_threads(machine.threads())
    control.net.train()
    return lambda batch: control.step(batch, 1e-5)


SIDES: dict[str, Callable[[Case], Callable[[Batch], float]]] = {
    "ours": lambda case: mxnet_side(case, True), "plain": lambda case: mxnet_side(case, False), "torch": torch_side}


def measure(case: Case, sides: Sequence[str], warm: int) -> dict[str, list[float]]:
    """Seconds of every counted step of each side, the sides in turn on each batch."""
    steps = {side: SIDES[side](case) for side in sides}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number, batch in enumerate(case.batches):
        for side, step in steps.items():
            began = time.monotonic()
            step(batch)
            if number >= warm:
                seconds[side].append(time.monotonic() - began)
    return seconds


def profile(case: Case, side: str, warm: int, steps: int) -> list[tuple[str, float, int]]:
    """Milliseconds a step and calls a step of each operator of MXNet, longest first."""
    from bertpass.mx import operator_times

    step = SIDES[side](case)
    for batch in case.batches[:warm]:
        step(batch)
    times = operator_times(lambda: [step(batch) for batch in case.batches[warm:]], profile_all=True)
    found = [(name, entry["Total"] / steps, entry["Count"] // steps) for name, entry in times.items()]
    return sorted(found, key=lambda entry: -entry[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; returns the exit code."""
    def job() -> None:
        options = parse(SpeedOptions, argv, "Fine-tuning steps of ours, plain MXNet and PyTorch in turn.")
        if options.profile:
            os.environ["MXNET_EXEC_BULK_EXEC_TRAIN"] = "0"  # or operators hide in segments
        results = []
        with tempfile.TemporaryDirectory() as folder:
            for case in cases(options, Path(folder)):
                if options.profile:
                    for side in [side for side in options.sides if side != "torch"]:
                        found = profile(case, side, options.warm, options.steps)
                        print(f"{case.name}, {side}: {sum(ms for _, ms, _ in found):.0f} ms a step")
                        print("\n".join(f"  {ms:8.1f} ms {count:5d} x {name}" for name, ms, count in found[:24]))
                    continue
                seconds = measure(case, options.sides, options.warm)
                rows = sum(len(batch) for batch in case.batches[options.warm:])
                result: dict[str, Any] = {"case": case.name, "steps": options.steps, "rows": rows}
                for side, spent in seconds.items():
                    ratio = float(np.median(np.divide(seconds.get("torch", np.nan), spent)))
                    result[side] = {"samples_per_second": round(rows / sum(spent), 2), "over_torch": round(ratio, 3)}
                    print(f"{case.name:10} {side:6} {rows / sum(spent):8.2f} samples/s {np.mean(spent):7.3f} s a step, "
                          f"{ratio:.2f} x PyTorch", flush=True)
                results.append(result)
        if options.output:
            about = {"command": machine.command(), "machine": machine.describe(), "threads": machine.threads(),
                     "versions": {**machine.versions(), "torch": machine.version("torch")}}
            write_json(options.output, {**about, "results": results})
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
