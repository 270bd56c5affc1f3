"""Bundles: what is saved is read again, faults are named before weights are read, folders of others are safe."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from bertpass.errors import ModelError, UsageError
from bertpass.model import nets
from bertpass.model.export import export_bundle, network
from bertpass.model.files import folders, params_file
from bertpass.model.layouts.bundle import Bundle
from tests.helpers.tiny_models import ON_MXNET, ragged_batch, run, same_arrays


@pytest.mark.parametrize("kind", ["classification", "tokens", "ranking", "qa", "embedding", "none"])
@pytest.mark.parametrize("family", ON_MXNET)
def test_there_and_back(tmp_path, tiny, family, kind):
    checkpoint = dataclasses.replace(tiny(family, kind), max_length=16, pairs=kind == "ranking")
    bundle = export_bundle(checkpoint, tmp_path / "b", task="SST", metrics={"accuracy": 0.9})
    again = Bundle.open(tmp_path / "b")
    assert again == bundle and (again.task, again.metrics, again.max_length) == ("SST", {"accuracy": 0.9}, 16)
    back = again.checkpoint()
    assert (back.head, back.labels, back.max_length, back.pairs) == (
        checkpoint.head, checkpoint.labels, 16, kind == "ranking")
    assert back.tokenizer.tokens == checkpoint.tokenizer.tokens
    assert back.config.dropout == checkpoint.config.dropout
    same_arrays(back.params, {name: checkpoint.params[name] for name in back.params})
    left_out = set(checkpoint.params) - set(back.params)
    assert left_out == ({"bert.pooler.weight", "bert.pooler.bias"} if family == "bert" and kind in ("embedding", "none")
                        else set())
    batch = ragged_batch(family)
    from bertpass.mx import mx

    block = mx.gluon.SymbolBlock.imports(str(again.symbol_path), list(again.inputs), str(again.params_path))
    assert np.array_equal(run(block, again.config, *batch)[0], run(network(back), back.config, *batch)[0])
    same_arrays(again.parameters(mmap=True), again.parameters())


def test_half_precision(tmp_path, tiny):
    checkpoint = tiny()
    bundle = export_bundle(checkpoint, tmp_path / "b", dtype="float16")
    assert bundle.dtype == "float16"
    for name, array in bundle.parameters().items():
        assert np.array_equal(array, checkpoint.params[name].astype("float16"))
    with pytest.raises(UsageError, match="dtype must be one of"):
        export_bundle(checkpoint, tmp_path / "c", dtype="int8")


def test_opening_does_not_start_mxnet(tmp_path, tiny):
    export_bundle(tiny(), tmp_path / "b")
    code = ("import sys; from bertpass.model.checkpoint import load_checkpoint; "
            f"load_checkpoint({str(tmp_path / 'b')!r}); assert 'mxnet' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def edit(**fields):
    def apply(folder):
        content = json.loads((folder / "bundle.json").read_text())
        content.update(fields)
        (folder / "bundle.json").write_text(json.dumps(content))
    return apply


def drop(field):
    def apply(folder):
        content = json.loads((folder / "bundle.json").read_text())
        content.pop(field)
        (folder / "bundle.json").write_text(json.dumps(content))
    return apply


def edit_graph(old, new):
    return lambda f: (f / "model-symbol.json").write_text((f / "model-symbol.json").read_text().replace(old, new))


def edit_params(change):
    def apply(folder):
        arrays = params_file.read(folder / "model-0000.params")
        change(arrays)
        params_file.write(folder / "model-0000.params", arrays)
    return apply


BIAS = "arg:classifier.1.bias"
FAULTS = {
    "no description": (lambda f: (f / "bundle.json").unlink(), "has no bundle.json"),
    "no graph": (lambda f: (f / "model-symbol.json").unlink(), "has no model-symbol.json"),
    "no weights": (lambda f: (f / "model-0000.params").unlink(), "has no model-0000.params"),
    "description not JSON": (lambda f: (f / "bundle.json").write_text("{"), "not valid JSON"),
    "description not text": (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe\0"), "not valid JSON"),
    "description a list": (lambda f: (f / "bundle.json").write_text("[]"), "not the description of a bundle"),
    "another format": (edit(format="zip"), "not the description of a bundle"),
    "a later version": (edit(format_version=2), "format version 2; this bertpass reads version 1"),
    "no encoder": (drop("config"), "lacks config"),
    "encoder not an object": (edit(config=3), "must be an object"),
    "impossible encoder": (edit(config={"num_heads": 5}), "multiple of num_heads"),
    "unknown head": (edit(head={"kind": "crf"}), "unknown head 'crf'"),
    "other inputs": (edit(inputs=["data0"]), "inputs must be"),
    "length beyond positions": (edit(max_length=99), "max_length must be from 3 to 24"),
    "length not a number": (edit(max_length="long"), "max_length must be"),
    "too few labels": (edit(labels=["yes"]), "labels must be a list of 3 names"),
    "labels not names": (edit(labels=[1, 2, 3]), "labels must be"),
    "metrics not an object": (edit(metrics=[0.9]), "metrics an object"),
    "another dtype": (edit(dtype="float16"), "holds float32 values and bundle.json says float16"),
    "another head": (edit(head={"kind": "qa"}, labels=None), "does not use 'span_classifier.weight'"),
    "graph not JSON": (lambda f: (f / "model-symbol.json").write_text("graph"), "not valid JSON"),
    "graph without nodes": (lambda f: (f / "model-symbol.json").write_text("{}"), "not an exported graph"),
    "graph of another model": (edit_graph("classifier.1.bias", "x"), "does not use 'classifier.1.bias'"),
    "graph with more": (edit_graph('"nodes": [', '"nodes": [{"op": "null", "name": "mask", "inputs": []},'),
                        "uses 'mask', which is neither"),
    "graph without input": (edit_graph('"data1"', '"data7"'), "does not use 'data1'"),
    "weights cut off": (lambda f: (f / "model-0000.params").write_bytes((f / "model-0000.params").read_bytes()[:-500]),
                        "are due|bytes left"),
    "weight missing": (edit_params(lambda a: a.pop(BIAS)), "'classifier.1.bias' is missing"),
    "weight misshapen": (edit_params(lambda a: a.update({BIAS: a[BIAS][:2]})), "has shape"),
    "weight too many": (edit_params(lambda a: a.update({"arg:x": a[BIAS]})), "'x' is not part"),
}


@pytest.mark.parametrize("spoil, words", FAULTS.values(), ids=FAULTS)
def test_faulty_bundles(tmp_path, tiny, spoil, words):
    folder = tmp_path / "b"
    export_bundle(tiny(), folder)
    spoil(folder)
    with pytest.raises(ModelError, match=words) as caught:
        Bundle.open(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_no_tokenizer(tmp_path, tiny):
    checkpoint = tiny()
    bundle = export_bundle(checkpoint, tmp_path / "b")
    for name in ("tokenizer.json", "vocab.txt"):
        (bundle.path / name).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="tokenizer"):
        bundle.tokenizer()
    with pytest.raises(ModelError, match="needs a tokenizer"):
        export_bundle(dataclasses.replace(checkpoint, tokenizer=None), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_bundle_is_replaced_whole_or_not_at_all(tmp_path, tiny, monkeypatch):
    folder = tmp_path / "b"
    first = export_bundle(tiny(seed=1), folder, metrics={"run": 1})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fails(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bertpass.model.layouts.bundle.write_json", fails)
        with pytest.raises(ModelError, match="No space left"):
            export_bundle(tiny(seed=2), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    export_bundle(tiny(seed=2), folder, metrics={"run": 2})
    assert Bundle.open(folder).metrics == {"run": 2} and first.metrics == {"run": 1}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_old_folder_survives_a_failing_rename(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mark").write_text("old")
    rename = folders.os.rename

    def interrupted(source, target):
        if source.name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(folders.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), folders.replacing(tmp_path / "x", "mark", "a test") as fresh:
        (fresh / "mark").write_text("new")
    assert (tmp_path / "x" / "mark").read_text() == "old"


def test_folders_of_others_are_not_overwritten(tmp_path, tiny):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("dear")
    for target in (tmp_path / "photos", tmp_path / "photos" / "a.jpg"):
        with pytest.raises(ModelError, match=r"is a file|is not empty and is not a bundle"):
            export_bundle(tiny(), target)
    assert (tmp_path / "photos" / "a.jpg").read_text() == "dear"
    with pytest.raises(ModelError, match="there is no bundle"):
        Bundle.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert export_bundle(tiny(), tmp_path / "empty").task is None


def test_saving_checks_that_graph_and_weights_belong_together(tmp_path, tiny):
    checkpoint, other = tiny(), tiny(kind="qa")
    with pytest.raises(ModelError, match=r"does not use 'bert\.pooler\.weight'; it is not the graph"):
        Bundle.save(tmp_path / "b", checkpoint, nets.symbol(network(other)))
    checkpoint.params.pop("classifier.1.bias")
    with pytest.raises(ModelError, match=r"'classifier\.1\.bias' is missing"):
        Bundle.save(tmp_path / "b", checkpoint, nets.symbol(network(tiny())))
    assert not (tmp_path / "b").exists()
