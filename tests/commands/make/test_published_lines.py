"""Every published command line of GluonNLP's BERT scripts (branch v0.10.x), as it stands, on a tiny model.

Sources: scripts/tests/test_scripts.py, scripts/bert/index.rst, the command files that it links, and the AWS blog of
2020 (marked). Only what a machine without a GPU and without downloads needs is changed: --gpu is left out, and the
names of a tiny model and of small data are added at the end. Lines run in one folder, in this order, as their pages
have them.
"""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from bertpass.commands.make import deploy, finetune, published
from bertpass.jobs.tasks.described import BUNDLE
from bertpass.text.data.tasks import get_task
from tests.helpers import toy

SCRIPTS = {"finetune_classifier.py": finetune.classifier, "finetune_squad.py": finetune.squad, "deploy.py": deploy.main,
           "export.py": published.export, "embedding.py": published.embedding}
TRAIN, DEV = 12, 6

_INFERENCE = "--log_interval 100 --epsilon 1e-8 --max_len 80 --only_inference"
_TRAIN = "finetune_classifier.py --log_interval 100 --epsilon 1e-8 --task_name WNLI"
_SQUAD = ("finetune_squad.py --optimizer adam --batch_size 32 --epochs 1 --debug --max_seq_length 32 "
          "--max_query_length 8 --doc_stride 384")
_DEPLOY = ("--seq_length 128 --test_batch_size 300 --custom_pass_lib bertpass_lib.so --custom_passes AddBiasGelu "
           "MHAInterleave --check_accuracy")
_CALIBRATE = "--only_calibration --custom_pass_lib bertpass_lib.so --custom_passes"
LINES = [
    *(f"finetune_classifier.py --task_name {task} {_INFERENCE}" for task in ("MNLI", "STS-B", "XNLI", "ChnSentiCorp")),
    f"{_TRAIN} --bert_model bert_12_768_12 --epochs 2 --dtype float32",
    f"{_TRAIN} --bert_model bert_12_768_12 --epochs 4 --dtype float32 --early_stop 2",
    f"{_TRAIN} --bert_model roberta_12_768_12 --epochs 2 --dtype float32 --bert_dataset "
    "openwebtext_ccnews_stories_books_cased",
    *(f"export.py --task {task}" for task in ("classification", "regression", "question_answering")),
    _SQUAD, f"{_SQUAD} --round_to 8",
    *(f"deploy.py --bert_model bert_12_768_12 --task {task} --dtype float32 {_DEPLOY}"
      for task in ("SST", "embedding", "QA")),
    f"finetune_squad.py {_CALIBRATE} MHAInterleave MaskSoftmax",
    f"finetune_classifier.py {_CALIBRATE} MHAInterleave MaskSoftmax --task_name MRPC",
    "embedding.py --model bert_12_768_12 --dataset_name book_corpus_wiki_en_uncased --max_seq_length 25 "
    "--batch_size 256 --oov_way avg --sentences '\"is this jacksonville ?\"' --verbose --dtype float32",
    # index.rst and the command files
    'embedding.py --sentences "GluonNLP is a toolkit that enables easy text preprocessing."',
    "finetune_squad.py --optimizer adam --accumulate 2 --batch_size 6 --lr 3e-5 --epochs 2",
    "finetune_squad.py --bert_model bert_24_1024_16 --optimizer adam --accumulate 6 --batch_size 4 --lr 3e-5 "
    "--epochs 2",
    "finetune_squad.py --bert_model bert_24_1024_16 --optimizer adam --accumulate 8 --batch_size 4 --lr 3e-5 "
    "--epochs 2 --version_2 --null_score_diff_threshold -2.0",
    "finetune_classifier.py --task_name CoLA --batch_size 32 --lr 2e-5 --epochs 1 --optimizer bertadam",
    "finetune_classifier.py --log_interval 100 --task_name SST --epochs 1 --dtype float32 --early_stop 2 --lr 2e-5 "
    "--batch_size 32 --warmup 0.06",
    "finetune_classifier.py --batch_size 32 --lr 2e-5 --epochs 1 --seed 24 --task_name STS-B --warmup_ratio 0.1",
    "finetune_classifier.py --task_name MNLI --batch_size 48 --lr 2e-5 --warmup_ratio 0.1 --epochs 1 --seed 2 "
    "--log_interval 500",
    "finetune_classifier.py --seed 6 --task_name XNLI --batch_size 32 --epochs 1 --lr 2e-5 --bert_dataset "
    "wiki_cn_cased",
    "finetune_classifier.py --task_name RTE --batch_size 32 --lr 2e-5 --seed 33 --warmup_ratio 0.1 --epochs 1",
    "finetune_classifier.py --batch_size 32 --lr 2e-5 --epochs 1 --seed 27 --task_name MRPC --warmup_ratio 0.1",
    "finetune_classifier.py --task_name MRPC --only_calibration --model_parameters ./output_dir/net.params",
    "finetune_classifier.py --task_name MRPC --epoch 1 --only_inference --model_parameters ./output_dir/net.params "
    "--round_to 128 --dev_batch_size 1",
    "finetune_classifier.py --task_name MRPC --epoch 1 --only_inference --model_prefix "
    "./output_dir/model_bert_MRPC_quantized_customize --deploy --round_to 128 --dev_batch_size 1",
    "finetune_squad.py --max_seq_length 128",  # the blog
    "finetune_squad.py --only_predict --model_parameters ./output_dir/net.params --round_to 128 --test_batch_size 1",
    f"finetune_squad.py {_CALIBRATE} MaskSoftmax MHAInterleave --model_parameters ./output_dir/net.params",
    "finetune_squad.py --only_predict --model_prefix ./output_dir/model_bert_squad_quantized_customize --deploy "
    "--round_to 128 --test_batch_size 1",
    "finetune_classifier.py --task_name SST --max_len 128",  # the blog
    "deploy.py --model_parameters ./output_dir/net.params --task SST --dtype float32 --custom_pass=bertpass_lib.so",
    "deploy.py --task SST --only_infer --exported_model ./output_dir/SST",
    "deploy.py --task SST --model_parameters ./output_dir/net.params --output_dir ./exported --seq_length 128",
    "deploy.py --task SST --only_infer --output_dir ./exported",
    "finetune_classifier.py --task_name WNLI --optimizer lamb --epochs 1",
    "finetune_classifier.py --task_name WNLI --optimizer adamw --epochs 1",
]
ON_A_GPU = [  # upstream computes these on a GPU alone, and so do we
    f"{_TRAIN} --bert_model bert_12_768_12 --epochs 2 --dtype float16",
    f"deploy.py --bert_model bert_12_768_12 --task SST --dtype float16 {_DEPLOY}",
    "deploy.py --task SST --dtype float16 --model_parameters ./output_dir/net.params",
]
#: deploy.py takes the model from the weights, and its own flags of the data
NO_MODEL = {"deploy.py": ("--model_parameters", "--only_infer"), "export.py": ("--model_parameters",)}


def write_data(root):
    """A few rows of every task in its own layout."""
    for name in ("MRPC", "CoLA", "WNLI", "RTE", "XNLI", "ChnSentiCorp", "SST", "STS-B", "MNLI"):
        task = get_task(name)
        for split, count in (("train", TRAIN), ("dev", DEV)):
            columns = task.columns_of(split)
            lines = [] if not columns.header else ["\t".join(f"c{i}" for i in range(16))]
            for at, (text, _) in enumerate(toy.rows(count, 1)):
                row = ["-"] * (1 + max(columns.text, columns.label, columns.pair or 0))
                row[columns.text] = text
                row[columns.label] = task.labels[at % len(task.labels)] if task.labels else f"{at % 5}.{at % 3}"
                if columns.pair is not None:
                    row[columns.pair] = text
                lines.append("\t".join(row))
            if columns.header:
                lines[0] = "\t".join(f"c{i}" for i in range(lines[1].count("\t") + 1))
            for names in task.files[split]:
                path = root / task.folders[0] / names[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split, count in (("train", TRAIN), ("dev", DEV)):
        for version in ("1.1", "2.0"):
            toy.write_squad(root / "SQuAD" / f"{split}-v{version}.json", count, 1, version)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the library, small data and a tiny model of 512 positions."""
    folder = tmp_path_factory.mktemp("published")
    toy.write_encoder(folder / "tiny", positions=512, num_layers=1)
    write_data(folder / "data")
    (folder / "bertpass_lib.so").symlink_to(toy.LIBRARY)
    return folder


def complete(line):
    """The script and the arguments of a line, with the tiny model and the small data."""
    script, *argv = shlex.split(line)
    needs_no_model = any(flag in argv for flag in NO_MODEL.get(script, ()))
    if not needs_no_model:
        argv += ["--model" if script == "embedding.py" else "--bert_model", "tiny"]
    if script not in ("embedding.py", "export.py"):
        argv += ["--data_dir", "data"]
    return SCRIPTS[script], argv


@pytest.fixture(scope="module")
def done(place):
    """What each line printed and wrote into metrics.json; all of them run once, in order."""
    import contextlib
    import io
    import os

    before, told = os.getcwd(), {}
    os.chdir(place)
    try:
        for line in LINES:
            run, argv = complete(line)
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(argv)
            told[line] = code, out.getvalue(), err.getvalue()
    finally:
        os.chdir(before)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_published_line(done, line):
    code, out, err = done[line]
    assert code == 0, err
    assert out.strip() and "Traceback" not in err
    trains_nothing = "--only_inference" in line or "--only_calibration" in line
    if trains_nothing and "--model_parameters" not in line and "--deploy" not in line:
        assert "WARNING: no --model_parameters, and nothing is trained" in err


@pytest.mark.parametrize("line", ON_A_GPU)
def test_float16_needs_a_gpu(done, place, line, monkeypatch, capsys):
    monkeypatch.chdir(place)
    run, argv = complete(line)
    assert run(argv) == 7
    assert "give --gpu" in capsys.readouterr().err


def test_what_only_calibration_wrote_is_what_deploy_evaluates(done, place):
    """The static model's metrics are those that --only_calibration printed for int8."""
    lines = [line for line in LINES if "--task_name MRPC" in line and ("--deploy" in line or
             ("--only_calibration" in line and "--model_parameters" in line))]
    calibrated, static = (done[line] for line in lines)
    assert calibrated[1] == static[1]
    assert "model_bert_MRPC_quantized_customize is output_dir/MRPC/MRPC here" in static[2]


def test_embedding_gives_a_vector_per_word(done, capsys, place, monkeypatch):
    """By NumPy from the token states: lovely is one piece, solely is so and ##ly; sum is twice the mean of two."""
    monkeypatch.chdir(place)
    import bertpass

    vectors = {}
    for way in ("avg", "sum", "last"):
        from bertpass.jobs.published.options import WordVectorOptions
        from bertpass.jobs.published.word_vectors import run
        found, = run(WordVectorOptions(model="tiny", sentences=["a soly film"], oov_way=way))
        assert found.words == ["a", "soly", "film"]
        vectors[way] = found.vectors
    model = bertpass.load("tiny", engine="native", dtype="float32")
    row, = model.tokenizer.encode(["a soly film"])
    states = model.engine.forward(row.ids[None], row.token_types[None], np.array([len(row)]))[0][0]
    wanted = {"avg": states[2:4].mean(axis=0), "sum": states[2] + states[3], "last": states[3]}
    for way, vector in wanted.items():
        assert np.allclose(vectors[way][1], vector, atol=1e-6), way
        assert np.allclose(vectors[way][[0, 2]], states[[1, 4]], atol=1e-6)


def test_an_export_of_gluonnlps(place, tmp_path, monkeypatch, capsys):
    """A pair as upstream's deploy.py exports one, without a bundle: our run has GluonNLP's outputs."""
    from bertpass.mx import mx, nlp

    monkeypatch.chdir(place)
    mx.random.seed(3)
    words = toy.SPECIAL + toy.WORDS
    encoder = nlp.model.BERTEncoder(num_layers=1, units=32, hidden_size=64, num_heads=4, max_length=64, dropout=0.1)
    body = nlp.model.BERTModel(encoder, vocab_size=len(words), token_type_vocab_size=2, units=32, embed_size=32,
                               use_decoder=False, use_classifier=False)
    net = nlp.model.BERTClassifier(body, num_classes=2, dropout=0.1)
    net.initialize(mx.init.Normal(0.5))
    net.hybridize(static_alloc=True, static_shape=True)
    rows = [line.split("\t")[0] for line in (place / "data" / "SST-2" / "dev.tsv").read_text().splitlines()[1:]]
    from bertpass.model.checkpoint import load_checkpoint

    encoded = load_checkpoint("tiny").tokenizer.encode(rows)
    wanted = []
    for row in encoded:
        logits = net(mx.nd.array(row.ids[None]), mx.nd.array(row.token_types[None]), mx.nd.array([len(row)]))
        wanted.append(int(logits.asnumpy()[0].argmax()))
    net.export(str(tmp_path / "SST"), epoch=0)
    assert not (tmp_path / BUNDLE).exists()
    argv = ["--task", "SST", "--only_infer", "--exported_model", str(tmp_path / "SST"), "--data_dir", "data",
            "--seq_length", "32", "--check_accuracy", "--bert_model", "tiny"]
    assert deploy.main(argv) == 0
    labels = [int(line.split("\t")[1]) for line in (place / "data" / "SST-2" / "dev.tsv").read_text().splitlines()[1:]]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"]["accuracy"] == np.mean(np.array(wanted) == labels)
    assert deploy.main([word for word in argv if word not in ("--bert_model", "tiny")]) in (2, 4)
    assert "--vocab" in capsys.readouterr().err
