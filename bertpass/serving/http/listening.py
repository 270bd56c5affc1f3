"""The sockets that a server listens at, bound before it starts; what is wrong with an address is said in a sentence."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from bertpass.errors import UsageError
from bertpass.serving.options import ServeOptions


def listeners(options: ServeOptions) -> list[socket.socket]:
    """Bound sockets: one for each address of --host, or the one of --uds. :: is every address of IPv4 as well.

    Raises
    ------
    UsageError
        The address is none of this machine, or is taken.
    """
    if options.uds is not None:
        return [_unix(options.uds)]
    where = f"--host {options.host} --port {options.port}"
    try:
        found = socket.getaddrinfo(options.host or None, options.port, type=socket.SOCK_STREAM,
                                   flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"{where}: no address has that name ({error.strerror}).") from error
    made: list[socket.socket] = []
    port = options.port
    try:
        for family, kind, protocol, _, address in sorted(set(found), key=str):
            made.append(socket.socket(family, kind, protocol))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                both = options.host == "::" and socket.has_dualstack_ipv6()
                made[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
            made[-1].bind((address[0], port, *address[2:]))
            port = made[-1].getsockname()[1]  # with port 0 that of the first is also that of the others
    except OSError as error:
        for each in made:
            each.close()
        raise UsageError(f"{where}: cannot listen there: {_why(error, options.port)}.") from error
    return made


def _why(error: OSError, port: int) -> str:
    reason = (error.strerror or str(error)).lower()
    if reason.startswith("address already in use"):
        return f"another program listens at port {port}; choose another, or 0 for a free one"
    if reason.startswith("cannot assign"):
        return "this machine has no such address"
    if reason.startswith("permission"):
        return f"only root may listen at port {port}; choose one from 1024"
    return reason


def _unix(path: str) -> socket.socket:
    """A UNIX socket at a path; one that a server left behind is replaced."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise UsageError(f"--uds {path}: there is a file or folder of that name.")
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as other:
                if other.connect_ex(path) == 0:
                    raise UsageError(f"--uds {path}: another program listens there.")
            os.unlink(path)
        made.bind(path)
    except OSError as error:
        made.close()
        raise UsageError(f"--uds {path}: cannot listen there: {(error.strerror or str(error)).lower()}.") from error
    except UsageError:
        made.close()
        raise
    return made


def shown(listener: socket.socket, secure: bool = False) -> str:
    """The address of a socket, as clients write it; ``secure`` is with HTTPS."""
    address = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{address}"
    host = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    return f"http{'s' if secure else ''}://{host}:{address[1]}"


def closed(sockets: list[socket.socket], options: ServeOptions) -> None:
    """Close the sockets, and take the file of a UNIX socket away."""
    for each in sockets:
        each.close()
    if options.uds is not None:
        with contextlib.suppress(OSError):
            os.unlink(options.uds)
