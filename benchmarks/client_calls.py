"""Calls of clients that people have, unchanged, against running servers: client_calls.py URL CLASSIFIER.

For an environment with those clients and without bertpass (make test-clients). The server at URL has the models
embedding, classification, qa, tokens, ranking and none of the dummy engine, that at CLASSIFIER a classifier alone.
Writes one JSON object per call: client, call, what came, and whether that is what is expected: the answer of the plain
route, or a sentence with certain words.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HAYSTACK_TELEMETRY_ENABLED="False",
                  LITELLM_LOCAL_MODEL_COST_MAP="True", OPENAI_API_KEY="-", TOKENIZERS_PARALLELISM="false")

import httpx
import numpy as np

TEXTS = ["abc", "d e f"]
LONG = "a " * 100
CONTEXT = "anna lives in berlin. bob lives in paris."
Call = tuple[str, Callable[[], Any], Any]


class Says(str):
    """Words of the sentence with which a call is expected to be refused."""


class Plain:
    """The server as any program asks it; ``classifier`` is the address of the one with a classifier alone."""

    def __init__(self, url: str, classifier: str) -> None:
        self.url, self.classifier = url, classifier

    def post(self, path: str, **body: Any) -> Any:
        reply = httpx.post(self.url + path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def embed(self, inputs: Any, **more: Any) -> Any:
        return self.post("/embed", inputs=inputs, **more)


def openai(plain: Plain) -> Iterator[Call]:
    from openai import AsyncOpenAI, AzureOpenAI, OpenAI

    client = OpenAI(base_url=plain.url + "/v1", max_retries=0)
    bare = OpenAI(base_url=plain.url, max_retries=0)

    def vectors(**asked: Any) -> Any:
        asked = {"model": "embedding", "input": TEXTS, **asked}
        return [each.embedding for each in client.embeddings.create(**asked).data]

    yield "embeddings.create, texts", vectors, plain.embed(TEXTS)
    yield "the same, one text", lambda: vectors(input="abc"), plain.embed("abc")
    yield "the same, encoding_format=float", lambda: vectors(encoding_format="float"), plain.embed(TEXTS)
    yield "the same, dimensions=5", lambda: vectors(dimensions=5), plain.embed(TEXTS, dimensions=5)
    yield "the same, user", lambda: vectors(user="me"), plain.embed(TEXTS)
    yield "a base_url without /v1", lambda: [each.embedding for each in bare.embeddings.create(
        model="embedding", input=TEXTS).data], plain.embed(TEXTS)
    yield "models.list", lambda: [each.id for each in client.models.list()][:2], ["embedding", "classification"]
    yield "models.retrieve", lambda: client.models.retrieve("qa").id, "qa"
    yield "extra_body={'truncate': True}", lambda: vectors(input=LONG, extra_body={"truncate": True}), \
        plain.embed(LONG, truncate=True)

    async def at_once() -> Any:
        async with AsyncOpenAI(base_url=plain.url + "/v1") as other:
            found = await asyncio.gather(*(other.embeddings.create(model="embedding", input="abc") for _ in range(50)))
        return [each.data[0].embedding for each in found]
    yield "50 at once", lambda: asyncio.run(at_once()), plain.embed("abc") * 50
    yield "a text that is too long", lambda: vectors(input=LONG), Says('send "truncate": true')
    yield "token ids", lambda: vectors(input=[[1, 2]]), Says("check_embedding_ctx_length=False")
    yield "an unknown model", lambda: vectors(model="ada"), Says("unknown model 'ada'")
    yield "an unknown field", lambda: vectors(extra_body={"encoding": "float"}), Says("unknown field 'encoding'")
    yield "an empty text", lambda: vectors(input=["a", ""]), Says("item 2 is")
    yield "a classifier's embeddings", lambda: vectors(model="classification"), Says("kind embedding")
    azure = AzureOpenAI(azure_endpoint=plain.url, api_version="2024-02-01", api_key="-",
                        max_retries=0)
    yield "AzureOpenAI", lambda: [each.embedding for each in azure.embeddings.create(
        model="embedding", input="abc").data], plain.embed("abc")


def langchain_openai(plain: Plain) -> Iterator[Call]:
    from langchain_openai import OpenAIEmbeddings

    def made(**more: Any) -> Any:
        return OpenAIEmbeddings(model="embedding", base_url=plain.url + "/v1", max_retries=0, **more)

    class Letters:
        """In the place of tiktoken's vocabulary, which would have to be downloaded."""

        encode = encode_ordinary = staticmethod(lambda text, **_: [ord(letter) for letter in text])

    def with_ids() -> Any:
        import tiktoken

        tiktoken.encoding_for_model = tiktoken.get_encoding = lambda *_: Letters()
        return made().embed_documents(TEXTS)
    plainly = {"check_embedding_ctx_length": False}
    yield "embed_documents, check_embedding_ctx_length=False", lambda: made(**plainly).embed_documents(TEXTS), \
        plain.embed(TEXTS)
    yield "embed_query, the same", lambda: made(**plainly).embed_query("abc"), plain.embed("abc")[0]
    yield "dimensions=5, the same", lambda: made(dimensions=5, **plainly).embed_query("abc"), \
        plain.embed("abc", dimensions=5)[0]
    yield "aembed_documents, the same", lambda: asyncio.run(made(**plainly).aembed_documents(TEXTS)), plain.embed(TEXTS)
    yield "embed_documents as it comes (token ids)", with_ids, Says("check_embedding_ctx_length=False")


def langchain_huggingface(plain: Plain) -> Iterator[Call]:
    from huggingface_hub import AsyncInferenceClient, InferenceClient
    from langchain_huggingface import HuggingFaceEndpointEmbeddings

    def made(**more: Any) -> Any:
        embeddings = HuggingFaceEndpointEmbeddings(model="a/b", huggingfacehub_api_token="-", model_kwargs=more or None)
        embeddings.client, embeddings.async_client = InferenceClient(plain.url), AsyncInferenceClient(plain.url)
        return embeddings
    yield "embed_documents", lambda: made().embed_documents(TEXTS), plain.embed(TEXTS)
    yield "embed_query", lambda: made().embed_query("abc"), plain.embed("abc")[0]
    yield "aembed_query", lambda: asyncio.run(made().aembed_query("abc")), plain.embed("abc")[0]
    yield "normalize=False", lambda: made(normalize=False).embed_query("abc"), plain.embed("abc", normalize=False)[0]
    yield "truncate, from the left", lambda: made(truncate=True, truncation_direction="left").embed_query(LONG + "b"), \
        plain.embed(LONG + "b", truncate=True, truncation_direction="left")[0]
    yield "prompt_name of a model without prompts", lambda: made(prompt_name="query").embed_query("abc"), \
        Says("has no prompts")


def llama_index(plain: Plain) -> Iterator[Call]:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    tei = TextEmbeddingsInference(model_name="embedding", base_url=plain.url)
    yield "TextEmbeddingsInference, texts", lambda: tei.get_text_embedding_batch(TEXTS), plain.embed(TEXTS)
    yield "the same, a query that is too long", lambda: tei.get_query_embedding(LONG), \
        plain.embed(LONG, truncate=True)[0]
    like = OpenAILikeEmbedding(model_name="embedding", api_base=plain.url + "/v1", api_key="-", max_retries=0)
    yield "OpenAILikeEmbedding", lambda: like.get_text_embedding_batch(TEXTS), plain.embed(TEXTS)
    yield "the same, too long", lambda: like.get_text_embedding(LONG), Says('send "truncate": true')
    ranker = TextEmbeddingInference(base_url=plain.url, top_n=2)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in "abc"]
    ranked = plain.post("/rerank", query="q", texts=list("abc"))
    yield "TEI rerank", lambda: [[each.node.text, each.score] for each in ranker.postprocess_nodes(
        nodes, query_str="q")], [["abc"[each["index"]], each["score"]] for each in ranked[:2]]


def haystack(plain: Plain) -> Iterator[Call]:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    asked = {"api_key": Secret.from_token("-"), "model": "embedding", "api_base_url": plain.url + "/v1",
             "max_retries": 0}
    text, documents = OpenAITextEmbedder(**asked), OpenAIDocumentEmbedder(**asked, progress_bar=False)
    yield "OpenAITextEmbedder", lambda: text.run("abc")["embedding"], plain.embed("abc")[0]
    yield "OpenAIDocumentEmbedder", lambda: [each.embedding for each in documents.run(
        [Document(content=each) for each in TEXTS])["documents"]], plain.embed(TEXTS)
    yield "a text that is too long", lambda: text.run(LONG), Says('send "truncate": true')


def litellm(plain: Plain) -> Iterator[Call]:
    import litellm as client

    client.suppress_debug_info = True
    asked = {"model": "openai/embedding", "api_base": plain.url + "/v1", "api_key": "-", "num_retries": 0}
    yield "embedding, openai/", lambda: [each["embedding"] for each in client.embedding(input=TEXTS, **asked).data], \
        plain.embed(TEXTS)
    yield "the same, dimensions", lambda: [each["embedding"] for each in client.embedding(
        input=TEXTS, dimensions=5, **{**asked, "allowed_openai_params": ["dimensions"]}).data], \
        plain.embed(TEXTS, dimensions=5)
    yield "the same, too long", lambda: client.embedding(input=LONG, **asked), Says('"truncate')
    found = plain.post("/v1/rerank", query="q", documents=list("abc"), top_n=2)["results"]
    for name in ("infinity", "hosted_vllm", "jina_ai", "cohere"):
        path = {"infinity": "/v1", "hosted_vllm": "/v1", "jina_ai": "/v1/rerank", "cohere": "/v1/rerank"}[name]
        yield f"rerank, {name}/", lambda name=name, path=path: [
            {"index": each["index"], "relevance_score": each["relevance_score"]} for each in client.rerank(
                model=f"{name}/ranking", query="q", documents=list("abc"), top_n=2, api_base=plain.url + path,
                api_key="-", return_documents=False).results], found


def tritonclient(plain: Plain) -> Iterator[Call]:
    import tritonclient.http as triton

    client = triton.InferenceServerClient(plain.url.removeprefix("http://"))

    def tensor(name: str, values: Any) -> Any:
        array = np.array(values, object) if isinstance(values[0], str) else np.array(values, np.int64)
        made = triton.InferInput(name, array.shape, "BYTES" if array.dtype == object else "INT64")
        made.set_data_from_numpy(array)
        return made

    def embed(inputs: Any, **more: Any) -> Any:
        return client.infer("embedding", inputs, **more).as_numpy("embedding")
    yield "is_server_live, is_model_ready", lambda: [client.is_server_live(), client.is_model_ready("qa")], [True, True]
    yield "get_model_metadata", lambda: client.get_model_metadata("embedding")["inputs"][0]["name"], "text"
    yield "infer, BYTES", lambda: embed([tensor("text", TEXTS)]), plain.embed(TEXTS)
    yield "infer, ids", lambda: embed([tensor("input_ids", [[each["id"] for each in row] for row in plain.post(
        "/tokenize", inputs=["abc"])])]), plain.embed("abc")
    yield "parameters={'normalize': False}", lambda: embed([tensor("text", TEXTS)], parameters={"normalize": False}), \
        plain.embed(TEXTS, normalize=False)
    yield "gzip", lambda: embed([tensor("text", TEXTS)], request_compression_algorithm="gzip"), plain.embed(TEXTS)
    yield "priority=1", lambda: embed([tensor("text", TEXTS)], priority=1), Says("unknown field 'priority'")
    yield "sequence_id=1", lambda: embed([tensor("text", TEXTS)], sequence_id=1), Says("unknown field 'sequence_id'")
    yield "class_count=2", lambda: client.infer("classification", [tensor("text", TEXTS)], outputs=[
        triton.InferRequestedOutput("scores", class_count=2)]), Says("unknown field 'classification'")
    yield "a text that is too long", lambda: embed([tensor("text", [LONG])]), Says('"parameters": {"truncate": true}')
    yield "get_model_config", lambda: client.get_model_config("embedding")["output"][0]["data_type"], "TYPE_FP32"


def huggingface_hub(plain: Plain) -> Iterator[Call]:
    from huggingface_hub import InferenceClient

    def at(path: str = "") -> Any:
        return InferenceClient(plain.url + path)

    yield "feature_extraction", lambda: at().feature_extraction("abc"), plain.embed("abc")
    yield "feature_extraction at /embed", lambda: at("/embed").feature_extraction("abc"), plain.embed("abc")
    yield "normalize=False", lambda: at().feature_extraction("abc", normalize=False), \
        plain.embed("abc", normalize=False)
    yield "truncate, truncation_direction=left", lambda: at().feature_extraction(
        LONG + "b", truncate=True, truncation_direction="left"), \
        plain.embed(LONG + "b", truncate=True, truncation_direction="left")
    yield "prompt_name of a model without prompts", lambda: at().feature_extraction("abc", prompt_name="query"), \
        Says("has no prompts")
    yield "sentence_similarity", lambda: at().sentence_similarity("abc", ["abc", "d"]), \
        plain.post("/similarity", inputs={"source_sentence": "abc", "sentences": ["abc", "d"]})
    answer = plain.post("/qa", question="who", context=CONTEXT, max_answer_length=5)
    yield "question_answering, max_answer_len=5", lambda: vars(at().question_answering(
        question="who", context=CONTEXT, max_answer_len=5))["answer"], answer["answer"]
    yield "question_answering, top_k=3", lambda: at().question_answering(question="who", context=CONTEXT, top_k=3), \
        Says("top_k")
    yield "token_classification at /ner", lambda: [each.word for each in at("/ner").token_classification(CONTEXT)], \
        [each["word"] for each in plain.post("/ner", inputs=CONTEXT)]
    yield "the same, aggregation_strategy=first", lambda: [each.word for each in at("/ner").token_classification(
        CONTEXT, aggregation_strategy="first")], [each["word"] for each in plain.post("/ner", inputs=CONTEXT)]
    labels = plain.post("/predict", inputs="abc", parameters={"top_k": 1, "function_to_apply": "sigmoid"})
    classifier = InferenceClient(plain.classifier)
    yield "text_classification, top_k=1, function_to_apply=sigmoid", lambda: [
        [each.label, each.score] for each in classifier.text_classification(
            "abc", top_k=1, function_to_apply="sigmoid")], [[each["label"], each["score"]] for each in labels]
    yield "text_classification at an embedding model, top_k=1", lambda: at().text_classification("abc", top_k=1), \
        Says("top_k")


CLIENTS = {"openai": openai, "langchain-openai": langchain_openai, "langchain-huggingface": langchain_huggingface,
           "llama-index": llama_index, "haystack": haystack, "litellm": litellm, "tritonclient": tritonclient,
           "huggingface_hub": huggingface_hub}
PACKAGES = {"llama-index": "llama-index-core", "haystack": "haystack-ai"}


def same(found: Any, expected: Any) -> bool:
    """Whether a client gives what the plain route gave, up to the digits that float32 has."""
    if isinstance(expected, (list, tuple)) or isinstance(found, np.ndarray):
        one, other = list(found), list(expected)
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, float):
        return bool(np.isclose(found, expected, rtol=1e-6, atol=1e-7))
    return bool(found == expected)


def sentence(error: Exception) -> str:
    """What a person sees of a client's error, on one line."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"Client error '.*?/Status/\d+ ", "", words)[:700]  # huggingface_hub's own, with ids and addresses


def main() -> None:
    plain = Plain(*sys.argv[1:])
    for name, calls in CLIENTS.items():
        version = importlib.metadata.version(PACKAGES.get(name, name))
        for what, call, expected in calls(plain):
            try:
                found = call()
            except Exception as error:  # whatever the client raises is what is asked about
                came, right = sentence(error), isinstance(expected, Says) and expected in str(error)
            else:
                right = not isinstance(expected, Says) and same(found, expected)
                came = "the same as the plain route" if right else f"ANOTHER ANSWER: {str(found)[:300]}"
            print(json.dumps({"client": f"{name} {version}", "call": what, "came": came, "right": right,
                              "refused": isinstance(expected, Says)}), flush=True)


if __name__ == "__main__":
    main()
