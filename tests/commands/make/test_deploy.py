"""deploy.py from end to end: the deployed pair, its passes, its figures, single use."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from bertpass.base.paths import PACKAGE
from bertpass.commands.make import deploy
from bertpass.jobs.deployment.plan import Plan
from bertpass.jobs.deployment.workload import RowSettings
from bertpass.model.files import params_file
from bertpass.model.layouts import huggingface
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy

SENTENCES = ["the film was good", "a very dull plot and scene"]


@pytest.fixture(scope="module")
def on_sst(data):
    """Run deploy.py on the toy SST files; gives its exit code."""
    def run(*argv):
        return deploy.main(toy.deploy("--task", "SST", "--data_dir", data / "glue", *argv))
    return run


def predictions(folder):
    return (folder / "predictions.tsv").read_text()


def test_writes_the_pair_the_bundle_and_the_figures(deployed):
    names = sorted(p.name for p in (deployed / "SST").iterdir())
    assert names == ["SST-0000.params", "SST-symbol.json", "bundle", "predictions.tsv", "result.json"]
    assert Bundle.open(deployed / "SST" / "bundle").task == "SST"


def test_result_says_all_that_matters(deployed, sst):
    result = toy.result(deployed / "SST", "result.json")
    assert (result["task"], result["batch_size"], result["iterations"], result["sequences"], result["complete"]) == \
        ("SST", 16, 3, toy.DEV, True)
    assert 0 < result["latency_ms"]["least"] <= result["latency_ms"]["p50"] <= result["latency_ms"]["p90"] \
        <= result["latency_ms"]["p99"] and result["latency_ms"]["mean"] > 0
    assert result["throughput_samples_per_s"] > result["throughput_with_data_loading"] > 0
    assert result["metrics"] == toy.result(sst, "metrics.json")["metrics"]
    passes = {entry["name"]: entry for entry in result["settings"]["passes"]["passes"]}
    assert passes["native_encoder"]["rewrites"] == 1 and passes["mkldnn"]["rewrites"] > 0
    assert result["settings"]["passes"]["library"] == str(toy.LIBRARY)
    assert {"bertpass", "mxnet", "gluonnlp", "numpy"} - set(result["versions"]) <= {"bertpass"}  # if not installed
    assert result["settings"]["device"] == "cpu(0)" and result["settings"]["dtype"] == "float32"
    assert result["settings"]["threads"] >= 1 and "OMP_NUM_THREADS" in result["settings"]["environment"]
    assert result["machine"]["cpu"] and result["command"]


def test_compare_shows_ratio_and_difference(deployed, on_sst, sst, tmp_path, capsys):
    compared = toy.result(deployed / "SST", "result.json")["compare"]
    assert compared["ratio_of_median_latency"] > 0 and 0 <= compared["max_output_difference"] <= 1e-5
    assert compared["plain"]["latency_ms"]["count"] == 3
    assert on_sst("--model_parameters", sst / "net.params", "--compare", "--output_dir", tmp_path) == 0
    out = capsys.readouterr().out
    for words in ("BatchSize=16, NumberIterations=3", "Throughput=", "Average Latency=", "accuracy", "ratio",
                  "largest difference"):
        assert words in out


def test_only_the_plan_sees_the_flags():
    """Below :mod:`bertpass.jobs.deployment.plan` the work takes what the plan chose, which nobody can change."""
    rooms = [file for file in (PACKAGE / "jobs").rglob("*.py") if "DeployOptions" in file.read_text(encoding="utf-8")]
    assert {f"{file.parent.name}/{file.stem}" for file in rooms} == {
        "deployment/options", "deployment/plan", "deployment/deploy"}
    assert Plan.__dataclass_params__.frozen and RowSettings.__dataclass_params__.frozen


def test_the_library_and_the_core_write_the_same_files(deployed, on_sst, sst, tmp_path):
    assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path) == 0
    ours, library = tmp_path / "SST" / "SST", deployed / "SST" / "SST"
    assert json.loads((ours.parent / "SST-symbol.json").read_text()) == \
        json.loads((library.parent / "SST-symbol.json").read_text())
    first, second = params_file.read(f"{ours}-0000.params"), params_file.read(f"{library}-0000.params")
    assert set(first) == set(second) and all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(("passes", "names"), [
    (["none"], []), (["interleave_qkv"], ["interleave_qkv"]),
    (["remove_noops", "interleave_qkv"], ["remove_noops", "interleave_qkv"]),
    (["interleave_qkv,remove_noops"], ["interleave_qkv", "remove_noops"]),
    (["native_encoder"], ["native_encoder"])])
def test_passes_by_name(passes, names, deployed, on_sst, sst, tmp_path):
    assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path, "--check_accuracy", "--passes",
                  *passes) == 0
    result = toy.result(tmp_path / "SST", "result.json")
    assert [entry["name"] for entry in result["settings"]["passes"]["passes"]] == names
    assert predictions(tmp_path / "SST") == predictions(deployed / "SST")


@pytest.mark.parametrize("source", ["bundle", "Hugging Face folder"])
def test_other_sources_give_the_same_predictions(source, deployed, on_sst, sst, tmp_path):
    path = sst / "bundle"
    if source != "bundle":
        path = tmp_path / "folder"
        huggingface.write_folder(path, Bundle.open(sst / "bundle").checkpoint())
    assert on_sst("--model_parameters", path, "--output_dir", tmp_path / "out", "--check_accuracy") == 0
    assert predictions(tmp_path / "out" / "SST") == predictions(deployed / "SST")


def test_the_task_is_known_from_the_bundle(sst, data, tmp_path):
    argv = toy.deploy("--model_parameters", sst / "net.params", "--data_dir", data / "glue", "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert toy.result(tmp_path / "SST", "result.json")["task"] == "SST"


def test_only_infer_runs_what_was_exported(deployed, on_sst, sst, tmp_path):
    prefix = tmp_path / "elsewhere" / "model"
    assert on_sst("--model_parameters", sst / "net.params", "--exported_model", prefix) == 0
    before = {p: p.read_bytes() for p in prefix.parent.rglob("model*")}
    assert len(before) == 4
    assert on_sst("--only_infer", "--exported_model", prefix, "--check_accuracy") == 0
    assert predictions(prefix.parent) == predictions(deployed / "SST")
    assert before == {p: p.read_bytes() for p in prefix.parent.rglob("model*")}


def test_max_iters_stops(on_sst, sst, tmp_path, capsys):
    assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path, "--max_iters", 2,
                  "--check_accuracy") == 0
    result = toy.result(tmp_path / "SST", "result.json")
    assert (result["iterations"], result["sequences"], result["complete"]) == (2, 32, False)
    assert len(predictions(tmp_path / "SST").splitlines()) == 33
    assert "on the first 32 sequences" in capsys.readouterr().out


def test_own_file_and_the_models_labels(encoder, data, tmp_path):
    from bertpass.commands.make import finetune

    files = toy.strings("--train_file", data / "own.train.tsv", "--dev_file", data / "own.dev.tsv", "--task_name",
                        "my/task")
    assert finetune.classifier(toy.classify(encoder, tmp_path / "model", *files)) == 0
    argv = toy.deploy("--model_parameters", tmp_path / "model" / "net.params", "--eval_file", data / "own.dev.csv",
                      "--output_dir", tmp_path / "out", "--check_accuracy")
    assert deploy.main(argv) == 0
    folder = tmp_path / "out" / "my_task"
    result = toy.result(folder, "result.json")
    assert result["metrics"]["accuracy"] >= 0.85 and result["task"] == "my/task"
    lines = [line.split("\t") for line in predictions(folder).splitlines()[1:]]
    assert lines[0][0] == "r0" and {label for _, label in lines} == {"no", "yes"}


@pytest.mark.parametrize(("labels", "count"), [(("yes", "", "no"), 2), (None, 0)])
def test_rows_without_labels_have_no_metric(sst, tmp_path, capsys, labels, count):
    names = {"yes": "1", "no": "0", "": ""}
    lines = [f"{text}\t{names[label]}" for text, label in zip("abc", labels, strict=True)] if labels else list("abc")
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel" if labels else "text", *lines]) + "\n")
    argv = toy.deploy("--model_parameters", sst / "net.params", "--eval_file", tmp_path / "rows.tsv", "--output_dir",
                      tmp_path / "out")
    assert deploy.main(argv) == 0
    assert f"{count} of 3 rows have labels, so no metric is computed" in capsys.readouterr().err
    assert not toy.result(next(path for path in (tmp_path / "out").iterdir()), "result.json").get("metrics")


def test_text_on_the_command_line(sst, tmp_path, capsys, monkeypatch):
    argv = toy.deploy("--model_parameters", sst / "net.params", "--output_dir", tmp_path)
    assert deploy.main([*argv, "--text", SENTENCES[0]]) == 0
    one = json.loads(capsys.readouterr().out)["predictions"]
    assert one[0]["text"] == SENTENCES[0] and one[0]["label"] == "1" and one[0]["score"] > 0.5
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(SENTENCES) + "\n\n"))
    assert deploy.main([*argv, "--text", "-"]) == 0
    two = json.loads(capsys.readouterr().out)["predictions"]
    assert [p["label"] for p in two] == ["1", "0"]
    assert two[0]["scores"] == pytest.approx(one[0]["scores"], abs=1e-5)


def test_question_on_the_command_line(squad, tmp_path, capsys, monkeypatch):
    argv = toy.deploy("--model_parameters", squad / "net.params", "--output_dir", tmp_path, "--question",
                      "who is tall ?")
    context = "so the actor was anna and a film"
    assert deploy.main([*argv, "--context", context]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] == "anna" == context[found["start"]:found["end"]]
    monkeypatch.setattr(sys, "stdin", io.StringIO(context))
    assert deploy.main([*argv, "--context", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "anna"


def qa(squad, data, out, *argv):
    return deploy.main(toy.deploy("--model_parameters", squad / "net.params", "--task", "QA", "--data_dir",
                                  data / "squad", "--QA_doc_stride", 8, "--QA_max_query_length", 8, "--output_dir",
                                  out, "--check_accuracy", *argv))


def test_question_answering(squad, data, tmp_path):
    assert qa(squad, data, tmp_path) == 0
    result = toy.result(tmp_path / "QA", "result.json")
    trained = toy.result(squad, "metrics.json")["metrics"]
    assert result["metrics"]["exact"] == trained["exact"] and result["rows"] == 24
    assert toy.result(tmp_path / "QA", "predictions.json") == toy.result(squad, "predictions.json")


def test_question_answering_cut_by_max_iters(squad, data, tmp_path):
    """Short windows: several a question. Only questions all of whose windows were run are scored and written."""
    short = ("--seq_length", 12, "--test_batch_size", 3)
    assert qa(squad, data, tmp_path / "all", *short) == 0
    assert qa(squad, data, tmp_path / "cut", *short, "--max_iters", 5) == 0
    whole, cut = (toy.result(tmp_path / name / "QA", "predictions.json") for name in ("all", "cut"))
    assert 0 < len(cut) < 15 and len(whole) == 24
    assert cut == {name: whole[name] for name in cut}
    result = toy.result(tmp_path / "cut" / "QA", "result.json")
    assert result["sequences"] == 15 and not result["complete"] and result["metrics"]["total"] == len(cut)


def test_embedding_task(encoder, data, tmp_path, capsys):
    argv = toy.deploy("--task", "embedding", "--bert_model", encoder, "--data_dir", data / "glue", "--output_dir",
                      tmp_path, "--check_accuracy")
    assert deploy.main(argv) == 0
    result = toy.result(tmp_path / "embedding", "result.json")
    assert set(result["metrics"]) == {"spearman", "pearson"}
    table = np.load(tmp_path / "embedding" / "embeddings.npy")
    assert table.shape == (24, 32) and np.allclose(np.linalg.norm(table, axis=1), 1, atol=1e-5)
    capsys.readouterr()
    assert deploy.main(toy.deploy("--bert_model", encoder, "--text", SENTENCES[0], "--output_dir", tmp_path)) == 0
    one = json.loads(capsys.readouterr().out)["embeddings"][0]
    assert one["text"] == SENTENCES[0] and len(one["embedding"]) == 32
    digits = [float(f"{number:.9g}") for number in np.float32(one["embedding"])]
    assert digits == one["embedding"] != np.round(one["embedding"], 6).tolist()  # all of a float32


def test_random_weights_of_a_published_size(sst, data, tmp_path, monkeypatch, capsys):
    from bertpass.jobs.deployment import model as deploy_model
    from bertpass.model.config import EncoderConfig

    small = EncoderConfig(num_layers=1, units=32, hidden_size=64, num_heads=4, max_length=48, vocab_size=60)
    monkeypatch.setattr(deploy_model, "named", lambda name: {"bert_24_1024_16": small}[name])
    argv = toy.deploy("--bert_model", "bert_24_1024_16", "--task", "SST", "--data_dir", data / "glue", "--vocab",
                      sst / "net.vocab", "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert "the weights are random" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_lower_precision_on_a_cpu(dtype, deployed, on_sst, sst, tmp_path, capsys):
    argv = ("--custom_pass", toy.LIBRARY, "--dtype", dtype, "--compare", "--check_accuracy")
    assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path, *argv) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "--dtype float16:" in line]
    assert len(said) == (dtype == "float16"), "one sentence says what float16 becomes"
    result = toy.result(tmp_path / "SST", "result.json")
    computed = result["settings"]["dtype"]
    assert computed in (("bfloat16", "float32") if dtype == "float16" else (dtype,))
    assert all(computed in line for line in said) and result["settings"]["passes"]["dtype"] == computed
    assert 0 < result["compare"]["max_output_difference"] <= 0.1
    assert result["metrics"] == toy.result(deployed / "SST", "result.json")["metrics"]
    assert Bundle.open(tmp_path / "SST" / "bundle").dtype == "float32", "runs in plain MXNet on this CPU"
    again = ("--only_infer", "--exported_model", tmp_path / "SST" / "SST", "--check_accuracy")
    before = predictions(tmp_path / "SST")
    assert on_sst(*again) == 0 and predictions(tmp_path / "SST") == before
    assert toy.result(tmp_path / "SST", "result.json")["settings"]["dtype"] == computed


def test_float16_where_the_processor_has_no_units_for_it(on_sst, sst, tmp_path, monkeypatch, capsys):
    from bertpass import _native

    monkeypatch.setattr(_native, "selected", lambda: "avx2")
    assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path, "--dtype", "float16",
                  "--custom_pass", toy.LIBRARY) == 0
    assert "computed in float32" in capsys.readouterr().err
    assert toy.result(tmp_path / "SST", "result.json")["settings"]["dtype"] == "float32"


def test_a_pair_that_needs_the_library_without_it(deployed, tmp_path):
    script = ("import sys\nfrom pathlib import Path\nfrom bertpass.errors import PassError\n"
              "from bertpass.passes import library\nfrom bertpass.engines.frameworks.mxnet_engine import MXNetEngine\n"
              "names = ['data0', 'data1', 'data2']\n"
              "library.LIBRARY = Path('/nowhere/bertpass_lib.so')\n"
              "MXNetEngine.from_files(sys.argv[2], names)\n"  # the plain bundle needs none
              "try: MXNetEngine.from_files(sys.argv[1], names)\n"
              "except PassError as error: print(error)")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, deployed / "SST" / "SST",
                           deployed / "SST" / "bundle" / "model"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in ("/nowhere/bertpass_lib.so", "build_ext --inplace", "--custom_pass", "folder bundle"):
        assert words in done.stdout


PLAIN = """
import json, sys
import numpy as np
for name, kind in (("bool", bool), ("object", object), ("int", int), ("float", float)):
    if name not in np.__dict__:
        setattr(np, name, kind)
import mxnet as mx
prefix, inputs = sys.argv[1], json.load(sys.stdin)
for library in sys.argv[2:]:
    mx.library.load(library, verbose=False)
symbol, params, _ = mx.model.load_checkpoint(prefix, 0)
arrays = {**params, **{name: mx.nd.array(value, dtype=dtype) for name, value, dtype in inputs}}
out = mx.nd.CachedOp(symbol)(*(arrays[name] for name in symbol.list_inputs()))
print(json.dumps(out.asnumpy().tolist()))
assert not [name for name in sys.modules if name.startswith("bertpass")]
"""


@pytest.mark.parametrize("pair", ["deployed with the library", "without native_encoder", "the bundle"])
def test_what_is_written_runs_without_bertpass(pair, deployed, on_sst, sst, tmp_path):
    import bertpass

    prefix, libraries = deployed / "SST" / "SST", []
    if pair == "deployed with the library":
        libraries = [toy.LIBRARY]
    elif pair == "the bundle":
        prefix = deployed / "SST" / "bundle" / "model"
    else:
        prefix = tmp_path / "SST" / "SST"
        assert on_sst("--model_parameters", sst / "net.params", "--output_dir", tmp_path, "--max_iters", 1, "--passes",
                      "remove_noops,interleave_qkv,mkldnn") == 0
    random = np.random.default_rng(0)
    ids, lengths = random.integers(5, 40, (3, 24)), np.array([24, 1, 9])
    inputs = [("data0", ids.tolist(), "int32"), ("data1", np.zeros_like(ids).tolist(), "int32"),
              ("data2", lengths.tolist(), "float32")]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN, prefix, *libraries], cwd=tmp_path,
                          input=json.dumps(inputs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = bertpass.load(deployed / "SST" / "bundle", engine="mxnet", passes="none")
    expected = model.forward(ids, valid_length=lengths)[0]
    assert np.abs(np.array(json.loads(done.stdout)) - expected).max() <= 1e-5


@pytest.mark.parametrize("batches", [None, 1])
def test_mnli_runs_both_files(batches, encoder, data, tmp_path):
    argv = toy.deploy("--bert_model", encoder, "--task", "MNLI", "--data_dir", data / "glue", "--check_accuracy",
                      "--test_batch_size", 8, "--output_dir", tmp_path, *(("--max_iters", batches) if batches else ()))
    assert deploy.main(argv) == 0
    result = toy.result(tmp_path / "MNLI", "result.json")
    run = ["dev_matched", "dev_mismatched"][:batches]
    assert set(result["metrics"]) == {f"accuracy ({name})" for name in run} and len(result["files"]) == 2
    assert (result["rows"], result["complete"]) == (21, batches is None)
    written = {p.name: len(p.read_text().splitlines()) for p in (tmp_path / "MNLI").glob("predictions*")}
    assert written == ({"predictions_dev_matched.tsv": 10, "predictions_dev_mismatched.tsv": 13} if batches is None
                       else {"predictions_dev_matched.tsv": 9})
