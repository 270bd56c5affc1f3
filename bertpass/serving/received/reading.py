"""Routes whose bodies are JSON: read here, so that what is wrong with one is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from bertpass.serving.failures import UnknownEncoding
from bertpass.serving.received.fields import parsed, shown
from bertpass.serving.received.incoming import replaying

_FORM = "application/x-www-form-urlencoded"


class _Read(Request):
    """A request whose JSON is there already."""

    value: Any = None

    async def json(self) -> Any:
        return self.value


class JsonRoute(APIRoute):
    """A route that reads a JSON body before FastAPI does, whatever its content type is called."""

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


def check_type(given: str | None) -> None:
    """UnknownEncoding for a content type that is not JSON's; none at all is taken for it."""
    kind = (given or "application/json").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    why = " (which is what curl -d says by itself)" if kind == _FORM else ""
    raise UnknownEncoding(f"the content type is {shown(kind)}{why}; send JSON with the header 'Content-Type: "
                          "application/json'.")
