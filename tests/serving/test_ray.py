"""Replicas on Ray: the same answers, one address, and nothing lost when a replica is killed under load."""

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter

import pytest

from bertpass.commands.start.serve import main
from bertpass.placement import Core, Topology
from bertpass.placement.claim import Claim
from bertpass.serving import on_ray
from bertpass.serving.instances.places import places
from tests.helpers.served import Process, ServeOptions, State, httpx


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


class Status:
    """Ray Serve's, of one application with these deployments' messages."""

    def __init__(self, *messages):
        deployments = {str(n): types.SimpleNamespace(message=each) for n, each in enumerate(messages)}
        self._status = types.SimpleNamespace(applications={"x": types.SimpleNamespace(deployments=deployments)})

    def status(self):
        return self._status


@pytest.mark.parametrize(("messages", "why"), [
    (["", "The deployment failed to start 3 times in a row. Error:\n\x1b[36mray::x\x1b[39m\nTraceback (most recent "
      "call last):\n  File \"a.py\", line 1, in b\n    import c\nImportError: cannot import name 'x' from 'y'"],
     "ImportError: cannot import name 'x' from 'y'"),
    (["Traceback:\n  raise ModelError(text)\nbertpass.errors.ModelError: z lacks 3 of 5 tensors."],
     "bertpass.errors.ModelError: z lacks 3 of 5 tensors"),
    (["", "all is well"], "its own words"), ([], "its own words")])
def test_a_replicas_own_error_is_told(messages, why):
    assert on_ray.reason(Status(*messages), RuntimeError("its own\nwords")) == why


def test_rays_workers_find_this_package(tmp_path, monkeypatch):
    """Although they look first into the current folder, where a clone may be a folder of the package's name."""
    from bertpass.jobs.machines import batch_ray

    asked = {}
    monkeypatch.setattr(batch_ray, "require", lambda *_: types.SimpleNamespace(init=lambda **more: asked.update(more)))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    batch_ray.connect(None)
    (tmp_path / "bertpass" / "docs").mkdir(parents=True)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import bertpass; print(bertpass.__version__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, **asked["runtime_env"]["env_vars"]})
    assert done.stdout == "0.1.0\n", done.stderr


def test_without_a_status_ray_has_the_word():
    assert on_ray.reason(None, RuntimeError("it fell")) == "it fell"


def test_the_series_of_replicas_are_told_apart():
    async def text(replica):
        state = State(ServeOptions(models=["embedding"], engine="dummy"), replica=replica)
        state.metrics.begun("/embed")
        state.metrics.batch(3, 20)
        return state.metrics.text().decode()

    plain, named = asyncio.run(text(None)), asyncio.run(text("node-7"))
    assert 'te_request_count{method="/embed"} 1.0' in plain and "replica" not in plain
    assert 'te_request_count{method="/embed",replica="node-7"} 1.0' in named
    series = [line for line in named.splitlines() if not line.startswith("#")]
    assert all('replica="node-7"' in line for line in series) and len(series) == len(
        [line for line in plain.splitlines() if not line.startswith("#")])


@pytest.mark.parametrize(("quota", "free", "pinned"), [(math.inf, True, True), (math.inf, False, False),
                                                       (2.0, True, False)])
def test_where_a_replica_is(tmp_path, monkeypatch, quota, free, pinned):
    """On cores of its own, or with as many threads as were asked for on any; never pinned within a quota's share."""
    topology = Topology(tuple(Core((n,)) for n in range(8)), (), quota)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(on_ray.placement, "here", lambda: topology)
    gone_to = []
    monkeypatch.setattr(on_ray.os, "sched_setaffinity", lambda _, cpus: gone_to.append(cpus))
    others = Claim(topology.cores, 7) if not free else None
    replica = on_ray.Replica(ServeOptions(models=["embedding"], engine="dummy", ray=True, replicas=4), [], 2)
    options = replica.placed_options()
    assert gone_to == ([(0, 1)] if pinned else []) and options.pin == pinned
    if not pinned:
        assert sum(len(place.cpus) for place in places(topology, options, 64)) == 2
    if others is not None:
        others.release()


@pytest.mark.parametrize(("words", "sentence"), [
    (("embedding", "--replicas", "2"), "are for --ray"),
    (("embedding", "--ray", "--replicas", "3", "--max_replicas", "2"), "must not be below --replicas 3")])
def test_wrong_command_lines_end_in_a_sentence(capsys, words, sentence):
    assert main(list(words)) == 2
    assert sentence in capsys.readouterr().err


@contextlib.contextmanager
def replicas(*words):
    """The address of a server on Ray, which ends with 0 at SIGTERM."""
    pytest.importorskip("ray", reason="pip install '.[ray]' for the test of Ray")
    with Process("--engine", "dummy", "--ray", "--cores_per_instance", 1, "--port", 18765, *words) as server:
        end = time.monotonic() + 300
        while "listening at" not in "".join(server.lines):
            assert server.process.poll() is None and time.monotonic() < end, "".join(server.lines)
            time.sleep(0.2)
        yield "http://127.0.0.1:18765"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0


async def engines(client, times=20):
    """The engine processes that answer, one of each replica."""
    found = await asyncio.gather(*(client.get("/info") for _ in range(times)))
    return {reply.json()["instances"][0]["pid"] for reply in found}


def parent(pid):
    """The process that started an engine process: the replica."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


@pytest.mark.slow
def test_a_killed_replica_loses_nothing(two_cores):
    async def job(url):
        async with httpx.AsyncClient(base_url=url, timeout=300) as client:
            before = await engines(client)
            assert len(before) == 2
            expected = (await client.post("/embed", json={"inputs": "abc"})).json()
            engine = before.pop()
            replica = parent(engine)
            os.kill(engine, signal.SIGSTOP)  # so that its replica surely holds requests when it is killed
            replies = asyncio.gather(*(client.post("/embed", json={"inputs": "abc"}) for _ in range(200)))
            await asyncio.sleep(1)
            os.kill(replica, signal.SIGKILL)
            os.kill(engine, signal.SIGCONT)
            assert [(reply.status_code, reply.json() == expected) for reply in await replies] == [(200, True)] * 200
            end = time.monotonic() + 300
            while len(await engines(client)) < 2:  # and another one comes
                assert time.monotonic() < end, "no replica in the place of the killed one"
                await asyncio.sleep(0.5)

    with replicas("embedding", "--replicas", 2, "--queue_timeout", 120) as url:
        asyncio.run(job(url))


@pytest.mark.slow
def test_replicas_come_under_load_and_go_after_it(two_cores):
    async def job(url):
        async with httpx.AsyncClient(base_url=url, timeout=300) as client:
            assert len(await engines(client)) == 1
            statuses, seen, loaded = Counter(), set(), True

            async def ask():
                while loaded:
                    statuses[(await client.post("/embed", json={"inputs": "abc"})).status_code] += 1

            load = [asyncio.create_task(ask()) for _ in range(12)]
            end = time.monotonic() + 300
            while len(seen) < 2:
                assert time.monotonic() < end, f"one replica only: {statuses}"
                seen |= await engines(client, 8)
                await asyncio.sleep(0.5)
            loaded = False
            await asyncio.gather(*load)
            assert set(statuses) == {200}
            end = time.monotonic() + 300
            while sum(os.path.exists(f"/proc/{pid}") for pid in seen) > 1:
                assert time.monotonic() < end, "both replicas are still there"
                await asyncio.sleep(0.5)
            assert (await client.post("/embed", json={"inputs": "abc"})).status_code == 200

    with replicas("embedding@10", "--queue_timeout", 60, "--replicas", 1, "--max_replicas", 2, "--ongoing_requests", 2,
                  "--scale_up_delay", 1, "--scale_down_delay", 10) as url:
        asyncio.run(job(url))
