"""The wheels of `make wheel`, each in a bare environment without compiler: Python, C, passes, the server."""

import json
import platform
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest

import bertpass
from bertpass.model.layouts import huggingface, packed
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers import ROOT
from tests.helpers.reference import tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad"]
TEXTS = ["the film was good", "bad"]
WHEELS = sorted((ROOT / "dist").glob(f"bertpass-{bertpass.__version__}-*.whl"))
HERE = [wheel for wheel in WHEELS if wheel.name.endswith(f"_{platform.machine()}.whl")]
#: what a program of a user imports, in the environment of the wheel: PATH holds this environment alone
PROGRAM = f"""
import ctypes, pathlib, shutil, sys
import numpy, bertpass
assert shutil.which("g++") is shutil.which("cc") is None and "site-packages" in bertpass.__file__
numpy.save("vectors.npy", bertpass.load("model", dtype="float32", threads=1).encode({TEXTS!r}))
assert not {{"mxnet", "torch", "scipy", "sklearn"}} & set(sys.modules)
folder = pathlib.Path(bertpass.__file__).parent
library, model = ctypes.CDLL(str(folder / "libbertpass.so")), ctypes.c_void_p()
assert library.bertpass_load(b"model.safetensors", 1, None, ctypes.byref(model)) == 0
assert ctypes.CDLL(str(folder / "bertpass_lib.so")).initialize(10900) == 1
from bertpass import _core
print(*(each.name for each in _core.passes()))
"""


def tag(wheel):
    """The second number of a wheel's Python."""
    return re.search(r"-cp3(\d+)-", wheel.name)[1]


def of_these_sources(wheel):
    """Whether the wheel's Python files are those of this folder."""
    with zipfile.ZipFile(wheel) as archive:
        return all((ROOT / name).is_file() and archive.read(name) == (ROOT / name).read_bytes()
                   for name in archive.namelist() if name.startswith("bertpass/") and name.endswith(".py"))


pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not WHEELS or not all(map(of_these_sources, WHEELS)),
    reason="there is no wheel of these sources in dist/: make wheel, then make test-wheel")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, and its vectors as this folder's build computes them."""
    folder = tmp_path_factory.mktemp("made")
    checkpoint = tiny(vocab_size=len(WORDS), head="mean_norm")
    checkpoint.tokenizer = Tokenizer.from_wordpiece(WORDS, lower=True)
    huggingface.write_folder(folder / "model", checkpoint)
    packed.write(folder / "model.safetensors", checkpoint, "float32")
    return folder, bertpass.load(folder / "model", dtype="float32", threads=1).encode(TEXTS)


@pytest.fixture(scope="module", params=HERE, ids=tag)
def bare(request, tmp_path_factory):
    """Folder of an environment in which only this wheel, its server and pip are installed, from wheels alone."""
    python = shutil.which(f"python3.{tag(request.param)}")
    if not python:
        pytest.skip(f"there is no python3.{tag(request.param)} in PATH; add its folder to PATH")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-I", "-m", "pip", "install", "--disable-pip-version-check", "-q",
                    "--only-binary=:all:", f"bertpass[serve] @ {request.param.as_uri()}"], check=True)
    return folder / "bin"


def environment(folder, home):
    return {"PATH": str(folder), "HOME": str(home)}


def test_load_and_encode(bare, made, tmp_path):
    folder, wanted = made
    for name in ("model", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    done = subprocess.run([bare / "python", "-c", PROGRAM], cwd=tmp_path, env=environment(bare, tmp_path),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "interleave_qkv" in done.stdout
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), wanted, rtol=0, atol=2e-6)
    done = subprocess.run([bare / "bertpass", "embed", "model", *TEXTS, "--dtype", "float32", "--output", "again.npy"],
                          cwd=tmp_path, env=environment(bare, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "again.npy"), wanted, rtol=0, atol=2e-6)


def test_serve(bare, made, tmp_path):
    folder, wanted = made
    server = subprocess.Popen([bare / "bertpass", "serve", folder / "model", "--port", "0", "--dtype", "float32"],
                              cwd=tmp_path, env=environment(bare, tmp_path), stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        for line in server.stderr:
            said += line
            if address := re.search(r"listening at (http://[\w.:]+)", line):
                break
        else:
            pytest.fail(said)
        while server.poll() is None:
            try:
                urllib.request.urlopen(address[1] + "/ready", timeout=10).close()
                break
            except urllib.error.HTTPError as error:
                assert error.code == 503
        request = urllib.request.Request(address[1] + "/embed", json.dumps({"inputs": TEXTS}).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            np.testing.assert_allclose(json.load(answer), wanted, rtol=0, atol=2e-6)
    finally:
        server.terminate()
        server.stderr.read()
        assert server.wait(30) == 0


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name)
def test_what_a_wheel_holds(wheel):
    """Four libraries that need glibc alone, of the lowest version in the wheel's name or older, and no sources."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    libraries = [name for name in names if name.endswith(".so")]
    assert len(libraries) == 4 and {"bertpass/bertpass_lib.so", "bertpass/libbertpass.so"} < set(libraries)
    assert "bertpass/py.typed" in names and "bertpass/include/bertpass.h" in names
    assert not [name for name in names if name.startswith("bertpass/csrc") or name.startswith("tests")]
    glibc = min(map(int, re.findall(r"manylinux_2_(\d+)_", wheel.name)))
    with zipfile.ZipFile(wheel) as archive:
        for name in libraries:
            data = archive.read(name)
            assert max(map(int, re.findall(rb"\0GLIBC_2\.(\d+)", data))) <= glibc, name
            assert b"libstdc++.so" not in data and b"libgcc_s.so" not in data and b"libpython" not in data, name


def test_what_the_source_archive_holds():
    (archive,) = (ROOT / "dist").glob(f"bertpass-{bertpass.__version__}.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    tracked = {str(file.relative_to(ROOT)) for file in (ROOT / "bertpass").rglob("*")
               if file.suffix in (".py", ".cc", ".h", ".map", ".cu")}
    assert tracked <= names and {"LICENSE", "README.md", "setup.py", "pyproject.toml"} <= names
