"""What the server writes to standard error: lines for people, or JSON lines for programs, with request ids."""

from __future__ import annotations

import contextvars
import datetime
import json
import logging
import sys
import time
from typing import Any

#: the id of the request that is being answered
REQUEST: contextvars.ContextVar[str | None] = contextvars.ContextVar("bertpass_request", default=None)

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


def configure(form: str, level: str) -> None:
    """Write all logs of this process in this form, from this level on, unless it has a handler of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Lines())
    handler.addFilter(Sparing())
    logging.basicConfig(handlers=[handler], level=level.upper())


class Sparing(logging.Filter):
    """Of warnings and errors of one kind, by their logger and text, the first :attr:`most` in :attr:`seconds`: a fault
    that comes thousands of times must fill no disk and take no time from requests."""

    most, seconds = 20, 10.0

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written; the last one of its kind for a while says so."""
        if record.levelno < logging.WARNING:
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        since, count = self._seen.get(kind, (now, 0))
        if now - since >= self.seconds:
            since, count = now, 0
        if len(self._seen) > 1000:  # texts that are never the same
            self._seen.clear()
        self._seen[kind] = since, count + 1
        if count + 1 == self.most:
            record.msg = f"{record.msg} (More like this are left out for {self.seconds:g} s.)"
        return count < self.most


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What stands next to the message: the request's id, and what the call that logs gave as extra={"fields": ...}."""
    number = REQUEST.get()
    return {**({} if number is None else {"request_id": number}), **getattr(record, "fields", {})}


class Lines(logging.Formatter):
    """Time, level and message; the fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line without what follows of a traceback."""
        fields = (f"{name}={_shown(value)}" for name, value in _fields(record).items())
        return " ".join([super().formatMessage(record), *fields])


def _shown(value: Any) -> str:
    """A field on one line; sentences in quotes."""
    return json.dumps(value) if isinstance(value, str) and not value.isalnum() else str(value)


class JsonLines(logging.Formatter):
    """One object per line, ASCII: time (UTC), level, logger, message, the fields, the parts of the message where the
    call gave them as extra={"apart": ...}, and a traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        written = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line: dict[str, Any] = {"time": written.isoformat(timespec="milliseconds"), "level": record.levelname.lower(),
                                "logger": record.name, "message": record.getMessage(), **_fields(record),
                                **getattr(record, "apart", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
