"""What every request passes before a route sees it: request id, key, readiness, limits, its whole body; and answers
for failures. Plain ASGI, so that nothing stands between a route and its client's going away.
"""

from __future__ import annotations

import asyncio
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
from bertpass.serving.failures import NotReady, Overloaded, RequestFailure, SlowBody, TooLarge, Unauthorized

if TYPE_CHECKING:
    from bertpass.serving.state import State

log = logging.getLogger("bertpass.serving")

#: paths that need no key and are answered whatever the load
PUBLIC = frozenset({"/health", "/ready", "/metrics", *page.FILES})
_PRINTABLE = re.compile(rb"[!-~]{1,128}")


class ClientGone(RequestFailure):
    """The client went away; nobody reads an answer, and logs have nginx's status for it."""

    http_status, kind = 499, "client_gone"


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
        start, path, status = time.monotonic(), scope["path"], 0

        async def tell(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                spent = f"{1000 * (time.monotonic() - start):.3f}".encode()
                message = {**message, "headers": [*message.get("headers", []), (b"x-request-id", number),
                                                  (b"x-total-time", spent)]}
            await send(message)

        computes = scope["method"] == "POST"
        if computes:
            self._state.metrics.begun(path if path in self._state.paths else "other")
            self._active += 1
        try:
            if path not in PUBLIC:
                self._check_key(headers)
            if computes:
                self._check_room()
                receive = await self._body(headers, receive)
            await self._app(scope, receive, tell)
        except ClientGone:
            status = ClientGone.http_status
        except Exception as error:  # the gate's own failures; those of routes are answered, and faults come up here too
            if not isinstance(error, BertpassError):
                log.exception("a request failed, id=%s", number.decode())
            if status == 0:
                await failure(error)(scope, receive, tell)
        finally:
            self._active -= computes
            if computes and status == 200:
                self._state.metrics.succeeded(path, time.monotonic() - start)
            elif computes:
                self._state.metrics.failed(KINDS.get(status, "internal"))
            if path not in PUBLIC:
                log.info("%s %s %d %.1f ms id=%s", scope["method"], ascii(path), status,
                         1000 * (time.monotonic() - start), number.decode())

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        key = self._state.options.api_key
        if key is None:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), key.encode()):
            raise Unauthorized("send the key of this server as 'Authorization: Bearer KEY'.")

    def _check_room(self) -> None:
        if self._state.draining:
            raise NotReady("the server is ending; send the request to another.")
        if not self._state.ready:
            raise NotReady("the server is starting; try again soon.")
        if self._active > self._state.options.max_concurrent_requests:
            raise Overloaded(f"{self._state.options.max_concurrent_requests} requests are in progress; try again "
                             "later.")

    async def _body(self, headers: dict[bytes, bytes], receive: Any) -> Any:
        """Read the whole body within its limits; returns a ``receive`` that gives it and then the client's going."""
        options = self._state.options
        large = TooLarge(f"the body is larger than {options.payload_limit} bytes; send less at a time.")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > options.payload_limit:
            raise large
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(options.body_timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > options.payload_limit:
                        raise large
        except TimeoutError:
            raise SlowBody(f"the body did not arrive within {options.body_timeout:g} seconds.") from None
        first: list[Any] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def replay() -> Any:
            return first.pop() if first else await receive()

        return replay
