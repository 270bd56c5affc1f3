"""TVM as an engine: kernels of our own (:mod:`bertpass.engines.tvm.kernels`), compiled for one shape at a time.

A shape is compiled when it first comes, which takes about a second. Encoders that TVM compiles without schedules take a
minute for one forward, so nothing here is left to it but small things.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.engines.base import PaddedEngine, check_dtype, check_threads
from bertpass.engines.tvm.network import Network
from bertpass.errors import MissingDependencyError
from bertpass.extras import require
from bertpass.model.record import Checkpoint

DTYPES = ("float32",)
EXTRA = "tvm"


class TVMEngine(PaddedEngine):
    """Runs a checkpoint's network in TVM on the CPU; several Python threads take turns.

    Parameters
    ----------
    dtype
        "float32".
    threads
        Of TVM's pool in this process; ``None`` takes :func:`bertpass.machine.threads`.

    Raises
    ------
    MissingDependencyError
        apache-tvm is not installed.
    UsageError
        ``dtype`` or ``threads`` cannot be used, or the network has widths that the kernels do not take.
    """

    name = "tvm"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float32", threads: int | None = None) -> None:
        check_dtype(self.name, dtype, DTYPES)
        threads = check_threads(threads)
        tvm = start(threads)
        self._network = Network(tvm, checkpoint, threads)
        self._weights = [tvm.runtime.tensor(array) for array in self._network.weights.values()]
        self._network.weights.clear()  # TVM has its own copies
        self._tvm, self._lock = tvm, threading.Lock()
        self._compiled: dict[tuple[int, ...], Callable[..., Any]] = {}
        self._about = {"engine": self.name, "tvm": tvm.__version__, "device": "cpu", "dtype": dtype, "threads": threads,
                       "target": str(self._network.target)}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        ids, types, lengths = (np.ascontiguousarray(a, np.int32) for a in (input_ids, token_types, valid_length))
        self._network.check(ids, types, lengths)
        arrays, shape = [self._tvm.runtime.tensor(a) for a in (ids, types, lengths)], ids.shape
        with self._lock:
            if shape not in self._compiled:
                compiled = self._tvm.compile(self._network.module(*shape), self._network.target)
                self._compiled[shape] = self._tvm.relax.VirtualMachine(compiled, self._tvm.cpu())["main"]
            return [output.numpy() for output in self._compiled[shape](*arrays, *self._weights)]

    def describe(self) -> dict[str, Any]:
        """Engine, versions, threads; the shapes that were compiled, and how many of their kernels have a schedule that
        was recorded (:mod:`bertpass.engines.tvm.records`)."""
        return {**self._about, "shapes": [list(shape) for shape in self._compiled],
                "recorded_schedules": len(self._network.recorded)}

    def close(self) -> None:
        self._compiled.clear()
        self._weights.clear()


def save(path: Path, checkpoint: Checkpoint, batch: int, length: int) -> list[Path]:
    """Write the network with its weights for one shape as a shared library of TVM's: its function "main" takes ids,
    token types (batch, length) and valid lengths (batch), int32, and gives an array of the outputs of
    :meth:`TVMEngine.forward`. It needs a processor of this machine's kind.

    Raises
    ------
    MissingDependencyError
        apache-tvm or a C++ compiler is not installed.
    UsageError
        The network has widths that the kernels do not take.
    """
    threads = machine.threads()
    tvm = start(threads)
    network = Network(tvm, checkpoint, threads)
    tvm.compile(network.whole(batch, length), network.target).export_library(str(path), fcompile=_linked)
    return [path]


def _linked(output: str, objects: Sequence[str], options: Sequence[str] | None = None) -> None:
    """Object files as a shared library, by the compiler of CXX, which may have arguments ("ccache g++"); TVM's own
    linking would take all of it for the name of a program."""
    compiler = os.environ.get("CXX", "").strip() or "g++"
    try:
        done = subprocess.run([*shlex.split(compiler), "-shared", "-fPIC", "-o", output, *objects, *(options or ())],
                              capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingDependencyError(f"the compiler '{compiler}' cannot be run ({error.strerror}): a .so file needs "
                                     "one; install g++, or name another in CXX.") from error
    if done.returncode:
        raise MissingDependencyError(f"'{compiler}' cannot link a .so file: {done.stderr.strip()[-300:]}")


def start(threads: int) -> Any:
    """TVM, told before it starts its pool how many threads to take and that others say where they run.

    Its threads wait for the next kernel for some 3 ms before they sleep; by default (300,000 turns) each would keep a
    processor from others for a fifth of a second after every forward.
    """
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "5000")
    return require("tvm", EXTRA)


from_checkpoint = TVMEngine
