"""Connections within bounds, signals, standard streams and logs: a server that cannot be made to stand still."""

import asyncio
import http.client
import json
import logging
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from bertpass.serving import logs
from bertpass.serving.http.connections import Bounds, Connection, quiet_about_accepting
from tests.helpers.served import Process, httpx

BODY = b'{"inputs": "a"}'
REQUEST = (b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
           % (len(BODY), BODY))
LONG = 600


def server(*words, model="embedding", first=None):
    return Process(model, "--port", 0, "--engine", "dummy", "--queue_timeout", LONG, *words, first=first)


def connect(url, receive=None):
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = socket.socket()
    if receive is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    connection.settimeout(60)
    connection.connect((host, int(port)))
    return connection


def answer(connection):
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply, json.loads(reply.read())


def wait_for(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_connection_has_to_send_a_request():
    with server("--header_timeout", 0.5) as process:
        url = process.url()
        with connect(url) as silent, connect(url) as partial, connect(url) as dripping, connect(url) as second:
            partial.sendall(b"POST /embed HTTP/1.1\r\nHost: x\r\nX-Long: ")
            second.sendall(REQUEST)
            assert answer(second)[0].status == 200
            second.sendall(b"POST /em")  # and the head of the next one does not come
            ended = threading.Event()

            def drip():
                try:
                    while not ended.wait(0.05):
                        dripping.sendall(b"X")
                except OSError:
                    pass
            thread = threading.Thread(target=drip)
            dripping.sendall(b"GET / HTTP/1.1\r\nA: ")
            thread.start()
            for connection in (partial, second):
                reply, told = answer(connection)
                assert reply.status == 408 and "head of the request" in told["error"]
                assert told["error_type"] == "timeout" and connection.recv(1) == b""
            assert silent.recv(1) == b""
            wait_for(lambda: not thread.is_alive(), "the connection that drips is still there")
            ended.set()
        with connect(url) as slow:  # but in time
            slow.sendall(REQUEST[:30])
            time.sleep(0.1)
            slow.sendall(REQUEST[30:])
            assert answer(slow)[0].status == 200


def test_idle_connections_make_room_and_busy_ones_do_not():
    with server("--max_connections", 4, "--header_timeout", 300) as process:
        url = process.url()
        idle = [connect(url) for _ in range(12)]
        assert httpx.post(url + "/embed", json={"inputs": "a"}).status_code == 200
        assert idle[0].recv(1) == b""  # the one that was quiet for longest went
        pid = process.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        busy = [connect(url) for _ in range(4)]
        for connection in busy:
            connection.sendall(REQUEST.replace(BODY, b"").replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
            assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the server works at it
            connection.sendall(BODY)
        with connect(url) as fifth:
            reply, told = answer(fifth)
        assert reply.status == 503 and reply.getheader("retry-after") == "1"
        assert told["error_type"] == "overloaded" and "as many connections" in told["error"]
        os.kill(pid, signal.SIGCONT)
        assert {answer(connection)[0].status for connection in busy} == {200}
        assert httpx.get(url + "/health").status_code == 200
        for connection in (*idle, *busy):
            connection.close()


LARGE = json.dumps({"inputs": [" ".join("abcdefghij" * 6)[:110]] * 280}).encode()  # some 5 MB of states


def ask_much(url):
    connection = connect(url, receive=4096)
    head = b"POST /embed_all HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(2 * (head % len(LARGE) + LARGE))
    return connection


@pytest.mark.parametrize(("words", "clients", "why"), [
    (("--write_timeout", 0.5), 1, "nothing of it in 0.5 s"),
    (("--write_timeout", 300, "--unsent_limit", 1000), 2, "more than 1000 bytes of answers wait")])
def test_answers_that_nobody_reads_are_dropped(words, clients, why):
    with server(*words, model="none") as process:
        url = process.url()
        whole = httpx.post(url + "/embed_all", content=LARGE, headers={"content-type": "application/json"}, timeout=60)
        assert whole.status_code == 200 and len(whole.content) > 4_000_000
        waiting = [ask_much(url) for _ in range(clients)]
        wait_for(lambda: any(why in line for line in process.lines), "no connection is dropped")
        assert httpx.get(url + "/health").status_code == 200
        for connection in waiting:
            connection.close()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(60) == 0
        assert "Traceback" not in process.said()


class Transport:
    """Of which ``left`` bytes are not sent yet."""

    def __init__(self, left):
        self.left, self.aborted = left, False

    def get_write_buffer_size(self):
        return self.left

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True


class Timers:
    """A loop whose time the test lets pass: the timers that were set."""

    def __init__(self):
        self.set = []

    def call_later(self, seconds, call):
        entry = seconds, call
        self.set.append(entry)
        return type("Timer", (), {"cancel": lambda _: entry in self.set and self.set.remove(entry)})()

    def ring(self):
        (_, call), self.set = self.set[0], []
        call()


def test_a_client_that_reads_slowly_keeps_its_connection():
    bounds = Bounds(10, 20.0, 30.0, 10 ** 9)
    connection = object.__new__(bounds.protocol())
    assert isinstance(connection, Connection)
    connection.loop, connection.transport, connection._reader = Timers(), Transport(1000), None
    connection.flow = type("Flow", (), {"pause_writing": lambda self: None, "resume_writing": lambda self: None})()
    connection.pause_writing()
    for left in range(990, 900, -10):
        connection.transport.left = left
        connection.loop.ring()
        assert not connection.transport.aborted and [seconds for seconds, _ in connection.loop.set] == [30.0]
    connection.resume_writing()
    assert not bounds.waiting and not connection.loop.set
    connection.pause_writing()
    assert list(bounds.waiting) == [connection]
    connection.loop.ring()  # from now on it reads nothing
    assert connection.transport.aborted and not bounds.waiting and not connection.loop.set


def test_the_limit_of_open_files_is_raised():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with server(first=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))) as process:
        process.url()
        assert resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_more_connections_than_files_stop_nothing():
    with server(first=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))) as process:
        url = process.url()
        idle = [connect(url) for _ in range(200)]
        for _ in range(5):
            assert httpx.post(url + "/embed", json={"inputs": "a"}).status_code == 200
        for connection in idle:
            connection.close()
        process.process.terminate()
        assert process.process.wait(60) == 0
        said = process.said()
        assert "takes 64 connections and not 4096" in said and "Traceback" not in said
        assert "cannot be accepted" not in said
        assert len(said.splitlines()) < 60


def test_a_server_that_ends_while_none_can_be_accepted(caplog):
    """asyncio tries again after a second, and then the socket is closed: that is no fault."""
    async def job():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(quiet_about_accepting)
        closed = socket.socket()
        closed.close()
        loop.call_later(0, loop._start_serving, asyncio.Protocol, closed)
        loop.call_later(0, lambda: 1 // 0)
        await asyncio.sleep(0.05)
    asyncio.run(job())
    (record,) = caplog.records  # any other fault is still told
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_fault_that_comes_again_and_again_does_not_fill_the_log(capfd):
    logger = logging.Logger("flood")
    handler = logging.StreamHandler()
    handler.addFilter(logs.Sparing())
    logger.addHandler(handler)
    for number in range(5000):
        logger.error("fault %d", number)
        logger.info("request %d", number)
    logger.error("another")
    said = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("fault") for line in said) == logs.Sparing.most and said[-1] == "another"
    assert f"fault {logs.Sparing.most - 1} (More like this are left out for 10 s.)" in said
    assert sum(line.startswith("request") for line in said) == 5000  # requests are counted by who reads the log


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_every_ending_signal_drains(number):
    with server() as process:
        url, (pid,) = process.url(), process.pids()
        os.kill(pid, signal.SIGSTOP)
        with connect(url) as waiting:
            waiting.sendall(REQUEST)
            wait_for(lambda: "te_batch_next_size_count 1.0" in httpx.get(url + "/metrics").text, "no batch")
            os.kill(pid, signal.SIGHUP)  # a terminal that is closed tells every process
            os.kill(pid, signal.SIGQUIT)
            process.process.send_signal(number)
            wait_for(lambda: httpx.get(url + "/ready").status_code == 503, "it is still ready")
            process.process.send_signal(number)  # twice is the same
            os.kill(pid, signal.SIGCONT)
            assert answer(waiting)[0].status == 200
        assert process.process.wait(60) == 0
        assert "Traceback" not in process.said()


def test_nohup_is_kept():
    with server(first=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        url = process.url()
        process.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert httpx.post(url + "/embed", json={"inputs": "a"}).status_code == 200
        process.process.terminate()
        assert process.process.wait(60) == 0


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_closed_standard_streams(closed):
    """Else the socket to the engine would be one of them, and what is printed would go there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Process("embedding", "--engine", "dummy", "--port", port,
                 first=lambda: [os.close(number) for number in closed]) as process:
        url = f"http://127.0.0.1:{port}"

        def ready():
            assert process.process.poll() is None, process.said()
            try:
                return httpx.get(url + "/ready").status_code == 200
            except httpx.TransportError:
                return False
        wait_for(ready, "not ready")
        assert httpx.post(url + "/embed", json={"inputs": "a"}).status_code == 200
        pids = [process.process.pid, httpx.get(url + "/info").json()["instances"][0]["pid"]]
        for pid in pids:
            for number in closed:
                assert not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:")
        process.process.terminate()
        assert process.process.wait(60) == 0


def test_an_engine_ends_with_its_server_without_a_traceback():
    with server() as process:
        (pid,) = process.pids()
        process.process.kill()

        def ended():
            try:
                return "Z" in Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
            except OSError:
                return True
        wait_for(ended, "the engine is still there")
        assert "Traceback" not in process.said()
