#!/usr/bin/env python
"""What comes back when something goes wrong: each fault is made on a real server, and its answers are looked at.

Prints a table; --output writes it as a page. Ends with an error where the server does not keep a promise.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from serving_process import Load, Process, httpx

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.model.record import Checkpoint
from bertpass.options import check_output_folder, flag, parse
from bertpass.text.tokens.tokenizer import Tokenizer

TEXTS = ["a", "abc d", "e f g h", "a b c d e f g h i j k l"]
JSON = {"content-type": "application/json"}
#: --queue_timeout with which a process that is stopped for a while does not count as one that hangs
LONG = 600


@dataclass
class FaultOptions:
    """Flags of benchmarks/serving_faults.py."""

    model: str = flag("embedding", "a model that gives embeddings")
    engine: str = flag("dummy", "what computes it", choices=("dummy", "native"))
    requests: int = flag(2000, "requests of a load", least=60)
    output: str | None = flag(None, "write the table to this Markdown file")


@dataclass(frozen=True)
class Fault:
    """``run`` makes the fault and returns what came back; BertpassError where that breaks a promise."""

    what: str
    run: Callable[[FaultOptions], str]


def server(options: FaultOptions, *words: Any, first: Callable[[], object] | None = None) -> Process:
    """A server of the model; ``first``: see Process."""
    return Process(options.model, "--port", 0, "--engine", options.engine, *words, first=first)


def expect(kept: bool, told: str) -> str:
    """What came back, or an error."""
    if not kept:
        raise BertpassError(f"the server broke a promise: {told}.")
    return told


def counted(found: Counter[int | str]) -> str:
    """Outcomes with their numbers."""
    return ", ".join(f"{count} x {outcome}" for outcome, count in sorted(found.items(), key=str))


def killed(options: FaultOptions) -> str:
    """kill -9 of an engine process under load."""
    with server(options) as process:
        load = Load(process.url(), TEXTS)
        found = load.run(options.requests, lambda: os.kill(process.pids()[0], signal.SIGKILL))
        again = httpx.get(load.url + "/health").status_code
    return expect(set(found) == {200} and again == 200, f"{counted(found)}; /health {again} afterwards")


def hung(options: FaultOptions) -> str:
    """SIGSTOP of an engine process under load."""
    with server(options, "--queue_timeout", 10) as process:
        load = Load(process.url(), TEXTS)
        before, told = process.pids(), Counter[int | str]()

        def stop() -> None:
            os.kill(before[0], signal.SIGSTOP)
            end = time.monotonic() + 60
            while process.pids_now() in (before, [None]) and time.monotonic() < end:
                told[httpx.get(load.url + "/ready").status_code] += 1
                time.sleep(0.02)

        start = time.monotonic()
        found = load.run(options.requests, stop)
        replaced = process.pids() != before
        spent = time.monotonic() - start
    return expect(set(found) == {200} and replaced and (503 in told or len(before) > 1),
                  f"{counted(found)}; /ready was 503 meanwhile; the process was replaced; {spent:.0f} s in all")


def idle_hang(options: FaultOptions) -> str:
    """SIGSTOP of an engine process without work."""
    with server(options, "--queue_timeout", 5, "--health_interval", 0.2) as process:
        before, start = process.pids(), time.monotonic()
        os.kill(before[0], signal.SIGSTOP)
        while process.pids_now() in (before, [None]) and time.monotonic() < start + 60:
            time.sleep(0.02)
        found = process.pids()
    return expect(found not in (before, [None]), "found by a real forward; the process was replaced")


def gone(options: FaultOptions) -> str:
    """Clients that go away while their requests wait."""
    with server(options, "--queue_timeout", LONG) as process:
        url, (pid,) = process.url(), process.pids()
        os.kill(pid, signal.SIGSTOP)
        waiting = [send(url, body({"inputs": "a"}))]
        wait_for(url, "te_batch_next_size_count 1.0")  # the engine has the first
        waiting += [send(url, body({"inputs": "a"})) for _ in range(10)]
        wait_for(url, "te_queue_size 10.0")
        for connection in waiting:
            connection.close()
        wait_for(url, "te_queue_size 0.0")
        os.kill(pid, signal.SIGCONT)
        status = httpx.post(url + "/embed", json={"inputs": "a"}, timeout=30).status_code
        rows = float(next(line.split()[1] for line in metrics(url).splitlines()
                          if line.startswith("te_batch_next_size_sum")))
    return expect(rows <= 2 and status == 200,
                  f"of 11 requests given up {rows - 1:g} was computed; the next is {status}")


def overload(options: FaultOptions) -> str:
    """More requests than --max_concurrent_requests."""
    with server(options, "--max_concurrent_requests", 4, "--instances", 1, "--queue_timeout", LONG) as process:
        load = Load(process.url(), TEXTS, clients=16)
        (pid,) = process.pids()

        def pause() -> None:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(pid, signal.SIGCONT)

        found = load.run(options.requests, pause)
        start = time.monotonic()
        status = httpx.post(load.url + "/embed", json={"inputs": "a"}).status_code
        spent = time.monotonic() - start
    return expect(set(found) == {200, 429} and status == 200,
                  f"{counted(found)}; then {status} in {1000 * spent:.0f} ms")


def terminated(options: FaultOptions, number: signal.Signals = signal.SIGTERM) -> str:
    """SIGTERM under load."""
    with server(options) as process:
        load, when = Load(process.url(), TEXTS), [0.0]

        def end() -> None:
            when[0] = time.monotonic()
            process.process.send_signal(number)

        load.run(options.requests, end)
        code = process.process.wait(60)
    before = Counter(reply.outcome for reply in load.replies if reply.sent < when[0])
    after = Counter("not accepted" if str(reply.outcome).endswith("Error") else reply.outcome
                    for reply in load.replies if reply.sent >= when[0])
    return expect(set(before) == {200} and set(after) <= {200, 503, "not accepted"} and code == 0,
                  f"sent before: {counted(before)}; after: {counted(after)}; exit code {code}")


def hung_up(options: FaultOptions) -> str:
    """SIGHUP under load."""
    return terminated(options, signal.SIGHUP)


def quit_by_key(options: FaultOptions) -> str:
    """SIGQUIT under load."""
    return terminated(options, signal.SIGQUIT)


def cut_off(options: FaultOptions) -> str:
    """SIGTERM while an engine hangs, --drain_timeout 1."""
    with server(options, "--drain_timeout", 1, "--queue_timeout", LONG) as process:
        url, pids = process.url(), process.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        with send(url, body({"inputs": "a"})) as waiting:
            wait_for(url, "te_batch_next_size_count 1.0")
            process.process.send_signal(signal.SIGTERM)
            status, told = read(waiting)
        code = process.process.wait(60)
    return expect(status == 503 and code == 0 and "Traceback" not in process.said(),
                  f"{status}: {told['error'][:90]} exit code {code}, no traceback")


def damaged(options: FaultOptions, damage: Callable[[Path], object]) -> str:
    """kill -9 of an engine process under load once something became of the model's files."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        huggingface.write_folder(model, small())
        with Process(model, "--port", 0, "--dtype", "float32") as process:
            load = Load(process.url(), TEXTS)
            before = process.pids()

            def happen() -> None:
                damage(model)
                os.kill(before[0], signal.SIGKILL)

            found = load.run(options.requests, happen)
            replaced = before[0] not in process.pids()
            told = httpx.get(load.url + "/info").json()["models"][0]["files"]
    return expect(set(found) == {200} and replaced and told != "as read",
                  f"{counted(found)}; the process was replaced; /info calls the files {told}")


def moved_away(options: FaultOptions) -> str:
    """The model's folder is moved away, and the engine killed."""
    return damaged(options, lambda model: model.rename(model.with_name("elsewhere")))


def cut_short(options: FaultOptions) -> str:
    """The model's weights are cut short, and the engine killed."""
    return damaged(options, lambda model: os.truncate(model / "model.safetensors", 5000))


def small() -> Checkpoint:
    """A model of random weights whose tables fill many pages of memory."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijkl", *(f"w{n}" for n in range(20_000))]
    config = EncoderConfig(num_layers=2, units=64, hidden_size=128, num_heads=4, use_pooler=True, max_length=64,
                           vocab_size=len(words), dropout=0.0)
    head = HeadConfig("none")
    shapes = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    return Checkpoint(config, head, parameters.random(shapes, 0, scale=0.3, random_bias=True),
                      Tokenizer.from_wordpiece(words, lower=True))


def crowd(options: FaultOptions) -> str:
    """200 connections that send nothing, where 128 files may be open."""
    with server(options, first=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))) as process:
        url = process.url()
        idle = [send(url, b"") for _ in range(200)]
        found = Counter(httpx.post(url + "/embed", json={"inputs": "a"}, timeout=60).status_code for _ in range(20))
        for connection in idle:
            connection.close()
        lines = len(process.lines)
    return expect(set(found) == {200} and lines < 100, f"others meanwhile {counted(found)}; {lines} lines of log")


def slow_head(options: FaultOptions) -> str:
    """The head of a request of which only the beginning comes, and a connection that sends nothing."""
    with server(options, "--header_timeout", 0.5) as process, \
            send(process.url(), b"POST /embed HTTP/1.1\r\nA: ") as some, send(process.url(), b"") as nothing:
        status, told = read(some)
        ended = nothing.recv(1) == b""
        alive = httpx.post(process.url() + "/embed", json={"inputs": "a"}).status_code
    return expect(status == 408 and ended and alive == 200,
                  f"{status}: {told['error']} The silent one is closed; others meanwhile {alive}")


def unread(options: FaultOptions) -> str:
    """Clients that do not read their answers, of 12 MB together for each."""
    request, waiting = {"inputs": ["a"] * 256}, []
    with server(options, "--write_timeout", 1, "--queue_timeout", LONG) as process:
        url = process.url()
        size = len(httpx.post(url + "/embed", json=request, timeout=60).content)
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            waiting[-1].connect(address(url))
            waiting[-1].sendall(body(request) * (12_000_000 // size))  # one after the other, on the same connection
        end = time.monotonic() + 120
        while sum("does not read its answer" in line for line in process.lines) < 4:
            expect(time.monotonic() < end, "clients that do not read are kept for two minutes")
            time.sleep(0.05)
        alive = httpx.post(url + "/embed", json={"inputs": "a"}, timeout=60).status_code
        for connection in waiting:
            connection.close()
        process.process.send_signal(signal.SIGTERM)
        code = process.process.wait(60)
    return expect(alive == 200 and code == 0,
                  f"all 4 are closed after --write_timeout; others {alive}; SIGTERM ends with {code}")


def closed(options: FaultOptions) -> str:
    """Standard input, output and error closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Process(options.model, "--engine", options.engine, "--port", port,
                 first=lambda: [os.close(number) for number in (0, 1, 2)]) as process:
        url, end, status = f"http://127.0.0.1:{port}", time.monotonic() + 120, 0
        while status != 200 and process.process.poll() is None and time.monotonic() < end:
            try:
                status = httpx.post(url + "/embed", json={"inputs": "a"}).status_code
            except httpx.TransportError:
                time.sleep(0.05)
    return expect(status == 200, f"{status}, as without")


def no_request(options: FaultOptions) -> str:
    """Bytes that are no request of HTTP/1.1: TLS, no Host, a negative length, a wrong chunk."""
    head, found = b"POST /embed HTTP/1.1\r\nHost: x\r\n", []
    with server(options) as process:
        for words in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /health HTTP/1.1\r\n\r\n",
                      head + b"Content-Length: -1\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with send(process.url(), words) as connection:
                found.append(read(connection))
        alive = httpx.post(process.url() + "/embed", json={"inputs": "a"}).status_code
    return expect({status for status, _ in found} == {400} and alive == 200,
                  f"{len(found)} x 400: {found[0][1]['error']} Others {alive}")


def orphaned(options: FaultOptions) -> str:
    """kill -9 of the server."""
    with server(options) as process:
        pids = process.pids()
        process.process.kill()
        begun = time.monotonic()
        while any(map(runs, pids)):
            expect(time.monotonic() < begun + 60, "the engine process is still there after a minute")
            time.sleep(0.02)
    return "the engine process ends with it"


def runs(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def read(connection: socket.socket) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, json.loads(reply.read())


def body(content: Any, path: str = "/embed") -> bytes:
    """A request as bytes, for sockets."""
    told = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            + str(len(told)).encode() + b"\r\n\r\n" + told)


def send(url: str, words: bytes) -> socket.socket:
    """A connection on which these bytes were sent."""
    connection = socket.create_connection(address(url), timeout=60)
    connection.sendall(words)
    return connection


def metrics(url: str) -> str:
    """The server's metrics."""
    text: str = httpx.get(url + "/metrics").text
    return text


def wait_for(url: str, line: str) -> None:
    """Wait until the metrics have this line."""
    deadline = time.monotonic() + 60
    while line not in metrics(url).splitlines():
        expect(time.monotonic() < deadline, f"no '{line}' within a minute")
        time.sleep(0.02)


def slow(options: FaultOptions) -> str:
    """A body of which only the beginning comes."""
    with server(options, "--body_timeout", 0.5) as process, \
            send(process.url(), body({"inputs": "a"})[:-5]) as connection:
        reply = connection.recv(4096)
        alive = httpx.post(process.url() + "/embed", json={"inputs": "a"}).status_code
    status = int(reply.split()[1])
    return expect(status == 408 and alive == 200, f"{status} after --body_timeout; others meanwhile {alive}")


def stream() -> Iterator[bytes]:
    """10 MB without saying so before."""
    for _ in range(100):
        yield b" " * 100_000


def ids(value: str) -> str:
    """A KServe body with these ids."""
    tensor = f'{{"name": "input_ids", "shape": [1, 2], "datatype": "INT64", "data": [1, {value}]}}'
    return f'{{"inputs": [{tensor}]}}'


#: (what it is, path, body, further headers, status)
BODIES: tuple[tuple[str, str, Any, dict[str, str], int], ...] = (
    ("gzip bomb: 30 kB that unpack to 30 MB", "/embed", gzip.compress(b" " * 30_000_000),
     {"content-encoding": "gzip"}, 413),
    ("JSON of 100,000 levels", "/embed", '{"inputs": ' + "[" * 100_000, {}, 400),
    ("the same, whole, to KServe", "/v2/models/MODEL/infer", '{"inputs": ' + "[" * 50_000 + "]" * 50_000 + "}", {},
     400),
    ("lone surrogate", "/embed", '{"inputs": "\\ud800"}', {}, 422),
    ("NaN in the place of a text", "/embed", '{"inputs": NaN}', {}, 400),
    ("NaN among ids", "/v2/models/MODEL/infer", ids("NaN"), {}, 400),
    ("ids out of range", "/v2/models/MODEL/infer", ids("999999999"), {}, 422),
    ("negative ids", "/v2/models/MODEL/infer", ids("-1"), {}, 422),
    ("10 MB body", "/embed", b" " * 10_000_000, {}, 413),
    ("10 MB body in chunks", "/embed", stream, {}, 413),
    ("a text longer than the model", "/embed", json.dumps({"inputs": "a " * 5000}), {}, 413),
    ("5,000 texts", "/embed", json.dumps({"inputs": ["a"] * 5000}), {}, 413),
    ("empty text", "/embed", '{"inputs": ""}', {}, 400),
    ("not UTF-8", "/embed", b'{"inputs": "\xff"}', {}, 400),
    ("wrong key", "/embed", '{"inputs": "a"}', {"authorization": "Bearer wrong"}, 401),
    ("no key", "/info", None, {"authorization": ""}, 401),
)


def bodies(options: FaultOptions) -> list[tuple[str, str]]:
    """(what, what came back) of every wrong body, all to one server."""
    found, key = [], {"authorization": "Bearer secret"}
    with server(options, "--api_key", "secret") as process:
        name = next(iter(httpx.get(process.url() + "/info", headers=key).json()["models"]))["id"]
        for what, path, content, headers, status in BODIES:
            reply = httpx.request("GET" if content is None else "POST", process.url() + path.replace("MODEL", name),
                                  content=content() if callable(content) else content,
                                  headers={**JSON, **key, **headers}, timeout=30)
            text = reply.json()["error"]
            found.append((what, expect(reply.status_code == status, f"{reply.status_code}: {text[:90]}")))
        good = httpx.post(process.url() + "/embed", json={"inputs": "a"}, headers=key).status_code
        expect(good == 200, f"after all of these a good request is {good}")
    return found


FAULTS = (
    Fault("kill -9 of the engine process under load", killed), Fault("the engine process hangs under load", hung),
    Fault("the engine process hangs without work", idle_hang), Fault("clients go away while they wait", gone),
    Fault("more requests than are taken at once", overload),
    Fault("the model's folder is moved away and the engine killed, under load", moved_away),
    Fault("the model's weights are cut short and the engine killed, under load", cut_short),
    Fault("SIGTERM under load", terminated), Fault("SIGHUP under load", hung_up),
    Fault("SIGQUIT under load", quit_by_key), Fault("SIGTERM while the engine hangs, --drain_timeout 1", cut_off),
    Fault("200 connections that send nothing, 128 files", crowd),
    Fault("the head of a request does not end", slow_head),
    Fault("answers that nobody reads", unread), Fault("standard streams are closed", closed),
    Fault("a body that does not end", slow), Fault("bytes that are no request", no_request),
    Fault("kill -9 of the server", orphaned),
)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Markdown."""
    cells = [("fault", "what came back"), ("---", "---"), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Make every fault; returns the exit code."""
    def job() -> None:
        options = parse(FaultOptions, argv, "What a server answers when something goes wrong.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        rows = []
        for fault in FAULTS:
            rows.append((fault.what, fault.run(options)))
            print(f"{fault.what}: {rows[-1][1]}", file=sys.stderr)
        rows += bodies(options)
        print(table(rows))
        if options.output:
            told = machine.describe()
            about = (f"Made by `{machine.command()}` on {told['cpu']}, {told['cpus_usable']} processors. A load is "
                     f"{options.requests} requests of 8 clients (16 for too many); every answer is compared with that "
                     "before the fault. `N x STATUS` counts answers.")
            lines = "# What comes back when something goes wrong", textwrap.fill(about, 120, break_on_hyphens=False)
            Path(options.output).write_text("\n\n".join([*lines, table(rows)]) + "\n", encoding="utf-8")
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
