"""Replicas on Ray: the same answers, one address, and nothing lost when a replica is killed under load."""

import asyncio
import os
import signal
import time

import pytest
from served import Process, httpx

from bertpass.commands.serve import main
from bertpass.serving import on_ray


def test_requests_go_through_the_application(serve):
    async def job(client):
        def scope(path, body=b""):
            return {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
                    "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
                    "headers": [(b"content-type", b"application/json")], "client": ("x", 1), "server": ("y", 2)}
        app = client._transport.app
        status, headers, body = await on_ray.through(app, scope("/embed"), b'{"inputs": "abc"}')
        expected = await client.post("/embed", json={"inputs": "abc"})
        assert status == 200 and body == expected.content
        assert dict(headers)[b"x-compute-tokens"] == b"5"
        assert (await on_ray.through(app, scope("/embed"), b'{"inputs": ""}'))[0] == 400
    serve(job, "embedding")


@pytest.mark.parametrize(("words", "sentence"), [
    (("embedding", "--replicas", "2"), "are for --ray"),
    (("embedding", "--ray", "--replicas", "3", "--max_replicas", "2"), "must not be below --replicas 3")])
def test_wrong_command_lines_end_in_a_sentence(capsys, words, sentence):
    assert main(list(words)) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_replica_loses_nothing():
    ray = pytest.importorskip("ray", reason="pip install 'bertpass[ray]' for the test of Ray")
    with Process("embedding", "--engine", "dummy", "--ray", "--replicas", 2, "--cores_per_instance", 1,
                 "--port", 18765) as server:
        end, url = time.monotonic() + 300, "http://127.0.0.1:18765"
        while "listening at" not in "".join(server.lines):
            assert server.process.poll() is None and time.monotonic() < end, "".join(server.lines)
            time.sleep(0.2)

        def places():
            return {httpx.get(url + "/info", timeout=30).json()["instances"][0]["pid"] for _ in range(20)}

        assert len(places()) == 2

        async def load():
            async with httpx.AsyncClient(base_url=url, timeout=120) as client:
                expected = (await client.post("/embed", json={"inputs": "abc"})).json()
                engine = (await client.get("/info")).json()["instances"][0]["pid"]
                replica = parent(engine)
                os.kill(engine, signal.SIGSTOP)  # so that its replica surely holds requests when it is killed
                replies = asyncio.gather(*(client.post("/embed", json={"inputs": "abc"}) for _ in range(200)))
                await asyncio.sleep(1)
                os.kill(replica, signal.SIGKILL)
                os.kill(engine, signal.SIGCONT)
                return [(reply.status_code, reply.json() == expected) for reply in await replies]

        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert not ray.is_initialized()


def parent(pid):
    """The process that started an engine process: the replica."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])
