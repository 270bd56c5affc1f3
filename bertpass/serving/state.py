"""What a running server consists of, and how a route has a model work for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from bertpass import placement
from bertpass.placement import binding
from bertpass.serving import names
from bertpass.serving.failures import InvalidBody, NotReady
from bertpass.serving.instances.instance import Instance
from bertpass.serving.instances.kept import Kept
from bertpass.serving.instances.models import Source, models_of, opened
from bertpass.serving.instances.places import chosen
from bertpass.serving.observing.metrics import Metrics
from bertpass.serving.observing.tracing import Tracing, exporting
from bertpass.serving.options import ServeOptions
from bertpass.serving.paths import Paths
from bertpass.serving.queueing.admission import Admission
from bertpass.serving.queueing.calls import ANSWERED, Call, QueuedModel
from bertpass.serving.queueing.pace import Pace
from bertpass.serving.queueing.pool import Pool
from bertpass.serving.queueing.queue import TokenQueue

T = TypeVar("T")


class State:
    """Models, queue, instances, metrics and the threads that read texts.

    Parameters
    ----------
    sources
        The models, where their precision was settled elsewhere (default: those that the options name).
    replica
        The name of this server among others behind one address, for its metrics.

    Raises
    ------
    UsageError, ModelError
        A model cannot be served, or there are not enough cores.
    """

    def __init__(self, options: ServeOptions, sources: Sequence[Source] | None = None,
                 replica: str | None = None) -> None:
        self.options = options
        models = [opened(source) for source in (models_of(options) if sources is None else sources)]
        self.models = {model.source.name: QueuedModel(number, model) for number, model in enumerate(models)}
        self.kept = Kept(models)
        topology, self.not_bound = binding.bindable(placement.here())
        longest = max(model.config.max_length for model in self.models.values())
        self._places, self._claim = chosen(topology, options, longest)
        self.metrics = Metrics(replica)
        self.tracing = Tracing(exporting(options.otlp_endpoint)) if options.otlp_endpoint is not None else None
        #: those of the application, once it is made
        self.paths = Paths({})
        #: from SIGTERM: not ready any more
        self.ending = False
        #: and a little later: no request is taken any more
        self.draining = False
        self.pool: Pool | None = None

    @property
    def ready(self) -> bool:
        """Whether clients should send requests here: they are computed now, and the server is not ending."""
        return self.pool is not None and self.pool.computing > 0 and not self.ending

    def check_taking(self) -> None:
        """NotReady before the first warm-up and once the server drains; while an instance is started again, requests
        wait."""
        if self.draining:
            raise NotReady("the server is ending; send the request to another.")
        if self.pool is None or not self.pool.started:
            raise NotReady("the server is starting; try again soon.")

    def check_ready(self) -> dict[str, Any]:
        """What routes answer that tell whether to send requests; NotReady where not."""
        self.check_taking()
        if self.ending:
            raise NotReady("the server is ending; send requests to another.")
        if not self.ready:
            raise NotReady("no instance can compute; one is started again.")
        return {"ready": True}

    async def start(self) -> None:
        """Start the instances; :attr:`ready` says when the first is warm."""
        options = self.options
        self._queue = TokenQueue(options.max_batch_tokens, options.queue_timeout, options.max_wait / 1000,
                                 [place.longest for place in self._places if place.longest is not None])
        pace = Pace([len(place.cpus) for place in self._places])
        self.pool = Pool([Instance(place, self.kept) for place in self._places], self._queue, pace,
                         options.compute_timeout, options.health_interval, self.metrics.batch, self.kept.tell_changes)
        self.admission = Admission(self._queue, self.pool, pace)
        self.metrics.watch(self._queue, self.pool, self.admission)
        self._threads = ThreadPoolExecutor(options.max_concurrent_requests, "bertpass-request")
        self.pool.start()

    async def close(self) -> None:
        """End the instances and the threads."""
        if self.pool is not None:
            await self.pool.close()
        self.kept.close()
        if self._claim is not None:
            self._claim.release()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def model(self, name: str | None, kinds: tuple[str, ...] = ()) -> QueuedModel:
        """The model of that name; without one the first whose head is of one of these kinds.

        Raises
        ------
        UnknownModel
            There is none of that name.
        InvalidBody
            The model, or every model, is of another kind.
        """
        if name is not None:
            name = names.find(name, {each: model.path for each, model in self.models.items()})
        candidates = [self.models[name]] if name is not None else list(self.models.values())
        for model in candidates:
            if not kinds or model.kind in kinds:
                return model
        have = ", ".join(f"{model.name} is of kind {model.kind}" for model in candidates)
        raise InvalidBody(f"this needs a model of kind {' or '.join(kinds)}; {have}.", "model")

    async def compute(self, request: Request, response: Response, function: Callable[[], T]) -> T:
        """The function's value, computed where models go through the queue: in a thread, or here where the body is
        short; sets the timing headers.

        ClientGone where the client goes away meanwhile: what has not begun is not computed.
        """
        answered = ANSWERED.get()
        call = answered.call = Call(self._queue, self.admission.check, answered.arrived, asyncio.get_running_loop())
        gone = asyncio.create_task(_disconnected(request))
        gone.add_done_callback(lambda task: None if task.cancelled() else call.leave())
        try:
            value = await call.work(self._threads, function, answered.size)
        finally:
            gone.cancel()
        self.metrics.computed(call)
        response.headers["x-compute-tokens"] = str(call.tokens)
        for name, seconds in (("tokenization", call.tokenization), ("queue", call.queued),
                              ("inference", call.computing)):
            response.headers[f"x-{name}-time"] = f"{1000 * seconds:.3f}"
        return value


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
