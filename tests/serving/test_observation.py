"""Logs in both forms, and OpenTelemetry spans taken up in memory."""

import json
import logging

import pytest

from bertpass.errors import MissingDependencyError
from bertpass.serving import logs
from tests.helpers.served import Process, httpx, until


def test_json_lines():
    with Process("embedding", "--port", 0, "--engine", "dummy", "--log_format", "json",
                 BERTPASS_SERVE_PROT="1") as server:
        url = server.url()
        httpx.post(url + "/embed", json={"inputs": "abc"}, headers={"x-request-id": "mine"})
        httpx.post(url + "/\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), json={})
        server.process.terminate()
        assert server.process.wait(60) == 0
        lines = [json.loads(line) for line in server.said().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    told = {line["message"].split()[0]: line for line in lines}
    assert told["configuration"]["options"] == {"models": ["embedding"], "engine": "dummy", "port": 0,
                                                "log_format": "json"}  # what is not by default, and no more
    assert "Did you mean 'BERTPASS_SERVE_PORT'" in told["the"]["message"] and told["the"]["level"] == "warning"
    (request,) = [line for line in lines if line.get("request_id") == "mine"]
    assert request["message"] == "POST /embed 200" and request["tokens"] == 5
    assert request["ms"] >= request["inference_ms"] > 0
    assert [line["message"].split()[-1] for line in lines if line["message"].startswith("POST ")] == ["200", "404"]


def test_the_level_is_kept():
    with Process("embedding", "--port", 0, "--engine", "dummy", "--log_level", "warning") as server:
        server.process.terminate()
        assert server.process.wait(60) in (0, -15) and server.said() == ""


@pytest.mark.parametrize("form", [logs.Lines(), logs.JsonLines()])
def test_a_traceback_stays_with_its_request(form):
    token = logs.REQUEST.set("r-1")
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), (type(error), error, None))
    finally:
        text = form.format(record)
        logs.REQUEST.reset(token)
    assert "r-1" in text and "two" in text
    if isinstance(form, logs.JsonLines):
        assert "\n" not in text and "ValueError" in json.loads(text)["exception"]


def test_spans(serve):
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter",
                                 reason="OpenTelemetry is not installed: pip install '.[otel]'")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from bertpass.serving.observing.tracing import Tracing

    exporter = memory.InMemorySpanExporter()

    async def job(client):
        client.state.tracing = Tracing(SimpleSpanProcessor(exporter))
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        await client.post("/embed", json={"inputs": ["abc", "b"]},
                          headers={"traceparent": f"00-{trace}-{parent}-01", "x-request-id": "mine"})
        await client.post("/v2/models/nobody/infer", json={})
        await client.get("/metrics")
        spans = {span.name: span for span in exporter.get_finished_spans()}
        assert set(spans) == {"POST /embed", "tokenization", "queue", "inference", "results",
                              "POST /v2/models/{name}/infer"}
        whole = spans["POST /embed"]
        assert format(whole.context.trace_id, "032x") == trace and format(whole.parent.span_id, "016x") == parent
        assert whole.attributes["http.response.status_code"] == 200 and whole.attributes["bertpass.tokens"] == 8
        assert whole.attributes["bertpass.request_id"] == "mine" and whole.kind.name == "SERVER"
        parts = [spans[name] for name in ("tokenization", "queue", "inference", "results")]
        assert all(part.parent.span_id == whole.context.span_id for part in parts)
        ends = [whole.start_time, *(time for part in parts for time in (part.start_time, part.end_time)),
                whole.end_time]
        assert ends == sorted(ends)
        lost = spans["POST /v2/models/{name}/infer"]
        assert lost.attributes["http.response.status_code"] == 404 and lost.status.is_unset
    serve(job, "embedding")


def test_a_collector_that_is_not_there_harms_nothing(serve):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http",
                        reason="OpenTelemetry is not installed: pip install '.[otel]'")

    async def job(client):
        assert (await client.post("/embed", json={"inputs": "a"})).status_code == 200
        await until(lambda: client.state.ready, "ready")
    serve(job, "embedding", otlp_endpoint="http://127.0.0.1:9")


def test_without_opentelemetry_a_sentence_names_the_extra(monkeypatch):
    import sys

    from bertpass.serving.observing.tracing import exporting

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[otel\]"):
        exporting("http://localhost:4318")
