"""Run the application until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType
from typing import Any

import uvicorn

from bertpass.errors import BertpassError
from bertpass.serving import tls
from bertpass.serving.http import listening
from bertpass.serving.http.app import create_app
from bertpass.serving.http.connections import AT_ONCE, Bounds, quiet_about_accepting, room_for_connections
from bertpass.serving.options import ServeOptions
from bertpass.serving.signals import ending
from bertpass.serving.state import State

log = logging.getLogger("bertpass.serving")


#: Seconds after SIGTERM in which requests are still taken: those that were on their way when it came, in the network,
#: in the queue of connections, or in a connection's buffer.
ON_THEIR_WAY = 0.5

#: Connections that the system keeps until they are accepted, as uvicorn has it.
WAITING = 2048


class Server(uvicorn.Server):
    """uvicorn's server; at SIGTERM it is not ready any more, answers what was sent before, and ends."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self.error: BertpassError | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End: not ready from now on."""
        self._state.ending = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: Any = None) -> None:
        """Listen; and end where a model turns out not to load."""
        asyncio.get_running_loop().set_exception_handler(quiet_about_accepting)
        await super().startup(sockets)
        if not self.should_exit and self._state.pool is not None:
            for listener in sockets:
                listener.listen(WAITING)  # asyncio makes one number of this and of what it accepts at once
                log.info("listening at %s", listening.shown(listener, bool(self.config.ssl)))
            self._state.pool.failed.add_done_callback(self._failed)

    async def shutdown(self, sockets: Any = None) -> None:
        """Take what is on its way, then nothing more; finish it, and end."""
        if self.error is None:
            await asyncio.sleep(ON_THEIR_WAY)
        self._state.draining = True
        await super().shutdown(sockets)

    def _failed(self, failed: asyncio.Future[BertpassError]) -> None:
        if not failed.cancelled():
            self.error, self.should_exit = failed.result(), True


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises
    ------
    UsageError, ModelError
        A model cannot be served, there are not enough cores, or the address is taken.
    """
    state = State(options)
    log.info("configuration", extra={"fields": {"options": options.shown(changed=True)}})
    if state.not_bound:
        log.warning("memory is not bound to NUMA nodes: %s.", state.not_bound)
    sockets = listening.listeners(options)
    bounds = Bounds(room_for_connections(options.max_connections), options.header_timeout, options.write_timeout,
                    options.unsent_limit)
    config = uvicorn.Config(create_app(state), log_config=None, access_log=False, http=bounds.protocol(),
                            backlog=AT_ONCE, timeout_keep_alive=options.keep_alive,
                            timeout_graceful_shutdown=options.drain_timeout)
    config.load()
    config.ssl = tls.context(options.tls)  # uvicorn's own would take old ciphers
    server = Server(config, state)
    for number in ending():
        signal.signal(number, server.handle_exit)  # uvicorn raises SIGTERM again once it has drained, in vain
    try:
        server.run(sockets)
    finally:
        listening.closed(sockets, options)
    if server.error is not None:
        raise server.error
