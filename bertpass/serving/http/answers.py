"""Answers to what fails: one sentence each, in the form that the clients of a path read.

Under /v1 that is OpenAI's, elsewhere that of text-embeddings-inference.
"""

from __future__ import annotations

import json

from starlette.responses import Response

from bertpass.errors import BertpassError
from bertpass.serving.failures import RequestFailure, Unauthorized, WrongMethod
from bertpass.serving.queueing.calls import ANSWERED

#: HTTP status -> OpenAI's name for the kind of cause; others from 500 on are server_error, and all else the default
_TYPES = {401: "authentication_error", 404: "not_found_error", 408: "timeout", 424: "server_error",
          429: "rate_limit_error"}
#: our word for a cause -> OpenAI's
_CODES = {"unauthorized": "invalid_api_key", "overloaded": "rate_limit_exceeded",
          "rate_limited": "rate_limit_exceeded"}


def openai_form(path: str) -> bool:
    """Whether the clients of a path read errors in OpenAI's form."""
    return path.startswith(("/v1/", "/openai/")) or path == "/v1"  # the latter as Azure's clients ask


def answer(status: int, text: str, kind: str, headers: dict[str, str] | None = None, param: str | None = None,
           path: str = "") -> Response:
    """A failure's answer: ASCII, whatever characters a client's words in the text have."""
    if (answered := ANSWERED.get(None)) is not None:  # none in front of Ray's replicas
        answered.error, answered.kind = text, kind
        path = answered.path
    content: dict[str, object] = {"error": text, "error_type": kind}
    if openai_form(path):
        content = {"error": {"message": text, "param": param, "code": _CODES.get(kind, kind), "type": _TYPES.get(
            status, "server_error" if status >= 500 else "invalid_request_error")}}
    return Response(json.dumps(content), status, headers, "application/json")


def failure(error: BaseException, path: str = "") -> Response:
    """The answer to an error; ``path`` is that of the request, where no server of ours knows it."""
    if not isinstance(error, BertpassError):
        return answer(500, "the server made an error; its log says more.", "internal", path=path)
    if not isinstance(error, RequestFailure):
        kind = "validation" if error.http_status == 422 else "internal"
        return answer(error.http_status, str(error), kind, path=path)
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, WrongMethod):
        headers["allow"] = error.allowed
    return answer(error.http_status, str(error), error.kind, headers, error.param, path)
