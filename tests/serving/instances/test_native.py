"""A tiny model with random non-zero biases on the native engine, served and beside bertpass.load."""

import asyncio
import os
import shutil
import signal

import numpy as np
import pytest

import bertpass
from bertpass.commands.start.serve import main
from bertpass.engines import precision
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.layouts import huggingface, packed
from bertpass.model.record import Checkpoint
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import served

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


@pytest.fixture(scope="module", params=["none", "classification"])
def folder(request, tmp_path_factory):
    """A Hugging Face folder of a model of that kind."""
    config = EncoderConfig(num_layers=2, units=32, hidden_size=64, num_heads=4, use_pooler=True, max_length=40,
                           vocab_size=len(TOKENS), dropout=0.0)
    head = HeadConfig(request.param, 3 if request.param == "classification" else 0)
    shapes = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    checkpoint = Checkpoint(config, head, parameters.random(shapes, 0, scale=0.3, random_bias=True),
                            Tokenizer.from_wordpiece(TOKENS, lower=True))
    path = tmp_path_factory.mktemp("model") / request.param
    huggingface.write_folder(path, checkpoint)
    return path


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_without_normalize_a_vector_is_as_it_is_pooled(serve, tmp_path, pack, pooling):
    """Of a model with a normalising layer of its own as well; the reference is the same encoder without a head."""
    config = EncoderConfig(num_layers=2, units=32, hidden_size=64, num_heads=4, use_pooler=False, max_length=40,
                           vocab_size=len(TOKENS), dropout=0.0)
    made = {}
    heads = {"head": HeadConfig("embedding", pooling=pooling, normalize=True), "bare": HeadConfig("none")}
    for name, head in heads.items():
        made[name] = Checkpoint(config, head, parameters.random(parameters.encoder_shapes(config), 0, scale=0.3,
                                                                random_bias=True),
                                Tokenizer.from_wordpiece(TOKENS, lower=True))
        huggingface.write_folder(tmp_path / name, made[name])
    bare = bertpass.load(tmp_path / "bare", engine="native", dtype="float32")
    states = bare.run(bare.tokenizer.encode(texts()))
    pooled = np.array([row.mean(axis=0) if pooling == "mean" else row[0] for row in states])
    path = tmp_path / "head"
    if pack:
        path = tmp_path / "tiny.safetensors"
        packed.write(path, made["head"], "float32", 1)

    async def job(client):
        for normalize, expected in ((False, pooled), (True, pooled / np.linalg.norm(pooled, axis=1, keepdims=True))):
            found = (await client.post("/embed", json={"inputs": texts(), "normalize": normalize})).json()
            assert np.allclose(found, expected, atol=1e-5)
        assert np.allclose(np.linalg.norm(found, axis=1), 1) and not np.allclose(np.linalg.norm(pooled, axis=1), 1)
    serve(job, str(path), engine="native", **({} if pack else {"dtype": "float32"}))


def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(list("abcdefgh"), size)) for size in random.integers(1, 38, 50)]


def test_served_results_are_those_of_load_whatever_the_neighbours(serve, folder):
    model = bertpass.load(folder, engine="native", dtype="float32", threads=1)
    path, expected = {
        "none": ("/embed", lambda: model.encode(texts(), normalize=True).tolist()),
        "classification": ("/predict", lambda: [sorted(p.scores.values(), reverse=True)
                                                for p in model.predict(texts())])}[folder.name]

    def numbers(found):
        return [[each["score"] for each in row] for row in found] if path == "/predict" else found

    async def job(client):
        bodies = [[text] for text in texts()] if path == "/predict" else texts()
        whole = (await client.post(path, json={"inputs": bodies})).json()
        crowd = await asyncio.gather(*(client.post(path, json={"inputs": [body]}) for body in bodies))
        assert numbers(whole) == expected()  # bit by bit
        assert [numbers(reply.json())[0] for reply in crowd] == expected()
    serve(job, str(folder), engine="native", dtype="float32", cores_per_instance=1, instances=1, max_batch_tokens=100)


@pytest.mark.parametrize("pays", [False, True])
def test_one_precision_for_all_instances_and_every_restart(serve, folder, two_cores, monkeypatch, pays):
    """The server's process has a rule of its own here, which the engine processes do not know: they are told."""
    monkeypatch.setattr(precision, "bfloat16_pays", lambda isa, vendor: pays)
    dtype = "bfloat16" if pays else "float32"

    async def job(client):
        await served.until(lambda: client.state.pool.up == 2, "both instances")
        told = (await client.get("/info")).json()
        assert [each["engines"][0]["dtype"] for each in told["instances"]] == [dtype] * 2
        (model,) = told["models"]
        assert model["dtype"] == dtype and model["dtype_why"].startswith(f"{dtype}: ")
        first = told["instances"][0]["pid"]
        os.kill(first, signal.SIGKILL)
        await served.until(lambda: client.state.pool.up == 2 and served.pids(client)[0] not in (first, None), "again")
        told = (await client.get("/info")).json()
        assert told["instances"][0]["engines"][0]["dtype"] == dtype
    serve(job, str(folder), engine="native", instances=2, health_interval=0.2)


def test_a_packed_file_and_an_engine_that_refuses_it(folder, tmp_path):
    file = tmp_path / "tiny.safetensors"
    packed.write(file, load_checkpoint(folder), "float32", 1)
    with served.Process(file, "--port", 0) as server:
        assert served.httpx.get(server.url() + "/info").json()["instances"][0]["engines"][0]["dtype"] == "float32"
    with served.Process(file, "--port", 0, "--dtype", "int8") as server:
        assert server.process.wait(60) == 2
        assert f"error: {file} is packed in float32" in server.said() and "Traceback" not in server.said()


def test_damaged_weights_are_a_sentence(folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main([str(copy), "--port", "0"]) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said
