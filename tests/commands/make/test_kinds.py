"""Tags, several labels and rankings from end to end: fine-tuned, deployed, scored, written, used from Python."""

import numpy as np
import pytest

import bertpass
from bertpass.commands.make import deploy, finetune
from bertpass.errors import UsageError
from bertpass.jobs.tasks import kinds
from bertpass.jobs.training.mxnet import losses
from bertpass.jobs.training.trainer import terms
from bertpass.model.config import HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.model.layouts.bundle import Bundle
from bertpass.text.data.conll import read_conll
from bertpass.text.data.readers import read_own
from bertpass.text.data.tagging import entities
from bertpass.text.data.tasks import own_task
from bertpass.text.tokens.batching import Batch
from tests.helpers import toy, toy_kinds

REFERENCE = "pip install '.[reference]' to compare with transformers"


@pytest.fixture(scope="module")
def kinds_data(tmp_path_factory):
    return toy_kinds.write(tmp_path_factory.mktemp("kinds"))


def trained(encoder, out, *argv):
    assert finetune.classifier(toy.classify(encoder, out, "--epochs", 4, "--lr", "3e-3", *argv)) == 0
    return out


@pytest.fixture(scope="module")
def tagger(encoder, kinds_data, tmp_path_factory):
    return trained(encoder, tmp_path_factory.mktemp("ner") / "out", "--task_name", "NER", "--data_dir", kinds_data)


@pytest.fixture(scope="module")
def labeller(encoder, kinds_data, tmp_path_factory):
    return trained(encoder, tmp_path_factory.mktemp("several") / "out", "--task_kind", "multilabel", "--epochs", 8,
                   "--lr", "2e-3", "--label_separator", ";", "--train_file", kinds_data / "several.train.csv",
                   "--dev_file", kinds_data / "several.dev.csv", "--test_file", kinds_data / "several.test.csv")


@pytest.fixture(scope="module")
def ranker(encoder, kinds_data, tmp_path_factory):
    return trained(encoder, tmp_path_factory.mktemp("ranking") / "out", "--task_kind", "ranking", "--train_file",
                   kinds_data / "ranking.train.tsv", "--dev_file", kinds_data / "ranking.dev.tsv",
                   "--test_file", kinds_data / "ranking.test.tsv")


# -- tags -------------------------------------------------------------------------------------------------------------


def test_learns_tags_and_writes_columns(tagger, kinds_data):
    result = toy.result(tagger, "metrics.json")
    assert result["metrics"]["f1"] >= 0.9 and result["dev_rows"] == {"valid": toy_kinds.DEV}
    assert set(result["metrics"]) == {n + p for n in ("f1", "precision", "recall") for p in ("", " (PER)", " (MISC)")}
    bundle = Bundle.open(tagger / "bundle")
    assert (bundle.task, bundle.head.kind) == ("NER", "tokens")
    assert bundle.labels == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    gold = read_conll(kinds_data / "CoNLL-2003" / "test.txt")
    written = read_conll(tagger / "predictions.conll", tag_column=3)
    assert [e.words for e in written] == [e.words for e in gold]
    assert len((tagger / "predictions.conll").read_text().split("\n")[0].split()) == 3  # word, tag, predicted tag
    right = sum(entities(a.tags) == entities(b.tags) for a, b in zip(gold, written, strict=True))
    assert right >= 5 and result["test_metrics"]["f1"] >= 0.8


def test_tags_texts_and_words(tagger):
    model = bertpass.load(tagger / "bundle")
    text = "the film was very tall anna,so  young bert"
    found = model.tag(text)
    assert [(e.label, e.text) for e in found] == [("MISC", "film"), ("PER", "tall anna"), ("PER", "young bert")]
    assert all(text[e.start:e.end] == e.text and 0.2 < e.score <= 1 for e in found)
    words = ["the", "film", "was", "very", "tall", "anna"]
    both = model.tag([words, text, ""])
    assert [e.text for e in both[0]] == ["film", "tall anna"] and both[2] == []
    assert [(e.label, e.start, e.end) for e in both[1]] == [(e.label, e.start, e.end) for e in found]
    long = "the film was a plot " * 30  # longer than the model: tagged in parts
    assert len(model.tag(long)) == 60
    for wrong in (lambda: model.predict(text), lambda: model.encode(text)):
        with pytest.raises(UsageError, match=r"tag\(\)"):
            wrong()


def test_tags_like_transformers(tagger, tmp_path):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    huggingface.write_folder(tmp_path / "folder", Bundle.open(tagger / "bundle").checkpoint())
    pipeline = transformers.pipeline("token-classification", str(tmp_path / "folder"), aggregation_strategy="first")
    for path in (tagger / "bundle", tmp_path / "folder"):
        model = bertpass.load(path, dtype="float32")
        for text in ("the film was tall anna , so young bert", "plot film", "so tall young emil rich dora anna the"):
            theirs, ours = pipeline(text), model.tag(text)
            assert [(e.label, e.start, e.end) for e in ours] == \
                [(e["entity_group"], e["start"], e["end"]) for e in theirs]
            assert [e.score for e in ours] == pytest.approx([float(e["score"]) for e in theirs], abs=1e-4)


@pytest.mark.parametrize("source", ["net.params", "bundle"])
def test_deploys_tags(source, tagger, kinds_data, tmp_path, capsys):
    argv = toy.deploy("--model_parameters", tagger / source, "--task", "NER", "--data_dir", kinds_data,
                      "--check_accuracy", "--custom_pass", toy.LIBRARY, "--compare", "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert "f1 (PER)" in capsys.readouterr().out
    result = toy.result(tmp_path / "NER", "result.json")
    trained_metrics = toy.result(tagger, "metrics.json")["metrics"]
    assert result["metrics"] == pytest.approx(trained_metrics) and result["rows"] == toy_kinds.DEV
    assert result["compare"]["max_output_difference"] <= 1e-5
    assert len(read_conll(tmp_path / "NER" / "predictions.conll", tag_column=3)) == toy_kinds.DEV
    assert deploy.main(toy.deploy("--model_parameters", tagger / source, "--text", "the film was tall anna",
                                  "--output_dir", tmp_path / "text")) == 0
    assert '"label": "PER"' in capsys.readouterr().out


def test_deploys_new_tags_of_the_data(encoder, kinds_data, tmp_path):
    argv = toy.deploy("--bert_model", encoder, "--task", "NER", "--data_dir", kinds_data, "--max_iters", 1,
                      "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert Bundle.open(tmp_path / "NER" / "bundle").labels == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    assert not toy.result(tmp_path / "NER", "result.json")["complete"]


def test_only_inference_of_a_hugging_face_folder(tagger, kinds_data, tmp_path):
    checkpoint = Bundle.open(tagger / "bundle").checkpoint()
    order = [3, 1, 0, 4, 2]  # another order of the labels, as others have theirs
    checkpoint.labels = [checkpoint.labels[at] for at in order]
    checkpoint.params = {name: array[order] if name.startswith("tag_classifier.") else array
                         for name, array in checkpoint.params.items()}
    huggingface.write_folder(tmp_path / "folder", checkpoint)
    argv = toy.classify("unused", tmp_path / "out", "--task_name", "NER", "--data_dir", kinds_data, "--only_inference",
                        "--model_parameters", tmp_path / "folder", "--no_test")
    assert finetune.classifier(argv) == 0
    assert toy.result(tmp_path / "out", "metrics.json")["metrics"] == pytest.approx(
        toy.result(tagger, "metrics.json")["metrics"])
    assert not (tmp_path / "out" / "predictions.conll").exists()


# -- several labels ---------------------------------------------------------------------------------------------------


def test_learns_several_labels(labeller, kinds_data):
    result = toy.result(labeller, "metrics.json")
    assert result["metrics"]["f1_micro"] >= 0.85 and set(result["metrics"]) == {"f1_micro", "f1_macro",
                                                                             "average_precision"}
    bundle = Bundle.open(labeller / "bundle")
    assert (bundle.head.kind, bundle.labels) == ("multilabel", ["manner", "people", "praise"])
    lines = [line.split("\t") for line in (labeller / "predictions.tsv").read_text().split("\n")[:-1]]
    rows, _ = read_own(kinds_data / "several.test.csv", "multilabel", bundle.labels, separator=";")
    gold = [";".join(label for label, on in zip(bundle.labels, row.label, strict=True) if on) for row in rows]
    assert lines[0] == ["index", "prediction"]
    assert sum(found == wanted for (_, found), wanted in zip(lines[1:], gold, strict=True)) >= 4


def test_several_labels_from_python(labeller, tmp_path):
    model = bertpass.load(labeller / "bundle", dtype="float32")
    found = model.predict(["so was tall the lovely", "the was", "so was anna very"])
    assert [set(p.labels) for p in found] == [{"manner", "praise"}, set(), {"people"}]
    assert [p.label for p in found] == [found[0].labels[0], None, "people"]
    assert set(model.predict("the was", threshold=0.0).labels) == {"manner", "people", "praise"}
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    huggingface.write_folder(tmp_path / "folder", Bundle.open(labeller / "bundle").checkpoint())
    pipeline = transformers.pipeline("text-classification", str(tmp_path / "folder"), top_k=None)
    for text in ("so was tall the lovely", "anna"):
        theirs = {row["label"]: row["score"] for row in pipeline([text])[0]}
        assert model.predict(text).scores == pytest.approx(theirs, abs=1e-5)


def test_deploys_several_labels(labeller, kinds_data, tmp_path):
    argv = toy.deploy("--model_parameters", labeller / "net.params", "--eval_file", kinds_data / "several.dev.csv",
                      "--label_separator", ";", "--check_accuracy", "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert toy.result(tmp_path / "custom", "result.json")["metrics"] == pytest.approx(
        toy.result(labeller, "metrics.json")["metrics"])
    strict = toy.deploy("--model_parameters", labeller / "net.params", "--eval_file", kinds_data / "several.dev.jsonl",
                        "--threshold", "0.9999", "--output_dir", tmp_path / "strict")
    assert deploy.main(strict) == 0
    assert toy.result(tmp_path / "strict" / "custom", "result.json")["metrics"]["f1_micro"] < 0.5


# -- rankings ---------------------------------------------------------------------------------------------------------


def test_learns_rankings(ranker):
    result = toy.result(ranker, "metrics.json")
    assert result["metrics"]["mrr@10"] >= 0.9 and set(result["metrics"]) == {"mrr@10", "ndcg@10", "map"}
    assert Bundle.open(ranker / "bundle").head.kind == "ranking"
    lines = (ranker / "predictions.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 13
    assert all(0 <= float(line.split("\t")[1]) <= 1 for line in lines[1:])


def test_reranks_from_python(ranker, tmp_path):
    model = bertpass.load(ranker / "bundle", dtype="float32")
    passages = ["the was so bad", "a scene very lovely", "this actor was dull", "so the was good"]
    found = model.rerank("who is it ?", passages)
    assert {r.index for r in found[:2]} == {1, 3} and [r.score for r in found] == sorted(
        (r.score for r in found), reverse=True)
    assert model.rerank("who is it ?", []) == []
    with pytest.raises(UsageError, match=r"rerank\(\)"):
        model.encode("good")
    torch = pytest.importorskip("torch", reason=REFERENCE)
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    huggingface.write_folder(tmp_path / "folder", Bundle.open(ranker / "bundle").checkpoint())
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "folder").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    with torch.no_grad():
        logits = theirs(**tokenizer(["who is it ?"] * 4, passages, padding=True, return_tensors="pt")).logits[:, 0]
    for one in (model, bertpass.load(tmp_path / "folder", dtype="float32")):
        by_place = {r.index: r.score for r in one.rerank("who is it ?", passages)}
        assert [by_place[i] for i in range(4)] == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)


def test_deploys_rankings_and_the_rerank_task(ranker, encoder, data, kinds_data, tmp_path):
    argv = toy.deploy("--model_parameters", ranker / "net.params", "--eval_file", kinds_data / "ranking.dev.tsv",
                      "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert toy.result(tmp_path / "custom", "result.json")["metrics"] == pytest.approx(
        toy.result(ranker, "metrics.json")["metrics"])
    assert finetune.classifier(toy.classify(encoder, tmp_path / "squad", "--task_name", "SQuAD-rerank", "--data_dir",
                                            data / "squad", "--training_steps", 3)) == 0
    assert toy.result(tmp_path / "squad", "metrics.json")["dev_rows"] == {"dev-v1.1": 240}


# -- losses -----------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_torch():
    torch = pytest.importorskip("torch", reason=REFERENCE)
    from bertpass.mx import mx

    source = np.random.default_rng(4)

    def batch(labels):
        none = np.zeros((len(labels), 1), np.int32)
        return Batch(none, none, np.ones(len(labels), np.int32), labels, np.arange(len(labels)))

    logits = source.normal(0, 20, (5, 3)).astype("float32")
    several = source.integers(0, 2, (5, 3)).astype("int32")
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(several).float())
    found = losses.binary(mx.nd.array(logits), batch(several)).mean().asscalar()
    assert found == pytest.approx(float(wanted), rel=1e-5)
    relevance = np.array([0, 1, 0.5, 0, 1], np.float32)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits[:, 0]), torch.tensor(relevance))
    found = losses.binary(mx.nd.array(logits[:, :1]), batch(relevance)).mean().asscalar()
    assert found == pytest.approx(float(wanted), rel=1e-5)
    tokens = source.normal(0, 3, (4, 6, 5)).astype("float32")
    tags = source.integers(-1, 5, (4, 9)).astype("int32")
    tags[2] = -1  # a row without any tag
    wanted = torch.nn.functional.cross_entropy(torch.tensor(tokens).reshape(-1, 5),
                                               torch.tensor(tags[:, :6]).long().reshape(-1), ignore_index=-1)
    tags[:, 6:] = -1  # behind the longest row of the batch
    whole = terms(HeadConfig("tokens", num_labels=5), batch(tags))
    parts = [losses.tags(mx.nd.array(tokens[part]), batch(tags[part])).sum().asscalar() for part in
             (slice(0, 1), slice(1, 4))]  # as devices or --accumulate part them, with unlike numbers of tags
    assert sum(parts) / whole == pytest.approx(float(wanted), rel=1e-5)


def test_scores_in_a_file_keep_within_the_limits(tmp_path):
    task = kinds.KINDS["regression"]
    from bertpass.text.data.tasks import get_task

    assert [task.spelled(get_task("STS-B"), np.array([v])) for v in (5.31, -0.2, 2.5)] == ["5", "0", "2.5"]
    assert task.spelled(own_task("own", "regression"), np.array([-7.0])) == "-7"


# -- several numbers per row ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer(encoder, kinds_data, tmp_path_factory):
    return trained(encoder, tmp_path_factory.mktemp("values") / "out", "--task_kind", "regression", "--label_column",
                   "praise,people", "--epochs", 5, "--lr", "1e-3", "--train_file", kinds_data / "values.train.csv",
                   "--dev_file", kinds_data / "values.dev.csv", "--test_file", kinds_data / "values.test.csv")


def test_learns_several_numbers(scorer, kinds_data):
    """Each metric is the mean of those of the outputs; the file of predictions has a column for each output."""
    from scipy.stats import pearsonr

    result = toy.result(scorer, "metrics.json")
    assert result["labels"] == ["praise", "people"] and result["metrics"]["pearson"] >= 0.9
    lines = [line.split("\t") for line in (scorer / "predictions.tsv").read_text().splitlines()]
    assert lines[0] == ["index", "praise", "people"]
    found = np.array([[float(cell) for cell in row[1:]] for row in lines[1:]])
    rows, _ = read_own(kinds_data / "values.test.csv", "regression", ("praise", "people"))
    gold, metrics = np.array([row.label for row in rows]), result["test_metrics"]
    wanted = [float(pearsonr(found[:, at], gold[:, at])[0]) for at in range(2)]
    assert [metrics["pearson (praise)"], metrics["pearson (people)"]] == pytest.approx(wanted, abs=1e-6)
    assert metrics["pearson"] == pytest.approx(np.mean(wanted), abs=1e-6) and "spearman (people)" in metrics
    model = bertpass.load(scorer / "bundle", dtype="float32")
    first = model.predict(rows[0].text).scores
    assert first == pytest.approx({"praise": found[0, 0], "people": found[0, 1]}, abs=1e-5)


def test_deploys_and_evaluates_several_numbers(scorer, kinds_data, tmp_path, capsys):
    """The columns are found by the names of the model's outputs; other names and one column are refused."""
    wanted = toy.result(scorer, "metrics.json")["metrics"]
    argv = toy.deploy("--model_parameters", scorer / "net.params", "--eval_file", kinds_data / "values.dev.csv",
                      "--check_accuracy", "--output_dir", tmp_path)
    assert deploy.main(argv) == 0
    assert toy.result(tmp_path / "custom", "result.json")["metrics"] == pytest.approx(wanted, abs=1e-4)
    capsys.readouterr()
    own = ("--task_kind", "regression", "--only_inference", "--model_parameters", scorer / "bundle", "--dev_file",
           kinds_data / "values.dev.csv")
    named = toy.classify(scorer, tmp_path / "again", *own, "--label_column", "People, praise")
    assert finetune.classifier(named) == 0
    assert toy.result(tmp_path / "again", "metrics.json")["metrics"] == pytest.approx(wanted, abs=1e-4)
    for said, told in (("people,text", "give every output a column of its own"),
                       ("people,length", "the model's outputs are called praise, people"),
                       ("people", "the label has 1 numbers, expected 2")):
        capsys.readouterr()
        assert finetune.classifier(toy.classify(scorer, tmp_path / "no", *own, "--label_column", said)) != 0
        err = capsys.readouterr().err
        assert told in err and "Traceback" not in err


def test_losses_of_several_numbers_are_half_of_transformers(tmp_path):
    """transformers' loss of problem_type regression, over all outputs; both trainers' functions."""
    torch = pytest.importorskip("torch", reason=REFERENCE)
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    from bertpass.jobs.training.torch import losses as torch_losses
    from bertpass.mx import mx

    config = transformers.BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=16, num_labels=3, problem_type="regression")
    torch.manual_seed(3)
    theirs = transformers.BertForSequenceClassification(config).eval()
    labels = np.random.default_rng(5).normal(0, 2, (4, 3)).astype("float32")
    with torch.no_grad():
        out = theirs(input_ids=torch.arange(24).reshape(4, 6), labels=torch.tensor(labels))
    none = np.zeros((4, 1), np.int32)
    batch = Batch(none, none, np.ones(4, np.int32), labels, np.arange(4))
    ours = losses.regression(mx.nd.array(out.logits.numpy()), batch).mean().asscalar()
    assert ours == pytest.approx(out.loss.item() / 2, rel=1e-5)
    loss = torch_losses.loss_for(torch, HeadConfig("regression", 3))
    assert loss(out.logits, torch.tensor(labels), None).mean().item() == pytest.approx(out.loss.item() / 2, rel=1e-5)
