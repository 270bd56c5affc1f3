"""Signals that end a server."""

import signal

#: SIGTERM, and the signals of a terminal that is closed and of Ctrl-\\: all drain
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def ending() -> tuple[signal.Signals, ...]:
    """Those of them that are not ignored, as nohup lets SIGHUP be."""
    return tuple(number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN)
