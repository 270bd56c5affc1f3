"""bertpass export on a fine-tuned model: the files give its answers, and what cannot be written is a sentence."""

import numpy as np
import pytest

import bertpass
from bertpass.commands.main import main
from bertpass.jobs.deployment import export
from tests.helpers import toy

TEXTS = ["a good film", "a bad film", "it is not good at all, it is bad"]


def run(*words):
    return main(toy.strings("export", *words))


def batch(model):
    rows = model.tokenizer.encode(TEXTS, max_length=48)
    ids = np.zeros((len(rows), max(len(row.ids) for row in rows)), np.int32)
    for place, row in enumerate(rows):
        ids[place, :len(row.ids)] = row.ids
    return ids, np.zeros_like(ids), np.array([len(row.ids) for row in rows], np.int32)


@pytest.mark.parametrize(("file", "flags", "packages"), [
    ("model.onnx", [], ("onnx", "onnxruntime")), ("fused.onnx", ["--fused"], ("onnx", "onnxruntime")),
    ("half.onnx", ["--fused", "--dtype", "float16"], ("onnx", "onnxruntime")),
    ("model.xml", [], ("onnx", "openvino")), ("model.pt", [], ("torch",))])
def test_a_classifier(file, flags, packages, sst, tmp_path, capsys):
    for package in packages:
        pytest.importorskip(package, reason=f"pip install {package} to test files with the ending of {file}")
    target = tmp_path / "new" / file
    assert run(sst / "bundle", target, *flags) == 0
    out = capsys.readouterr().out
    assert f"wrote {target}" in out and "largest difference" in out
    assert {f.suffix for f in target.parent.iterdir()} == {target.suffix} | ({".bin"} if file == "model.xml" else set())
    if flags:
        assert " 2 Attention" in out and "1 EmbedLayerNormalization" in out and "opset 20 and com.microsoft" in out
    model = bertpass.load(str(sst / "bundle"), engine="native", dtype="float32")
    ((found,),) = export.format_of(target).run(target, [batch(model)])
    difference, half = np.abs(found - model.engine.forward(*batch(model))[0]).max(), "float16" in flags
    assert found.dtype == np.float32 and (1e-6 < difference <= 1e-2 if half else difference <= 1e-4)
    assert not half or "com.microsoft, float16" in out


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (["minilm", "model"], 2, "its ending says what to write: .onnx (ONNX)"),
    (["minilm", "model.pt", "--fused"], 2, "--fused is for ONNX files"),
    (["minilm", "model.pt", "--dtype", "float16"], 2, "--dtype float16 is for ONNX files"),
    (["minilmm", "{tmp}/model.onnx"], 4, "Did you mean 'minilm'"),
    (["minilm", "/dev/null/x/model.onnx"], 2, "--output"),
    (["minilm"], 2, "OUTPUT is needed"),
])
def test_bad_words(words, code, sentence, tmp_path, capsys):
    assert run(*(word.format(tmp=tmp_path) for word in words)) == code
    assert sentence in capsys.readouterr().err


def test_a_missing_package_names_its_extra(sst, tmp_path, capsys, monkeypatch):
    real = export.require

    def require(module, extra):
        if module == "onnxruntime":
            raise export.MissingDependencyError("onnxruntime is not installed; pip install '.[onnxruntime]'.")
        return real(module, extra)

    pytest.importorskip("onnx", reason="pip install onnx to write ONNX files")
    monkeypatch.setattr(export, "require", require)
    assert run(sst / "bundle", tmp_path / "model.onnx") == 0  # written, though nothing here can run it
    assert "note: not run: onnxruntime is not installed" in capsys.readouterr().err
    monkeypatch.setattr("bertpass.model.onnx.graph.require", lambda module, extra: real("no_such_package", extra))
    assert run(sst / "bundle", tmp_path / "other.onnx") == 6
    assert "pip install '.[onnx]'" in capsys.readouterr().err and not (tmp_path / "other.onnx").exists()


def test_wrong_outputs_are_not_kept(sst, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime", reason="pip install onnxruntime to run ONNX files")
    (tmp_path / "model.onnx").write_text("what was here before")
    form = export.FORMATS[".onnx"]

    def run_wrongly(path, batches):
        return [[array + 0.01 for array in outputs] for outputs in form.run(path, batches)]

    monkeypatch.setitem(export.FORMATS, ".onnx", export.Format(form.name, form.save, run_wrongly))
    assert run(sst / "bundle", tmp_path / "model.onnx") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(sst / "bundle", tmp_path / "model.onnx", "--overwrite") == 4
    assert "differ by 1.0e-02 from the native engine's" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_text() == "what was here before" and len(list(tmp_path.iterdir())) == 1
