"""Short requests: answered without FastAPI's layers and read once, with just what FastAPI would have answered."""

import asyncio
import re

import pytest

from bertpass.serving.http.app import _routed, create_app
from bertpass.serving.http.gate import Gate
from bertpass.serving.queueing.calls import SHORT
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.served import httpx, serving
from tests.serving.http.test_bodies import ALL, RIGHT

LONG = " ".join("abcdefghij"[at % 10] for at in range(100))  # 100 tokens; the model takes 64

#: bodies that are refused, each by another part of the server, and some that are not
OTHERS = [b"", b"null", b"[]", b'"abc"', b"7", b"{", b'{"inputs": "a", "inputs": "b"}', b'{"inputs": ""}',
          b'{"inputs": [1]}', b'{"inputs": "a", "input": "b"}', b'{"inputs": "a", "model": "none such"}',
          b'{"inputs": "a", "normalize": "true"}',
          b'{"inputs": ["a", "b", "a"]}', b'{"inputs": "caf\\u00e9 \\ud83d\\ude00"}', b'{"inputs": "\\ud83d"}', b"\xff",
          f'{{"inputs": "{LONG}"}}'.encode(), f'{{"inputs": "{LONG}", "truncate": true}}'.encode()]
#: headers that no two answers share
OWN = ("x-request-id", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time")


def shown(reply):
    content = re.sub(rb'"id":"[^"]*"|"created":\d+', b"", reply.content)  # no two are the same
    return reply.status_code, content, {name: value for name, value in reply.headers.items() if name not in OWN}


def test_answers_are_those_of_fastapi_byte_for_byte():
    async def main():
        async with serving(*ALL) as client:
            state = client.state
            app, direct = _routed(state)
            assert {path for path in RIGHT if "/embedding/" not in path} == set(direct)  # whose paths name no model
            create_app(state)  # knows the paths
            plain = httpx.ASGITransport(Gate(app, state, {}), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=plain, base_url="http://test") as slow:
                statuses = set()
                for path in direct:
                    for body, kind in [(httpx.Request("POST", "/", json=RIGHT[path]).content, "application/json"),
                                       (b"{}", "text/plain"), *((each, "application/json") for each in OTHERS)]:
                        sent = {"content": body, "headers": {"content-type": kind}}
                        fast, other = await client.post(path, **sent), await slow.post(path, **sent)
                        assert shown(fast) == shown(other), (path, body)
                        assert set(OWN) - set(fast.headers) == set(OWN) - set(other.headers)
                        statuses.add(fast.status_code)
                assert statuses == {200, 400, 404, 413, 415, 422}
    asyncio.run(main())


@pytest.mark.parametrize(("path", "body", "read"), [
    ("/embed", {"inputs": ["abc", "de", "abc"]}, ["abc", "de"]),
    ("/embed", {"inputs": "x" * SHORT, "truncate": True}, ["x" * SHORT]),  # in a thread
    ("/predict", {"inputs": [["abc", "de"], ["abc", "f"]], "model": "classification"}, ["abc", "de", "f"]),
    ("/rerank", {"query": "abc", "texts": ["de", "f"], "model": "ranking"}, ["abc", "de", "f"]),
    ("/v1/embeddings", {"input": "abc"}, ["abc"]),
])
def test_a_text_is_read_once(serve, monkeypatch, path, body, read):
    seen, pieces = [], Tokenizer.pieces

    def counted(self, texts):
        seen.extend(texts)
        return pieces(self, texts)

    async def job(client):
        monkeypatch.setattr(Tokenizer, "pieces", counted)
        assert (await client.post(path, json=body)).status_code == 200
        assert sorted(seen) == sorted(read)
    serve(job, *ALL)


def test_a_short_text_has_the_numbers_of_a_long_request(serve):
    """On the event loop and in a thread; a body is made long by blanks."""
    async def job(client):
        body = b'{"inputs": "abc"}'
        here, there = [await client.post("/embed", content=body + b" " * more) for more in (0, SHORT)]
        assert here.content == there.content and here.status_code == 200
    serve(job, "embedding")


def test_the_loop_goes_on_while_short_requests_wait(serve):
    """Texts of 5 tokens at 10 tokens a second: both wait, and the server answers others meanwhile."""
    async def job(client):
        waiting = [asyncio.create_task(client.post("/embed", json={"inputs": text})) for text in ("abc", "def")]
        await asyncio.sleep(0.1)
        assert (await client.get("/health")).status_code == 200 and not any(each.done() for each in waiting)
        first, second = await asyncio.gather(*waiting)
        assert (first.status_code, second.status_code) == (200, 200) and first.content != second.content
        for each, text in ((first, "abc"), (second, "def")):
            assert each.content == (await client.post("/embed", json={"inputs": text})).content
    serve(job, "embedding@10", max_batch_tokens=5)
