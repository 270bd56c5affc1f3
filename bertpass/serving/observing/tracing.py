"""OpenTelemetry spans of requests: one for each, with parts for reading texts, the queue and the engine.

Spans are made when a request is answered, from the times that were taken anyway, so that tracing costs nothing in
between. The trace goes on from the client's ``traceparent`` header (W3C Trace Context).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bertpass import __version__, extras
from bertpass.serving.queueing.calls import Call

#: seconds after which a collector that does not answer is given up; an ending server waits no longer for it
_SENDING = 3

SDK, EXPORTER = "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def exporting(endpoint: str) -> Any:
    """A span processor that sends batches to an OTLP collector over HTTP.

    Parameters
    ----------
    endpoint
        Such as http://localhost:4318; without a path, OTLP's own (/v1/traces) is added.

    Raises
    ------
    MissingDependencyError
        OpenTelemetry's packages are not there.
    """
    path = "" if urlsplit(endpoint).path.strip("/") else "/v1/traces"
    exporter = extras.require(EXPORTER, "otel").OTLPSpanExporter(endpoint=endpoint.rstrip("/") + path,
                                                                    timeout=_SENDING)
    return extras.require(f"{SDK}.export", "otel").BatchSpanProcessor(exporter)


class Tracing:
    """Makes the spans and gives them to a span processor."""

    def __init__(self, processor: Any) -> None:
        self._api, sdk = extras.require("opentelemetry.trace", "otel"), extras.require(SDK, "otel")
        self._propagate = extras.require("opentelemetry.propagate", "otel")
        resource = extras.require("opentelemetry.sdk.resources", "otel").Resource.create(
            {"service.name": "bertpass", "service.version": __version__})
        self._provider = sdk.TracerProvider(resource=resource)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("bertpass.serving", __version__)

    def request(self, name: str, headers: Mapping[bytes, bytes], start: float, attributes: Mapping[str, Any],
                call: Call | None) -> None:
        """A request that ends now.

        Parameters
        ----------
        start
            When it came, in seconds of ``time.monotonic``.
        attributes
            Of the request's span; a status of 500 or more marks it as failed.
        call
            What it had computed.
        """
        offset = time.time_ns() - time.monotonic_ns()

        def stamp(seconds: float) -> int:
            return offset + int(1e9 * seconds)

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        span = self._tracer.start_span(name, context=self._propagate.extract(carrier), kind=self._api.SpanKind.SERVER,
                                       attributes=dict(attributes), start_time=stamp(start))
        inside = self._api.set_span_in_context(span)
        for part, begin, end in call.parts() if call is not None else ():
            self._tracer.start_span(part, context=inside, start_time=stamp(begin)).end(stamp(end))
        if attributes["http.response.status_code"] >= 500:
            span.set_status(self._api.Status(self._api.StatusCode.ERROR))
        span.end(stamp(time.monotonic()))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
