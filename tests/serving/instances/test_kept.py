"""A model's files are read once: what becomes of them afterwards ends no instance and changes no answer."""

import asyncio
import logging
import os
import shutil
import signal
import tempfile

import numpy as np
import pytest

from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.layouts import huggingface, packed
from bertpass.model.record import Checkpoint
from bertpass.serving.instances import kept, ways
from bertpass.serving.instances.models import Source, opened
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.served import pids, serving, until

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"w{n}" for n in range(20_000))]


def checkpoint():
    """Large enough for tables of many pages of memory."""
    config = EncoderConfig(num_layers=2, units=64, hidden_size=128, num_heads=4, use_pooler=True, max_length=40,
                           vocab_size=len(TOKENS), dropout=0.0)
    head = HeadConfig("none")
    shapes = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    return Checkpoint(config, head, parameters.random(shapes, 0, scale=0.3, random_bias=True),
                      Tokenizer.from_wordpiece(TOKENS, lower=True))


@pytest.fixture
def folder(tmp_path):
    huggingface.write_folder(tmp_path / "model", checkpoint())
    return tmp_path / "model"


def moved(folder):
    folder.rename(folder.with_name("elsewhere"))


def cut(folder):
    os.truncate(folder / "model.safetensors", 5000)


def written_over(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(4096)
        file.write(b"\x7f" * (os.path.getsize(folder / "model.safetensors") - 4096))


def replaced(folder):
    other = shutil.copytree(folder, folder.with_name("other"))
    written_over(other)
    os.replace(other / "model.safetensors", folder / "model.safetensors")


def no_json(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(("damage", "told"), [(moved, "gone"), (cut, "changed"), (written_over, "changed"),
                                              (replaced, "changed"), (no_json, "changed")])
def test_what_becomes_of_the_files_changes_nothing(serve, folder, caplog, damage, told):
    texts = ["a b", "w1 w19999 c", " ".join(f"w{n}" for n in range(0, 19_000, 700))]

    async def vectors(client):
        reply = await client.post("/embed", json={"inputs": texts})
        assert reply.status_code == 200
        return reply.json()

    async def job(client):
        async def files():
            return (await client.get("/info")).json()["models"][0]["files"]

        expected = await vectors(client)
        assert await files() == "as read"
        damage(folder)
        assert await vectors(client) == expected  # tables that were mapped from the file would be others, or SIGBUS
        assert await files() == told
        for _ in range(2 if damage is moved else 1):  # what was kept serves more than one restart
            (before,) = pids(client)
            os.kill(before, signal.SIGKILL)
            await until(lambda pid=before: client.state.ready and pids(client)[0] not in (pid, None), "another process")
            assert await vectors(client) == expected
        assert not client.state.pool.failed.done()
        said = [message for message in caplog.messages if "since this server read them" in message]
        assert len(said) == 1 and f" are {told} " in said[0] and str(folder) in said[0]
    with caplog.at_level(logging.WARNING, logger="bertpass.serving"):
        serve(job, str(folder), engine="native", dtype="float32", instances=1,
              health_interval=0.2)


def test_an_instance_that_cannot_load_takes_no_healthy_one_along(serve, folder, two_cores, monkeypatch, caplog):
    real, broken = kept.Kept.models, []

    def models(self):
        if broken:
            raise ModelError("the model cannot be had just now.")
        return real(self)

    async def job(client):
        await until(lambda: client.state.pool.up == 2, "both instances")
        expected = (await client.post("/embed", json={"inputs": "a"})).json()
        broken.append(True)
        first, second = pids(client)
        os.kill(first, signal.SIGKILL)
        await until(lambda: sum("cannot load a model" in message for message in caplog.messages) >= 2, "two tries")
        assert client.state.pool.up == 1 and client.state.ready and not client.state.pool.failed.done()
        assert (await client.post("/embed", json={"inputs": "a"})).json() == expected
        broken.clear()
        await until(lambda: client.state.pool.up == 2, "the instance again")
        assert pids(client)[1] == second
        assert (await client.post("/embed", json={"inputs": "a"})).json() == expected

    monkeypatch.setattr(kept.Kept, "models", models)
    with caplog.at_level(logging.WARNING, logger="bertpass.serving"):
        serve(job, str(folder), engine="native", instances=2, health_interval=0.2)


def test_a_model_that_never_could_be_loaded_ends_the_server(folder, monkeypatch):
    def models(self):
        raise ModelError("the model cannot be had.")

    async def main():
        async with serving(str(folder), engine="native", wait=False) as client:
            error = await asyncio.wait_for(client.state.pool.failed, 60)
            assert "cannot be had" in str(error)
    monkeypatch.setattr(kept.Kept, "models", models)
    asyncio.run(main())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("writable", [False, True])
def test_kept_models_compute_the_same_bits(folder, tmp_path, monkeypatch, shared, writable):
    """In TMPDIR, or in memory where there is no such folder; of a packed file the layers are used where they are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path) if writable else str(tmp_path / "nowhere"))
    path = folder
    if shared:
        path = tmp_path / "packed.safetensors"
        packed.write(path, checkpoint(), "float32")
    source = Source("x", str(path), "native", "float32")
    inputs = np.arange(30, dtype=np.int32).reshape(2, 15), np.zeros((2, 15), np.int32), np.array([15, 4], np.int32)
    expected = source.load(source.checkpoint(), 1)[ways.OWN].forward(*inputs)
    models = kept.Kept([opened(source)])
    before = set(tmp_path.iterdir())
    (held,) = models.models()
    assert isinstance(held, kept.Held) and held.shared == shared and set(tmp_path.iterdir()) == before
    assert os.readlink(f"/proc/self/fd/{held.file}").startswith(str(tmp_path) if writable else "/memfd:")
    for found, wanted in zip(held.load(held.checkpoint(), 1)[ways.OWN].forward(*inputs), expected, strict=True):
        assert np.array_equal(found, wanted)
    assert models.models() == [held]
    models.close()


def test_no_room_is_a_sentence(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(packed, "dump", full)
    with pytest.raises(ModelError, match="no room to keep the model"):
        kept.Kept([opened(Source("x", str(folder), "native", "float32"))]).models()
