"""KServe v2, SageMaker and endpoint bodies that are wrong, and JSON without a client package."""

import asyncio
import json
import struct

import pytest

from bertpass.serving.http import gate
from tests.helpers.served import serving

INFER = "/v2/models/embedding/infer"


def tensor(name="text", shape=(1,), datatype="BYTES", **more):
    return {"name": name, "shape": list(shape), "datatype": datatype, **(more or {"data": ["abc"]})}


def infer(*inputs, **more):
    return {"inputs": list(inputs), **more}


def test_plain_json(serve):
    async def job(client):
        async def post(path, **body):
            reply = await client.post(path, content=json.dumps(body))  # without a content type
            assert reply.status_code == 200, reply.text
            return reply.json()

        (vector,) = (await client.post("/embed", json={"inputs": "abc"})).json()
        (output,) = (await post(INFER, **infer(tensor(shape=(1, 1), data=[["abc"]]))))["outputs"]
        assert output == {"name": "embedding", "datatype": "FP32", "shape": [1, 16], "data": vector}
        told = await post("/v2/models/embedding/versions/1/infer", **infer(tensor(), parameters={"normalize": False}))
        assert told["model_name"] == "embedding" and told["model_version"] == "1" and "id" not in told
        headers = (await client.post(INFER, json=infer(tensor()))).headers
        assert headers["x-compute-tokens"] == "5" and headers["content-type"] == "application/json"
        (output,) = (await post("/v2/models/classification/infer", **infer(
            tensor(), outputs=[{"name": "scores"}])))["outputs"]
        assert output["shape"] == [1, 2] and sum(output["data"]) == pytest.approx(1)
        metrics = (await client.get("/metrics")).text
        assert 'te_request_count{method="/v2/models/{name}/infer"} 3.0' in metrics
    serve(job, "embedding", "classification")


def test_pipelines(serve):
    """Bodies of SageMaker and of endpoints, one of every task; and ids back to text."""
    async def job(client):
        async def post(**body):
            reply = await client.post("/invocations", json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()

        assert (await client.get("/ping")).status_code == 200
        ((best, other),) = await post(inputs={"text": "a", "text_pair": "b"}, model="classification")
        assert best["score"] > other["score"]
        assert len(await post(inputs=["a", "b"], model="classification", parameters={"top_k": 1})) == 2
        assert [each["index"] for each in await post(query="q", texts=["a", "b"])] in ([0, 1], [1, 0])
        assert (await post(inputs={"question": "q", "context": "a b"}))["answer"] in "a b"
        assert len(await post(inputs=["a", "b"])) == 2
        ids = [token["id"] for token in (await client.post("/tokenize", json={"inputs": "ab c"})).json()[0]]
        assert (await client.post("/decode", json={"ids": ids})).json() == ["ab c"]
        raw = (await client.post("/decode", json={"ids": [ids], "skip_special_tokens": False})).json()
        assert raw == ["[CLS] ab c [SEP]"]
    serve(job, "embedding", "classification", "ranking", "qa")


WRONG = [
    (INFER, infer(), 422, "text is missing"),
    (INFER, {}, 422, "inputs"),
    (INFER, infer(tensor("tex")), 422, "Did you mean 'text'"),
    (INFER, infer(tensor(datatype="FP64")), 422, "unknown datatype"),
    (INFER, infer(tensor(shape=(2,))), 422, "has 2 elements, and 1 came"),
    (INFER, infer(tensor(shape=(-1,))), 422, "whole numbers from 0"),
    (INFER, infer(tensor(shape=(0,), data=[])), 400, "must not be empty"),
    (INFER, infer(tensor(data=[""])), 400, "must not be empty"),
    (INFER, infer(tensor(data=[5])), 422, "must be strings"),
    (INFER, infer(tensor(datatype="INT64", data=[5])), 422, "must be BYTES"),
    (INFER, infer(tensor(data=["\ud800"])), 422, "lone surrogate"),
    (INFER, infer(tensor(data=["a " * 100])), 413, "truncate"),
    (INFER, infer(tensor(shape=(9,), data=["a"] * 9)), 413, "takes 8"),
    (INFER, infer(tensor(), parameters={"truncate": 1}), 422, "truncate must be"),
    (INFER, infer(tensor(parameters={"binary_data_size": 3})), 422, "0 bytes are left"),
    (INFER, infer(tensor(), outputs=[{"name": "embeding"}]), 422, "Did you mean 'embedding'"),
    (INFER, infer(tensor("input_ids", (1, 2), "INT64", data=[1, 999])), 422, "from 0 to"),
    (INFER, infer(tensor("input_ids", (1, 2), "INT64", data=[1, -1])), 422, "from 0 to"),
    (INFER, infer(tensor("input_ids", (1, 2), "INT64", data=[1, 2**64])), 422, "64 bits"),
    (INFER, infer(tensor("input_ids", (1, 1), "INT64", data=[float("nan")])), 400, "NaN is no number"),
    (INFER, infer(tensor("input_ids", (2,), "INT64", data=[1, 2])), 422, "(batch, sequence)"),
    (INFER, infer(tensor("input_ids", (1, 99), "INT64", data=[1] * 99)), 413, "99 tokens"),
    (INFER, infer(tensor("input_ids", (1, 0), "INT64", data=[])), 400, "must not be empty"),
    (INFER, infer(tensor("input_ids", (1, 2), "INT64", data=[1, 2]),
                  tensor("attention_mask", (1, 2), "INT64", data=[0, 1])), 422, "ones, then zeros"),
    (INFER, infer(tensor("input_ids", (1, 2), "INT64", data=[1, 2]),
                  tensor("token_type_ids", (1, 2), "INT64", data=[0, 5])), 422, "token_types"),
    ("/v2/models/none/infer", infer(tensor("input_ids", (4, 60), "INT64", data=[1] * 240)), 413, "240 tokens"),
    ("/embed_all", {"inputs": ["a " * 50] * 4, "model": "none"}, 413, "states of 208 tokens"),
    ("/v2/models/embeding/infer", infer(tensor()), 404, "Did you mean 'embedding'"),
    ("/decode", {"ids": [5000]}, 422, "not in the vocabulary"),
    ("/decode", {"ids": []}, 400, "must not be empty"),
    ("/decode", {"ids": [-1]}, 422, "not in the vocabulary"),
    ("/invocations", {}, 400, "send inputs"),
    ("/invocations", {"inputs": "a", "model": "qa"}, 422, "question"),
    ("/invocations", {"inputs": {"question": "a"}}, 422, "context is missing"),
    ("/invocations", {"inputs": ["a", ""], "model": "classification"}, 400, "must not be empty"),
    ("/", {"inputs": {"source_sentence": "a", "sentences": []}}, 400, "must not be empty"),
]


@pytest.fixture(scope="module")
def answers():
    """The answers of one server to all wrong bodies, in their order."""
    async def ask():
        async with serving("embedding", "classification", "none", "qa", max_client_batch_size=8,
                           max_batch_tokens=25) as client:
            return [await client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
                    for path, body, _, _ in WRONG]
    return asyncio.run(ask())


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_bodies(answers, number):
    reply, (_, _, status, words) = answers[number], WRONG[number]
    assert reply.status_code == status and words in reply.json()["error"], reply.text


def test_wrong_bytes(serve):
    """What may be wrong with tensors behind the JSON."""
    def body(raw, size=None, length=None, **more):
        told = json.dumps(infer(tensor(**{"parameters": {"binary_data_size": len(raw) if size is None else size},
                                          **more}))).encode()
        return told + raw, {"inference-header-content-length": str(len(told)) if length is None else length}

    good = struct.pack("<I", 3) + b"abc"
    cases = [(body(good), 200, "outputs"), (body(good[:-1]), 422, "end within a string"),
             (body(good[:2]), 422, "end within a string"), (body(good, size=99), 422, "bytes are left"),
             (body(good, size=-1), 422, "at least 0"), (body(good, length="99999"), 422, "how many bytes"),
             (body(good, length="x"), 422, "how many bytes"), (body(good, length="5"), 400, "JSON"),
             (body(good + b"xy", size=len(good)), 422, "belong to no tensor"),
             (body(struct.pack("<I", 1) + b"\xff"), 422, "not UTF-8"),
             (body(b"123", datatype="INT64"), 422, "no whole number of INT64")]

    async def job(client):
        for (content, headers), status, words in cases:
            reply = await client.post(INFER, content=content, headers=headers)
            assert reply.status_code == status and words in reply.text, reply.text
    serve(job, "embedding")


def test_packed_bodies(serve, monkeypatch):
    """gzip within the limit, a bomb, damaged ones, and what is not known; what is refused once it was read whole has
    nothing to wait for."""
    import gzip
    import zlib

    monkeypatch.setattr(gate, "drained", None)
    plain = json.dumps({"inputs": "abc"}).encode()
    cases = [("gzip", gzip.compress(plain), 200), ("deflate", zlib.compress(plain), 200), ("identity", plain, 200),
             ("gzip", gzip.compress(b" " * 30_000_000), 413), ("gzip", gzip.compress(plain)[:-9], 400),
             ("gzip", plain, 400), ("br", plain, 415)]

    async def job(client):
        for encoding, content, status in cases:
            reply = await client.post("/embed", content=content, headers={
                "content-type": "application/json", "content-encoding": encoding})
            assert reply.status_code == status, (encoding, reply.text)
    serve(job, "embedding")
