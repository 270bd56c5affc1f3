"""The HTTP face: what proxies, monitors, browsers and plain clients expect of any server."""

import asyncio
import http.client
import json
import logging
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bertpass.errors import UsageError
from bertpass.serving import names
from bertpass.serving.http import listening
from bertpass.serving.options import ServeOptions
from bertpass.serving.state import State
from tests.helpers.served import Process, httpx, serving


@pytest.fixture(scope="module")
def url():
    words = ("--engine", "dummy", "--payload_limit", 100_000, "--keep_alive", 2)
    with Process("embedding", "--port", 0, *words) as server:
        yield server.url()


def raw(url, data, seconds=10.0):
    """What comes back to bytes on a connection, until it is closed or nothing comes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), seconds) as link:
        link.sendall(data)
        parts = []
        try:
            while part := link.recv(65536):
                parts.append(part)
        except TimeoutError:
            pass
    return b"".join(parts)


GETS = ("/", "/info", "/health", "/ready", "/metrics", "/ping", "/v1/models", "/v1/models/embedding", "/v2",
        "/v2/health/live", "/v2/health/ready", "/v2/models/embedding", "/v2/models/embedding/ready",
        "/v2/models/embedding/config", "/docs",
        "/openapi.json", "/docs-files/swagger-ui.css")


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_a_body(url, path):
    got, head = httpx.get(url + path), httpx.head(url + path)
    assert head.status_code == got.status_code == 200 and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path not in ("/metrics", "/info"):  # which change from one request to the next
        assert head.headers["content-length"] == got.headers["content-length"]
    whole = raw(url, f"HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert whole.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/embed", "POST"), ("PUT", "/v1/embeddings", "POST"), ("POST", "/health", "GET, HEAD"),
    ("DELETE", "/", "GET, POST, HEAD"), ("POST", "/v2/models/embedding", "GET, HEAD"),
    ("PATCH", "/metrics", "GET, HEAD"),
    ("GET", "/v2/models/embedding/infer", "POST"), ("POST", "/docs", "GET, HEAD"), ("HEAD", "/embed", "POST")])
def test_405_says_what_is_allowed(url, method, path, allow):
    reply = httpx.request(method, url + path)
    assert reply.status_code == 405 and reply.headers["allow"] == allow


@pytest.mark.parametrize("data", [
    b"GET /health HTTP/1.1\r\n\r\n",  # no Host
    b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
    b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"])
def test_bytes_that_are_no_request(url, data):
    head, _, body = raw(url, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"connection: close" in head.lower()
    told = json.loads(body)
    assert set(told) == {"error", "error_type"} and "no HTTP/1.1 request" in told["error"]
    assert httpx.get(url + "/health").status_code == 200


def test_no_path_is_guessed_that_is_quite_another(url):
    for path, words in (("/embedd", "Did you mean '/embed'?"), ("/similarty", "Did you mean '/similarity'?"),
                        ("/vertex", "there is no path /vertex. GET"),
                        ("/v2/models/embedding/stats", "no path /v2/models/embedding/stats; below the model"),
                        ("/v2/models/embedding/versions/1/stats", "embedding there are ready, config and"),
                        ("/v2/models/embeding", "unknown model 'embeding'. Did you mean 'embedding'?")):
        reply = httpx.get(url + path)
        assert reply.status_code == 404 and words in reply.json()["error"]


def test_other_spellings_of_paths(url):
    expected = httpx.post(url + "/v1/embeddings", json={"input": "a"}).json()
    for path in ("/embeddings", "/embeddings/", "/v1/embeddings/"):
        reply = httpx.post(url + path, json={"input": "a"})
        assert reply.status_code == 200 and reply.json() == expected
    assert httpx.post(url + "/embed/", json={"inputs": "a"}).status_code == 200
    for path in ("/models", "/models/embedding", "/v1/models/embedding/", "/info/"):
        assert httpx.get(url + path).status_code == 200
    assert httpx.post(url + "/embeddings", json={"input": 5}).json()["error"]["param"] == "input"
    assert httpx.get(url + "/embed/ings").status_code == 404


def test_parameters_in_an_address_are_refused_where_nobody_reads_them(url):
    reply = httpx.post(url + "/embed?truncate=true", json={"inputs": "a"})
    assert reply.status_code == 422 and "?truncate" in reply.json()["error"]
    assert httpx.get(url + "/health?_=1").status_code == 200


def test_connections_are_kept_as_long_as_the_flag_says(url):
    host, port = url.removeprefix("http://").split(":")
    link = http.client.HTTPConnection(host, int(port))
    link.request("GET", "/health")
    link.getresponse().read()
    time.sleep(1)
    link.request("GET", "/health")  # on the same connection: http.client would not open another
    assert link.getresponse().status == 200
    link.close()
    begun = time.monotonic()
    assert raw(url, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", 30).startswith(b"HTTP/1.1 200")
    assert 1.5 < time.monotonic() - begun < 20  # closed by the server, after the time of the flag
    assert ServeOptions(models=["a"]).keep_alive == 75


@pytest.mark.parametrize("size", [150_000, 4_000_000, 20_000_000])
@pytest.mark.parametrize("way", ["urllib", "chunks", "http.client"])
def test_a_413_arrives(url, size, way):
    """Also where a client sends its whole body before it reads: the server reads on, and closes then."""
    body = b'{"inputs": "' + b"a" * size + b'"}'
    if way == "urllib":
        request = urllib.request.Request(url + "/embed", body, {"content-type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 413 and b"100000 bytes" in caught.value.read()
        return
    host, port = url.removeprefix("http://").split(":")
    link = http.client.HTTPConnection(host, int(port), timeout=30)
    chunks = [body[at:at + 65536] for at in range(0, len(body), 65536)]
    link.request("POST", "/embed", iter(chunks) if way == "chunks" else body, {
        "content-type": "application/json", "connection": "close"}, encode_chunked=way == "chunks")
    reply = link.getresponse()
    assert reply.status == 413 and b"100000 bytes" in reply.read()
    link.close()


def test_other_early_refusals_arrive():
    body = b'{"inputs": "' + b"a" * 1_500_000 + b'"}'
    with Process("embedding", "--port", 0, "--engine", "dummy", "--api_key", "k") as server:
        url = server.url()
        for _ in range(5):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(url + "/embed", body, {
                    "content-type": "application/json"}))
            assert caught.value.code == 401 and b"Bearer" in caught.value.read()


def test_expect_100_continue_is_refused_at_once(url):
    begun = time.monotonic()
    reply = raw(url, b"POST /embed HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n"
                     b"content-length: 9999999\r\nconnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413") and time.monotonic() - begun < 8


def test_a_length_with_chunks_is_refused(url):
    reply = raw(url, b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4\r\n"
                     b"transfer-encoding: chunked\r\n\r\nf\r\n{\"inputs\": \"a\"}\r\n0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400") and b"Transfer-Encoding" in reply and b"connection: close" in reply.lower()
    assert reply.count(b"HTTP/1.1") == 1


def test_cors(serve):
    origin = {"origin": "http://localhost:3000"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}

    async def allowed(client):
        told = await client.options("/embed", headers=asked)
        assert told.status_code == 200 and told.headers["access-control-allow-origin"] == origin["origin"]
        assert "authorization" in told.headers["access-control-allow-headers"].lower()
        for key, status in (("k", 200), ("x", 401)):
            reply = await client.post("/embed", json={"inputs": "a"},
                                      headers={**origin, "authorization": f"Bearer {key}"})
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == origin["origin"]
            assert "x-compute-tokens" in reply.headers["access-control-expose-headers"]
        other = await client.post("/embed", json={"inputs": "a"}, headers={
            "origin": "http://evil", "authorization": "Bearer k"})
        assert "access-control-allow-origin" not in other.headers
    serve(allowed, "embedding", api_key="k", cors_allow_origin=["http://localhost:3000/"])

    async def every(client):
        reply = await client.post("/embed", json={"inputs": "a"}, headers=origin)
        assert reply.headers["access-control-allow-origin"] == "*"
    serve(every, "embedding", cors_allow_origin=["*"])

    async def closed(client):
        assert (await client.options("/embed", headers=asked)).status_code == 401
        reply = await client.post("/embed", json={"inputs": "a"}, headers={**origin, "authorization": "Bearer k"})
        assert "access-control-allow-origin" not in reply.headers
    serve(closed, "embedding", api_key="k")


def test_behind_a_prefix(serve):
    """Whether the proxy takes its prefix away or passes it on."""
    async def job(client):
        for prefix in ("", "/bert"):
            assert (await client.get(prefix + "/health")).status_code == 200
            assert (await client.post(prefix + "/embed/", json={"inputs": "a"})).status_code == 200
            assert (await client.post(prefix + "/embeddings", json={"input": "a"})).status_code == 200
            page = (await client.get(prefix + "/docs")).text
            found = re.findall(r"(?:src|href)=\"([^\"]+)\"|url: '([^']+)'", page)
            for link in {one or other for one, other in found}:
                assert link.startswith("/bert/")
                assert (await client.get(link)).status_code == 200, link  # as the browser asks the proxy
                assert (await client.get(link.removeprefix("/bert"))).status_code == 200, link
            told = (await client.get(prefix + "/openapi.json")).json()
            assert told["servers"][0]["url"] == "/bert"
        assert (await client.get("/bertpass")).status_code == 404
        assert 'te_request_count{method="/embed"} 2.0' in (await client.get("/metrics")).text
    serve(job, "embedding", root_path="/bert/")


def test_a_unix_socket(tmp_path):
    path = tmp_path / "bert.sock"
    with Process("embedding", "--engine", "dummy", "--uds", path) as server:
        end = time.monotonic() + 60
        while "listening at" not in "".join(server.lines):
            assert time.monotonic() < end and server.process.poll() is None
            time.sleep(0.02)
        assert f"listening at unix:{path}" in "".join(server.lines)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x") as client:
            while client.get("/ready").status_code != 200:
                time.sleep(0.02)
            assert client.post("/embed", json={"inputs": "a"}).status_code == 200
        with pytest.raises(UsageError, match="another program listens there"):
            listening.listeners(ServeOptions(models=["a"], uds=str(path)))
        server.process.terminate()
        assert server.process.wait(60) == 0 and not path.exists()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    (again,) = listening.listeners(ServeOptions(models=["a"], uds=str(path)))
    again.close()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match="a file or folder"):
        listening.listeners(ServeOptions(models=["a"], uds=str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(UsageError, match="no such file or directory"):
        listening.listeners(ServeOptions(models=["a"], uds=str(tmp_path / "no" / "b.sock")))


def test_addresses():
    made = listening.listeners(ServeOptions(models=["a"], port=0))
    port = made[0].getsockname()[1]
    assert [listening.shown(each) for each in made] == [f"http://127.0.0.1:{port}"]
    made[0].listen()
    with pytest.raises(UsageError, match=f"another program listens at port {port}"):
        listening.listeners(ServeOptions(models=["a"], port=port))
    made[0].close()
    with pytest.raises(UsageError, match="no address has that name"):
        listening.listeners(ServeOptions(models=["a"], host="no-such-host.invalid"))
    with pytest.raises(UsageError, match="this machine has no such address"):
        listening.listeners(ServeOptions(models=["a"], host="192.0.2.1"))


@pytest.mark.parametrize(("host", "reached"), [("::", ("127.0.0.1", "::1")), ("::1", ("::1",)), ("[::1]", ("::1",)),
                                               (" [::]\n", ("127.0.0.1", "::1"))])
def test_ipv6(host, reached):
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6; enable it (sysctl net.ipv6.conf.lo.disable_ipv6=0)")
    (made,) = listening.listeners(ServeOptions(models=["a"], host=host, port=0))
    with made:
        made.listen()
        port = made.getsockname()[1]
        host = host.strip().strip("[]")
        assert listening.shown(made) == f"http://[{host}]:{port}"
        for address in reached:
            socket.create_connection((address, port), 5).close()
        if host == "::1":
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.parametrize("key", ["abc\n", " abc ", "\tabc\r\n"])
def test_white_space_around_a_key_is_no_part_of_it(serve, key):
    async def job(client):
        for given in ("Bearer abc", "Bearer  abc ", "bearer abc"):
            assert (await client.post("/embed", json={"inputs": "a"}, headers={"authorization": given})
                    ).status_code == 200
    serve(job, "embedding", api_key=key)


def test_white_space_around_variables():
    from bertpass import settings
    from bertpass.base.variables import SERVE as PREFIX

    found = settings.from_environment(ServeOptions, PREFIX, {
        PREFIX + "API_KEY": "abc\n", PREFIX + "PORT": " 8081\n", PREFIX + "AUTO_TRUNCATE": "true ",
        PREFIX + "HOST": "0.0.0.0\r\n", PREFIX + "MODELS": " minilm \n"})
    assert found == {"api_key": "abc", "port": 8081, "auto_truncate": True, "host": "0.0.0.0", "models": ["minilm"]}
    options = ServeOptions(models=["a"], uds="/run/a.sock\n", root_path="/bert/ \n", otlp_endpoint="http://a:4318\n")
    assert (options.uds, options.root_path, options.otlp_endpoint) == ("/run/a.sock", "/bert", "http://a:4318")
    for key in ("", " \n", "a\nb", "a\x00b", "schlüssel"):
        with pytest.raises(UsageError, match="--api_key"):
            ServeOptions(models=["a"], api_key=key)
    for origin in ("localhost", "http://a.b/c", "ftp://a"):
        with pytest.raises(UsageError, match="--cors_allow_origin"):
            ServeOptions(models=["a"], cors_allow_origin=[origin])
    with pytest.raises(UsageError, match="--root_path"):
        ServeOptions(models=["a"], root_path="bert")


def test_names_of_models(tmp_path, monkeypatch):
    """What is there as a whole is a path; of a path the name is that of the file or folder."""
    for folder in ("lr=3e-5/b", "acme/tiny", "v1.5"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "acme" / "tiny")
    for word, name in ((".", "tiny"), ("./", "tiny"), ("..", "acme"), ("../tiny/", "tiny"), ("../tiny/.", "tiny"),
                       ("../../acme/./tiny/", "tiny"), ("../../v1.5/.", "v1.5"), ("../..", tmp_path.name)):
        assert names.named(word)[0] == name
    monkeypatch.chdir(tmp_path)
    for word, expected in (("lr=3e-5/b", ("b", "lr=3e-5/b")), (f"{tmp_path}/lr=3e-5/b", ("b", f"{tmp_path}/lr=3e-5/b")),
                           ("./lr=3e-5", ("lr=3e-5", "./lr=3e-5")), ("v1.5", ("v1.5", "v1.5")),
                           ("x=lr=3e-5/b", ("x", "lr=3e-5/b")), ("acme/x=v1.5", ("acme/x", "v1.5")),
                           ("acme/tiny", ("tiny", "acme/tiny")), (" a = v1.5 ", ("a", "v1.5")),
                           ("org/hub", ("hub", "org/hub")),
                           ("out/net.params", ("net", "out/net.params")), ("here=.", ("here", "."))):
        assert names.named(word) == expected
    for word, words in (("=x", "NAME=PATH"), ("x=", "NAME=PATH"), ("", "NAME=PATH"), ("/no/such", "no such file"),
                        ("./no", "no such file"), ("x=/no/such", "no such file"), ("/no/lr=1/b", "no such file"),
                        ("a/infer=v1.5", "cannot be a name"), ("a//b=v1.5", "cannot be a name"),
                        ("x=./no", "no such file"), ("x=../no/.", "no such file"), ("~nobody-here/x", "no such file"),
                        ("..=v1.5", "cannot be a name"), (".=v1.5", "cannot be a name"),
                        ("a/../b=v1.5", "cannot be a name"),
                        ("a/ready=v1.5", "cannot be a name"), ("/=v1.5", "cannot be a name|no such file"),
                        ("m/versions/1=v1.5", "cannot be a name"), ("a\nb=v1.5", "cannot be a name")):
        with pytest.raises(UsageError, match=words):
            names.named(word)


def test_a_model_answers_to_its_name_and_to_its_path(serve):
    async def job(client):
        for name in ("acme/x", "v1.5", "classification", "rows"):
            assert (await client.get(f"/v2/models/{name}")).json()["name"] == name
            assert (await client.get(f"/v2/models/{name.replace('/', '%2F')}/ready")).status_code == 200
            assert (await client.get(f"/v2/models/{name}/versions/1")).json()["name"] == name
            assert (await client.get(f"/v1/models/{name}")).json()["id"] == name
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        assert (await client.post("/v2/models/acme/x/infer", json={"inputs": [tensor]})).status_code == 200
        for name in ("acme/x", "v1.5"):
            assert (await client.post("/embed", json={"inputs": "a", "model": name})).status_code == 200
        assert (await client.post("/embed", json={"inputs": "a", "model": "none"})).status_code == 200  # a path
        assert (await client.post("/embed", json={"inputs": "a", "model": "embedding"})).status_code == 404  # of two
        counted = (await client.get("/metrics")).text
        assert 'te_request_count{method="/v2/models/{name}/infer"} 1.0' in counted
    serve(job, "acme/x=embedding", "v1.5=embedding", "classification", "rows=none")


def test_nobody_is_asked_for_what_is_here(tmp_path, monkeypatch):
    """A path that is there, and one that can only be a path, never go to the hub."""
    import bertpass.model.hub.download as hub

    def asked(*_, **__):
        raise AssertionError("the hub was asked")
    monkeypatch.setattr(hub, "download", asked)
    (tmp_path / "lr=3e-5" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    from bertpass.errors import ModelError
    for word in ("lr=3e-5/b", f"{tmp_path}/lr=3e-5/b", ".", "x=lr=3e-5/b"):
        with pytest.raises(ModelError, match="holds neither"):
            State(ServeOptions(models=[word]))
    for word in ("/no/such", "./no/such", "~/no/such", "x=/no/such"):
        with pytest.raises(UsageError, match="there is no such file"):
            State(ServeOptions(models=[word]))


def test_json_lines_have_the_parts_of_a_request(caplog):
    async def job():
        async with serving("embedding") as client:
            await client.post("/embed", json={"inputs": 5}, headers={"x-request-id": "bad"})
            await client.get("/info", headers={"x-request-id": "good"})
            await client.head("/nope", headers={"x-request-id": "gone"})
    with caplog.at_level(logging.INFO, "bertpass.serving"):
        asyncio.run(job())
    from bertpass.serving.logs import JsonLines, Lines
    records = [record for record in caplog.records if hasattr(record, "apart")]
    bad, good, gone = (json.loads(JsonLines().format(record)) for record in records)
    assert (bad["method"], bad["path"], bad["status"]) == ("POST", "/embed", 422) and "is a number" in bad["error"]
    assert (good["method"], good["path"], good["status"]) == ("GET", "/info", 200) and "error" not in good
    assert (gone["method"], gone["status"]) == ("HEAD", 404) and "there is no path /nope" in gone["error"]
    assert all("client" in each for each in (bad, good, gone))
    assert "error=" in Lines().format(records[0]) and "client=" not in Lines().format(records[0])


def test_the_client_is_logged():
    with Process("embedding", "--port", 0, "--engine", "dummy", "--log_format", "json") as server:
        url = server.url()
        httpx.post(url + "/embed", json={"inputs": "a"}, headers={"x-request-id": "mine"})
        httpx.post(url + "/embed", json={"inputs": "a"}, headers={"x-request-id": "far",
                                                                   "x-forwarded-for": "203.0.113.9"})
        server.process.terminate()
        lines = {line.get("request_id"): line for line in map(json.loads, server.said().splitlines())}
    assert lines["mine"]["client"].startswith("127.0.0.1:") and lines["mine"]["status"] == 200
    assert lines["far"]["client"].startswith("203.0.113.9")

