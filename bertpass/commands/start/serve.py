"""bertpass serve: models over HTTP."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence

from bertpass import extras, progress, settings
from bertpass.base.variables import SERVE as PREFIX
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.serving import logs
from bertpass.serving.options import ServeOptions

EPILOG = f"""Every flag is also an environment variable, {PREFIX} and its name in capitals, as {PREFIX}PORT=8080, and
a key of the YAML file that --config names; {PREFIX}MODELS has the models, divided by spaces. The command line wins
over variables, and these over the file; --no_NAME turns a switch off. docs/serving.md has the routes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    def job() -> None:
        options = options_of(sys.argv[1:] if argv is None else argv, os.environ)
        for module in ("fastapi", "uvicorn", "prometheus_client", "greenlet"):
            extras.require(module, "serve")
        from bertpass.serving import on_ray, server

        level = {logging.WARNING: "warning", logging.DEBUG: "debug"}.get(progress.level(), options.log_level)
        logs.configure(options.log_format, level)
        for sentence in settings.unknown_variables(ServeOptions, PREFIX, os.environ):
            logging.getLogger("bertpass.serving").warning("%s", sentence)
        (on_ray.serve if options.ray else server.serve)(options)
    return guarded(job)


def options_of(argv: Sequence[str], environment: Mapping[str, str]) -> ServeOptions:
    """The options of a command line, the environment and a file; UsageError for a wrong one."""
    options: ServeOptions = settings.parse(ServeOptions, argv, PREFIX, environment, "serve", "Serve models over HTTP.",
                                           EPILOG)
    from bertpass.commands.table import FIRST

    word = options.models[0] if options.models else ""
    if word in ("bertpass", *FIRST) and not os.path.exists(word):
        raise UsageError(f"{word}: here stand models, and this is a command. The container starts 'bertpass serve' "
                         "itself: give it models alone; for another command give docker run --entrypoint bertpass.")
    return options
