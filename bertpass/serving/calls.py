"""A request's way from a thread, where texts are read and results made, to the queue and back."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bertpass.engines.base import Engine
from bertpass.engines.model import Model
from bertpass.errors import ModelError
from bertpass.serving.failures import TooLarge
from bertpass.serving.models import Source
from bertpass.serving.queue import Job, TokenQueue

T = TypeVar("T")
CURRENT: contextvars.ContextVar[Call] = contextvars.ContextVar("bertpass_call")


@dataclass
class Call:
    """One request: what it put into the queue, and where its time went, in seconds."""

    queue: TokenQueue
    loop: asyncio.AbstractEventLoop
    tokens: int = 0
    total: float = 0.0
    _jobs: list[Job] = field(default_factory=list)
    _over: bool = False

    @property
    def queued(self) -> float:
        return sum(job.queued for job in self._jobs)

    @property
    def computing(self) -> float:
        return sum(job.computing for job in self._jobs)

    @property
    def tokenization(self) -> float:
        """What is neither queue nor engine: reading texts and making results of outputs."""
        return max(0.0, self.total - self.queued - self.computing)

    async def work(self, threads: Executor, function: Callable[[], T]) -> T:
        """The function's value, computed in a thread; cancelled, its rows leave the queue."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        start = time.monotonic()
        try:
            return await self.loop.run_in_executor(threads, context.run, function)
        finally:
            self.total, self._over = time.monotonic() - start, True
            for job in self._jobs:
                job.future.cancel()

    async def submit(self, model: int, rows: Sequence[Any]) -> list[np.ndarray]:
        """Through the queue; called from the thread by way of the loop."""
        if self._over:  # nobody waits any more
            raise asyncio.CancelledError
        job = self.queue.submit(model, rows)
        self._jobs.append(job)
        self.tokens += sum(len(ids) for ids, _ in rows)
        return await job.future


class _Elsewhere(Engine):
    """Stands where a model wants an engine; the engines are in other processes."""

    name = "queue"

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        raise NotImplementedError("rows go through the queue")

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name}


class QueuedModel(Model):
    """A model whose rows go through the queue of the request that is being answered; for use in its thread."""

    def __init__(self, number: int, source: Source) -> None:
        checkpoint = source.checkpoint()
        if checkpoint.tokenizer is None:
            raise ModelError(f"{source.path} has no vocabulary, so it cannot be served; name one with --vocab.")
        super().__init__(_Elsewhere(), checkpoint.config, checkpoint.head, checkpoint.tokenizer,
                         checkpoint.labels or (), checkpoint.max_length)
        self.number, self.name, self.source = number, source.name, checkpoint.source or source.path

    def run(self, encodings: Sequence[Any], batch_size: int = 32) -> list[np.ndarray]:
        """As :meth:`Model.run`; the queue makes the batches, whatever ``batch_size`` says."""
        call = CURRENT.get()
        rows = [(encoding.ids, encoding.token_types) for encoding in encodings]
        return asyncio.run_coroutine_threadsafe(call.submit(self.number, rows), call.loop).result()

    def refuse_long(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> None:
        """TooLarge where a text, or a pair, has more tokens than the model takes."""
        longest = max(map(len, self.tokenizer.encode(texts, pairs, truncation=False)), default=0)
        if longest > self.max_length:
            raise TooLarge(f"a text has {longest} tokens and the model takes {self.max_length}; send \"truncate\": "
                           "true to have it cut.")
