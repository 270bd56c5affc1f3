"""The training loop that every fine-tuning job shares: schedule, accumulation, checkpoints, resume, early stop."""

from __future__ import annotations

import dataclasses
import math
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.files import write_json
from bertpass.errors import ModelError, TrainingError, UsageError
from bertpass.jobs.tasks.predict import Forward
from bertpass.jobs.training.epochs import Epochs
from bertpass.jobs.training.loop_options import CHECKPOINT, STATE, LoopOptions
from bertpass.jobs.training.stopping import Stopping
from bertpass.jobs.training.workers import Workers
from bertpass.model.config import HeadConfig
from bertpass.model.files import params_file
from bertpass.model.files.folders import read_object, replacing
from bertpass.model.record import Checkpoint
from bertpass.progress import Bar, log
from bertpass.text.tokens.batching import Batch


def learning_rate(step: int, total: int, peak: float, warmup_ratio: float) -> float:
    """Linear rise over ``warmup_ratio * total`` steps, then linear fall to 0 at ``total`` (Devlin et al. 2018, A.2)."""
    warmup = int(total * warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * max(total - step, 0) / max(total - warmup, 1)


@dataclass
class Best:
    """The best evaluation so far by the task's main metric: the number of the stretch before it, from 0."""

    stretch: int = -1
    value: float = -math.inf
    metrics: dict[str, float] = field(default_factory=dict)


def terms(head: HeadConfig, batch: Batch) -> int:
    """How many terms the mean loss of a batch is over: its rows, or, as in transformers' models, its tagged tokens."""
    return max(int((np.asarray(batch.labels) >= 0).sum()), 1) if head.kind == "tokens" else len(batch)


class Trainer:
    """Trains a checkpoint's network on batches and keeps what is needed to go on after a stop.

    What a framework does is in a subclass: its network with the weights, losses, gradients and optimiser.

    Parameters
    ----------
    start
        The weights to start from, with the head that is trained.
    workers
        Processes that train together. Only the first evaluates and writes files.
    """

    name = ""  #: as of --trainer
    device = "cpu"  #: for people
    mixed = False  #: whether gradients may overflow, as in mixed precision

    def __init__(self, start: Checkpoint, options: LoopOptions, workers: Workers | None = None) -> None:
        self.start, self.options, self.workers = start, options, workers or Workers()
        self.folder = Path(options.output_dir)
        self.checkpoint = self.folder / CHECKPOINT
        self._kept = False  # whether the checkpoint on disk is of this training
        self.stopping = Stopping()
        self.best = Best()
        self.history: list[dict[str, Any]] = []
        self._rows, self._seconds = 0, 0.0  # trained by this process, without evaluations

    def weights(self) -> dict[str, np.ndarray]:
        """The weights of this moment, float32, by the names of :func:`bertpass.model.parameters.shapes`."""
        raise NotImplementedError

    def set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put these in their place; ModelError where they are others than :meth:`weights` has."""
        raise NotImplementedError

    def begin(self, seed: int) -> None:
        """Seed the framework's random numbers, before a stretch."""

    def backward(self, group: Sequence[Batch], share: float, step: int) -> tuple[float, float]:
        """Gradients of ``share`` times the losses of all rows of a step's batches; gives that sum and the length of the
        gradient."""
        raise NotImplementedError

    def update(self, rate: float, divisor: float) -> None:
        """One step of the optimiser, with gradients divided by ``divisor``."""
        raise NotImplementedError

    def save_states(self, path: Path) -> None:
        """Write the optimiser's states."""
        raise NotImplementedError

    def load_states(self, path: Path) -> None:
        """Read what :meth:`save_states` wrote."""
        raise NotImplementedError

    def trained(self) -> Checkpoint:
        """The checkpoint with the weights of this moment."""
        return dataclasses.replace(self.start, params={**self.start.params, **self.weights()})

    def inference(self) -> Forward:
        """A forward with the weights of this moment; on CPUs by the native engine, several times as fast."""
        return native_forward(self.trained())

    @property
    def samples_per_second(self) -> float | None:
        """Rows trained by this process over the time of their steps; None before the first."""
        return round(self._rows / self._seconds, 2) if self._rows else None

    def fit(self, epochs: Epochs, evaluate: Callable[[], tuple[dict[str, float], float]],
            keep: Callable[[dict[str, float]], None] = lambda metrics: None) -> Best:
        """Train to the end; returns the best evaluation, whose weights the net then holds.

        Parameters
        ----------
        epochs
            What to train on, in stretches with an evaluation after each.
        evaluate
            Returns the metrics on the development set and the value that decides which evaluation is best.
            The first of several workers calls it.
        keep
            Called with the metrics after every evaluation that is the best so far, and at the end, when net.params and
            the network hold its weights.
        """
        options = self.options
        first, trained = self._resume(epochs) if options.resume else (0, False)
        if first >= epochs.stretches:
            log.info("the checkpoint in %s is of the end: nothing left to train", self.checkpoint)
        try:
            with self.stopping, Bar("fine-tuning", epochs.total, "steps",
                                    silent=self.workers.rank > 0) as bar:
                bar.begin_at(min((first + trained) * epochs.stride, epochs.total))
                for number in range(first, epochs.stretches):
                    if options.early_stop and number - 1 - self.best.stretch >= options.early_stop:
                        log.info("no better in %d evaluations: stopped early", options.early_stop)
                        break
                    if not trained:
                        self.train(number, epochs, bar)
                        self._save(number, evaluated=False)  # what takes long is safe, whatever happens next
                    trained = False
                    self.stopping.check()
                    metrics, value = evaluate() if self.workers.rank == 0 else ({}, 0.0)
                    self._evaluated(number, epochs.after(number), metrics, self.workers.share(value))
                    if self.best.stretch == number and self.workers.rank == 0:
                        keep(metrics)
                    self.stopping.check()
        except KeyboardInterrupt:
            if self._kept:
                log.info("stopped; the last checkpoint is kept in %s: the same command with --resume goes on from it",
                         self.checkpoint)
            raise
        if self.best.stretch >= 0 and self.workers.rank == 0:
            self.set_weights(params_file.read(self.folder / "net.params"))
            keep(self.best.metrics)
        return self.best

    def train(self, number: int, epochs: Epochs, bar: Bar) -> None:
        """Train on one stretch."""
        options, total = self.options, epochs.total
        self.begin(options.seed + 1000 * number + 1_000_003 * self.workers.rank)
        running, seen, start, logged = 0.0, 0, time.monotonic(), time.monotonic()
        note = ""
        for index, group in enumerate(epochs.stretch(number)):
            self.stopping.check()
            step = number * epochs.stride + index
            rate = learning_rate(step, total, options.lr, options.warmup_ratio)
            value = self.step(group, rate, step)
            seen += sum(map(len, group))
            running = value if index == 0 else 0.95 * running + 0.05 * value
            speed = seen / (time.monotonic() - start)
            note = f"loss {running:.4f}  lr {rate:.2e}  {speed:.1f} samples/s"
            bar.advance(1, note)
            if (step + 1) % options.log_interval == 0 and time.monotonic() - logged > 1:
                logged = time.monotonic()
                log.debug("step %d/%d  %s", step + 1, total, note)
        self._rows += seen
        self._seconds += time.monotonic() - start
        log.info("epoch %g: %s, %.0f s", epochs.after(number), note, time.monotonic() - start)

    def step(self, group: Sequence[Batch], rate: float, step: int) -> float:
        """One update from ``--accumulate`` batches, as from one batch of all their rows. Workers and devices part each
        of them; gradients are added up. Returns the mean loss of the rows of this worker."""
        share = 1 / sum(terms(self.start.head, batch) for batch in group)
        value, length = self.backward(group, share, step)
        self._check(value, length, step)
        self.update(rate, max(1.0, length) if math.isfinite(length) else 1.0)  # clipped to a norm of 1
        return value

    def _check(self, loss: float, length: float, step: int) -> None:
        """Stop on NaN or infinity; mixed precision leaves out a step whose gradients overflow."""
        lower = f"try a lower --lr than {self.options.lr:g}"
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step + 1}: {lower}"
                                + (" or --dtype float32." if self.mixed else "."))
        if not math.isfinite(length) and not self.mixed:
            raise TrainingError(f"the gradients are too large for numbers at step {step + 1}: {lower}.")

    def _evaluated(self, number: int, epoch: float, metrics: dict[str, float], value: float) -> None:
        log.info("epoch %g on dev: %s", epoch, ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        self.history.append({"epoch": epoch, **metrics})
        better = value > self.best.value or self.best.stretch < 0
        if better:
            self.best = Best(number, value, metrics)
        self._save(number, evaluated=True, better=better)

    def _save(self, number: int, *, evaluated: bool, better: bool = False) -> None:
        """Write a checkpoint that --resume goes on from, and net.params where the evaluation is the best so far."""
        if self.workers.rank:
            return
        arrays = self.weights()
        with replacing(self.checkpoint, STATE, "a checkpoint") as new:
            params_file.write(new / "net.params", arrays)
            self.save_states(new / "trainer.states")
            write_json(new / STATE, {"stretch": number, "evaluated": evaluated, "best": vars(self.best),
                                     "history": self.history, "trainer": self.name,
                                     "options": self.options.fingerprint()})
            if better:
                params_file.write(self.folder / "net.params", arrays)
            self._kept = True  # before the swap: a Ctrl-C right after it still finds the promise made

    def _resume(self, epochs: Epochs) -> tuple[int, bool]:
        """Restore the last checkpoint; returns the stretch to go on with and whether only its evaluation is left."""
        file = self.checkpoint / STATE
        if not file.is_file():
            log.info("--resume: no checkpoint in %s yet, starting at the beginning", self.folder)
            return 0, False
        state = read_object(file, "the state of a checkpoint")
        before = state.get("trainer", "mxnet")
        if before != self.name:
            raise UsageError(f"--resume: the checkpoint was made with --trainer {before}, not {self.name}; use the "
                             "same trainer or another --output_dir.")
        try:
            number, best, history = int(state["stretch"]), Best(**state["best"]), list(state["history"])
            evaluated = bool(state["evaluated"])
            self.set_weights(params_file.read(self.checkpoint / "net.params"))
            self.load_states(self.checkpoint / "trainer.states")
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, RuntimeError,
                pickle.UnpicklingError) as error:
            raise ModelError(f"the checkpoint {self.checkpoint} is damaged ({type(error).__name__}: {error}): remove "
                             "it to start again.") from error
        self.best, self.history, self._kept = best, history, True
        log.info("going on %s epoch %g", "after" if evaluated else "with the evaluation of", epochs.after(number))
        return (number + 1, False) if evaluated else (number, True)


def native_forward(checkpoint: Checkpoint) -> Forward:
    """A forward of a checkpoint by the native engine, in float32."""
    from bertpass.engines.native import NativeEngine

    engine = NativeEngine(checkpoint)
    return lambda batch: engine.forward(batch.input_ids, batch.token_types, batch.valid_length)
