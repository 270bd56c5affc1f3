"""``--workers N``: N processes on this machine that train together, with MXNet's parameter server between them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from bertpass import machine
from bertpass.base.paths import python_path
from bertpass.errors import BertpassError


def role() -> str | None:
    """What this process is in a group that has been started: worker, server or scheduler; None outside one."""
    return os.environ.get("DMLC_ROLE")


def serve_if_told() -> None:
    """In a server or the scheduler: serve the workers until they are done, then end the process."""
    if role() in ("server", "scheduler"):
        import bertpass.mx  # noqa: F401  MXNet serves while it is imported, and exits

        raise SystemExit(0)


def run(program: str, argv: Sequence[str], workers: int) -> None:
    """Run ``program(argv)`` in ``workers`` processes; returns when all have ended.

    ``program`` is MODULE:FUNCTION; what the function returns is its process's exit code.

    Raises
    ------
    BertpassError
        A process ended with an error: the others have been ended too.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without the interpreter's own end: there MXNet's parameter server at times destroys a thread that still runs, and
    # aborts the process. Servers and scheduler need no good-bye: they are ended below.
    module, _, function = program.partition(":")
    code = (f"import os, sys, {module}; code = {module}.{function}(sys.argv[1:]); sys.stdout.flush(); "
            "sys.stderr.flush(); os._exit(code)")
    shared = {**os.environ, "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(port), "DMLC_NUM_SERVER": "1",
              "DMLC_NUM_WORKER": str(workers), "DMLC_NODE_HOST": "127.0.0.1",
              "OMP_NUM_THREADS": str(max(1, machine.threads() // workers)),
              "PYTHONPATH": python_path()}
    roles = ["scheduler", "server", *["worker"] * workers]
    libc, this = ctypes.CDLL(None), os.getpid()

    def end_with_this() -> None:
        """In a new process: the kernel ends it when this process ends, however that is (prctl(2), PR_SET_PDEATHSIG)."""
        libc.prctl(1, signal.SIGKILL)
        if os.getppid() != this:
            os.kill(os.getpid(), signal.SIGKILL)

    # A session of their own: Ctrl-C comes to this process alone, which then ends them together.
    processes = [subprocess.Popen([sys.executable, "-c", code, *argv], env={**shared, "DMLC_ROLE": name},
                                  start_new_session=True, preexec_fn=end_with_this) for name in roles]
    try:
        _wait(roles, processes)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _wait(roles: Sequence[str], processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until every worker has ended well, or any process has not."""
    while True:
        codes = [process.poll() for process in processes]
        for name, code in zip(roles, codes, strict=True):
            if code:
                how = f"exit code {code}" if code > 0 else f"signal {-code}"
                raise BertpassError(f"a {name} process ended with {how}, so the others were ended; --resume goes on "
                                    "from the last checkpoint.")
        if all(code == 0 for name, code in zip(roles, codes, strict=True) if name == "worker"):
            return
        time.sleep(0.1)
