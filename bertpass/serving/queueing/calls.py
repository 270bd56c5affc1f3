"""A request's way from where its texts are read and its results made to the queue and back.

That is a thread, or for a request of few bytes the event loop itself: there its function runs in a greenlet, which
stops while its rows wait, so that neither the function nor the model needs to know where it runs.
"""

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
from greenlet import getcurrent, greenlet

from bertpass.engines.base import Engine
from bertpass.engines.model import Model
from bertpass.engines.rows import Output
from bertpass.errors import ModelError
from bertpass.serving.failures import ClientGone, TooLarge
from bertpass.serving.instances import ways
from bertpass.serving.instances.models import Opened, pooled_only
from bertpass.serving.instances.worker import Row
from bertpass.serving.queueing.queue import TokenQueue
from bertpass.serving.queueing.reading import ReadOnce
from bertpass.serving.queueing.waiting import Job
from bertpass.text.tokens.tokenizer import Pieces, Side

log = logging.getLogger("bertpass.serving")
T = TypeVar("T")
CURRENT: contextvars.ContextVar[Call] = contextvars.ContextVar("bertpass_call")
ANSWERED: contextvars.ContextVar[Answered] = contextvars.ContextVar("bertpass_answered")

#: bytes of a body up to which its texts are read on the event loop: less than a millisecond of work, and two changes of
#: threads would cost as much as the reading
SHORT = 512


@dataclass
class Call:
    """One request: what it put into the queue, and where its time went, in seconds.

    ``arrived`` is when its body was there; ``check`` raises Overloaded for rows that cannot be computed in time.
    """

    queue: TokenQueue
    check: Callable[[int, Sequence[Row]], None]
    arrived: float
    loop: asyncio.AbstractEventLoop
    #: what its texts are made of, see :class:`ReadOnce`
    read: dict[str, Pieces] = field(default_factory=dict)
    tokens: int = 0
    start: float = 0.0
    total: float = 0.0
    _jobs: list[Job] = field(default_factory=list)
    _over: bool = False
    #: of where the function runs on the loop
    _here: greenlet | None = None
    #: of where it runs in a thread
    _thread: asyncio.Future[Any] | None = None
    _left: bool = False

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

    async def work(self, threads: Executor, function: Callable[[], T], size: int) -> T:
        """The function's value, computed in a thread, or here where the body has no more than :data:`SHORT` bytes;
        cancelled, its rows leave the queue.

        ClientGone after :meth:`leave`.
        """
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        self.start = time.monotonic()
        try:
            if size <= SHORT:
                return await self._on_loop(context, function)
            self._thread = self.loop.run_in_executor(threads, context.run, function)
            value: T = await self._thread
            return value
        except asyncio.CancelledError:
            if self._left:
                raise ClientGone from None
            raise
        finally:
            self.total, self._over = time.monotonic() - self.start, True
            for job in self._jobs:
                job.future.cancel()

    def leave(self) -> None:
        """The client goes away: whoever waits in :meth:`work` gets ClientGone."""
        if self._over:
            return
        self._left = True
        for future in (self._thread, *(job.future for job in self._jobs)):
            if future is not None:
                future.cancel()

    async def _on_loop(self, context: contextvars.Context, function: Callable[[], T]) -> T:
        self._here = here = greenlet(function)
        here.gr_context = context
        found = here.switch()
        while not here.dead:  # it stands in rows()
            try:
                outputs = await self.submit(*found)
            except BaseException as error:
                found = here.throw(error)
            else:
                found = here.switch(outputs)
        value: T = found
        return value

    def rows(self, model: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """The first output of each row, through the queue; for the function of :meth:`work`."""
        if self._here is None:
            return asyncio.run_coroutine_threadsafe(self.submit(model, rows), self.loop).result()
        assert getcurrent() is self._here and self._here.parent is not None
        outputs: list[np.ndarray] = self._here.parent.switch((model, rows))
        return outputs

    async def submit(self, model: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """Put rows into the queue, and wait for their outputs; on the loop."""
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
    #: bytes of its body
    size: int = 0
    #: the name of the client's key
    key: str = ""

    @property
    def computes(self) -> bool:
        return self.method == "POST"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def fields(self) -> dict[str, Any]:
        """For the log: whose key it was, and where the time of what was computed went, in milliseconds."""
        named = {"key": self.key} if self.key else {}
        if self.call is None:
            return named
        return {**named, "tokens": self.call.tokens, **{f"{name}_ms": round(1000 * seconds, 1) for name, seconds in (
            ("tokenization", self.call.tokenization), ("queue", self.call.queued),
            ("inference", self.call.computing))}}


class QueueEngine(Engine):
    """Computes nothing: puts rows into the queue of the request that is being answered; for use in its function."""

    name = "queue"

    def __init__(self, number: int, per_token: bool, dtype: str) -> None:
        self._number, self._per_token, self._dtype = number, per_token, dtype

    def submit(self, rows: Sequence[Row], way: int = ways.OWN) -> list[np.ndarray]:
        """The first output of each row, in their order; the queue makes the batches. ``way`` is one of
        :mod:`bertpass.serving.instances.ways`."""
        return CURRENT.get().rows(self._number + ways.WIDTH * way, rows)

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`; the first output alone."""
        found = self.submit([(ids[start:end], token_types[start:end])
                             for start, end in pairwise(offsets)])
        return [Output(np.concatenate(found), offsets) if self._per_token else Output(np.stack(found))]

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "dtype": self._dtype}


class QueuedModel(Model):
    """A model whose rows go through the queue of the request that is being answered; for use in its function.

    Its tokenizer reads a text once per request.
    """

    engine: QueueEngine

    def __init__(self, number: int, opened: Opened) -> None:
        source, checkpoint = opened.source, opened.checkpoint
        if checkpoint.tokenizer is None:
            raise ModelError(f"{source.path} has no vocabulary, so it cannot be served; name one with --vocab.")
        super().__init__(QueueEngine(number, checkpoint.head.per_token, opened.choice.dtype), checkpoint.config,
                         pooled_only(checkpoint), ReadOnce(checkpoint.tokenizer, _read), checkpoint.labels or (),
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
        special = self.tokenizer.special_count(pairs is not None)
        lengths = [len(pieces.ids) + special for pieces in self.tokenizer.pieces(texts)]
        if pairs is not None:
            lengths = [length + len(second.ids)
                       for length, second in zip(lengths, self.tokenizer.pieces(pairs), strict=True)]
        longest = max(lengths, default=0)
        if longest > self.max_length:
            which = "the text" if len(lengths) == 1 else f"text {lengths.index(longest) + 1}"
            raise TooLarge(f"{which} has {longest} tokens and the model takes {self.max_length}; send {switch} to have "
                           "it cut.")


def _read() -> dict[str, Pieces]:
    """What the request that is being answered has read."""
    return call.read if (call := CURRENT.get(None)) is not None else {}
