"""Files that cannot say what they are: the bundle beside them speaks, else a person, else they are refused."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest

import bertpass
from bertpass.commands.files import convert, export, pack
from bertpass.commands.production import batch
from bertpass.commands.start import embed, info
from bertpass.errors import ModelError, UsageError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.export import export_bundle
from bertpass.model.given import Given
from bertpass.model.layouts import gluonnlp, huggingface
from bertpass.options import parser_for
from bertpass.serving.options import ServeOptions

TEXTS = ["the film is good", "The Film is unable, w1 w2 w3 w4 w5 w6 w7 w8 w9"]
KINDS = ["classification", "regression", "multilabel", "ranking", "tokens", "qa", "none"]


def ours(path, **arguments):
    return bertpass.load(path, engine="native", dtype="float32", threads=1, **arguments)


def written(folder, checkpoint):
    """A net.params with its net.vocab, and the bundle beside it, as fine-tuning writes them."""
    folder.mkdir(exist_ok=True)
    gluonnlp.write(folder / "net.params", checkpoint)
    checkpoint.tokenizer.save_gluonnlp_vocab(folder / "net.vocab")
    export_bundle(checkpoint, folder / "bundle")
    return folder / "net.params"


def says(model):
    return model.head, model.labels, model.max_length, model.tokenizer.lower, model.config.num_heads


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_beside_a_file_speaks(tmp_path, tiny, kind, family):
    """Also where a vocabulary stands beside both; the case is that of the bundle, not what the words look like."""
    checkpoint = dataclasses.replace(tiny(family, kind), max_length=11)
    checkpoint.tokenizer = checkpoint.tokenizer.with_lower(False)
    path = written(tmp_path, checkpoint)
    for file in (path, tmp_path / "bundle" / "model-0000.params"):
        model, wanted = ours(file), ours(tmp_path / "bundle")
        assert says(model) == says(wanted) and not model.notes
        assert np.array_equal(np.concatenate(model.run(model.tokenizer.encode(TEXTS)), axis=0),
                              np.concatenate(wanted.run(wanted.tokenizer.encode(TEXTS)), axis=0))


def test_a_bundle_of_another_model_says_nothing(tmp_path, tiny):
    path = written(tmp_path, tiny())
    gluonnlp.write(path, tiny(kind="multilabel", num_layers=1))
    with pytest.raises(ModelError, match="give --num_heads"):
        ours(path)


@pytest.mark.parametrize("name", ["bert_12_768_12.params", "bert_24_1024_16_book_corpus_wiki_en_cased-1.params",
                                  "epoch 2.params", "link.params"])
def test_whatever_the_file_beside_the_bundle_is_called(tmp_path, tiny, name):
    """Also like a published encoder, whose heads and case a name says; the bundle knows better."""
    path = written(tmp_path, dataclasses.replace(tiny(kind="regression"), max_length=11))
    (tmp_path / name).symlink_to(path) if name == "link.params" else shutil.copy(path, tmp_path / name)
    assert says(ours(tmp_path / name)) == says(ours(tmp_path / "bundle")) and not ours(tmp_path / name).notes


def test_flags_go_before_the_bundle_beside_a_file(tmp_path, tiny):
    path = written(tmp_path, tiny(kind="regression"))
    model = ours(path, kind="ranking", max_length=7, case="cased")
    assert says(model) == (HeadConfig("ranking"), [], 7, False, 4)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 999}', ""])
def test_a_damaged_bundle_beside_a_file_is_not_passed_over(tmp_path, tiny, content):
    path = written(tmp_path, tiny())
    (tmp_path / "bundle" / "bundle.json").write_text(content)
    with pytest.raises(ModelError, match=r"bundle\.json"):
        ours(path, num_heads=4, kind="classification")


def alone(folder, checkpoint):
    path = written(folder, checkpoint)
    shutil.rmtree(folder / "bundle")
    return path


@pytest.mark.parametrize("kind, words", [("regression", r"of 1 output and .* --kind \(regression, ranking\)"),
                                         ("multilabel", r"of 3 outputs and .* --kind \(classification, multilabel")])
def test_a_classifier_that_does_not_say_its_kind(tmp_path, tiny, kind, words):
    path = alone(tmp_path, tiny(kind=kind))
    with pytest.raises(ModelError, match=words):
        ours(path, num_heads=4)


@pytest.mark.parametrize("kind", ["regression", "ranking", "multilabel", "classification"])
def test_a_kind_that_is_given(tmp_path, tiny, kind):
    """Value, sigmoid, sigmoids and softmax of the same logits."""
    checkpoint = tiny(kind=kind)
    model = ours(alone(tmp_path, checkpoint), num_heads=4, kind=kind, case="uncased",
                 labels=checkpoint.labels or [], max_length=20)
    logits = model.run(model.tokenizer.encode(TEXTS, max_length=20))
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = {"regression": logits, "ranking": probability, "multilabel": probability, "classification": softmax}[kind]
    for found, row in zip(model.predict(TEXTS), wanted, strict=True):
        assert np.allclose([found.score] if len(row) == 1 else list(found.scores.values()), row, atol=1e-6)
        assert list(found.scores) == (checkpoint.labels or [])
    assert all("assumed: activation gelu." in note for note in model.notes)


def test_one_output_never_goes_through_a_softmax(tmp_path, tiny):
    path = alone(tmp_path, tiny(kind="regression"))
    for kind in ("classification", "multilabel"):
        with pytest.raises(ModelError, match=f"of 1 output and cannot be of kind {kind}"):
            ours(path, num_heads=4, kind=kind)
    huggingface.write_folder(tmp_path / "folder", tiny(kind="regression"))
    with pytest.raises(UsageError, match="has one output"):
        ours(tmp_path / "folder", kind="classification")


def test_what_was_assumed_is_told(tmp_path, tiny, caplog):
    path = alone(tmp_path, tiny(kind="multilabel"))
    with caplog.at_level(logging.WARNING, logger="bertpass"):
        model = ours(path, num_heads=4, kind="multilabel")
    told = f"{path} does not say these, so they were assumed: activation gelu, texts cut at its 24 positions " \
        "(--max_length), text put into lower case (--case), labels LABEL_0 to LABEL_2 (--labels)."
    assert model.notes == [told] and caplog.messages == [told]
    assert list(model.predict(TEXTS[0]).scores) == ["LABEL_0", "LABEL_1", "LABEL_2"]


COMMANDS = (embed.EmbedOptions, info.InfoOptions,
            convert.ConvertOptions, pack.PackOptions, export.ExportOptions, batch.BatchOptions, ServeOptions)


@pytest.mark.parametrize("options", COMMANDS, ids=lambda each: each.__name__)
def test_every_command_has_the_same_flags(options):
    flags = {name for action in parser_for(options, "")._actions for name in action.option_strings}
    assert {f"--{field.name}" for field in dataclasses.fields(Given)} <= flags


def test_commands_honour_the_flags(tmp_path, tiny, capsys):
    path = alone(tmp_path, tiny(kind="regression"))
    flags = ["--num_heads", "4", "--case", "uncased", "--max_length", "20"]
    assert convert.main([str(path), str(tmp_path / "out"), *flags]) == 4
    assert "give --kind (regression, ranking)" in capsys.readouterr().err
    flags += ["--kind", "ranking"]
    assert convert.main([str(path), str(tmp_path / "out"), *flags]) == 0
    assert "note: " in capsys.readouterr().err
    assert pack.main([str(path), str(tmp_path / "out.safetensors"), "--dtype", "float32", *flags]) == 0
    assert "note: " in capsys.readouterr().err
    for name in ("out", "out.safetensors"):
        assert says(ours(tmp_path / name)) == (HeadConfig("ranking"), [], 20, True, 4)


@pytest.mark.parametrize("flag, value", [("vocab", "net.vocab"), ("num_heads", 4), ("case", "cased")])
def test_flags_of_files_are_for_files(tmp_path, tiny, flag, value):
    huggingface.write_folder(tmp_path / "folder", tiny())
    with pytest.raises(UsageError, match=rf"--{flag} .*: that is for a \.params file"):
        ours(tmp_path / "folder", **{flag: value})


@pytest.mark.parametrize("kind, arguments, words", [
    ("classification", {"labels": ["a", "b"]}, "has 3 outputs; give as many different names"),
    ("classification", {"labels": ["a", "a", "b"]}, "has 3 outputs; give as many different names"),
    ("regression", {"labels": ["a"]}, "has no outputs with names"),
    ("classification", {"kind": "ranking"}, "has 3 outputs and a ranking has one"),
    ("qa", {"kind": "tokens"}, "has the weights of a 'qa' head"),
    ("none", {"kind": "regression"}, "has the weights of a 'none' head"),
    ("none", {"max_length": 25}, "has 24 positions"),
    ("none", {"max_length": 2}, "must be at least 3"),
    ("none", {"kind": "embeddings"}, "Did you mean 'embedding'"),
    ("none", {"case": "lower"}, "not one of uncased, cased"),
])
def test_what_does_not_fit(tmp_path, tiny, kind, arguments, words):
    huggingface.write_folder(tmp_path / "folder", tiny(kind=kind))
    with pytest.raises(UsageError, match=words):
        ours(tmp_path / "folder", **arguments)


def test_a_person_may_say_otherwise(tmp_path, tiny):
    """Of any model: what its outputs are, what they are called, where texts are cut."""
    huggingface.write_folder(tmp_path / "folder", tiny(kind="regression"))
    model = ours(tmp_path / "folder", kind="ranking", max_length=9)
    ranked = model.rerank(TEXTS[0], TEXTS)
    assert model.max_length == 9 and all(0 < each.score < 1 for each in ranked)
    huggingface.write_folder(tmp_path / "three", tiny(kind="classification"))
    model = ours(tmp_path / "three", kind="multilabel", labels=["x", "y", "z"])
    assert list(model.predict(TEXTS[0]).scores) == ["x", "y", "z"]
    huggingface.write_folder(tmp_path / "states", tiny(kind="none"))
    assert np.allclose(ours(tmp_path / "states", kind="embedding").encode(TEXTS),
                       ours(tmp_path / "states").encode(TEXTS), atol=1e-6)


def test_jobs_take_the_kind_of_their_task_for_files_alone(tmp_path, tiny):
    """Fine-tuning must not read a folder's classifier as one of another kind."""
    huggingface.write_folder(tmp_path / "folder", tiny(kind="classification"))
    assert load_checkpoint(tmp_path / "folder", job="multilabel").head.kind == "classification"


@pytest.mark.parametrize("kind, job, found", [
    ("classification", "qa", "classification"), ("classification", "none", "classification"),
    ("multilabel", "multilabel", "multilabel"), ("regression", "tokens", "regression"),
    ("regression", "classification", "regression"), ("ranking", "ranking", "ranking"), ("qa", "classification", "qa")])
def test_a_job_says_what_a_classifier_counts_as(tmp_path, tiny, kind, job, found):
    """Alone, and beside the bundle of another model: the job replaces the head or refuses it in its own words."""
    path = alone(tmp_path / "alone", tiny(kind=kind))
    assert load_checkpoint(path, num_heads=4, job=job).head.kind == found
    path = written(tmp_path / "other", tiny())
    gluonnlp.write(path, tiny(kind=kind, num_layers=1))
    assert load_checkpoint(path, num_heads=4, job=job).head.kind == found


def test_a_bundle_goes_before_the_job(tmp_path, tiny):
    assert load_checkpoint(written(tmp_path, tiny(kind="multilabel")), job="classification").head.kind == "multilabel"
