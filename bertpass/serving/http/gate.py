"""What every request passes before a route sees it: request id, key, readiness, limits, its whole body. Plain ASGI, so
that nothing stands between a route and its client's going away.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertpass.errors import BertpassError
from bertpass.serving.failures import (
    ClientGone,
    InvalidBody,
    NotReady,
    Overloaded,
    RateExceeded,
    SlowBody,
    Unauthorized,
    Unreadable,
)
from bertpass.serving.http import page
from bertpass.serving.http.answers import failure
from bertpass.serving.logs import REQUEST
from bertpass.serving.paths import canonical
from bertpass.serving.queueing.calls import ANSWERED, Answered
from bertpass.serving.received.fields import shown
from bertpass.serving.received.incoming import Incoming, drained, replaying, whole_body

if TYPE_CHECKING:
    from bertpass.serving.received.reading import Direct
    from bertpass.serving.state import State

log = logging.getLogger("bertpass.serving")

#: paths that need no key and are not logged, except for a POST
PUBLIC = frozenset({"/health", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready", *page.FILES})
#: Azure's addresses, at which a key may stand in the header api-key
_AZURE = "/openai/"
_VERSION = re.compile(rb"api-version=[\w.-]+")
_PRINTABLE = re.compile(rb"[!-~]{1,128}")

class Gate:
    """ASGI middleware in front of the routes.

    Parameters
    ----------
    direct
        Routes by their paths that are given a whole body and answer without the application's own layers.
    """

    def __init__(self, app: Any, state: State, direct: Mapping[str, Direct]) -> None:
        self._app, self._state, self._direct = app, state, direct
        self._active = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        number = given if _PRINTABLE.fullmatch(given) else uuid.uuid4().hex.encode()
        REQUEST.set(number.decode())
        root = self._state.options.root_path
        path = canonical(scope["path"], root)
        answered = Answered(scope["method"], path, self._state.paths.route(path))
        ANSWERED.set(answered)
        # every route that answers GET answers HEAD; the server below sends no body then
        method = "GET" if answered.method == "HEAD" else answered.method
        scope = {**scope, "path": root + path, "root_path": root, "method": method}

        closing = False

        async def tell(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                spent = f"{1000 * answered.seconds:.3f}".encode()
                more = [(b"x-request-id", number), (b"x-total-time", spent)]
                if closing or self._state.ending:  # the next request on this connection would find it closed
                    more.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", []), *more]}
            elif answered.method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        if answered.computes:
            self._state.metrics.begun(answered.route)
        counted, receive = int(answered.computes), (incoming := Incoming(receive))
        self._active += counted
        try:
            if answered.computes or answered.path not in PUBLIC:
                self._check_key(headers, path, answered)
            self._state.paths.check(path, method)
            if answered.computes:
                _refuse_query(scope.get("query_string", b""), path)
                self._check_room()
                body = await whole_body(headers, receive, self._state.options)
                answered.arrived, answered.size = time.monotonic(), len(body)
                if (direct := self._direct.get(path)) is not None:
                    await direct(body, scope, receive, tell)
                    return
                receive = replaying(body, receive)
            await self._app(scope, receive, tell)
        except ClientGone:
            answered.status, answered.kind = ClientGone.http_status, ClientGone.kind
        except asyncio.CancelledError:
            if not self._state.draining or answered.status:
                raise
            await failure(NotReady("the server ended before this request was computed; send it to another."))(
                scope, receive, tell)
        except Exception as error:  # the gate's own failures; those of routes are answered, and faults come up here too
            if not isinstance(error, BertpassError):
                log.exception("a request failed.")
            if answered.status == 0:
                self._active, counted = self._active - counted, 0  # a slow client's body takes nobody's place
                read = incoming.complete or not answered.computes
                closing = not read and isinstance(error, Unreadable)  # nobody knows where the next request begins
                late = not read and b"expect" not in headers and not isinstance(error, (SlowBody, Unreadable))
                await failure(error)(scope, receive, drained(tell, receive, self._state.options.body_timeout)
                                     if late else tell)
        finally:
            self._active -= counted
            self._tell(answered, headers, scope)

    def _tell(self, answered: Answered, headers: dict[bytes, bytes], scope: Any) -> None:
        """Metrics, log and trace of a request that is over."""
        seconds, state = answered.seconds, self._state
        if answered.computes and answered.status == 200:
            state.metrics.succeeded(answered.route, seconds)
        elif answered.computes:
            state.metrics.failed(answered.kind)
        if answered.computes and answered.key:
            state.metrics.of_key(answered.key, answered.status)
        if answered.path in PUBLIC and not answered.computes:
            return
        path, client = ascii(answered.path)[1:-1], scope.get("client")
        log.info("%s %s %d", answered.method, path, answered.status, extra={
            "fields": {"ms": round(1000 * seconds, 1), **answered.fields(),
                       **({"error": answered.error} if answered.error else {})},
            "apart": {"method": answered.method, "path": path, "status": answered.status,
                      "client": f"{client[0]}:{client[1]}" if client else None}})
        if state.tracing is not None:
            state.tracing.request(f"{answered.method} {answered.route}", headers, answered.start, {
                "http.request.method": answered.method, "http.route": answered.route,
                "http.response.status_code": answered.status, "bertpass.request_id": REQUEST.get() or "",
                **({"bertpass.tokens": answered.call.tokens} if answered.call is not None else {})}, answered.call)

    def _check_key(self, headers: dict[bytes, bytes], path: str, answered: Answered) -> None:
        keys = self._state.options.keys
        if not keys:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if path.startswith(_AZURE) and b"api-key" in headers:
            scheme, given = b"bearer", headers[b"api-key"]
        key = keys.find(given.strip()) if scheme.lower() == b"bearer" else None
        if key is None:
            raise Unauthorized("send the key of this server as 'Authorization: Bearer KEY'.")
        answered.key = key.name
        if answered.computes and (seconds := key.take(keys.clock())):
            raise RateExceeded(f"the key {key.name} may send {key.rate:g} requests per second; try again later.",
                               math.ceil(seconds))

    def _check_room(self) -> None:
        self._state.check_taking()
        if self._active > self._state.options.max_concurrent_requests:
            raise Overloaded(f"{self._state.options.max_concurrent_requests} requests are in progress; try again "
                             "later.")
        self._state.admission.check()


def _refuse_query(query: bytes, path: str) -> None:
    """InvalidBody for parameters in the address of a request that computes: nobody would read them. Azure's clients
    always write the version of its API there."""
    if query and not (path.startswith(_AZURE) and _VERSION.fullmatch(query)):
        name = shown(query.decode("latin-1").partition("=")[0])
        raise InvalidBody(f"the address ends with ?{name}, which is not read; put fields into the body.", name)
