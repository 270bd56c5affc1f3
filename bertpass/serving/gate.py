"""What every request passes before a route sees it: request id, key, readiness, limits, its whole body; and answers
for failures. Plain ASGI, so that nothing stands between a route and its client's going away.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from bertpass.errors import BertpassError
from bertpass.serving import page
from bertpass.serving.calls import ANSWERED, Answered
from bertpass.serving.failures import ClientGone, Overloaded, RequestFailure, Unauthorized
from bertpass.serving.incoming import whole_body
from bertpass.serving.logs import REQUEST

if TYPE_CHECKING:
    from bertpass.serving.state import State

log = logging.getLogger("bertpass.serving")

#: paths that need no key and are not logged, except for a POST
PUBLIC = frozenset({"/health", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready", *page.FILES})
_PRINTABLE = re.compile(rb"[!-~]{1,128}")

#: HTTP status -> the name that metrics have for it
KINDS = {422: "validation"} | {kind.http_status: kind.kind for kind in RequestFailure.__subclasses__()}


def answer(status: int, text: str, kind: str, headers: dict[str, str] | None = None) -> Response:
    """The one form of a failure's answer: ASCII, whatever characters a client's words in the text have."""
    return Response(json.dumps({"error": text, "error_type": kind}), status, headers, "application/json")


def failure(error: BaseException) -> Response:
    """The answer to an error."""
    if not isinstance(error, BertpassError):
        return answer(500, "the server made an error; its log says more.", "internal")
    kind = error.kind if isinstance(error, RequestFailure) else KINDS.get(error.http_status, "internal")
    after = error.retry_after if isinstance(error, RequestFailure) else None
    headers = {} if after is None else {"retry-after": str(after)}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return answer(error.http_status, str(error), kind, headers)


class Gate:
    """ASGI middleware in front of the routes."""

    def __init__(self, app: Any, state: State) -> None:
        self._app, self._state = app, state
        self._active = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        number = given if _PRINTABLE.fullmatch(given) else uuid.uuid4().hex.encode()
        REQUEST.set(number.decode())
        answered = Answered(scope["method"], scope["path"], self._state.route(scope["path"]))
        ANSWERED.set(answered)

        async def tell(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                spent = f"{1000 * answered.seconds:.3f}".encode()
                more = [(b"x-request-id", number), (b"x-total-time", spent)]
                if self._state.ending:  # the next request on this connection would find it closed
                    more.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        if answered.computes:
            self._state.metrics.begun(answered.route)
            self._active += 1
        try:
            if answered.computes or answered.path not in PUBLIC:
                self._check_key(headers)
            if answered.computes:
                self._check_room()
                receive = await whole_body(headers, receive, self._state.options)
                answered.arrived = time.monotonic()
            await self._app(scope, receive, tell)
        except ClientGone:
            answered.status = ClientGone.http_status
        except Exception as error:  # the gate's own failures; those of routes are answered, and faults come up here too
            if not isinstance(error, BertpassError):
                log.exception("a request failed.")
            if answered.status == 0:
                await failure(error)(scope, receive, tell)
        finally:
            self._active -= answered.computes
            self._tell(answered, headers)

    def _tell(self, answered: Answered, headers: dict[bytes, bytes]) -> None:
        """Metrics, log and trace of a request that is over."""
        seconds, state = answered.seconds, self._state
        if answered.computes and answered.status == 200:
            state.metrics.succeeded(answered.route, seconds)
        elif answered.computes:
            state.metrics.failed(KINDS.get(answered.status, "internal"))
        if answered.path in PUBLIC and not answered.computes:
            return
        log.info("%s %s %d", answered.method, ascii(answered.path)[1:-1], answered.status, extra={"fields": {
            "ms": round(1000 * seconds, 1), **answered.fields()}})
        if state.tracing is not None:
            state.tracing.request(f"{answered.method} {answered.route}", headers, answered.start, {
                "http.request.method": answered.method, "http.route": answered.route,
                "http.response.status_code": answered.status, "bertpass.request_id": REQUEST.get() or "",
                **({"bertpass.tokens": answered.call.tokens} if answered.call is not None else {})}, answered.call)

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        key = self._state.options.api_key
        if key is None:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), key.encode()):
            raise Unauthorized("send the key of this server as 'Authorization: Bearer KEY'.")

    def _check_room(self) -> None:
        self._state.check_taking()
        if self._active > self._state.options.max_concurrent_requests:
            raise Overloaded(f"{self._state.options.max_concurrent_requests} requests are in progress; try again "
                             "later.")
        self._state.admission.check()
