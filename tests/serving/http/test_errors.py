"""What is wrong with a request is said in a sentence of ours, in the form that the path's clients read."""

import json
import re

import pytest

from bertpass.serving.failures import ClientGone, RequestFailure
from tests.helpers.served import ROOT, Process, httpx

IDS = "token ids"


@pytest.fixture(scope="module")
def url():
    with Process("embedding", "classification", "qa", "tokens", "ranking", "--port", 0, "--engine", "dummy",
                 "--payload_limit", 100_000, "--body_timeout", 2) as server:
        yield server.url()


def post(url, path, content, **headers):
    return httpx.post(url + path, content=content, headers={"content-type": "application/json", **headers})


@pytest.mark.parametrize(("path", "body", "words"), [
    ("/embed", {"inputs": [[101, 102]]}, IDS),
    ("/embed", {"inputs": [1, 2]}, IDS),
    ("/predict", {"inputs": [[1, 2], [3]]}, IDS),
    ("/embed", {"inputs": [1, "a"]}, "item 1 is a number"), ("/embed", {"inputs": [[1], "a"]}, "item 1 is a list"),
    ("/embed", {"inputs": [[1], []]}, "item 1 is a list"), ("/embed", {"inputs": [1.5, 2.5]}, "item 1 is a number"),
    ("/v1/embeddings", {"input": [True, False]}, "item 1 is true or false"),
    ("/predict", {"inputs": [[]]}, "item 1 has 0 texts"),
    ("/decode", {"ids": [True]}, "holds true or false"), ("/decode", {"ids": [10 ** 30]}, "not in the vocabulary"),
    ("/v2/models/embedding/infer", {"inputs": [{"name": "input_ids", "shape": [1, 1], "datatype": "INT64",
                                                "data": [10 ** 400]}]}, "whole numbers of 64 bits"),
    ("/", {"inputs": [[1, 2]]}, IDS),
    ("/v1/embeddings", {"input": [1, 2]}, "check_embedding_ctx_length=False"),
    ("/v1/embeddings", {"input": [[1, 2], [3]]}, "check_embedding_ctx_length=False"),
    ("/embed", {"inputs": ["a", ["b"]]}, "item 2 is a list"),
    ("/embed", {"inputs": ["a", None]}, "item 2 is null"),
    ("/embed", {"inputs": ["a", "b", {"text": "c"}]}, "item 3 is an object"),
    ("/embed", {"inputs": {"text": "a"}}, "is an object"),
    ("/embed", {"inputs": True}, "is true or false"),
    ("/predict", {"inputs": ["a", ["b"]]}, "item 2 is a list"),
    ("/predict", {"inputs": [["a"], "b"]}, "item 2 is a text"),
    ("/predict", {"inputs": ["a", "b", "c"]}, '[["a"], ["b"], ["c"]]'),
    ("/predict", {"inputs": [["a", 5]]}, "item 1 of inputs must be one or two texts, and holds a number"),
    ("/predict", {"inputs": [["a", "b", "c"]]}, "item 1 has 3 texts"),
    ("/rerank", {"query": "a", "texts": ["b", 7]}, "item 2 of texts must be a text, and is a number"),
    ("/rerank", {"query": ["a"], "texts": ["b"]}, "query must be a text, and is a list"),
    ("/rerank", {"texts": ["b"]}, "query is missing"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b", 2]}}, "item 2 of inputs.sentences"),
    ("/similarity", {"inputs": "a"}, "inputs must be an object, and is a text"),
    ("/qa", {"question": "a", "context": ["b"]}, "context must be a text, and is a list"),
    ("/qa", {"question": "a", "context": "b", "max_answer_length": 1.5}, "must be a whole number, and is 1.5"),
    ("/ner", {"inputs": [["a"]]}, "item 1 is a list"),
    ("/decode", {"ids": [[5], 6]}, "item 2 of ids must be a list"),
    ("/decode", {"ids": [5, "a"]}, "ids must be a list of token ids, and holds a text"),
    ("/tokenize", {"inputs": "a", "add_special_tokens": 1}, "must be true or false, and is a number"),
    ("/embed", ["a"], "the body must be an object, and is a list"),
    ("/embed", "a", "the body must be an object, and is a text"),
    ("/embed", {}, "inputs is missing"),
    ("/v2/models/embedding/infer", {"inputs": "a"}, "inputs must be a list, and is a text"),
    ("/v2/models/embedding/infer", {"inputs": [{"name": "text", "shape": ["1"], "datatype": "BYTES"}]},
     "item 1 of shape of item 1 of inputs must be a whole number"),
    ("/v2/models/embedding/infer", [], "the body must be an object"),
])
def test_wrong_types_are_named_with_their_place(url, path, body, words):
    reply = post(url, path, json.dumps(body))
    text = reply.json()["error"]
    text = text["message"] if path.startswith("/v1") else text
    assert reply.status_code == 422 and words in text
    assert not re.search(r"[Ii]nput should|valid string|\bstr\b|list\[|pydantic|dictionary", text)


@pytest.mark.parametrize(("content", "words"), [
    (b'{"inputs": "a"', "line 1, column 15: a comma or the end"),
    (b'{\n "inputs": "a",\n}', "line 3, column 1: a name in"),
    (b'{"inputs": "a"} x', "line 1, column 17: more follows"),
    (b"{'inputs': 'a'}", "line 1, column 2: a name in"),
    (b'{"inputs": "a\nb"}', "line 1, column 14: a control character"),
    (b'{"inputs": "\\x"}', "line 1, column 13: a backslash"),
    (b'{"inputs": "a}', "line 1, column 12: a text begins"),
    (b'{"inputs": "\xff"}', "not UTF-8: byte 13"),
    (b'{"inputs": NaN}', "NaN is no number"), (b'{"inputs": -Infinity}', "-Infinity is no number"),
    ('{"inputs": "ä"}'.encode("latin-1"), "not UTF-8: byte 13"),
    (b'{"inputs": "a", "inputs": "b"}', "'inputs' is there twice"),
    (b"[" * 50_000, "nested too deeply"),
    (b'{"inputs": ' + b"9" * 5000 + b"}", "thousands of digits"),
    (b"", "the body is empty"),
    (b"\x00", "line 1, column 1"),
])
@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/v2/models/embedding/infer"])
def test_json_that_cannot_be_read_is_400_with_line_and_column(url, path, content, words):
    reply = post(url, path, content)
    text = reply.json()["error"]
    assert reply.status_code == 400 and words in (text["message"] if path.startswith("/v1") else text)


@pytest.mark.parametrize(("kind", "status"), [
    ("application/json", 200), ("application/json; charset=utf-8", 200), ("application/problem+json", 200),
    ("APPLICATION/JSON", 200), (None, 200), ("application/x-www-form-urlencoded", 415), ("text/csv", 415),
    ("text/plain", 415), ("multipart/form-data; boundary=x", 415)])
@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/v2/models/embedding/infer"])
def test_content_types(url, path, kind, status):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    body = {"/embed": {"inputs": "a"}, "/v1/embeddings": {"input": "a"}}.get(path, {"inputs": [tensor]})
    reply = httpx.post(url + path, content=json.dumps(body), headers={} if kind is None else {"content-type": kind})
    assert reply.status_code == status
    if status == 415:
        assert "Content-Type: application/json" in reply.text


def test_openai_reads_every_failure(serve):
    """The client shows message, type, param and code; without them it shows a status and nothing else."""
    async def job(client):
        async def fail(path="/v1/embeddings", method="POST", content=None, **options):
            body = {"input": "a"} if content is None else None
            headers = {"authorization": "Bearer k", "content-type": "application/json", **options.pop("headers", {})}
            return await client.request(method, path, headers=headers,
                                        content=content or json.dumps({**body, **options}))

        state = client.state
        found = [await fail(headers={"authorization": "Bearer other"}), await fail(model="x"), await fail("/v1/nope"),
                 await fail("/v1/models/x", "GET"), await fail(method="PUT"), await fail(input="a " * 100),
                 await fail(input=[1]), await fail(content=b"{"), await fail(input=""),
                 await fail(headers={"content-type": "text/csv"}), await fail("/embeddings", input=5)]
        state.draining = True
        found.append(await fail())
        state.draining, state.options.max_concurrent_requests = False, 0
        found.append(await fail())
        assert [each.status_code for each in found] == [401, 404, 404, 404, 405, 413, 422, 400, 400, 415, 422, 503, 429]
        for each in found:
            error = each.json()["error"]
            assert set(error) == {"message", "type", "param", "code"} and error["message"].endswith(".")
        params = [each.json()["error"]["param"] for each in found]
        assert params[1] == params[3] == "model" and params[6] == "input"
        codes = [each.json()["error"]["code"] for each in found]
        assert codes[:5] == ["invalid_api_key", "model_not_found", "not_found", "model_not_found", "method_not_allowed"]
        assert codes[-1] == "rate_limit_exceeded" and found[-1].headers["retry-after"] == "1"
        state.options.max_concurrent_requests = 512
        plain = await client.post("/embed", json={"inputs": 5}, headers={"authorization": "Bearer k"})
        assert set(plain.json()) == {"error", "error_type"}
    serve(job, "embedding", api_key="k", max_client_batch_size=4)


def test_the_real_client_shows_the_sentence(url):
    from openai import APIStatusError, OpenAI

    client = OpenAI(base_url=url + "/v1", api_key="-", max_retries=0)
    with pytest.raises(APIStatusError, match='"truncate": true') as caught:
        client.embeddings.create(model="embedding", input="a " * 100)
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(APIStatusError, match="check_embedding_ctx_length=False") as caught:
        client.embeddings.create(model="embedding", input=[[1, 2]])
    assert caught.value.param == "input" and caught.value.code == "validation"
    assert len(client.embeddings.create(model="embedding", input="a " * 100, extra_body={"truncate": True}).data) == 1
    assert client.models.retrieve("embedding").id == "embedding"


#: (method, path, body, options of the server) -> status, for each line of the table in docs/serving.md
STATUSES = [
    (400, "/embed", {"inputs": ""}), (400, "/embed", b"{"), (401, "/embed", {"inputs": "a"}), (404, "/nope", {}),
    (404, "/embed", {"inputs": "a", "model": "x"}), (405, "/health", {}), (408, "/embed", "slow"),
    (413, "/embed", {"inputs": "a " * 5000}), (413, "/embed", {"inputs": ["a"] * 2000}), (413, "/embed", {
        "inputs": "a " * 100}), (415, "/embed", "text"), (422, "/embed", {"inputs": 5}), (422, "/rerank", {
            "query": "a", "texts": ["b"]}), (424, "/embed", "engine"), (429, "/embed", "full"),
    (503, "/embed", "ending")]


def test_the_table_of_statuses(serve, monkeypatch):
    """docs/serving.md has just the statuses that there are, and each comes."""
    lines = re.findall(r"^\| (\d{3}) \|", (ROOT / "docs" / "serving.md").read_text(encoding="utf-8"), re.M)
    assert lines == [str(each) for each in sorted({status for status, *_ in STATUSES})]
    kinds = {kind.http_status for kind in RequestFailure.__subclasses__()} - {ClientGone.http_status}
    assert {int(line) for line in lines} == kinds

    async def slow():
        import asyncio

        yield b"{"
        await asyncio.sleep(5)

    async def job(client):
        for status, path, body in STATUSES:
            headers = {"content-type": "application/json", "authorization": f"Bearer {'x' if status == 401 else 'k'}"}
            sent = {"inputs": "a"} if isinstance(body, str) else body
            content = sent if isinstance(sent, bytes) else json.dumps(sent)
            client.state.draining = body == "ending"
            client.state.options.max_concurrent_requests = 0 if body == "full" else 512
            if body == "text":
                headers["content-type"] = "text/plain"
            if body == "engine":
                async def failing(*_):
                    from bertpass.serving.failures import EngineFailure
                    raise EngineFailure("the engine failed.")
                monkeypatch.setattr(client.state, "compute", failing)
            reply = await client.post(path, content=slow() if body == "slow" else content, headers=headers)
            monkeypatch.undo()
            assert reply.status_code == status, (status, body, reply.text)
            assert set(reply.json()) == {"error", "error_type"}
    serve(job, "embedding", api_key="k", body_timeout=0.2, payload_limit=9000)


def test_kinds_of_failures_in_metrics(serve):
    async def job(client):
        await client.post("/health", json={})
        await client.post("/nope", json={})
        await client.post("/embed", json={"inputs": "a", "model": "x"})
        await client.post("/embed", json={"inputs": 5})
        await client.post("/embed", content=b"{")
        lines = (await client.get("/metrics")).text.splitlines()
        for kind, count in (("method_not_allowed", 1), ("not_found", 1), ("model_not_found", 1), ("validation", 2)):
            assert f'te_request_failure{{err="{kind}"}} {count}.0' in lines
    serve(job, "embedding")


def test_long_and_odd_words_of_a_client_are_not_repeated_whole(serve):
    async def job(client):
        for body in ({"inputs": "a", "x" * 100_000: 1}, {"inputs": "a", "a\nb\x1b[31m": 1},
                     {"inputs": "a", "model": "y" * 100_000}, {"inputs": "a", "truncation_direction": "z" * 9999}):
            reply = await client.post("/embed", json=body)
            text = reply.json()["error"]
            assert reply.status_code in (404, 422) and len(text) < 600 and text.isprintable()
    serve(job, "embedding")


def test_the_wrong_words_of_a_log_line_stay_on_it():
    with Process("embedding", "--port", 0, "--engine", "dummy") as server:
        url = server.url()
        httpx.post(url + "/embed", json={"inputs": "a", "b\nc": 1}, headers={"x-request-id": "mine"})
        server.process.terminate()
        (line,) = [line for line in server.said().splitlines() if "request_id=\"mine\"" in line or "=mine" in line]
    assert "unknown field 'b?c'" in line and "POST /embed 422" in line


