"""Routes whose bodies are JSON: read here, so that what is wrong with one is said in a sentence; and answered here
where nothing else of the request is an argument of the route.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, cast

from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from bertpass.serving.failures import UnknownEncoding
from bertpass.serving.received.fields import Body, checked, parsed, shown
from bertpass.serving.received.incoming import replaying

_FORM = "application/x-www-form-urlencoded"

#: answers a request: its whole body, and ASGI's scope, receive and send
Direct = Callable[[bytes, Any, Any, Any], Awaitable[None]]
#: the arguments of a route that is answered directly
_DIRECT = ["body", "request", "response"]


class _Read(Request):
    """A request whose JSON is there already."""

    value: Any = None

    async def json(self) -> Any:
        return self.value


class JsonRoute(APIRoute):
    """A route that reads a JSON body before FastAPI does, whatever its content type is called.

    FastAPI describes it. Where its arguments are :data:`_DIRECT` alone, :meth:`direct` answers it without FastAPI's
    layers, which for a short text take longer than the text.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the reading of the body."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read(request: Request) -> Response:
            check_type(request.headers.get("content-type"))
            body = await request.body()
            value = parsed(body)
            headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
            scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
            again = _Read(scope, replaying(body, request.receive))
            again.value = value
            return await handle(again)

        return read

    @property
    def direct(self) -> Direct | None:
        """What answers a request with a whole body; None where FastAPI has to."""
        if self.body_field is None or list(inspect.signature(self.endpoint).parameters) != _DIRECT or self.dependencies:
            return None
        endpoint, cls = self.endpoint, cast(type[Body], self.body_field.field_info.annotation)

        async def answer(body: bytes, scope: Any, receive: Any, send: Any) -> None:
            request = Request(scope, replaying(body, receive))
            check_type(request.headers.get("content-type"))
            value = checked(cls, parsed(body))
            response = Response(media_type="application/json")
            found = await endpoint(value, request, response)
            response.body = to_json(found, inf_nan_mode="null")
            response.headers["content-length"] = str(len(response.body))
            await response(scope, receive, send)

        return answer


def directly(routes: Iterable[Any]) -> dict[str, Direct]:
    """What answers directly, by its path, among routes."""
    found = {route.path: route.direct for route in routes if isinstance(route, JsonRoute) and "{" not in route.path}
    return {path: direct for path, direct in found.items() if direct is not None}


def check_type(given: str | None) -> None:
    """UnknownEncoding for a content type that is not JSON's; none at all is taken for it."""
    kind = (given or "application/json").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    why = " (which is what curl -d says by itself)" if kind == _FORM else ""
    raise UnknownEncoding(f"the content type is {shown(kind)}{why}; send JSON with the header 'Content-Type: "
                          "application/json'.")
