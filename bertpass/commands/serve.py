"""bertpass serve: models over HTTP."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from bertpass import extras
from bertpass.commands.run import guarded
from bertpass.options import from_environment, parse
from bertpass.serving.options import PREFIX, ServeOptions

EPILOG = f"""Every flag is also an environment variable: {PREFIX} and its name in capitals, as {PREFIX}PORT=8080;
{PREFIX}MODELS has the models, divided by spaces. The command line wins. docs/serving.md has the routes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    def job() -> None:
        options = options_of(sys.argv[1:] if argv is None else argv, os.environ)
        for module in ("fastapi", "uvicorn", "prometheus_client"):
            extras.require(module, "serve")
        from bertpass.serving import on_ray, server

        logging.basicConfig(stream=sys.stderr, level=logging.INFO,
                            format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        (on_ray.serve if options.ray else server.serve)(options)
    return guarded(job)


def options_of(argv: Sequence[str], environment: Mapping[str, str]) -> ServeOptions:
    """The options of a command line and, where it says nothing, of the environment; UsageError for a wrong one."""
    options = parse(ServeOptions, [*from_environment(ServeOptions, PREFIX, environment), *argv],
                    "Serve models over HTTP.", EPILOG)
    if not options.models:
        options = dataclasses.replace(options, models=environment.get(f"{PREFIX}MODELS", "").split())
    return options
