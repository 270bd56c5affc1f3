"""Whether the server of this container is ready: exit code 0, or 1. It reads the variables that the server reads."""

import os
import sys
import urllib.request

host = os.environ.get("BERTPASS_SERVE_HOST", "").strip().strip("[]")
if host in ("", "0.0.0.0", "::"):
    host = "127.0.0.1"
port = os.environ.get("BERTPASS_SERVE_PORT", "").strip() or "8080"
address = f"http://[{host}]:{port}/ready" if ":" in host else f"http://{host}:{port}/ready"
try:
    # no proxy: HTTP_PROXY of the container is not for this machine itself
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=4).close()
except OSError as error:
    sys.exit(f"{address}: {error}")
