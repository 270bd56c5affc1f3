"""What a request can fail of: one type a cause, with its HTTP status and the short name that programs read.

The statuses are those of text-embeddings-inference, which clients of such servers know.
"""

from __future__ import annotations

from bertpass.errors import BertpassError


class RequestFailure(BertpassError):
    """Base: ``http_status`` and ``kind`` go into the answer, ``retry_after`` (seconds) into its header."""

    kind = "internal"
    retry_after: int | None = None
    #: the field of the body that is meant, where it is one
    param: str | None = None


class EmptyInput(RequestFailure):
    """There is nothing to compute."""

    http_status, kind = 400, "empty"


class Unreadable(RequestFailure):
    """The request or its body cannot be read."""

    http_status, kind = 400, "validation"


class Unauthorized(RequestFailure):
    """No key, or a wrong one."""

    http_status, kind = 401, "unauthorized"


class UnknownModel(RequestFailure):
    """The model is not one of those that are served."""

    http_status, kind, param = 404, "model_not_found", "model"


class UnknownPath(RequestFailure):
    """There is no such path."""

    http_status, kind = 404, "not_found"


class WrongMethod(RequestFailure):
    """The path is there, and not with this method."""

    http_status, kind = 405, "method_not_allowed"

    def __init__(self, text: str, allowed: str) -> None:
        super().__init__(text)
        self.allowed = allowed


class SlowBody(RequestFailure):
    """The request's body did not arrive in time."""

    http_status, kind = 408, "timeout"


class TooLarge(RequestFailure):
    """The body, the batch or a text is larger than a limit."""

    http_status, kind = 413, "validation"


class UnknownEncoding(RequestFailure):
    """The body is no JSON by its content type, or packed in a way that is not known here."""

    http_status, kind = 415, "validation"


class InvalidBody(RequestFailure):
    """A field is unknown, missing or of the wrong kind; ``param`` names it."""

    http_status, kind = 422, "validation"

    def __init__(self, text: str, param: str | None = None) -> None:
        super().__init__(text)
        self.param = param


class EngineFailure(RequestFailure):
    """The engine refused a batch, or its process ended twice over the same request."""

    http_status, kind = 424, "backend"


class Overloaded(RequestFailure):
    """More requests than the server can answer in time, or one that waited too long; ``retry_after`` is in seconds."""

    http_status, kind = 429, "overloaded"

    def __init__(self, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class RateExceeded(RequestFailure):
    """The key sends more requests than its rate allows; ``retry_after`` is in seconds."""

    http_status, kind = 429, "rate_limited"

    def __init__(self, text: str, retry_after: int) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class ClientGone(RequestFailure):
    """The client went away; nobody reads an answer, and logs have nginx's status for it."""

    http_status, kind = 499, "client_gone"


class NotReady(RequestFailure):
    """The server is starting or ending."""

    http_status, kind, retry_after = 503, "unhealthy", 1
