"""The training loop that every fine-tuning job shares: schedule, accumulation, checkpoints, resume, early stop."""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.files import write_json
from bertpass.errors import ModelError, TrainingError
from bertpass.jobs.training.epochs import Epochs
from bertpass.jobs.training.losses import loss_for, terms
from bertpass.jobs.training.optimizer import BY_NAME, norm
from bertpass.jobs.training.options import CHECKPOINT, STATE, FinetuneOptions
from bertpass.jobs.training.packed_network import PackedNetwork, available, packed
from bertpass.jobs.training.stopping import Stopping
from bertpass.jobs.training.workers import Workers
from bertpass.model.files import params_file
from bertpass.model.files.folders import read_object, replacing
from bertpass.model.nets import Network, get_parameters, set_parameters
from bertpass.mx import mx
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


class Trainer:
    """Trains a network on batches and keeps what is needed to go on after a stop.

    On CPUs it trains the network's :class:`~bertpass.jobs.training.packed_network.PackedNetwork` where that can be had.

    Parameters
    ----------
    net
        From :func:`bertpass.model.nets.build`, with its weights in all ``contexts``.
    contexts
        Devices of this process; each takes its rows of every batch.
    workers
        Processes that train together. Only the first evaluates and writes files.
    """

    def __init__(self, net: Network, options: FinetuneOptions, contexts: Sequence[Any],
                 workers: Workers | None = None) -> None:
        self.net, self.options, self.contexts, self.workers = net, options, list(contexts), workers or Workers()
        self.loss = loss_for(net.head)
        packs = options.dtype == "float32" and all(available(context) for context in self.contexts)
        self.packed = PackedNetwork(net) if packs else None
        self.folder = Path(options.output_dir)
        self.checkpoint = self.folder / CHECKPOINT
        self._kept = False  # whether the checkpoint on disk is of this training
        self.stopping = Stopping()
        self.best = Best()
        self.history: list[dict[str, Any]] = []
        self._rows, self._seconds = 0, 0.0  # trained by this process, without evaluations
        self._make_trainer()

    @property
    def samples_per_second(self) -> float | None:
        """Rows trained by this process over the time of their steps; None before the first."""
        return round(self._rows / self._seconds, 2) if self._rows else None

    def _make_trainer(self) -> None:
        options = self.options
        settings: dict[str, Any] = {"learning_rate": options.lr, "wd": options.decay}
        if options.optimizer != "sgd":
            settings["epsilon"] = options.epsilon
        if options.dtype == "float16":
            mx.contrib.amp.init()
            settings["multi_precision"] = True
        parameters = self.net.collect_params()
        for parameter in self.net.collect_params(".*beta|.*gamma|.*bias").values():
            parameter.wd_mult = 0.0
        self.parameters = [p for p in parameters.values() if p.grad_req != "null"]
        if options.accumulate > 1:
            for parameter in self.parameters:
                parameter.grad_req = "add"
        optimizer = BY_NAME.get(options.optimizer, options.optimizer)
        self.trainer = mx.gluon.Trainer(parameters, optimizer, settings, kvstore=self.workers.kvstore,
                                        update_on_kvstore=False)
        if self.workers.size > 1:
            # Gluon does this in the first step, and does not wait: servers hold weights and then gradients under the
            # same keys, and a process that asked for its first weights could be given gradients.
            with self.workers.waiting():
                self.trainer._init_kvstore()
                self.trainer._init_params()
                mx.nd.waitall()
        if options.dtype == "float16":
            mx.contrib.amp.init_trainer(self.trainer)
            self._scale = mx.contrib.amp.scale_loss
        else:
            self._scale = None

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
            set_parameters(self.net, params_file.read(self.folder / "net.params"))
            keep(self.best.metrics)
        return self.best

    def train(self, number: int, epochs: Epochs, bar: Bar) -> None:
        """Train on one stretch."""
        options, total = self.options, epochs.total
        mx.random.seed(options.seed + 1000 * number + 1_000_003 * self.workers.rank)
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
        options, workers = self.options, self.workers
        if options.accumulate > 1:
            for parameter in self.parameters:
                parameter.zero_grad()
        losses = []
        share = 1 / sum(terms(self.net.head, batch) for batch in group)
        for turn, batch in enumerate(group):
            with mx.autograd.record():
                of_turn = [self._loss(batch, share, workers.rank * len(self.contexts) + number, context, (step, turn))
                           for number, context in enumerate(self.contexts)]
                scaled = contextlib.nullcontext(of_turn) if self._scale is None else self._scale(of_turn, self.trainer)
                with scaled as of_devices:
                    mx.autograd.backward(of_devices)
            losses += of_turn
        with workers.waiting():
            self.trainer.allreduce_grads()
            workers.add_up([parameter.list_grad()[0] for parameter in self.parameters])
            length = norm([p.list_grad()[0] for p in self.parameters]) * self.trainer._scale  # of mixed precision
        value = float(sum(loss.asscalar() for loss in losses)) * workers.size
        self._check(value, length, step)
        self.trainer.set_learning_rate(rate)
        self.trainer.update(max(1.0, length) if math.isfinite(length) else 1.0)  # clipped to a norm of 1
        return value

    def _loss(self, batch: Batch, share: float, part: int, context: Any, when: tuple[int, int]) -> Any:
        """The share of one part of a batch's rows in the mean loss of a step; ``when``: the step, the turn in it."""
        parts = self.workers.size * len(self.contexts)
        mine = rows_of(batch, slice(part, None, parts))
        if not len(mine):  # fewer rows than parts: a gradient has to be there all the same, and is zero
            mine, share = rows_of(batch, slice(0, 1)), 0.0
        if self.packed is None:
            outputs = self.net(*to_device(mine, self.net.config, context))
        else:
            step, turn = when
            seed = np.random.SeedSequence([self.options.seed, step, turn * parts + part]).generate_state(2)
            seed = seed.view(np.int32)
            outputs = self.packed(*packed(mine, self.net.head.has_token_logits, context, seed))
        return self.loss(outputs, mine).sum() * share

    def _check(self, loss: float, length: float, step: int) -> None:
        """Stop on NaN or infinity; mixed precision leaves out a step whose gradients overflow."""
        lower = f"try a lower --lr than {self.options.lr:g}"
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step + 1}: {lower}"
                                + (" or --dtype float32." if self._scale else "."))
        if not math.isfinite(length) and self._scale is None:
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
        arrays = get_parameters(self.net)
        with replacing(self.checkpoint, STATE, "a checkpoint") as new:
            params_file.write(new / "net.params", arrays)
            self.trainer.save_states(str(new / "trainer.states"))
            write_json(new / STATE, {"stretch": number, "evaluated": evaluated, "best": vars(self.best),
                                     "history": self.history, "options": self.options.fingerprint()})
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
        try:
            number, best, history = int(state["stretch"]), Best(**state["best"]), list(state["history"])
            evaluated = bool(state["evaluated"])
            set_parameters(self.net, params_file.read(self.checkpoint / "net.params"))
            self.trainer.load_states(str(self.checkpoint / "trainer.states"))
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise ModelError(f"the checkpoint {self.checkpoint} is damaged ({type(error).__name__}: {error}): remove "
                             "it to start again.") from error
        self.best, self.history, self._kept = best, history, True
        log.info("going on %s epoch %g", "after" if evaluated else "with the evaluation of", epochs.after(number))
        return (number + 1, False) if evaluated else (number, True)


def rows_of(batch: Batch, which: slice) -> Batch:
    """Some rows of a batch, of the same padded length."""
    labels = None if batch.labels is None else batch.labels[which]
    return Batch(batch.input_ids[which], batch.token_types[which], batch.valid_length[which], labels,
                 batch.index[which])


def to_device(batch: Batch, config: Any, context: Any) -> tuple[Any, ...]:
    """The network's inputs for one batch: ids, token types where the family has them, valid length as float32."""
    ids = mx.nd.array(batch.input_ids, ctx=context, dtype="int32")
    valid = mx.nd.array(batch.valid_length, ctx=context, dtype="float32")
    if not config.takes_token_types:
        return ids, valid
    return ids, mx.nd.array(batch.token_types, ctx=context, dtype="int32"), valid


def net_forward(net: Any, config: Any, context: Any) -> Callable[[Batch], list[np.ndarray]]:
    """A forward in inference mode on the network being trained, with the outputs as float32 arrays."""
    def forward(batch: Batch) -> list[np.ndarray]:
        out = net(*to_device(batch, config, context))
        outputs = out if isinstance(out, (list, tuple)) else [out]
        return [o.astype("float32").asnumpy() for o in outputs]
    return forward
