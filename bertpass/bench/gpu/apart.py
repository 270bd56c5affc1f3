"""Figures of one case in a process of its own: one that hangs, fails or loses the GPU takes no other figure along.

Asked by one argument, JSON; answers with a line of JSON for each figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

THIS = ("-m", "bertpass.bench.gpu.apart")
#: what an engine may do that can go wrong by itself: (measure, graphs)
LADDER = ((False, False), (True, False), (False, True), (True, True))


def figures(program: Sequence[str], asked: Mapping[str, Any], limit: float) -> Iterator[dict[str, Any]]:
    """What a program of Python says within ``limit`` seconds, a dict per line, as far as it came; then what went wrong
    as ``{"error"}``."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", *program, json.dumps(asked)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    try:
        said, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        said, errors = process.communicate()
    yield from (json.loads(line) for line in said.splitlines() if line.startswith("{") and line.endswith("}"))
    if time.monotonic() - begun >= limit:
        yield {"error": f"was ended after {limit:.0f} seconds"}
    elif process.returncode:
        last = (errors.strip().splitlines() or ["nothing"])[-1]
        yield {"error": f"ended with {process.returncode}: {last[:300]}"}


def question(job: str, config: Any, case: Any, device: str, **more: Any) -> dict[str, Any]:
    """What this program is asked: ``job`` is "compiled" or "ladder"."""
    return {"job": job, "config": config.to_dict(), "case": [case.name, list(case.lengths), case.length],
            "device": device, **more}


def main(argv: Sequence[str]) -> None:
    """Answer one question."""
    asked = json.loads(argv[0])
    from bertpass.bench.gpu.measure import Bench, Case, random_checkpoint
    from bertpass.model.config import EncoderConfig

    name, lengths, length = asked["case"]
    case = Case(name, tuple(lengths), length)
    checkpoint = random_checkpoint(EncoderConfig.from_dict(asked["config"]))
    if asked["job"] == "compiled":
        bench = Bench(checkpoint, asked["dtype"], asked["device"])
        print(json.dumps({"ms": bench.time_compiled(case, asked["seconds"], asked["mode"], len(lengths) == 1)}))
        return
    for measure, graphs in LADDER:
        rung: dict[str, Any] = {"measure": measure, "graphs": graphs}
        try:
            rung["distance"] = Bench(checkpoint, asked["dtype"], asked["device"], measure=measure,
                                     graphs=graphs).errors(case)["ours"]
        except Exception as error:  # whatever it is, the next rung may tell more
            rung["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps(rung), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
