"""The trainer that computes with MXNet: one process or several, on CPUs or GPUs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.engines.frameworks.mxnet_engine import check_device
from bertpass.jobs.tasks.predict import Forward
from bertpass.jobs.training.mxnet.losses import loss_for
from bertpass.jobs.training.mxnet.optimizer import BY_NAME, norm
from bertpass.jobs.training.mxnet.packed_network import PackedNetwork, available, packed
from bertpass.jobs.training.mxnet.workers import join
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.jobs.training.trainer import Trainer
from bertpass.jobs.training.workers import Workers
from bertpass.model.nets import Network, build, get_parameters, set_parameters
from bertpass.model.record import Checkpoint
from bertpass.mx import context, mx
from bertpass.text.tokens.batching import Batch


class MXNetTrainer(Trainer):
    """See :class:`~bertpass.jobs.training.trainer.Trainer`; each of its ``contexts`` takes its rows of every batch.

    On CPUs it trains the network's :class:`~bertpass.jobs.training.mxnet.packed_network.PackedNetwork` where that can
    be had.

    Raises
    ------
    DeviceError
        A device is not there or cannot compute the precision.
    UsageError
        The processes that train together were not started as ``--comm_backend`` needs it.
    """

    name = "mxnet"
    options: FinetuneOptions

    def __init__(self, start: Checkpoint, options: FinetuneOptions, workers: Workers | None = None) -> None:
        super().__init__(start, options, workers)
        self.contexts = [context(gpu) for gpu in options.devices]
        self.net = network(start, self.contexts, options.seed)
        self.mixed = options.dtype == "float16"
        packs = not self.mixed and all(available(one) for one in self.contexts)
        self.packed = PackedNetwork(self.net) if packs and options.trains else None
        if options.trains:
            self.loss = loss_for(self.net.head)
            self._make_trainer()

    @classmethod
    def join(cls, options: FinetuneOptions) -> Workers:
        """Check the devices, then wait for the other processes."""
        for gpu in options.devices:
            check_device(gpu, options.dtype)
        return join(options.backend, options.worker_timeout)

    def _make_trainer(self) -> None:
        options = self.options
        settings: dict[str, Any] = {"learning_rate": options.lr, "wd": options.decay}
        if options.optimizer != "sgd":
            settings["epsilon"] = options.epsilon
        if self.mixed:
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
        if self.mixed:
            mx.contrib.amp.init_trainer(self.trainer)

    def weights(self) -> dict[str, np.ndarray]:
        return get_parameters(self.net)

    def set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        set_parameters(self.net, arrays)

    def begin(self, seed: int) -> None:
        mx.random.seed(seed)

    def backward(self, group: Sequence[Batch], share: float, step: int) -> tuple[float, float]:
        """Workers and devices part each batch; gradients are added up. The value is the mean over this worker's rows,
        times the number of workers."""
        options, workers = self.options, self.workers
        if options.accumulate > 1:
            for parameter in self.parameters:
                parameter.zero_grad()
        losses = []
        for turn, batch in enumerate(group):
            with mx.autograd.record():
                of_turn = [self._loss(batch, share, workers.rank * len(self.contexts) + number, device, (step, turn))
                           for number, device in enumerate(self.contexts)]
                scaled = mx.contrib.amp.scale_loss(of_turn, self.trainer) if self.mixed \
                    else contextlib.nullcontext(of_turn)
                with scaled as of_devices:
                    mx.autograd.backward(of_devices)
            losses += of_turn
        with workers.waiting():
            self.trainer.allreduce_grads()
            workers.add_up([parameter.list_grad()[0] for parameter in self.parameters])
            length = norm([p.list_grad()[0] for p in self.parameters]) * self.trainer._scale  # of mixed precision
        return float(sum(loss.asscalar() for loss in losses)) * workers.size, length

    def update(self, rate: float, divisor: float) -> None:
        self.trainer.set_learning_rate(rate)
        self.trainer.update(divisor)

    def save_states(self, path: Path) -> None:
        self.trainer.save_states(str(path))

    def load_states(self, path: Path) -> None:
        self.trainer.load_states(str(path))

    def inference(self) -> Forward:
        if self.options.devices[0] is None:
            return super().inference()
        return net_forward(self.net, self.start.config, self.contexts[0])

    def _loss(self, batch: Batch, share: float, part: int, device: Any, when: tuple[int, int]) -> Any:
        """The share of one part of a batch's rows in the mean loss of a step; ``when``: the step, the turn in it."""
        parts = self.workers.size * len(self.contexts)
        mine = rows_of(batch, slice(part, None, parts))
        if not len(mine):  # fewer rows than parts: a gradient has to be there all the same, and is zero
            mine, share = rows_of(batch, slice(0, 1)), 0.0
        if self.packed is None:
            outputs = self.net(*to_device(mine, self.net.config, device))
        else:
            step, turn = when
            seed = np.random.SeedSequence([self.options.seed, step, turn * parts + part]).generate_state(2)
            seed = seed.view(np.int32)
            outputs = self.packed(*packed(mine, self.net.head.has_token_logits, device, seed))
        return self.loss(outputs, mine).sum() * share


def network(start: Checkpoint, contexts: Sequence[Any], seed: int) -> Network:
    """The network in training form (with dropout), on the devices, with its weights."""
    mx.random.seed(seed)
    net = build(start.config, start.head)
    set_parameters(net, start.params, ctx=list(contexts))
    net.hybridize(static_alloc=True)
    return net


def rows_of(batch: Batch, which: slice) -> Batch:
    """Some rows of a batch, of the same padded length."""
    labels = None if batch.labels is None else batch.labels[which]
    return Batch(batch.input_ids[which], batch.token_types[which], batch.valid_length[which], labels,
                 batch.index[which])


def to_device(batch: Batch, config: Any, device: Any) -> tuple[Any, ...]:
    """The network's inputs for one batch: ids, token types where the family has them, valid length as float32."""
    ids = mx.nd.array(batch.input_ids, ctx=device, dtype="int32")
    valid = mx.nd.array(batch.valid_length, ctx=device, dtype="float32")
    if not config.takes_token_types:
        return ids, valid
    return ids, mx.nd.array(batch.token_types, ctx=device, dtype="int32"), valid


def net_forward(net: Any, config: Any, device: Any) -> Callable[[Batch], list[np.ndarray]]:
    """A forward in inference mode on the network being trained, with the outputs as float32 arrays."""
    def forward(batch: Batch) -> list[np.ndarray]:
        out = net(*to_device(batch, config, device))
        outputs = out if isinstance(out, (list, tuple)) else [out]
        return [o.astype("float32").asnumpy() for o in outputs]
    return forward
