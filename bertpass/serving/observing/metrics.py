"""Prometheus metrics under the names of text-embeddings-inference, so that its dashboards work.

The ``te_request_*`` counts are gauges that only rise: prometheus_client would put "_total" behind a counter's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from bertpass.serving.queueing.admission import Admission
from bertpass.serving.queueing.calls import Call
from bertpass.serving.queueing.pool import Pool
from bertpass.serving.queueing.queue import TokenQueue

_SECONDS = tuple(1e-4 * 2 ** n for n in range(18))  # 0.1 ms to 13 s
_ROWS = tuple(float(2 ** n) for n in range(12))
_TOKENS = tuple(float(2 ** n) for n in range(4, 18))


class _OfReplica:
    """What a registry collects, with a label that names the replica: else a scraper that reaches now this one and now
    that one would take their counts for one count that jumps."""

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        self._registry, self._replica = registry, replica

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [each._replace(labels={**each.labels, "replica": self._replica})
                              for each in metric.samples]
            yield metric


class Metrics:
    """All metrics of one server; with the label ``replica`` where it is one of several behind one address."""

    def __init__(self, replica: str | None = None) -> None:
        self._registry = CollectorRegistry()
        self._shown: Any = self._registry if replica is None else _OfReplica(self._registry, replica)

        def seconds(name: str, what: str) -> Histogram:
            return Histogram(name, what, registry=self._registry, buckets=_SECONDS)

        self._count = Gauge("te_request_count", "requests", ["method"], registry=self._registry)
        self._success = Gauge("te_request_success", "requests answered with 200", ["method"], registry=self._registry)
        self._failure = Gauge("te_request_failure", "requests that failed", ["err"], registry=self._registry)
        self._keys = Counter("bertpass_key_requests", "requests by the name of their key", ["key", "status"],
                             registry=self._registry)
        self._duration = seconds("te_request_duration", "seconds of a request")
        self._tokenization = seconds("te_request_tokenization_duration", "seconds of reading texts")
        self._queue = seconds("te_request_queue_duration", "seconds in the queue")
        self._inference = seconds("te_request_inference_duration", "seconds in the engine")
        self._rows = Histogram("te_batch_next_size", "rows of a batch", registry=self._registry, buckets=_ROWS)
        self._tokens = Histogram("te_batch_next_tokens", "tokens of a batch", registry=self._registry, buckets=_TOKENS)
        self._size = Gauge("te_queue_size", "rows in the queue", registry=self._registry)
        self._queued_tokens = Gauge("bertpass_queue_tokens", "tokens in the queue", registry=self._registry)
        self._expected = Gauge("bertpass_expected_wait", "seconds that a small request would wait now",
                               registry=self._registry)
        self._up = Gauge("bertpass_instances_up", "instances that can compute", registry=self._registry)

    def watch(self, queue: TokenQueue, pool: Pool, admission: Admission) -> None:
        """Read these whenever the metrics are."""
        self._size.set_function(lambda: queue.waiting_rows)
        self._queued_tokens.set_function(lambda: queue.waiting_tokens)
        self._up.set_function(lambda: pool.up)
        self._expected.set_function(admission.expected)

    def batch(self, rows: int, tokens: int) -> None:
        """A batch went to an engine."""
        self._rows.observe(rows)
        self._tokens.observe(tokens)

    def begun(self, method: str) -> None:
        """A request came."""
        self._count.labels(method).inc()

    def succeeded(self, method: str, seconds: float) -> None:
        """A request was answered with 200."""
        self._success.labels(method).inc()
        self._duration.observe(seconds)

    def failed(self, kind: str) -> None:
        """A request failed; ``kind`` is that of the failure."""
        self._failure.labels(kind).inc()

    def of_key(self, key: str, status: int) -> None:
        """A request with a key of that name was answered."""
        self._keys.labels(key, str(status)).inc()

    def computed(self, call: Call) -> None:
        """The parts of a request that an engine computed."""
        self._tokenization.observe(call.tokenization)
        self._queue.observe(call.queued)
        self._inference.observe(call.computing)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._shown)
