"""A request's whole body, within its limits, before a route sees it."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from bertpass.base.timeouts import timeout
from bertpass.serving.failures import ClientGone, SlowBody, TooLarge, UnknownEncoding, Unreadable
from bertpass.serving.options import ServeOptions

Receive = Callable[[], Awaitable[Any]]


class Incoming:
    """A client's ``receive``, and whether all of its body has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Any:
        """The next message."""
        message = await self._receive()
        self.complete |= message["type"] == "http.request" and not message.get("more_body", False)
        return message


async def whole_body(headers: dict[bytes, bytes], receive: Receive, options: ServeOptions) -> bytes:
    """Read and unpack the body.

    Raises
    ------
    TooLarge
        The body is larger than the limit, as it comes or unpacked.
    SlowBody
        It does not arrive in time.
    UnknownEncoding, Unreadable
        It is packed in a way that is not known, or damaged; or two headers contradict each other about its length.
    ClientGone
        The client went away.
    """
    if b"content-length" in headers and b"transfer-encoding" in headers:
        raise Unreadable("the request has both Content-Length and Transfer-Encoding; send one of them.")
    limit = options.payload_limit
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise _large(limit)
    try:
        async with timeout(options.body_timeout):
            body = await _read(receive, limit)
    except asyncio.TimeoutError:
        raise SlowBody(f"the body did not arrive within {options.body_timeout:g} seconds.") from None
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"gzip", b"deflate"):
        body = _unpacked(body, limit)
    elif encoding != b"identity":
        raise UnknownEncoding("content-encoding may be gzip or deflate; send the body as it is.")
    return body


def replaying(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a whole body first, and then what the other gives."""
    first: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return first.pop() if first else await receive()

    return replay


def _large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes; send less at a time.")


async def _read(receive: Receive, limit: int) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            raise _large(limit)
    return b"".join(parts)


def _unpacked(body: bytes, limit: int) -> bytes:
    """No more than the limit is ever unpacked, however much a bomb would give."""
    unpack = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # 32: gzip or zlib, as its first bytes say
    try:
        found = unpack.decompress(body, limit + 1)
    except zlib.error:
        raise Unreadable("the body is not what content-encoding says.") from None
    if len(found) > limit:
        raise _large(limit)
    if not unpack.eof:
        raise Unreadable("the packed body ends too early.")
    return found


def drained(send: Any, receive: Receive, seconds: float) -> Any:
    """A ``send`` that, once an answer is sent, reads what is left of the request before it closes the answer.

    A client that still sends its body would otherwise find the connection reset, and never see the answer.
    """
    async def sending(message: Any) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not last:
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(seconds):
                while (part := await receive()).get("more_body", False):
                    del part
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sending
