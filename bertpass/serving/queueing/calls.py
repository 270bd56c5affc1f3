"""A request's way from a thread, where texts are read and results made, to the queue and back."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from bertpass.engines.base import Engine
from bertpass.engines.model import Model
from bertpass.engines.rows import Output
from bertpass.errors import ModelError
from bertpass.serving.failures import TooLarge
from bertpass.serving.instances import ways
from bertpass.serving.instances.models import Opened, pooled_only
from bertpass.serving.instances.worker import Row
from bertpass.serving.queueing.queue import TokenQueue
from bertpass.serving.queueing.waiting import Job
from bertpass.text.tokens.tokenizer import Side

log = logging.getLogger("bertpass.serving")
T = TypeVar("T")
CURRENT: contextvars.ContextVar[Call] = contextvars.ContextVar("bertpass_call")
ANSWERED: contextvars.ContextVar[Answered] = contextvars.ContextVar("bertpass_answered")


@dataclass
class Call:
    """One request: what it put into the queue, and where its time went, in seconds.

    ``arrived`` is when its body was there; ``check`` raises Overloaded for rows that cannot be computed in time.
    """

    queue: TokenQueue
    check: Callable[[int, Sequence[Row]], None]
    arrived: float
    loop: asyncio.AbstractEventLoop
    tokens: int = 0
    start: float = 0.0
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

    def parts(self) -> Iterator[tuple[str, float, float]]:
        """(name, begin, end) of what was done one after the other, in seconds of ``time.monotonic``."""
        at = self.start
        for job in self._jobs:
            taken = job.came + job.queued
            yield from (("tokenization", at, job.came), ("queue", job.came, taken))
            at = taken + job.computing
            yield "inference", taken, at
        yield "results", at, self.start + self.total

    async def work(self, threads: Executor, function: Callable[[], T]) -> T:
        """The function's value, computed in a thread; cancelled, its rows leave the queue."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        self.start = time.monotonic()
        try:
            return await self.loop.run_in_executor(threads, context.run, function)
        finally:
            self.total, self._over = time.monotonic() - self.start, True
            for job in self._jobs:
                job.future.cancel()

    async def submit(self, model: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """Through the queue; called from the thread by way of the loop."""
        if self._over:  # nobody waits any more
            raise asyncio.CancelledError
        if not self._jobs:  # what was taken once is computed, also where it comes to the queue several times
            self.check(model, rows)
        job = self.queue.submit(model, rows, self.arrived)
        self._jobs.append(job)
        self.tokens += sum(len(ids) for ids, _ in rows)
        return await job.future


@dataclass
class Answered:
    """What is known of a request; ``arrived`` is when its body was there, ``status`` 0 until its answer begins."""

    method: str
    path: str
    route: str
    start: float = field(default_factory=time.monotonic)
    arrived: float = 0.0
    status: int = 0
    #: of a failure: its sentence, and its cause in one word
    error: str = ""
    kind: str = "internal"
    call: Call | None = None

    @property
    def computes(self) -> bool:
        return self.method == "POST"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def fields(self) -> dict[str, Any]:
        """For the log: where the time of what was computed went, in milliseconds."""
        if self.call is None:
            return {}
        return {"tokens": self.call.tokens, **{f"{name}_ms": round(1000 * seconds, 1) for name, seconds in (
            ("tokenization", self.call.tokenization), ("queue", self.call.queued),
            ("inference", self.call.computing))}}


class QueueEngine(Engine):
    """Computes nothing: puts rows into the queue of the request that is being answered; for use in its thread."""

    name = "queue"

    def __init__(self, number: int, per_token: bool, dtype: str) -> None:
        self._number, self._per_token, self._dtype = number, per_token, dtype

    def submit(self, rows: Sequence[Row], way: int = ways.OWN) -> list[np.ndarray]:
        """The first output of each row, in their order; the queue makes the batches. ``way`` is one of
        :mod:`bertpass.serving.instances.ways`."""
        call, number = CURRENT.get(), self._number + ways.WIDTH * way
        return asyncio.run_coroutine_threadsafe(call.submit(number, rows), call.loop).result()

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`; the first output alone."""
        found = self.submit([(ids[start:end], token_types[start:end])
                             for start, end in pairwise(offsets)])
        return [Output(np.concatenate(found), offsets) if self._per_token else Output(np.stack(found))]

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "dtype": self._dtype}


class QueuedModel(Model):
    """A model whose rows go through the queue of the request that is being answered; for use in its thread."""

    engine: QueueEngine

    def __init__(self, number: int, opened: Opened) -> None:
        source, checkpoint = opened.source, opened.checkpoint
        if checkpoint.tokenizer is None:
            raise ModelError(f"{source.path} has no vocabulary, so it cannot be served; name one with --vocab.")
        super().__init__(QueueEngine(number, checkpoint.head.per_token, opened.choice.dtype), checkpoint.config,
                         pooled_only(checkpoint), checkpoint.tokenizer, checkpoint.labels or (),
                         checkpoint.max_length, checkpoint.sentence, checkpoint.notes)
        self.name, self.path, self.source = source.name, source.path, checkpoint.source or source.path
        for note in self.notes:
            log.warning("%s: %s", self.name, note)
        self.dtype_why = opened.choice.why

    @property
    def kind(self) -> str:
        """That of the head, or "late" of a model of late interaction."""
        return self.head.kind if self.sentence.late is None else "late"

    def run(self, encodings: Sequence[Any], batch_size: int = 32) -> list[np.ndarray]:
        """As :meth:`Model.run`; the queue makes the batches, whatever ``batch_size`` says. Of masked words only the
        logits where a [MASK] stands."""
        way = ways.OWN
        if any(getattr(each, "attended", len(each)) < len(each) for each in encodings):
            way, mask = ways.QUERIES, self.tokenizer.mask_id
            assert mask is not None and all(each.attended == ways.attended(each.ids, mask) for each in encodings)
        return self.engine.submit([(encoding.ids, encoding.token_types) for encoding in encodings], way)

    def states(self, encodings: Sequence[Any]) -> list[np.ndarray]:
        """The states of each row's tokens, (tokens, units), whatever head the model has."""
        way = ways.STATES if self.head.kind == "embedding" else ways.OWN
        return self.engine.submit([(encoding.ids, encoding.token_types) for encoding in encodings], way)

    def cutting(self, side: Side | None) -> QueuedModel:
        """The model as it is, or one that cuts texts at that side, "left" or "right"."""
        if side in (None, self.tokenizer.truncation_side):
            return self
        tokenizer = copy.copy(self.tokenizer)
        tokenizer.truncation_side = side
        other = QueuedModel.__new__(QueuedModel)
        vars(other).update(vars(self), _tokenizer=tokenizer)
        return other

    def refuse_long(self, texts: Sequence[str], pairs: Sequence[str] | None = None,
                    switch: str = '"truncate": true') -> None:
        """TooLarge where a text, or a pair, has more tokens than the model takes; ``switch`` is what cuts it."""
        lengths = list(map(len, self.tokenizer.encode(texts, pairs, truncation=False)))
        longest = max(lengths, default=0)
        if longest > self.max_length:
            which = "the text" if len(lengths) == 1 else f"text {lengths.index(longest) + 1}"
            raise TooLarge(f"{which} has {longest} tokens and the model takes {self.max_length}; send {switch} to have "
                           "it cut.")
