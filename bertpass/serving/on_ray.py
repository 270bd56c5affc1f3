"""The same server as replicas on a Ray cluster, by Ray Serve.

A replica is the whole application, with its own queue and engine processes, on cores of its own. In front of them
stands one deployment that computes nothing: it hands requests to the replicas, and once more to another one where a
replica ended meanwhile, so that none is lost. Ray routes by queue length, and adds and removes replicas by it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import signal
import threading
from typing import Any

from bertpass import machine, placement
from bertpass.errors import DeviceError
from bertpass.extras import require
from bertpass.jobs.machines.batch_ray import connect
from bertpass.placement.claim import Claim
from bertpass.serving.instances.models import Source, models_of, opened
from bertpass.serving.options import ServeOptions
from bertpass.serving.signals import ending

log = logging.getLogger("bertpass.serving")

#: times that a request is given to a replica
TRIES = 3
#: headers that belong to one connection and not to a request (RFC 9110, section 7.6.1), and the length, which follows
_OF_CONNECTION = frozenset({b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade", b"content-length"})
#: the last line of a traceback
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Lost): .")
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]


async def through(app: Any, scope: dict[str, Any], body: bytes) -> Answer:
    """The answer of an ASGI application to a request whose body is there; cancelled, the client has gone away."""
    first = [{"type": "http.request", "body": body, "more_body": False}]
    status, headers, parts = 500, [], []

    async def receive() -> dict[str, Any]:
        if first:
            return first.pop()
        await asyncio.Event().wait()  # the client stays until this is cancelled
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], [(bytes(k), bytes(v)) for k, v in message.get("headers", [])]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, headers, b"".join(parts)


class Replica:
    """One whole server without a port; an actor of Ray."""

    def __init__(self, options: ServeOptions, sources: list[Source], cores: int) -> None:
        self._options, self._sources, self._cores = options, sources, cores
        self._state: Any = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the engine processes on cores that no other replica of this machine has, and wait until one is warm."""
        from bertpass.serving.http.app import create_app
        from bertpass.serving.state import State

        async with self._starting:
            if self._state is not None:
                return
            state = State(self.placed_options(), self._sources, replica=f"{os.uname().nodename}-{os.getpid()}")
            self._app = create_app(state)
            await state.start()
            assert state.pool is not None
            while not state.ready:
                if state.pool.failed.done():
                    raise state.pool.failed.result()
                await asyncio.sleep(0.02)
            self._state = state

    def placed_options(self) -> ServeOptions:
        """Go to cores that no other replica has, and let the engine processes be placed inside these; where there are
        none, or processors are shared by a quota, the options say how many threads a replica may keep busy."""
        topology = placement.here()
        if topology.owned:
            self._claim = Claim(topology.cores, self._cores)
            if self._claim.cpus:
                os.sched_setaffinity(0, self._claim.cpus)
                return self._options
        if self._options.sizes:
            return dataclasses.replace(self._options, pin=False)
        count = self._options.instances or 1
        return dataclasses.replace(self._options, pin=False, instances=count,
                                   cores_per_instance=max(1, self._cores // count))

    async def check_health(self) -> None:
        """Ray asks for this; a replica without engine processes is replaced."""
        await self.start()
        if not self._state.pool.up:
            raise RuntimeError("no engine process can compute")

    async def answer(self, scope: dict[str, Any], body: bytes) -> Answer:
        """The application's answer."""
        await self.start()
        return await through(self._app, scope, body)


class Front:
    """What Ray's proxy hands requests to."""

    def __init__(self, replicas: Any) -> None:
        self._replicas = replicas
        failures = require("ray.serve.exceptions", "ray")
        self._lost = require("ray.exceptions", "ray").RayActorError, failures.ReplicaUnavailableError
        self._full = failures.BackPressureError

    async def __call__(self, request: Any) -> Any:
        """Give the request to a replica, and to another one where that one is lost."""
        from starlette.responses import Response

        from bertpass.serving.failures import NotReady, Overloaded
        from bertpass.serving.http.answers import failure

        scope = {key: request.scope[key] for key in ("type", "asgi", "http_version", "method", "scheme", "path",
                                                     "raw_path", "query_string", "headers", "client", "server")
                 if key in request.scope}
        body = await request.body()
        for _ in range(TRIES):
            try:
                status, headers, content = await self._replicas.answer.remote(scope, body)
            except self._lost as error:
                log.warning("a replica was lost (%s); the request is given to another.", type(error).__name__)
                continue
            except self._full:
                return failure(Overloaded("all replicas are busy; try again later."), scope["path"])
            response = Response(content, status)
            # Ray's proxy sends the request's id itself
            response.raw_headers = [pair for pair in headers
                                    if pair[0].lower() not in _OF_CONNECTION | {b"x-request-id"}]
            response.raw_headers.append((b"content-length", str(len(content)).encode()))
            return response
        return failure(NotReady("replicas were lost while they computed this request; try again."), scope["path"])


def serve(options: ServeOptions) -> None:
    """Serve on Ray until SIGTERM or Ctrl-C.

    Raises
    ------
    MissingDependencyError, DeviceError
        Ray is not installed, or does not start.
    UsageError, ModelError
        A model cannot be served.
    """
    ray, ray_serve = require("ray", "ray"), require("ray.serve", "ray")
    cores = options.cores_per_instance or max(1, machine.threads() // options.replicas)
    sources = [opened(source).source for source in models_of(options)]  # one precision for all replicas
    connect(options.ray_address)
    try:
        try:
            _deploy(ray_serve, options, sources, cores)
        except Exception as error:  # of Ray's own types, RuntimeError where a replica does not start, and others
            raise DeviceError(f"Ray Serve does not start ({reason(ray_serve, error)}); is the port taken, or the "
                              "machine too busy?") from error
        log.info("listening at http://%s:%d: %d replicas of %d cores", options.host, options.port, options.replicas,
                 cores)
        ended = threading.Event()
        for number in (*ending(), signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
        ray_serve.shutdown()
    finally:
        ray.shutdown()


def reason(ray_serve: Any, error: Exception) -> str:
    """Why deployments do not start: what a replica raised, where Ray knows it, else Ray's own words."""
    try:
        applications = ray_serve.status().applications.values()
        told = [each.message for application in applications for each in application.deployments.values()]
    except Exception:  # Ray Serve itself is not there
        told = []
    for message in told:
        lines = [line.strip() for line in message.splitlines() if _RAISED.match(line.strip())]
        if lines:
            return lines[-1][:300].rstrip(".")
    return " ".join(str(error).split())[:300]


def _deploy(ray_serve: Any, options: ServeOptions, sources: list[Source], cores: int) -> None:
    """Start the replicas, with what stands in front of them, and wait until all are ready."""
    ray_serve.start(http_options={"host": options.host, "port": options.port})
    scaling: dict[str, Any] = {"num_replicas": options.replicas}
    if options.max_replicas is not None:
        scaling = {"autoscaling_config": {
            "min_replicas": options.replicas, "max_replicas": options.max_replicas,
            "target_ongoing_requests": options.ongoing_requests, "upscale_delay_s": options.scale_up_delay,
            "downscale_delay_s": options.scale_down_delay,
            "look_back_period_s": max(1.0, min(30.0, options.scale_up_delay, options.scale_down_delay))}}
    replicas = ray_serve.deployment(
        Replica, name="replicas", ray_actor_options={"num_cpus": cores}, health_check_period_s=2,
        max_ongoing_requests=options.max_concurrent_requests, max_queued_requests=options.max_concurrent_requests,
        graceful_shutdown_timeout_s=options.drain_timeout, **scaling)
    front = ray_serve.deployment(Front, name="front", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=100_000)
    ray_serve.run(front.bind(replicas.bind(options, sources, cores)), name="bertpass", route_prefix="/")
