"""Faults: killed and hung instances, overload, expiry, clients that go away, a real server and SIGTERM."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from bertpass.commands.start.serve import options_of
from bertpass.errors import UsageError
from bertpass.serving.instances import instance
from tests.helpers.served import Process, httpx, pids, until

#: --queue_timeout with which a process that is stopped for a while does not count as one that hangs
LONG = 600


def embed(client, text="abc"):
    return client.post("/embed", json={"inputs": text})


def test_a_killed_instance_loses_nothing(serve, two_cores):
    async def job(client):
        await until(lambda: client.state.pool.up == 2, "both instances")
        expected = (await embed(client)).json()
        first, second = pids(client)
        os.kill(first, signal.SIGSTOP)  # so that it surely holds a batch when it is killed
        replies = asyncio.gather(*(embed(client) for _ in range(40)))
        await asyncio.sleep(0.2)
        os.kill(first, signal.SIGKILL)
        assert {r.status_code for r in await replies} == {200}
        assert all(r.json() == expected for r in replies.result())
        await until(lambda: client.state.pool.up == 2 and pids(client)[0] not in (first, None), "a new instance")
        assert pids(client)[1] == second
    serve(job, "embedding", instances=2, max_batch_tokens=20, queue_timeout=LONG)


def test_a_request_that_is_lost_twice_fails(serve, monkeypatch):
    real = instance.Instance.begin

    def poisoned(self, model, rows):
        if any(len(ids) == 5 for ids, _ in rows):  # "abc" with its special tokens
            self.kill()
        real(self, model, rows)

    async def job(client):
        monkeypatch.setattr(instance.Instance, "begin", poisoned)
        poison, *others = await asyncio.gather(*(embed(client, text) for text in ("abc", "a", "b", "c")))
        assert poison.status_code == 424 and "twice" in poison.json()["error"]
        assert {r.status_code for r in others} == {200}  # they shared its first batch and not its second
    serve(job, "embedding")


def test_a_hung_instance_is_replaced_also_without_work(serve):
    async def job(client):
        (hung,) = pids(client)
        os.kill(hung, signal.SIGSTOP)
        assert (await embed(client)).status_code == 200  # retried in the new process
        (second,) = pids(client)
        assert second != hung
        os.kill(second, signal.SIGSTOP)
        await until(lambda: pids(client)[0] not in (second, None) and client.state.ready, "a new process")
    serve(job, "embedding", compute_timeout=0.3, health_interval=0.1)


def test_overload_is_answered_with_429(serve):
    async def job(client):
        (pid,) = pids(client)
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.gather(*(embed(client) for _ in range(3)))
        await asyncio.sleep(0.1)
        refused = await embed(client)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        os.kill(pid, signal.SIGCONT)
        assert {r.status_code for r in await waiting} == {200}
        assert (await embed(client)).status_code == 200
    serve(job, "embedding", max_concurrent_requests=3, queue_timeout=LONG)


def test_queued_work_expires(serve):
    async def job(client):
        (pid,) = pids(client)
        os.kill(pid, signal.SIGSTOP)
        taken = asyncio.create_task(embed(client))
        await asyncio.sleep(0.1)
        late = await embed(client)
        assert late.status_code == 429 and "longer than 0.3 seconds" in late.json()["error"]
        with contextlib.suppress(ProcessLookupError):  # it was found to hang, and is replaced
            os.kill(pid, signal.SIGCONT)
        assert (await taken).status_code == 200
    serve(job, "embedding", queue_timeout=0.3)


def test_results_do_not_depend_on_the_neighbours(serve):
    async def job(client):
        texts = ["a" * (n % 13 + 1) for n in range(60)]
        alone = [(await embed(client, text)).json()[0] for text in texts[:13]]
        together = (await client.post("/embed", json={"inputs": texts})).json()
        crowd = await asyncio.gather(*(embed(client, text) for text in texts))
        assert together == [reply.json()[0] for reply in crowd] == [alone[n % 13] for n in range(60)]
    serve(job, "embedding", max_batch_tokens=64)


def test_a_real_server_drains_and_openai_talks_to_it():
    import openai

    with Process("embedding", "--port", 0, "--engine", "dummy", BERTPASS_SERVE_API_KEY="secret",
                 BERTPASS_SERVE_MAX_BATCH_TOKENS="123", BERTPASS_SERVE_QUEUE_TIMEOUT=str(LONG)) as server:
        url, key = server.url(), {"authorization": "Bearer secret"}
        info = httpx.get(url + "/info", headers=key).json()
        assert info["options"]["max_batch_tokens"] == 123
        client = openai.OpenAI(base_url=url + "/v1", api_key="secret")
        made = client.embeddings.create(model="embedding", input=["abc", "b"])  # base64 on the wire
        plain = client.embeddings.create(model="embedding", input="abc", encoding_format="float")
        assert made.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
        assert made.usage.total_tokens == 8 and client.models.list().data[0].id == "embedding"
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url + "/v1", api_key="no").models.list()

        pid = info["instances"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)  # a request is in progress when the signal comes
        replies = []
        request = threading.Thread(target=lambda: replies.append(
            httpx.post(url + "/embed", json={"inputs": "abc"}, headers=key, timeout=60)))
        request.start()
        end = time.monotonic() + 30
        while 'te_request_count{method="/embed"} 1.0' not in httpx.get(url + "/metrics").text:
            assert time.monotonic() < end, "the request does not come"
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        request.join()
        assert replies[0].status_code == 200
        assert server.process.wait(60) == 0
        assert "secret" not in server.said()


def test_what_was_sent_before_sigterm_is_answered():
    """The server stands still while requests come, on connections that it knows and new ones, and then the signal."""
    body = b'{"inputs": "abc"}'
    words = (b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
             % (len(body), body))

    def answer(connection):
        """All that comes until the end; of a connection that is kept only the next answer."""
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status, reply.getheader("connection"), json.loads(reply.read())

    with Process("embedding", "--port", 0, "--engine", "dummy") as server, contextlib.ExitStack() as stack:
        address = tuple(server.url().removeprefix("http://").split(":"))
        known = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(5)]
        for connection in known:
            connection.sendall(words)
        expected = [answer(connection)[2] for connection in known]
        idle = stack.enter_context(socket.create_connection(address, timeout=60))
        os.kill(server.process.pid, signal.SIGSTOP)
        new = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(20)]
        for connection in (*known, *new):
            connection.sendall(words)
        server.process.send_signal(signal.SIGTERM)
        os.kill(server.process.pid, signal.SIGCONT)
        for connection in (*known, *new):
            assert answer(connection) == (200, "close", expected[0])
        assert idle.recv(1) == b""
        assert server.process.wait(60) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=60)


def test_an_ending_server_is_not_ready_and_takes_nothing_new(serve):
    async def job(client):
        client.state.ending = True
        assert (await client.get("/ready")).status_code == 503
        assert (await embed(client)).status_code == 200  # it was on its way
        client.state.draining = True
        refused = await embed(client)
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
    serve(job, "embedding")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_hung_engine_does_not_keep_an_ending_server(form):
    """What --drain_timeout cuts off gets an answer in the form of all others, and the log no traceback."""
    with Process("embedding", "--port", 0, "--engine", "dummy", "--drain-timeout", 1, "--queue_timeout", LONG,
                 "--log_format", form) as server:
        url = server.url()
        os.kill(httpx.get(url + "/info").json()["instances"][0]["pid"], signal.SIGSTOP)
        with socket.create_connection(tuple(url.removeprefix("http://").split(":")), timeout=60) as waiting:
            body = b'{"inputs": "a"}'
            waiting.sendall(b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            end = time.monotonic() + 60
            while "te_batch_next_size_count 1.0" not in httpx.get(url + "/metrics").text:
                assert time.monotonic() < end, "the engine does not get the request"
            server.process.send_signal(signal.SIGTERM)
            reply = http.client.HTTPResponse(waiting)
            reply.begin()
            told = json.loads(reply.read())
        assert reply.status == 503 and reply.getheader("retry-after") == "1"
        assert told["error_type"] == "unhealthy" and "before this request was computed" in told["error"]
        assert reply.getheader("x-request-id")
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.said()


def test_a_client_that_goes_away_takes_its_work_with_it():
    with Process("embedding", "--port", 0, "--engine", "dummy", "--queue_timeout", LONG) as server:
        url = server.url()
        pid = httpx.get(url + "/info").json()["instances"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        for _ in range(2):  # the first is being computed, the second waits
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + "/embed", json={"inputs": "a"}, timeout=0.3)
        end = time.monotonic() + 30
        while "te_queue_size 0.0" not in httpx.get(url + "/metrics").text:
            assert time.monotonic() < end, "the second request's row is still in the queue"
            time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        assert httpx.post(url + "/embed", json={"inputs": "a"}).status_code == 200
        rows = re.search(r"te_batch_next_size_sum (\S+)", httpx.get(url + "/metrics").text)[1]
        assert float(rows) == 2  # the first and the last


@pytest.mark.parametrize(("words", "code", "sentence"), [
    ((), 2, "name a model"), (("a", "a"), 2, "two models are called a"), (("=x",), 2, "NAME=PATH"),
    (("embedding", "--engine", "dummy", "--instances", "9999"), 2, "9999 instances need"),
    (("embeding", "--engine", "dummy"), 4, "Did you mean 'embedding'"),
    (("/nowhere/model",), 2, "/nowhere/model: there is no such file"),
    (("embedding", "--engine", "dummy", "--port", "99999"), 2, "at most 65535"),
    (("embedding", "--dtype", "flaot32"), 2, "Did you mean 'float32'"),
])
def test_wrong_command_lines_end_in_a_sentence(capsys, words, code, sentence):
    from bertpass.commands.start.serve import main

    assert main(list(words)) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ") and sentence in said and "Traceback" not in said


def test_a_taken_port_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Process("embedding", "--engine", "dummy", "--port", taken.getsockname()[1]) as server:
            assert server.process.wait(60) == 2
            assert "another program listens at port" in server.said()


def test_environment():
    environment = {"BERTPASS_SERVE_PORT": "1", "BERTPASS_SERVE_AUTO_TRUNCATE": "yes", "BERTPASS_SERVE_MODELS": "a b"}
    options = options_of(["--port", "2"], environment)
    assert (options.port, options.auto_truncate, options.models) == (2, True, ["a", "b"])
    assert options_of(["c"], environment).models == ["c"]
    with pytest.raises(UsageError, match="AUTO_TRUNCATE=perhaps"):
        options_of([], {"BERTPASS_SERVE_AUTO_TRUNCATE": "perhaps"})
    with pytest.raises(UsageError, match="--port"):
        options_of([], {"BERTPASS_SERVE_PORT": "x"})
