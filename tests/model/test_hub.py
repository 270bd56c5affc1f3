"""Models of the hub, against a server of our own that speaks as much of its API as its client needs."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from bertpass.errors import DownloadError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.files import tensors
from bertpass.model.layouts import huggingface
from bertpass.model.sentence import Layer, Sentence

SCRIPT = """
import json, sys, time
from bertpass.errors import BertpassError
from bertpass.model.checkpoint import load_checkpoint
for name in sys.argv[1:]:
    start = time.monotonic()
    try:
        loaded = load_checkpoint(name)
        said = [type(loaded).__name__, loaded.source, len(loaded.params), loaded.sentence.to_dict()]
    except BertpassError as error:
        said = [type(error).__name__, str(error)]
    print(json.dumps([*said, time.monotonic() - start]))
"""
REVISION = "0" * 40


def in_another_process(tmp_path, endpoint, *names, token=None):
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub"),
                   "MXNET_HOME": str(tmp_path / "mxnet"), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_TOKEN", None)
    if token is not None:
        environment["HF_TOKEN"] = token
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], env=environment, check=True, capture_output=True,
                          text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Hub(http.server.BaseHTTPRequestHandler):
    """The model tiny/model; with a ``token`` for those alone who send it."""

    folder = None
    token = None
    gated = False
    asked: list

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append((path, self.headers.get("Authorization")))
        api, file = path.startswith("/api/models/tiny/model"), path.partition(f"/{REVISION}/")[2]
        known = api or path.startswith("/tiny/model/resolve/")
        allowed = self.token is None or self.headers.get("Authorization") == f"Bearer {self.token}"
        body, status, code = None, 404, "RepoNotFound"
        if known and not allowed and not (api and self.gated):
            status, code = (403, "GatedRepo") if self.gated else (401, "RepoNotFound")
        elif api:
            names = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
            body = json.dumps({"id": "tiny/model", "sha": REVISION,
                               "siblings": [{"rfilename": name} for name in names]}).encode()
        elif known and (self.folder / file).is_file():
            body = (self.folder / file).read_bytes()
        self.send_response(200 if body is not None else status)
        self.send_header("Content-Length", str(len(body or b"")))
        if body is not None:
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", REVISION)
        else:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET

    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def hub(folder, **fields):
    """The address of a hub with the folder's model, and what it is asked."""
    handler = type("TinyHub", (Hub,), {"folder": folder, "asked": [], **fields})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path, tiny):
    """A model of sentence vectors with files in folders of their own, and files that nobody here reads."""
    checkpoint = tiny(kind="none")
    checkpoint.head = HeadConfig("embedding")
    checkpoint.sentence = Sentence({"query": "the film "}, "query", layers=(
        Layer("dense", "Tanh", {"weight": np.ones((3, 24), np.float32)}),))
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    (tmp_path / "folder" / "onnx").mkdir()
    (tmp_path / "folder" / "onnx" / "model.onnx").write_bytes(b"large")
    (tmp_path / "folder" / "pytorch_model.bin").write_bytes(b"large")
    return tmp_path / "folder"


def test_download_and_cache(tmp_path, folder):
    """Download, not found, then the same model from the hub's cache while nothing answers."""
    with hub(folder) as (endpoint, asked):
        found, missing = in_another_process(tmp_path, endpoint, "tiny/model", "tiny/absent")
    wanted = load_checkpoint(folder)
    assert found[:4] == ["Checkpoint", "tiny/model", len(wanted.params), wanted.sentence.to_dict()]
    assert not any(path.endswith((".onnx", ".bin")) for path, _ in asked)
    assert missing[0] == DownloadError.__name__ and "the hub answers 404 (there is no such model)" in missing[1]
    again, absent, published = in_another_process(tmp_path, endpoint, "tiny/model", "tiny/absent", "bert_12_768_12")
    assert again[:4] == found[:4]
    for said in (absent, published):
        assert said[0] == DownloadError.__name__ and said[-1] < 5
        assert "does not answer (ConnectionError)" in said[1] and ".params" in said[1] and "\n" not in said[1]


@pytest.mark.parametrize("gated", [False, True])
def test_the_token_goes_with_every_request(tmp_path, folder, gated):
    with hub(folder, token="hf_tiny", gated=gated) as (endpoint, asked):
        without, = in_another_process(tmp_path, endpoint, "tiny/model")
        asked.clear()
        found, = in_another_process(tmp_path, endpoint, "tiny/model", token="hf_tiny")
    assert found[:2] == ["Checkpoint", "tiny/model"]
    assert asked and {header for _, header in asked} == {"Bearer hf_tiny"}
    assert without[0] == DownloadError.__name__
    assert ("answers 403 (your token may not read it" if gated else "answers 401 (it is private or not there; give a "
            "token in HF_TOKEN") in without[1]


@pytest.mark.parametrize("end", ["\n", " ", "/\r\n"])
def test_white_space_around_the_hubs_variables(tmp_path, folder, end):
    with hub(folder, token="hf_tiny") as (endpoint, asked):
        found, = in_another_process(tmp_path, endpoint + end, "tiny/model", token=f"hf_tiny{end.strip('/')}")
    assert found[:2] == ["Checkpoint", "tiny/model"]
    assert {header for _, header in asked} == {"Bearer hf_tiny"}


def test_a_token_that_the_hub_does_not_know(tmp_path, folder):
    with hub(folder, token="hf_tiny") as (endpoint, _):
        found, = in_another_process(tmp_path, endpoint, "tiny/model", token="hf_other")
    assert found[0] == DownloadError.__name__ and "the hub answers 401" in found[1]


def test_weights_in_parts(tmp_path, folder):
    wanted = tensors.read(folder)
    (folder / tensors.SAFETENSORS).unlink()
    parts = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(wanted)}
    for part in set(parts.values()):
        tensors.write(folder / part, {name: wanted[name] for name in wanted if parts[name] == part})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with hub(folder) as (endpoint, _):
        found, = in_another_process(tmp_path, endpoint, "tiny/model")
    assert found[0] == "Checkpoint" and found[2] == len(load_checkpoint(folder).params)


def test_weights_that_are_a_pickle_alone(tmp_path, folder):
    (folder / tensors.SAFETENSORS).unlink()
    with hub(folder) as (endpoint, asked):
        found, = in_another_process(tmp_path, endpoint, "tiny/model")
    assert found[0] == "ModelError" and "--allow_pickle where they are pytorch_model.bin alone" in found[1]
    assert not any(path.endswith(".bin") for path, _ in asked)


def test_a_layout_without_files_in_the_root(tmp_path, folder):
    """As version 0.2 of sentence-transformers wrote it."""
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            shutil.move(path, inner / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    with hub(folder) as (endpoint, _):
        found, = in_another_process(tmp_path, endpoint, "tiny/model")
    assert found[0] == "Checkpoint"
