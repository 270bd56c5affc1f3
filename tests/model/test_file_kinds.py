"""Messages look at the file: pointers, web pages and archives under a model's names; prefixes of tensors."""

import json
import zipfile

import numpy as np
import pytest

from bertpass.errors import ModelError
from bertpass.file_kinds import looks_like
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.files import tensors
from bertpass.model.layouts import gluonnlp, huggingface
from bertpass.model.layouts.huggingface import read_folder, write_folder
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.tiny_models import same_arrays

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 133466304\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", "x")
    return path.read_bytes()


STARTS = {
    "pointer": (POINTER, r"a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"),
    "page": (PAGE, r"a web page \(HTML\)"), "bare page": (b"<html>no</html>", r"a web page \(HTML\)"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML, perhaps an error of the server"),
    "empty": (b"", "is empty"), "zeros": (bytes(4000), "begins with zeros"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "compressed with gzip"), "zstd": (b"\x28\xb5\x2f\xfdrest", "with zstd"),
    "json": (b'{"error": "Repository not found"}', "it is JSON"), "hdf5": (b"\x89HDF\r\n\x1a\nrest", "an HDF5 file"),
    "gguf": (b"GGUF\x03\x00\x00\x00rest", "a GGUF file"), "zip": (None, "a zip archive"),
}


@pytest.mark.parametrize("name", list(STARTS))
@pytest.mark.parametrize("file", ["model.safetensors", "net.params"])
def test_weights(tmp_path, tiny, name, file):
    content, words = STARTS[name]
    write_folder(tmp_path / "folder", tiny())
    path = tmp_path / "folder" / file
    path.write_bytes(archive(tmp_path / "x.zip") if content is None else content)
    with pytest.raises(ModelError, match=words) as caught:
        load_checkpoint(path if file == "net.params" else tmp_path / "folder")
    assert str(path) in str(caught.value) and "header" not in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_format(tmp_path, tiny):
    """One format under the other's name."""
    write_folder(tmp_path / "folder", tiny())
    gluonnlp.write(tmp_path / "net.params", tiny())
    (tmp_path / "net2.params").write_bytes((tmp_path / "folder" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="it is a safetensors file"):
        load_checkpoint(tmp_path / "net2.params")
    (tmp_path / "folder" / "model.safetensors").write_bytes((tmp_path / "net.params").read_bytes())
    with pytest.raises(ModelError, match="it is an MXNet parameter file"):
        read_folder(tmp_path / "folder")


def test_weights_whose_download_was_stopped(tmp_path, tiny):
    write_folder(tmp_path / "folder", tiny())
    path = tmp_path / "folder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ModelError, match=r"it is cut off or damaged .*; fetch it again"):
        read_folder(tmp_path / "folder")


@pytest.mark.parametrize("file", ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize("name", ["pointer", "page", "empty"])
def test_settings(tmp_path, tiny, file, name):
    content, words = STARTS[name]
    write_folder(tmp_path / "folder", tiny(kind="embedding"))
    (tmp_path / "folder" / file).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_folder(tmp_path / "folder")


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("name", ["pointer", "page", "empty", "zeros"])
def test_files_of_a_tokenizer(tmp_path, vocab_folder, file, name):
    content, words = STARTS[name]
    (vocab_folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=words.replace("begins with zeros", "is no text|begins with zeros")) as caught:
        Tokenizer.from_folder(vocab_folder)
    assert str(vocab_folder / file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pointer", "page", "empty", "zeros", "zip"])
def test_a_vocabulary_of_gluonnlps(tmp_path, tiny, name):
    content, words = STARTS[name]
    gluonnlp.write(tmp_path / "net.params", tiny(kind="none"))
    (tmp_path / "net.vocab").write_bytes(archive(tmp_path / "x.zip") if content is None else content)
    with pytest.raises(ModelError, match=words):
        load_checkpoint(tmp_path / "net.params", num_heads=4)


@pytest.mark.parametrize("file", ["vocab.json", "merges.txt"])
def test_files_of_byte_level_bpe(tmp_path, file):
    (tmp_path / "vocab.json").write_text('{"<s>": 0, "a": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / file).write_bytes(POINTER)
    with pytest.raises(ModelError, match=rf"{file} cannot be read as BPE: it is a pointer of Git LFS"):
        Tokenizer.from_folder(tmp_path)


def test_pickles_that_are_none(tmp_path, tiny):
    pytest.importorskip("torch", reason="pip install 'bertpass[reference]' for pickles")
    write_folder(tmp_path / "folder", tiny())
    (tmp_path / "folder" / "model.safetensors").unlink()
    (tmp_path / "folder" / "pytorch_model.bin").write_bytes(POINTER)
    with pytest.raises(ModelError, match="a pointer of Git LFS"):
        read_folder(tmp_path / "folder", allow_pickle=True)


def test_what_is_not_known(tmp_path):
    (tmp_path / "x").write_bytes(b"hello there")
    assert looks_like(tmp_path / "x") == "" and looks_like(tmp_path / "absent") == ""


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "0.auto_model.",
                                     "_orig_mod.module."])
@pytest.mark.parametrize("inner", ["", "bert."])
def test_what_training_tools_put_in_front(tmp_path, tiny, wrapper, inner):
    checkpoint = tiny(kind="none")
    write_folder(tmp_path / "folder", checkpoint)
    found = tensors.read(tmp_path / "folder")
    tensors.write(tmp_path / "folder" / "model.safetensors", {wrapper + inner + name: array
                                                             for name, array in found.items()})
    again = read_folder(tmp_path / "folder")
    same_arrays(again.params, checkpoint.params)
    assert f"are all called {wrapper}...; that was left out" in again.notes[0]


def test_a_prefix_that_is_not_known_is_named(tmp_path, tiny):
    write_folder(tmp_path / "folder", tiny(kind="none"))
    found = tensors.read(tmp_path / "folder")
    tensors.write(tmp_path / "folder" / "model.safetensors", {f"student.{name}": each for name, each in found.items()})
    with pytest.raises(ModelError, match=r"it has 'student\..*or something is in front of the names"):
        read_folder(tmp_path / "folder")


@pytest.mark.parametrize("family, key, value", [
    ("bert", "num_hidden_layers", "2"), ("bert", "hidden_size", 0), ("bert", "intermediate_size", -1),
    ("bert", "num_attention_heads", 5), ("bert", "max_position_embeddings", 1.5), ("bert", "hidden_dropout_prob", 2),
    ("bert", "type_vocab_size", None), ("distilbert", "n_layers", True), ("distilbert", "dim", "x"),
    ("distilbert", "n_heads", 5), ("roberta", "layer_norm_eps", "small")])
def test_faults_of_config_json_have_its_own_words(tmp_path, tiny, family, key, value):
    write_folder(tmp_path / "folder", tiny(family, "none"))
    path = tmp_path / "folder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    if value is None:  # as if it were not there
        assert np.isfinite(read_folder(tmp_path / "folder").params["bert.pooler.bias"]).all()
        return
    with pytest.raises(ModelError, match=rf"config\.json: .*\b{key}\b"):
        huggingface.read_folder(tmp_path / "folder")
