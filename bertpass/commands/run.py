"""What every command line does around its job: sentences for errors, exit codes, Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

from bertpass import progress
from bertpass.errors import BertpassError

INTERRUPTED = 130


def guarded(main: Callable[[], int | None]) -> int:
    """Run ``main`` and turn what it raises into one sentence and an exit code.

    --verbose and BERTPASS_TRACEBACK=1 show the traceback of our own errors as well.
    """
    try:
        return main() or 0
    except BertpassError as error:
        if os.environ.get("BERTPASS_TRACEBACK") == "1" or progress.level() == logging.DEBUG:
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


def _tell(error: Exception, code: int) -> int:
    """Print the error as one line, whatever a library put into its text."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code
