"""The ASGI application: every route, behind the gate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from bertpass import __version__
from bertpass.errors import BertpassError
from bertpass.serving.faces import azure, classify, cohere, kserve, openai, pipelines, plain
from bertpass.serving.faces.info import of_first as first
from bertpass.serving.failures import ClientGone, NotReady, RequestFailure
from bertpass.serving.http import page
from bertpass.serving.http.answers import answer, failure
from bertpass.serving.http.gate import Gate
from bertpass.serving.options import ServeOptions
from bertpass.serving.paths import Paths
from bertpass.serving.queueing.calls import ANSWERED
from bertpass.serving.received import bodies
from bertpass.serving.received.fields import sentence
from bertpass.serving.received.reading import Direct, directly
from bertpass.serving.state import State

#: headers with the parts of a request's time
TIMES = ("x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time")


def create_app(state: State) -> Any:
    """The application of a server; its lifespan starts and ends the instances."""
    app, direct = _routed(state)
    templates = {path: list(operations) for path, operations in app.openapi()["paths"].items()}
    for path in (*page.FILES, "/docs", "/openapi.json", "/docs-files/{file}"):
        templates.setdefault(path, []).append("get")
    state.paths = Paths(templates)
    gate, origins = Gate(app, state, direct), state.options.cors_allow_origin
    if not origins:
        return gate
    return CORSMiddleware(gate, allow_origins=origins, allow_methods=["GET", "HEAD", "POST"], allow_headers=["*"],
                          expose_headers=["retry-after", "x-request-id", "x-compute-tokens", *TIMES], max_age=600)


def _routed(state: State) -> tuple[FastAPI, dict[str, Direct]]:
    """The application with all routes, and those of them that need nothing else of it."""
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await state.start()
        try:
            yield
        finally:
            await state.close()

    # /docs with its scripts from here, where FastAPI's own asks for them elsewhere
    app = FastAPIOffline(title="bertpass", version=__version__, lifespan=lifespan, responses=_statuses(),
                         redoc_url=None, static_url="/docs-files", redirect_slashes=False)
    direct: dict[str, Direct] = {}
    for part in (plain, kserve, pipelines, classify, cohere, openai, azure):
        router = part.router(state)
        app.include_router(router, responses=_statuses(openai.Error) if part in (openai, azure) else None)
        direct |= directly(router.routes)
    app.include_router(page.router())
    _about(app, state)
    _failures(app, state)
    return app, direct


def document() -> dict[str, Any]:
    """The OpenAPI document, which depends on no model: docs/openapi.json."""
    found: dict[str, Any] = _routed(State(ServeOptions(models=["embedding"], engine="dummy")))[0].openapi()
    return found


def _about(app: FastAPI, state: State) -> None:
    @app.get("/info")
    async def info() -> dict[str, Any]:
        """Models, instances, and the effective configuration; of the first model what text-embeddings-inference says
        of its own."""
        changes = await asyncio.to_thread(state.kept.changes)
        return {**first(state), "version": __version__, "options": state.options.shown(),
                "models": [{"id": model.name, "source": model.source, "kind": model.kind,
                            "family": model.config.family, "units": model.config.units, "labels": model.labels,
                            "max_input_length": model.max_length, "dtype": model.dtype, "dtype_why": model.dtype_why,
                            "prompts": dict(model.sentence.prompts), "default_prompt": model.sentence.default_prompt,
                            "notes": model.notes, "files": changes.get(model.name, "as read")}
                           for model in state.models.values()],
                "instances": state.pool.describe() if state.pool is not None else []}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """200 while an instance computes: each is asked for a real forward when it has no work."""
        if state.pool is None or not state.pool.up:
            raise NotReady("no instance can compute.")
        return {"instances_up": state.pool.up}

    @app.get("/ready")
    async def ready() -> dict[str, Any]:
        """200 while requests are taken: after the warm-up, until SIGTERM."""
        return state.check_ready()

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _statuses(model: type[Any] = bodies.Failure) -> dict[int | str, dict[str, Any]]:
    """What any route may answer besides 200, for the OpenAPI file: the failures of each status describe it."""
    described: dict[int, list[str]] = {}
    for kind in RequestFailure.__subclasses__():
        if kind is not ClientGone:
            described.setdefault(kind.http_status, []).append((kind.__doc__ or "").strip())
    return {status: {"model": model, "description": " Or: ".join(texts)} for status, texts in sorted(described.items())}


def _failures(app: FastAPI, state: State) -> None:
    """Answers in one form, whoever raised: we, FastAPI for a body, Starlette for a path."""
    @app.exception_handler(BertpassError)
    @app.exception_handler(Exception)
    async def failed(_: Any, error: Exception) -> Response:
        return failure(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Any, error: RequestValidationError) -> Response:
        return failure(sentence(error.errors(), inside=1))

    @app.exception_handler(HTTPException)
    async def refused(_: Any, error: HTTPException) -> Response:
        if error.status_code == 404:  # of a file of /docs
            return failure(state.paths.unknown(ANSWERED.get().path))
        return answer(error.status_code, str(error.detail), "internal" if error.status_code >= 500 else "validation")
