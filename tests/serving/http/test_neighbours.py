"""Routes of Cohere's, vLLM's and infinity's APIs, and embeddings in fewer bits, as sentence-transformers packs them."""

import base64

import numpy as np
import pytest

from tests.helpers import served  # noqa: F401 - says where a package is missing

TEXTS = ["abc", "d e f", "g"]
LONG = " ".join("abcdefghij"[at % 10] for at in range(100))  # 100 tokens; the model takes 64


async def posted(client, path, status=200, **body):
    reply = await client.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


@pytest.mark.parametrize("dtype", ["binary", "ubinary"])
def test_embeddings_in_bits(serve, dtype):
    library = pytest.importorskip("sentence_transformers.quantization", reason="pip install '.[reference]' to compare "
                                  "with sentence-transformers")

    async def job(client):
        for more in ({}, {"dimensions": 9}):
            vectors = np.array(await posted(client, "/embed", inputs=TEXTS, **more), np.float32)
            wanted = library.quantize_embeddings(vectors, dtype)
            assert await posted(client, "/embed", inputs=TEXTS, output_dtype=dtype, **more) == wanted.tolist()
            for encoding in ("float", "base64"):
                found = await posted(client, "/v1/embeddings", input=TEXTS, output_dtype=dtype,
                                     encoding_format=encoding, **more)
                rows = [each["embedding"] for each in found["data"]]
                if encoding == "base64":
                    rows = [np.frombuffer(base64.b64decode(row), wanted.dtype).tolist() for row in rows]
                assert rows == wanted.tolist()
        for path, body in (("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": "a"})):
            for kind in ("int8", "uint8"):
                assert f"output_dtype: {kind} needs" in str(await posted(client, path, 422, **body, output_dtype=kind))
            assert "must be" in str(await posted(client, path, 422, **body, output_dtype="int4"))
    serve(job, "embedding")


def test_embeddings_of_cohere(serve):
    async def job(client):
        vectors = np.array(await posted(client, "/embed", inputs=TEXTS), np.float32)
        found = await posted(client, "/v2/embed", model="embedding", texts=TEXTS, input_type="search_query",
                             embedding_types=["float", "ubinary", "base64", "float"])
        assert list(found["embeddings"]) == ["float", "ubinary", "base64"] and found["texts"] == TEXTS
        assert np.array_equal(np.float32(found["embeddings"]["float"]), vectors)
        assert found["embeddings"]["ubinary"] == np.packbits(vectors > 0, axis=1).tolist()
        assert [np.frombuffer(base64.b64decode(row), "<f4").tolist() for row in found["embeddings"]["base64"]] == \
            vectors.tolist()
        assert found["meta"]["billed_units"] == {"input_tokens": 5 + 5 + 3}
        for cut, more in (("END", {"truncate": True}), ("START", {"truncate": True, "truncation_direction": "left"})):
            wanted = await posted(client, "/embed", inputs=LONG, **more)
            assert (await posted(client, "/v2/embed", texts=[LONG], truncate=cut))["embeddings"]["float"] == wanted
        assert '"truncate": "END"' in (await posted(client, "/v2/embed", 413, texts=[LONG], truncate="NONE"))["error"]
        short = await posted(client, "/v2/embed", texts=["a"], output_dimension=3)
        assert short["embeddings"]["float"] == await posted(client, "/embed", inputs="a", dimensions=3)
        for body, said in (({"embedding_types": ["int8"]}, "embedding_types: int8 needs"),
                           ({"output_dimension": 17}, "output_dimension: embedding gives 16"),
                           ({"input_type": "image"}, "input_type"), ({"truncate": "end"}, "truncate must be"),
                           ({"max_tokens": 3}, "unknown field 'max_tokens'")):
            assert said in (await posted(client, "/v2/embed", 422, **{"texts": ["a"], **body}))["error"]
        await posted(client, "/v2/embed", 400, texts=[])
    serve(job, "embedding")


def test_prompts_of_cohere(serve, tmp_path):
    """What a text is for chooses among the prompts that the model has, by the names of sentence-transformers."""
    transformers = pytest.importorskip("transformers", reason="pip install '.[reference]'")
    library = pytest.importorskip("sentence_transformers", reason="pip install '.[reference]'")
    from sentence_transformers.models import Pooling, Transformer

    from tests.helpers.tiny_models import torch_model, write_vocab

    write_vocab(tmp_path)
    torch_model("bert", "Model").save_pretrained(tmp_path / "plain")
    transformers.BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "plain")
    theirs = library.SentenceTransformer(modules=[Transformer(str(tmp_path / "plain")), Pooling(24, "mean")],
                                         device="cpu", prompts={"query": "w1 w2 ", "document": "bad "})
    theirs.save_pretrained(str(tmp_path / "saved"))

    async def job(client):
        for kind, encode in (("search_query", theirs.encode_query), ("search_document", theirs.encode_document),
                             (None, theirs.encode)):
            found = await posted(client, "/v2/embed", texts=["the film"], input_type=kind)
            wanted = encode(["the film"], normalize_embeddings=True)
            assert np.abs(np.array(found["embeddings"]["float"]) - wanted).max() < 1e-5
        refused = await posted(client, "/v2/embed", 422, texts=["a"], input_type="clustering")
        assert "its prompts are" in refused["error"]
    serve(job, str(tmp_path / "saved"), engine="native", dtype="float32")


def test_labels_of_vllm_and_infinity(serve):
    async def job(client):
        for raw in (False, True):
            wanted = await posted(client, "/predict", inputs=[[text] for text in TEXTS], raw_scores=raw)
            found = await posted(client, "/classify", input=TEXTS, use_activation=not raw)
            assert found["object"] == "list" and found["usage"]["prompt_tokens"] == 5 + 5 + 3
            for at, (one, labels) in enumerate(zip(found["data"], wanted, strict=True)):
                scores = {each["label"]: each["score"] for each in labels}
                assert one == {"index": at, "label": labels[0]["label"], "num_classes": 2,
                               "probs": [scores["negative"], scores["positive"]]}
            found = await posted(client, "/v1/classify", input=TEXTS, raw_scores=raw)
            assert found["object"] == "classify" and found["data"] == wanted
        assert (await posted(client, "/v1/classify", input="abc"))["data"] == \
            await posted(client, "/predict", inputs=[["abc"]])
        for path in ("/classify", "/v1/classify"):
            await posted(client, path, 413, input=LONG)
            await posted(client, path, input=LONG, truncate=True)
            await posted(client, path, 422, input=[[1, 2]])
    serve(job, "classification")


def test_azure(serve):
    """Its own client: the model in the path, ?api-version=, and the key in a header of its own."""
    openai = pytest.importorskip("openai", reason="pip install '.[test]'")

    async def job(client):
        def azure(key):
            return openai.AsyncAzureOpenAI(azure_endpoint="http://test", api_version="2024-10-21", api_key=key,
                                           max_retries=0, http_client=client)

        good = {"authorization": "Bearer secret"}
        path = "/openai/deployments/embedding/embeddings"
        wanted = (await client.post("/embed", json={"inputs": TEXTS}, headers=good)).json()
        found = await azure("secret").embeddings.create(model="embedding", input=TEXTS)
        assert [each.embedding for each in found.data] == wanted and found.model == "embedding"
        with pytest.raises(openai.AuthenticationError, match="key of this server"):
            await azure("wrong").embeddings.create(model="embedding", input="a")
        with pytest.raises(openai.NotFoundError, match="unknown model 'ada'"):
            await azure("secret").embeddings.create(model="ada", input="a")
        assert (await client.post("/embed", json={"inputs": "a"}, headers={"api-key": "secret"})).status_code == 401
        for address, body, status in ((path, {"input": "a"}, 200), (path + "?api-version=1", {"input": "a"}, 200),
                                      (path + "?truncate=true", {"input": "a"}, 422),
                                      (path + "?api-version=1&truncate=true", {"input": "a"}, 422),
                                      ("/embed?api-version=1", {"inputs": "a"}, 422),
                                      (path, {"input": "a", "model": "other"}, 422)):
            reply = await client.post(address, json=body, headers={"api-key": "secret", **good})
            assert reply.status_code == status, (address, reply.text)
    serve(job, "embedding", api_key="secret")


@pytest.mark.parametrize(("model", "kind"), [
    ("embedding", {"embedding": {"pooling": "mean"}}), ("sparse", {"embedding": {"pooling": "splade"}}),
    ("classification", {"classifier": {"id2label": {"0": "negative", "1": "positive"},
                                       "label2id": {"negative": 0, "positive": 1}}}),
    ("ranking", {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}), ("qa", {"qa": {}})])
def test_info_of_text_embeddings_inference(serve, model, kind):
    async def job(client):
        found = (await client.get("/info")).json()
        assert {name: found[name] for name in (
            "model_id", "model_sha", "model_dtype", "model_type", "max_concurrent_requests", "max_input_length",
            "max_batch_tokens", "max_client_batch_size", "auto_truncate", "tokenization_workers")} == {
            "model_id": model, "model_sha": None, "model_dtype": "float32", "model_type": kind,
            "max_concurrent_requests": 77, "max_input_length": 64, "max_batch_tokens": 555,
            "max_client_batch_size": 33, "auto_truncate": True, "tokenization_workers": 77}
        assert isinstance(found["version"], str)
    serve(job, model, max_concurrent_requests=77, max_batch_tokens=555, max_client_batch_size=33, auto_truncate=True)
