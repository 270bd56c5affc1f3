"""What a model's own files say holds when it is served too: prompts, layers after the pooling; and notes are shown."""

import dataclasses
import logging

import numpy as np
import pytest

import bertpass
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.layouts import gluonnlp, huggingface
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import Layer, Sentence
from bertpass.text.tokens.tokenizer import Tokenizer

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a"]
TEXTS = ["a b c", "d", "e f g h a b"]


def checkpoint(kind, **fields):
    config = EncoderConfig(num_layers=1, units=32, hidden_size=48, num_heads=4, max_length=12, vocab_size=len(TOKENS))
    head = HeadConfig(kind)
    shapes = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    return Checkpoint(config, head, parameters.random(shapes, 0, scale=0.3, random_bias=True),
                      Tokenizer.from_wordpiece(TOKENS, lower=True), **fields)


@pytest.mark.parametrize("sentence", [
    Sentence({"query": "a b ", "other": "h "}, "query"), Sentence(pooling=("max", "cls")),
    Sentence({"query": "a b "}, "query", pooling=("weightedmean",), include_prompt=False),
    Sentence(layers=(Layer("dense", "Tanh", {"weight": np.full((5, 32), 0.1, np.float32)}),)),
    Sentence(truncate_dim=7)], ids=["prompt", "two poolings", "prompt not pooled", "dense", "truncated"])
@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings"])
def test_vectors_are_those_of_load(serve, tmp_path, path, sentence):
    made = checkpoint("none" if sentence.pooling else "embedding", sentence=sentence)
    huggingface.write_folder(tmp_path / "model", made)
    model = bertpass.load(tmp_path / "model", dtype="float32", threads=1)
    wanted = model.encode(TEXTS, normalize=True)
    plain = made_without(tmp_path, made).encode(TEXTS, normalize=True)
    assert wanted.shape[1] > plain.shape[1] or np.abs(wanted - plain[:, :wanted.shape[1]]).max() > 1e-3

    async def job(client):
        body = {"inputs": TEXTS} if path == "/embed" else {"input": TEXTS, "model": "model"}
        reply = await client.post(path, json=body)
        found = reply.json() if path == "/embed" else [each["embedding"] for each in reply.json()["data"]]
        assert np.allclose(found, wanted, atol=1e-6)
        for name in model.sentence.prompts:
            reply = (await client.post(path, json={**body, "prompt_name": name})).json()
            found = reply if path == "/embed" else [each["embedding"] for each in reply["data"]]
            assert np.allclose(found, model.encode(TEXTS, normalize=True, prompt_name=name), atol=1e-6)
            vectors = model.encode(TEXTS, normalize=True, prompt_name=name)
            inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
            for more in ({"prompt_name": name}, {"parameters": {"prompt_name": name}}):
                cosines = (await client.post("/similarity", json={"inputs": inputs, **more})).json()
                assert np.allclose(cosines, vectors[1:] @ vectors[0], atol=1e-6)
        for words in ("", "c d "):
            reply = (await client.post(path, json={**body, "prompt": words})).json()
            found = reply if path == "/embed" else [each["embedding"] for each in reply["data"]]
            assert np.allclose(found, model.encode(TEXTS, normalize=True, prompt=words), atol=1e-6)
        told = (await client.get("/info")).json()["models"][0]
        assert told["prompts"] == dict(model.sentence.prompts) and told["notes"] == []
        long = await client.post("/embed", json={"inputs": "a " * 9})
        assert long.status_code == (413 if sentence.default_prompt else 200)  # the prompt's tokens count
    serve(job, str(tmp_path / "model"), engine="native", dtype="float32", instances=1)


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/"])
def test_prompts_of_a_request(serve, tmp_path, path):
    made = checkpoint("embedding", sentence=Sentence({"query": "a b ", "other": "h "}, "query"))
    huggingface.write_folder(tmp_path / "model", made)
    model = bertpass.load(tmp_path / "model", dtype="float32", threads=1)

    async def job(client):
        async def ask(**more):
            reply = await client.post(path, json={"input" if path.startswith("/v1") else "inputs": TEXTS, **more})
            found = reply.json()
            return found if reply.status_code != 200 else \
                [each["embedding"] for each in found["data"]] if path.startswith("/v1") else found

        vectors = []
        for given in ({}, {"prompt_name": "query"}, {"prompt_name": "other"}, {"prompt": "c c "}, {"prompt": ""}):
            vectors.append(await ask(**given))
            assert np.allclose(vectors[-1], model.encode(TEXTS, normalize=True, **given), atol=1e-6)
        assert vectors[0] == vectors[1] and len({str(each) for each in vectors}) == 4
        refused = await ask(prompt_name="qery")
        assert "Did you mean 'query'" in str(refused["error"])
    serve(job, str(tmp_path / "model"), engine="native", dtype="float32", instances=1)


def made_without(tmp_path, made):
    """The same weights with nothing around them."""
    huggingface.write_folder(tmp_path / "plain", dataclasses.replace(made, sentence=Sentence(), carried={}))
    return bertpass.load(tmp_path / "plain", dtype="float32", threads=1)


def test_what_was_assumed_is_in_the_log_and_in_info(serve, tmp_path, caplog):
    made = checkpoint("regression")
    gluonnlp.write(tmp_path / "net.params", made)
    made.tokenizer.save_gluonnlp_vocab(tmp_path / "net.vocab")

    async def job(client):
        (told,) = (await client.get("/info")).json()["models"]
        assert told["kind"] == "ranking" and told["max_input_length"] == 9
        assert "were assumed: activation gelu, text put into lower case (--case)." in told["notes"][0]
        ranked = (await client.post("/rerank", json={"query": "a", "texts": ["b", "c"]})).json()
        assert len(ranked) == 2 and all(0 < each["score"] < 1 for each in ranked)
        assert f"net: {told['notes'][0]}" in caplog.messages
    with caplog.at_level(logging.WARNING, logger="bertpass.serving"):
        serve(job, str(tmp_path / "net.params"), engine="native", dtype="float32", instances=1, kind="ranking",
              num_heads=4, max_length=9)
