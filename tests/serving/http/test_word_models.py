"""Models with a head of masked words, of late interaction, and token states of embedding models, over HTTP; the right
values are those of transformers and sentence-transformers.
"""

import numpy as np
import pytest

from tests.helpers.late_models import folder_of, right
from tests.helpers.tiny_models import torch_model, write_vocab
from tests.helpers.word_models import plain, saved

TEXTS = ["the film is good", "The Film is bad, un able", "w1 w2 w3 w4 w5 w6", "un"]
NATIVE = {"engine": "native", "dtype": "float32"}
TOLERANCE = 1e-5  # of the largest number


def near(found, wanted):
    wanted = np.asarray(wanted)
    assert np.shape(found) == wanted.shape and np.abs(found - wanted).max() <= TOLERANCE * max(1, np.abs(wanted).max())


async def posted(client, path, status=200, **body):
    reply = await client.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return plain(tmp_path_factory.mktemp("words"))


@pytest.mark.parametrize("settings", [{}, {"prompts": {"query": "w1 w2 ", "passage": "bad "},
                                           "default_prompt_name": "passage"}])
def test_weights_of_words(serve, tmp_path, words, settings):
    import sentence_transformers

    path = saved(tmp_path, words, **settings)
    theirs = sentence_transformers.SparseEncoder(str(path), device="cpu")

    def wanted(texts, **more):
        rows = theirs.encode(texts, convert_to_sparse_tensor=False, **more).numpy()
        return [[(int(at), float(row[at])) for at in np.flatnonzero(row)] for row in rows]

    async def job(client):
        cases = [(TEXTS, {}), (TEXTS * 40, {}), ("the film", {}), (TEXTS, {"prompt": "w9 "})]
        if settings:
            cases.append((TEXTS, {"prompt_name": "query"}))
        for texts, more in cases:
            found = await posted(client, "/embed_sparse", inputs=texts, **more)
            expected = wanted([texts] if isinstance(texts, str) else texts, **more)
            assert [[each["index"] for each in row] for row in found] == [[at for at, _ in row] for row in expected]
            near([each["value"] for row in found for each in row], [value for row in expected for _, value in row])
        assert await posted(client, "/", inputs=TEXTS) == await posted(client, "/embed_sparse", inputs=TEXTS)
        cut = await posted(client, "/embed_sparse", inputs="good " * 40, truncate=True)
        assert [each["index"] for each in cut[0]] == [at for at, _ in wanted(["good " * 40])[0]]
        assert '"truncate": true' in (await posted(client, "/embed_sparse", 413, inputs="good " * 40))["error"]
        for route, more in (("/embed", {}), ("/embed_all", {}), ("/predict", {}), ("/", {"normalize": True}),
                            ("/", {"parameters": {"top_k": 3}})):
            await posted(client, route, 422, inputs="good", **more)
        assert "/embed_sparse" in (await client.get("/v2/models/sparse")).json()["error"]
    serve(job, f"sparse={path}", **NATIVE)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_words_for_a_mask(serve, tmp_path, words, family):
    import transformers

    path = words
    if family == "roberta":
        path = tmp_path / "roberta"
        write_vocab(tmp_path)
        path.mkdir()
        tokens = ["<s>", "<pad>", "</s>", "<unk>", "the", "\u0120film", "\u0120is", "\u0120good", "\u0120bad", "t", "h",
                  "e", *"abcdfg", "<mask>"]
        transformers.RobertaTokenizer(
            vocab_file=_json(path / "vocab.json", {token: at for at, token in enumerate(tokens)}),
            merges_file=_lines(path / "merges.txt", ["#version: 0.2"])).save_pretrained(path)
        transformers.RobertaTokenizerFast.from_pretrained(path).save_pretrained(path)
        torch_model("roberta", "ForMaskedLM").save_pretrained(path)
    theirs = transformers.pipeline("fill-mask", model=str(path), device="cpu")
    mask = theirs.tokenizer.mask_token
    one, two = f"the film is {mask}", f"the {mask} is {mask}"
    target = theirs.tokenizer.convert_ids_to_tokens([7, 8])

    async def job(client):
        for inputs, parameters in ((one, {}), (two, {}), ([one, two], {}), ([one, f"{mask} film"], {"top_k": 2}),
                                   ([one], {}), (one, {"top_k": 60}), (one, {"targets": target}),
                                   (two, {"targets": target[0]}), (two, {"targets": target, "top_k": 1})):
            expected = theirs(inputs, **parameters)
            for route in ("/", "/invocations"):
                same(await posted(client, route, inputs=inputs, parameters=parameters), expected)
        for inputs, more, said in ((TEXTS[0], {}, mask), ([one, "film"], {}, "text 2 has no"),
                                   (one, {"parameters": {"targets": ["nowhere"]}}, "'nowhere' is no token"),
                                   (one, {"parameters": {"targets": []}}, "must not be empty"),
                                   (one, {"parameters": {"function_to_apply": "none"}}, "function_to_apply"),
                                   (one, {"normalize": True}, "normalize")):
            assert said in (await posted(client, "/", 422, inputs=inputs, **more))["error"]
        masks = [f"{mask} film"] * 129
        assert "129" in (await posted(client, "/", 413, inputs=masks))["error"]
        await posted(client, "/embed", 422, inputs=one)
    serve(job, f"words={path}", kind="mlm", **NATIVE)


def _json(path, content):
    import json

    path.write_text(json.dumps(content))
    return str(path)


def _lines(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def same(found, expected):
    """The same structure, words and texts; scores but for float32's rounding."""
    assert type(found) is type(expected)
    if isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert list(found) == list(expected) and found == {**expected, "score": pytest.approx(expected["score"],
                                                                                              rel=1e-4, abs=1e-6)}


@pytest.mark.parametrize("attends", [True, False])
def test_late_interaction(serve, tmp_path, attends):
    path = folder_of(tmp_path, attend_to_expansion_tokens=attends)
    query, texts = "good film", [*TEXTS, "un ; w3 . w4"]

    async def job(client):
        for is_query in (True, False):
            found = await posted(client, "/embed_all", inputs=texts, is_query=is_query)
            for one, other in zip(found, right(path, texts, is_query), strict=True):
                near(one, other)
        (asked,) = right(path, [query], True)
        scores = [float((asked @ text.T).max(axis=1).sum()) for text in right(path, texts, False)]
        best = sorted(range(len(texts)), key=lambda at: -scores[at])
        found = await posted(client, "/rerank", query=query, texts=texts, top_n=3)
        assert [each["index"] for each in found] == best[:3]
        near([each["score"] for each in found], [scores[at] for at in best[:3]])
        ranked = await posted(client, "/v1/rerank", query=query, documents=texts)
        near([each["relevance_score"] for each in ranked["results"]], [scores[at] for at in best])
        assert await posted(client, "/", query=query, texts=texts, top_n=3) == found
        for route, body, said in (
                ("/embed_all", {"inputs": "a"}, "is_query is missing"),
                ("/rerank", {"query": "a", "texts": ["b"], "raw_scores": True}, "raw_scores would change nothing"),
                ("/embed", {"inputs": "a"}, "late is of kind late"), ("/", {"inputs": "a"}, "/embed_all")):
            assert said in (await posted(client, route, 422, **body))["error"]
        for route, body, said in (
                ("/embed_all", {"inputs": "good " * 12, "is_query": True}, "a query has 14 tokens and the model takes"
                 " 11"), ("/rerank", {"query": "a", "texts": ["good " * 20]}, "a document has 22 tokens")):
            assert said in (await posted(client, route, 413, **body))["error"]
            await posted(client, route, **body, truncate=True)
    serve(job, f"late={path}", **NATIVE)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_token_states_of_an_embedding_model(serve, tmp_path, pooling):
    """As sentence-transformers' token_embeddings, whether the engine pools or the server."""
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    write_vocab(tmp_path)
    torch_model("bert", "Model").save_pretrained(tmp_path / "plain")
    transformers.BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "plain")
    encoder = Transformer(str(tmp_path / "plain"))
    theirs = SentenceTransformer(modules=[encoder, Pooling(24, pooling), Normalize()], device="cpu",
                                 prompts={"query": "w1 w2 "})
    theirs.save_pretrained(str(tmp_path / "saved"))

    async def job(client):
        for more in ({}, {"prompt": "w9 "}, {"prompt_name": "query"}):
            before = await posted(client, "/embed", inputs=TEXTS, **more)
            found = await posted(client, "/embed_all", inputs=TEXTS, **more)
            wanted = theirs.encode(TEXTS, output_value="token_embeddings", **more)
            for one, other in zip(found, wanted, strict=True):
                near(one, other.numpy())
            assert await posted(client, "/embed", inputs=TEXTS, **more) == before
        near(before, theirs.encode(TEXTS, prompt_name="query"))
        assert (await posted(client, "/embed_all", inputs=TEXTS[1]))[0] == (
            await posted(client, "/embed_all", inputs=TEXTS))[1]
        assert "is_query" in (await posted(client, "/embed_all", 422, inputs="a", is_query=True))["error"]
    serve(job, str(tmp_path / "saved"), **NATIVE)
