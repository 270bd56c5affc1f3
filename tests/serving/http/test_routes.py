"""Every route with the dummy engine: values, wrong input, limits, key, metrics."""

import asyncio
import base64
import json

import numpy as np
import pytest

from tests.helpers.served import serving

ALL = ("embedding", "classification", "qa", "tokens", "ranking", "none")
LONG = "a " * 100


def test_routes(serve):
    async def job(client):
        async def post(path, **body):
            reply = await client.post(path, json=body)
            assert reply.status_code == 200, reply.text
            return reply.json(), reply.headers

        vectors, headers = await post("/embed", inputs=["abc", "b c"])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
        assert headers["x-compute-tokens"] == "9" and float(headers["x-inference-time"]) > 0
        assert {"x-total-time", "x-queue-time", "x-tokenization-time", "x-request-id"} <= set(headers)
        assert (await post("/embed", inputs="abc"))[0] == vectors[:1]
        states = (await post("/embed_all", inputs="abc"))[0]
        assert np.shape(states) == (1, 5, 16)
        best, other = (await post("/predict", inputs="abc"))[0]
        assert best["score"] > other["score"] and {best["label"], other["label"]} == {"positive", "negative"}
        one = (await post("/predict", inputs=["a", "b"]))[0]
        assert (await post("/predict", inputs=[["a", "b"], ["c", "d"]]))[0][0] == one != best
        ranked = (await post("/rerank", query="q", texts=["a", "b", "c"], return_text=True))[0]
        assert [r["score"] for r in ranked] == sorted((r["score"] for r in ranked), reverse=True)
        assert all(r["text"] == "abc"[r["index"]] for r in ranked)
        same, different = (await post("/similarity", inputs={"source_sentence": "a", "sentences": ["a", "b"]}))[0]
        assert same == pytest.approx(1) and different < 1
        context = "a b c d " * 60  # several windows
        answer = (await post("/qa", question="who", context=context))[0]
        assert answer["answer"] == context[answer["start"]:answer["end"]]
        text = "anna was here"
        for entity in (await post("/ner", inputs=text))[0]:
            assert entity["word"] == text[entity["start"]:entity["end"]] and entity["entity_group"] == "PER"
        (tokens,) = (await post("/tokenize", inputs="ab c"))[0]
        assert [t["text"] for t in tokens] == ["[CLS]", "a", "b", "c", "[SEP]"]
        assert [t["special"] for t in tokens] == [True, False, False, False, True]
        assert (await post("/embed", inputs=LONG, truncate=True, model="embedding"))[0]
    serve(job, *ALL)


def test_openai(serve):
    async def job(client):
        body = {"model": "embedding", "input": ["abc", "b"]}
        bodies = [{**body, "encoding_format": name} for name in ("float", "base64")]
        plain, packed = [(await client.post("/v1/embeddings", json=body)).json() for body in bodies]
        assert plain["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
        for number, text in zip(plain["data"], packed["data"], strict=True):
            assert np.array_equal(np.float32(number["embedding"]),
                                  np.frombuffer(base64.b64decode(text["embedding"]), "<f4"))
        assert [m["id"] for m in (await client.get("/v1/models")).json()["data"]] == ["embedding", "qa"]
    serve(job, "embedding", "qa")


@pytest.mark.parametrize(("path", "body", "status", "words"), [
    ("/embed", {"inputs": ""}, 400, "must not be empty"),
    ("/embed", {"inputs": []}, 400, "must not be empty"),
    ("/embed", {"inputs": ["a", ""]}, 400, "must not be empty"),
    ("/predict", {"inputs": [], "model": "classification"}, 400, "must not be empty"),
    ("/predict", {"inputs": ["a", ""], "model": "classification"}, 400, "must not be empty"),
    ("/embed", {"inputs": LONG}, 413, "truncate"),
    ("/embed", {"inputs": ["a"] * 9}, 413, "takes 8"),
    ("/embed", {"inputs": "a" * 3000}, 413, "2000 bytes"),
    ("/embed", {"inputs": 5}, 422, "inputs"),
    ("/embed", {}, 422, "inputs"),
    ("/embed", {"inputs": "\ud800"}, 422, "surrogate"),
    ("/embed", {"inputs": "a", "model": "embeding"}, 404, "Did you mean 'embedding'"),
    ("/embed", {"inputs": "a", "model": "\ud800"}, 404, "unknown model"),
    ("/rerank", {"query": "a", "texts": ["b"]}, 422, "kind ranking"),
    ("/predict", {"inputs": [["a"], ["a", "b"]], "model": "classification"}, 422, "mixture"),
    ("/qa", {"question": "a", "context": "b", "max_answer_length": 0}, 422, "max_answer_length"),
])
def test_wrong_requests(wrong, path, body, status, words):
    reply = wrong[path, json.dumps(body)]
    assert reply.status_code == status and words in reply.json()["error"], reply.text


@pytest.fixture(scope="module")
def wrong():
    """(path, body) -> answer of one server, which all cases share."""
    cases = next(mark for mark in test_wrong_requests.pytestmark if mark.name == "parametrize").args[1]

    async def ask():
        found = {}
        async with serving("embedding", "classification", max_client_batch_size=8, payload_limit=2000) as client:
            for path, body, _, _ in cases:
                text = json.dumps(body)
                found[path, text] = await client.post(path, content=text, headers={"content-type": "application/json"})
        return found
    return asyncio.run(ask())


@pytest.mark.parametrize("content", ["{", "[" * 50_000, "\x00", '{"inputs": NaN}', '"\\ud800"'])
def test_broken_json(serve, content):
    async def job(client):
        reply = await client.post("/embed", content=content, headers={"content-type": "application/json"})
        assert reply.status_code in (400, 422) and reply.json()["error"]
        assert (await client.post("/embed", json={"inputs": "a"})).status_code == 200
    serve(job, "embedding")


def test_a_slow_body_is_given_up(serve):
    async def slow():
        yield b'{"inputs"'
        await asyncio.sleep(5)
        yield b': "a"}'

    async def job(client):
        reply = await client.post("/embed", content=slow(), headers={"content-type": "application/json"})
        assert reply.status_code == 408 and client.state.ready
    serve(job, "embedding", body_timeout=0.1)


def test_key(serve):
    async def job(client):
        for path in ("/health", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200
            assert (await client.post(path, json={})).status_code == 401
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            reply = await client.post("/embed", json={"inputs": "a"}, headers=headers)
            assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
            assert (await client.get("/info", headers=headers)).status_code == 401
        good = {"authorization": "Bearer secret"}
        assert (await client.post("/embed", json={"inputs": "a"}, headers=good)).status_code == 200
        assert "secret" not in (await client.get("/info", headers=good)).text
    serve(job, "embedding", api_key="secret")


def test_metrics_and_request_ids(serve):
    async def job(client):
        first = await client.post("/embed", json={"inputs": "abc"}, headers={"x-request-id": "mine-1"})
        second = await client.post("/embed", json={"inputs": ""}, headers={"x-request-id": "not mine"})
        assert first.headers["x-request-id"] == "mine-1" and second.headers["x-request-id"] not in ("", "not mine")
        text = (await client.get("/metrics")).text
        for line in ('te_request_count{method="/embed"} 2.0', 'te_request_success{method="/embed"} 1.0',
                     'te_request_failure{err="empty"} 1.0', "te_queue_size 0.0", "te_request_duration_count 1.0",
                     "te_request_inference_duration_count 1.0", "te_batch_next_tokens_sum 5.0",
                     "bertpass_instances_up 1.0"):
            assert line in text.splitlines()
        info = (await client.get("/info")).json()
        assert info["models"][0]["max_input_length"] == 64 and info["instances"][0]["up"]
    serve(job, "embedding")
