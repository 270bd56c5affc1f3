"""What every command line does around its job: sentences for errors, exit codes, Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from bertpass import progress
from bertpass.base.paths import PACKAGE
from bertpass.base.variables import value
from bertpass.errors import BertpassError

INTERRUPTED = 130


def open_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed: else the next file or socket would be opened
    there, and what a library prints would be written into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def guarded(main: Callable[[], int | None]) -> int:
    """Run ``main`` and turn what it raises into one sentence and an exit code.

    --verbose and BERTPASS_TRACEBACK=1 show the traceback of our own errors as well.
    """
    open_streams()
    warnings.showwarning = _warn
    try:
        return main() or 0
    except BertpassError as error:
        if value("BERTPASS_TRACEBACK") == "1" or progress.level() == logging.DEBUG:
            traceback.print_exc()
        return _tell(error, error.exit_code)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder taken away: nothing that we could have known before
        return _tell(error, BertpassError.exit_code)


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
          line: str | None = None) -> None:
    """Our own warnings as one line, in the log where there is one; those of libraries as Python shows them."""
    if category is not UserWarning or not Path(filename).is_relative_to(PACKAGE):
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")
    elif logging.getLogger("bertpass").handlers:
        logging.getLogger("bertpass").warning("%s", message)
    else:
        print(f"warning: {message}", file=sys.stderr)


def _tell(error: Exception, code: int) -> int:
    """Print the error as one line, whatever a library put into its text."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code
