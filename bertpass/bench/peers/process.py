"""A contender as its parent sees it: start, ask, end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.child import Child, Ended, Refused
from bertpass.bench import environments
from bertpass.bench.peers.contenders import Contender

#: seconds until a process that does not answer is ended
MAKING, LOADING, WORKING = 900.0, 300.0, 600.0


class PeerError(Exception):
    """A contender refused, ended or did not answer; the text says which, in one sentence."""


class Peer:
    """The process of one contender, or of the tools that make the peers' files.

    Parameters
    ----------
    environment
        Where its packages are, of :mod:`bertpass.bench.environments`; "" for this Python.
    threads, cpus
        Threads that its libraries are told to take, and processors that it may use.
    log
        File that takes what it prints.
    """

    def __init__(self, environment: str, threads: int, cpus: Sequence[int], log: Path) -> None:
        self.log = log
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        variables = {**{name: str(threads) for name in names}, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1",
                     "TOKENIZERS_PARALLELISM": "true", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
        with log.open("ab") as output:
            self._child = Child("bertpass.bench.peers.child", variables=variables, cpus=cpus, output=output,
                                python=environments.python_of(environment))

    def ask(self, *request: Any, timeout: float = WORKING) -> Any:
        """The answer to a command; PeerError where there is none, after which the process has ended."""
        try:
            self._child.send(*request)
            return self._child.receive(timeout)
        except Refused as error:
            sentence = str(error)
        except Ended:
            sentence = "its process ended"
        except TimeoutError:
            sentence = f"no answer to {request[0]!r} in {timeout:.0f} seconds"
        self.close()
        raise PeerError(f"{sentence.rstrip('.')}; {self.log} has what it printed.")

    def make(self, folder: Path, sentences: Sequence[str]) -> None:
        self.ask("make", str(folder), list(sentences), timeout=MAKING)

    def load(self, contender: Contender, folder: Path, threads: int) -> dict[str, Any]:
        """Version of its library and seconds until its first vector."""
        about: dict[str, Any] = self.ask("load", contender, str(folder), threads, timeout=LOADING)
        return about

    def encode(self, texts: Sequence[Any], batch: int) -> tuple[float, np.ndarray]:
        """Seconds of the call, and the vectors (texts, units), float32."""
        seconds, shape, data = self.ask("encode", list(texts), batch)
        return seconds, np.frombuffer(data, np.float32).reshape(shape)

    def memory(self) -> tuple[int, int]:
        """Resident bytes, now and at most."""
        return self._child.resident(), self._child.peak()

    def close(self) -> None:
        self._child.close()
