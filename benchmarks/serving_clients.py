#!/usr/bin/env python
"""What clients that people have can do with the server: benchmarks/client_calls.py in their environment, as a table.

Prints the table; --output writes it as a page. Ends with an error where a call is not answered as it should be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from serving_process import ROOT, Process

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError
from bertpass.options import check_output_folder, flag, parse

MODELS = ("embedding", "classification", "qa", "tokens", "ranking", "none")


@dataclass
class ClientOptions:
    """Flags of benchmarks/serving_clients.py."""

    python: str = flag(str(ROOT / ".venv-clients" / "bin" / "python"), "interpreter of the clients' environment")
    output: str | None = flag(None, "write the table to this Markdown file")


def calls(python: str) -> list[dict[str, Any]]:
    """What came of every call, as client_calls.py writes it.

    Raises
    ------
    UsageError
        There is no such interpreter.
    BertpassError
        The calls ended before their time.
    """
    if not Path(python).exists():
        raise UsageError(f"--python {python}: there is no such file; make test-clients makes the environment.")
    words = ("--port", 0, "--engine", "dummy")
    with Process(*MODELS, *words) as server, Process("classification", *words) as classifier:
        done = subprocess.run([python, str(ROOT / "benchmarks" / "client_calls.py"), server.url(), classifier.url()],
                              capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise BertpassError(f"the calls ended early: {' '.join(done.stderr.split())[-500:]}.")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def page(found: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = ["# Clients, unchanged", "", f"Made by `{machine.command()}` on a server with the dummy engine; `make "
             "test-clients` makes the environment.", "`same`: the client gives what the plain route gives. Everything "
             "else is the error that the client shows.", "", "| client | call | what came |", "|---|---|---|"]
    for each in found:
        came = "same" if each["right"] and not each["refused"] else each["came"]
        cells = [cell.replace("|", "\\|") for cell in (each["client"], each["call"], came)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Make every call; returns the exit code."""
    def job() -> None:
        options = parse(ClientOptions, argv, "What clients that people have can do with the server.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        found = calls(options.python)
        print(page(found))
        if options.output:
            Path(options.output).write_text(page(found), encoding="utf-8")
        if wrong := [each for each in found if not each["right"]]:
            raise BertpassError("not as it should be: " + "; ".join(
                f"{each['client']}, {each['call']}: {each['came'][:200]}" for each in wrong) + ".")
    return guarded(job)


if __name__ == "__main__":
    raise SystemExit(main())
