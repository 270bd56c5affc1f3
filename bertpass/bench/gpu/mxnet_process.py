"""MXNet's process in ``bertpass bench gpu``: ``python -m bertpass.bench.gpu.mxnet_process JSON``, a line per figure.

The request names a model of a published size, a dtype, the seconds for each figure, and cases with their lengths. A
figure is the time of a forward on inputs that are on the device, until its output is ready there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertpass.bench.gpu.measure import MOST_CALLS, Case, batch_of, random_checkpoint
from bertpass.errors import BertpassError
from bertpass.model.config import named
from bertpass.model.record import Checkpoint

#: name of the line -> passes
LINES = {"mxnet": "remove_noops,interleave_qkv,bias_gelu", "mxnet_encoder": "native_encoder"}


def measure(checkpoint: Checkpoint, dtype: str, cases: Sequence[Case], seconds: float, gpu: int | None,
            tell: Callable[[dict[str, Any]], None]) -> None:
    """Time each line on each case and tell what was found, or why a line could not run."""
    from bertpass.engines.frameworks import mxnet_engine  # starts MXNet

    for name, passes in LINES.items():
        try:
            engine = mxnet_engine.from_checkpoint(checkpoint, gpu=gpu, dtype=dtype, passes=passes.split(","))
            for case in cases:
                arrays = engine.arrays(*batch_of(checkpoint.config, case))
                times: list[float] = []
                for _ in range(3):
                    engine.run(arrays)
                begun = time.perf_counter()
                while len(times) < 5 or (time.perf_counter() - begun < seconds and len(times) < MOST_CALLS):
                    start = time.perf_counter()
                    engine.run(arrays)
                    times.append((time.perf_counter() - start) * 1e3)
                low, median, high = np.percentile(times, (10, 50, 90))
                tell({"name": name, "case": case.name, "ms": {"median": float(median), "low": float(low),
                                                              "high": float(high), "calls": len(times)}})
        except BertpassError as error:
            tell({"error": f"{name}: {error}"})


def main() -> None:
    """Run the request of the command line."""
    os.environ.setdefault("MXNET_SAFE_ACCUMULATION", "1")
    request = json.loads(sys.argv[1])
    cases = [Case(name, tuple(lengths), length) for name, lengths, length in request["cases"]]
    measure(random_checkpoint(named(request["model"])), request["dtype"], cases, request["seconds"], 0,
            lambda found: print(json.dumps(found), flush=True))


if __name__ == "__main__":
    main()
