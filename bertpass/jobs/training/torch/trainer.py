"""The trainer that computes with PyTorch: the network of the torch engine, in one process, in float32."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.frameworks.torch_engine import network
from bertpass.errors import DeviceError, UsageError
from bertpass.extras import require
from bertpass.jobs.tasks.predict import Forward
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.jobs.training.torch.losses import loss_for
from bertpass.jobs.training.torch.optimizer import Optimizer, check_optimizer
from bertpass.jobs.training.trainer import Trainer
from bertpass.jobs.training.workers import Workers
from bertpass.model import parameters
from bertpass.model.record import Checkpoint
from bertpass.text.tokens.batching import Batch


def check_gpu(gpu: int | None) -> None:
    """DeviceError where PyTorch does not see the GPU, MissingDependencyError where it is not installed."""
    torch = require("torch", "train")
    if gpu is not None and gpu >= torch.cuda.device_count():
        raise DeviceError(f"--gpu {gpu}: PyTorch sees {torch.cuda.device_count()} GPUs; leave --gpu out to train on "
                          "the CPU.")


class TorchTrainer(Trainer):
    """See :class:`~bertpass.jobs.training.trainer.Trainer`.

    Batches, their order, the rate of each step, losses and updates are those of MXNet's trainer; only which elements
    dropout drops differs.
    """

    name = "torch"

    def __init__(self, start: Checkpoint, options: LoopOptions, workers: Workers | None = None) -> None:
        super().__init__(start, options, workers)
        self.torch = torch = require("torch", "train")
        torch.set_num_threads(machine.threads())
        self.device = "cpu" if options.gpu is None else f"cuda:{options.gpu}"
        self.config, arrays = start.network()
        self.net = network(torch, start, torch.float32, trainable=True).to(self.device)
        self.named = {name: self.net.of(name) for name in arrays}
        first = {id(parameter): name for name, parameter in reversed(self.named.items())}
        self.single = {name: self.named[name] for name in first.values()}  # without other names of the same
        self.optimizer = Optimizer(torch, self.single, options)

    @classmethod
    def join(cls, options: FinetuneOptions) -> Workers:
        """Refuse, before any long work, what only MXNet's trainer has; the process is alone.

        Raises
        ------
        MissingDependencyError
            torch is not installed.
        DeviceError
            The GPU is not there, or the precision is another than float32.
        UsageError
            A flag asks for several devices or processes, or for an optimiser that is not here.
        """
        check_gpu(options.gpu)
        if options.backend or options.gpus:
            raise UsageError("fine-tuning through PyTorch is one process on one device: leave --workers, "
                             "--comm_backend and --gpus out (--gpu names one).")
        check_optimizer(options.optimizer)
        if options.dtype != "float32":
            raise DeviceError(f"--dtype {options.dtype}: fine-tuning through PyTorch is in float32; leave --dtype out.")
        return Workers()

    def weights(self) -> dict[str, np.ndarray]:
        made = {id(parameter): parameter.detach().cpu().numpy().copy() for parameter in self.single.values()}
        return {name: made[id(parameter)] for name, parameter in self.named.items()}

    def set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        parameters.check(arrays, {name: tuple(value.shape) for name, value in self.named.items()})
        with self.torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(self.torch.tensor(np.asarray(arrays[name], np.float32)))

    def backward(self, group: Sequence[Batch], share: float, step: int) -> tuple[float, float]:
        torch = self.torch
        torch.manual_seed(int(np.random.SeedSequence([self.options.seed, step]).generate_state(1)[0]))
        self.net.train().zero_grad(set_to_none=True)
        value = 0.0
        for batch in group:
            loss = self.losses(batch) * share
            loss.backward()
            value += loss.item()
        for parameter in self.single.values():
            if parameter.grad is None:  # no row of the batch uses it
                parameter.grad = torch.zeros_like(parameter)
        lengths = [torch.linalg.vector_norm(p.grad).item() for p in self.single.values()]
        return value, math.sqrt(sum(length * length for length in lengths))

    def losses(self, batch: Any) -> Any:
        """The sum of the losses of a batch's rows, a tensor."""
        labels, lengths = (self._tensor(array) for array in (batch.labels, batch.valid_length))
        return loss_for(self.torch, self.start.head)(self._outputs(batch)[0], labels, lengths.long()).sum()

    def update(self, rate: float, divisor: float) -> None:
        if divisor != 1.0:
            for parameter in self.single.values():
                parameter.grad.div_(divisor)
        self.optimizer.step(rate)

    def save_states(self, path: Path) -> None:
        self.torch.save(self.optimizer.state(), path)

    def load_states(self, path: Path) -> None:
        self.optimizer.restore(self.torch.load(path, map_location=self.device, weights_only=True))

    def inference(self) -> Forward:
        return super().inference() if self.options.gpu is None else self._forward

    def _forward(self, batch: Batch) -> list[np.ndarray]:
        self.net.eval()
        with self.torch.no_grad():
            return [output.float().cpu().numpy() for output in self._outputs(batch)]

    def _outputs(self, batch: Batch) -> list[Any]:
        arrays = (self._tensor(array).long() for array in (batch.input_ids, batch.token_types, batch.valid_length))
        return list(self.net(*arrays, bool((batch.valid_length < batch.input_ids.shape[1]).any())))

    def _tensor(self, array: Any) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
