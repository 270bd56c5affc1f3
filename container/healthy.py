"""Whether the server of this container is ready: exit code 0, or 1. It reads what the server reads: the variables, and
the file that BERTPASS_SERVE_CONFIG names."""

import http.client
import os
import socket
import ssl
import sys

from bertpass import settings
from bertpass.base.variables import SERVE
from bertpass.errors import BertpassError
from bertpass.serving.options import ServeOptions

SECONDS = 4


def connection(said):
    """A connection to the server itself, not through a proxy of the container."""
    port, path = said.get("port", ServeOptions.port), said.get("uds")
    host = said.get("host", "").strip("[]")
    if path:
        host, link = "localhost", socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(SECONDS)
        link.connect(path)
    else:
        host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        link = socket.create_connection((host, port), SECONDS)
    if said.get("tls"):
        anyone = ssl.create_default_context()  # it is this container's own server, whatever name its certificate has
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        link = anyone.wrap_socket(link, server_hostname=host)
    made = http.client.HTTPConnection(host, port, timeout=SECONDS)
    made.sock = link
    return made


try:
    said = settings.from_environment(ServeOptions, SERVE, os.environ)
    said = {**(settings.from_file(ServeOptions, said["config"], "serve") if said.get("config") else {}), **said}
except BertpassError as error:
    sys.exit(str(error))
address = said.get("uds") or f"{said.get('host', '')}:{said.get('port', ServeOptions.port)}"
try:
    link = connection(said)
    link.request("GET", "/ready")
    status = link.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"{address}/ready: {error}")
sys.exit(f"{address}/ready: {status}" if status != 200 else 0)
