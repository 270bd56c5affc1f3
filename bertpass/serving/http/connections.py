"""Connections within bounds: how many there are, how long one may send no request, and how long and how much an answer
may wait for a client that does not read it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger("bertpass.serving")

#: open files besides connections: listening sockets, models, pipes, what libraries open, and connections that were
#: accepted and not yet counted
OTHER_FILES = 64
#: connections that are accepted in one turn of the loop; they are counted two turns later
AT_ONCE = 8


@dataclass
class Bounds:
    """What all connections of a server keep within; ``waiting`` are those whose client has not read all that was sent,
    in the order in which they began to wait.

    ``most`` connections; ``head`` and ``write`` are seconds, ``unsent`` bytes of all together.
    """

    most: int
    head: float
    write: float
    unsent: int
    waiting: dict[Connection, None] = field(default_factory=dict)

    def protocol(self) -> type[asyncio.Protocol]:
        """The class that uvicorn makes of each connection."""
        return type("BoundConnection", (Connection,), {"bounds": self})


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's connection, which ends where it goes beyond :attr:`bounds`."""

    bounds: Bounds

    def connection_made(self, transport: Any) -> None:
        """A client came; where there are too many, an idle one goes, or else this one with 503."""
        super().connection_made(transport)
        # tell us of anything that a client does not read; with 0, TLS would tell us of nothing left to read as well
        transport.set_write_buffer_limits(high=1, low=0)
        self.quiet_since = self.loop.time()
        self._head: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._begun = False
        if len(self.connections) > self.bounds.most:
            self._make_room()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; its head has to be whole in time."""
        if self.transport.is_closing():
            return
        self._begun = True
        super().data_received(data)
        if not self.idle:
            self._head = _cancelled(self._head)
        elif self._head is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """The client may send the next request, or keep the connection for a while."""
        self.quiet_since, self._begun = self.loop.time(), False
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it was sent."""
        super().pause_writing()
        self._left = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(self.bounds.write, self._not_read)
        waiting = self.bounds.waiting
        waiting[self] = None
        while len(waiting) > 1 and sum(each.transport.get_write_buffer_size() for each in waiting) > self.bounds.unsent:
            next(iter(waiting)).drop(f"more than {self.bounds.unsent} bytes of answers wait to be read")

    def resume_writing(self) -> None:
        """It has read all of it."""
        super().resume_writing()
        self._reader = _cancelled(self._reader)
        self.bounds.waiting.pop(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._head, self._reader = _cancelled(self._head), _cancelled(self._reader)
        self.bounds.waiting.pop(self, None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's word for bytes that are no request, in the form of every failure."""
        if self.idle or not self.cycle.response_started:
            self._refuse(b"400 Bad Request", "this is no HTTP/1.1 request that can be read; the connection is closed.",
                         "validation")
        self.transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def drop(self, why: str) -> None:
        """End a connection whose client does not read."""
        log.warning("a client does not read its answer (%s); its connection is closed.", why)
        self.bounds.waiting.pop(self, None)
        self._reader = _cancelled(self._reader)
        self.transport.abort()

    def _make_room(self) -> None:
        open_ones = [each for each in self.connections if not each.transport.is_closing()]
        if len(open_ones) <= self.bounds.most:
            return
        idle = [each for each in open_ones if each.idle and each is not self and each not in self.bounds.waiting]
        if idle:
            min(idle, key=lambda each: each.quiet_since).transport.close()
            return
        log.warning("more than %d connections, none of them idle; a new one is refused.", self.bounds.most)
        self._refuse(b"503 Service Unavailable", "the server has as many connections as it takes; try again later.",
                     "overloaded", b"retry-after: 1\r\n")

    def _await_head(self) -> None:
        if not self.transport.is_closing():
            self._head = self.loop.call_later(self.bounds.head, self._no_head)

    def _no_head(self) -> None:
        self._head = None
        if self.transport.is_closing() or not self.idle:
            return
        if self._begun:
            self._refuse(b"408 Request Timeout", f"the head of the request did not arrive within {self.bounds.head:g} "
                         "seconds.", "timeout")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, text: str, kind: str, header: bytes = b"") -> None:
        """Answer without a request, and close."""
        body = json.dumps({"error": text, "error_type": kind}).encode()
        self.transport.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s"
                             b"connection: close\r\n\r\n%s" % (status, len(body), header, body))
        self.transport.close()

    def _not_read(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= self._left:
            self.drop(f"nothing of it in {self.bounds.write:g} s")
            return
        self._left = left
        self._reader = self.loop.call_later(self.bounds.write, self._not_read)


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """What is there of a timer that is cancelled: nothing."""
    if timer is not None:
        timer.cancel()
    return None


def room_for_connections(wanted: int) -> int:
    """Raise the limit of open files as far as this process may; how many of the wanted connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS, and some sandboxes, allow less than they say
            log.info("the limit of open files stays at %d.", soft)
    if soft == resource.RLIM_INFINITY or soft - OTHER_FILES >= wanted:
        return wanted
    fitting = max(1, soft - OTHER_FILES)
    log.warning("the system lets this process open %d files, so it takes %d connections and not %d; ulimit -Hn raises "
                "the limit.", soft, fitting, wanted)
    return fitting


def quiet_about_accepting(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler: where no connection can be accepted a line says so, without a traceback."""
    error = context.get("exception")
    if "_start_serving" in context.get("message", "") and isinstance(error, ValueError):
        return  # asyncio's next try, and the server has ended meanwhile: the socket is closed
    if "socket.accept()" in context.get("message", "") and error is not None:
        log.error("a connection cannot be accepted (%s); it is tried again in a second.", error)
    else:
        loop.default_exception_handler(context)
