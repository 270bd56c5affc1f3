"""bertpass finetune embeddings: losses of sentence-transformers, folders that it opens, what is refused."""

import dataclasses
import json

import numpy as np
import pytest

import bertpass
from bertpass.commands.make import finetune
from bertpass.jobs.training.trainer import Trainer
from bertpass.model.checkpoint import adapt
from bertpass.model.config import HeadConfig
from bertpass.model.layouts import huggingface
from tests.helpers import toy

pytest.importorskip("torch", reason="pip install '.[sentence-transformers]' to train sentence vectors")
library = pytest.importorskip("sentence_transformers",
                              reason="pip install '.[sentence-transformers]' to train sentence vectors")


def scored(count, seed):
    """(text, text_pair, label): 1 for texts of one feeling, 0 for texts of two."""
    left, right = toy.rows(count, seed), toy.rows(count, seed + 50)
    right = right[: count // 2] + right[count // 2:][::-1]
    return [(a, b, float(x == y)) for (a, x), (b, y) in zip(left, right, strict=True)]


def triplets(count, seed):
    """(anchor, positive, negative) by feeling."""
    rows = [toy.rows(count, seed + shift) for shift in (0, 50, 51)]
    return [(a, b, c) for (a, _), (b, _), (c, _) in zip(rows[0], rows[1], rows[2][1:] + rows[2][:1], strict=True)]


def write(path, header, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [header, *rows]))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    for split, count, seed in (("train", 64, 1), ("dev", 32, 2)):
        write(root / f"scored.{split}.tsv", ("text", "text_pair", "label"), scored(count, seed))
        write(root / f"triplets.{split}.tsv", ("anchor", "positive", "negative"), triplets(count, seed))
        rows = [{"query": a, "passage": b} for a, b, _ in triplets(count, seed)]
        (root / f"pairs.{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def encoder(folder, family="bert", **fields):
    """A folder of sentence-transformers with the mean over the tokens, of length 1."""
    more = {"token_type_vocab_size": 0, "use_pooler": False, "layer_norm_eps": 1e-5} if family == "mpnet" else {}
    toy.write_encoder(folder, family=family, **more, **fields)
    made = adapt(huggingface.read_folder(folder), HeadConfig("embedding", pooling="mean", normalize=True))
    huggingface.write_folder(folder, dataclasses.replace(made, max_length=24))
    return folder


def argv(model, out, files, kind, ending="tsv", *words):
    return toy.strings(model, "--output_dir", out, "--train_file", files / f"{kind}.train.{ending}",
                       "--dev_file", files / f"{kind}.dev.{ending}", "--batch_size", 8, *words)


LOSSES = {"CoSENTLoss": "scored", "CosineSimilarityLoss": "scored", "TripletLoss": "triplets",
          "MultipleNegativesRankingLoss": "triplets"}


@pytest.mark.parametrize(("loss", "family"), [*((loss, "bert") for loss in LOSSES), ("CoSENTLoss", "mpnet")])
def test_losses_are_those_of_the_library(loss, family, files, tmp_path, monkeypatch):
    """The first step's loss is that of its model, tokenizer and loss on the same texts; 1e-4 relative is the bound."""
    import torch

    from bertpass.jobs.training.torch.sentences import SentenceTrainer

    model, kind, seen = encoder(tmp_path / "model", family), LOSSES[loss], []
    step, losses = Trainer.step, SentenceTrainer.losses

    def noted(self, batch):
        seen.append(batch.columns[0].index)
        return losses(self, batch)

    values = []
    monkeypatch.setattr(SentenceTrainer, "losses", noted)
    monkeypatch.setattr(Trainer, "step", lambda self, *rest: values.append(step(self, *rest)) or values[-1])
    assert finetune.embeddings(argv(model, tmp_path / "out", files, kind, "tsv", "--loss", loss, "--training_steps",
                                    1)) == 0
    lines = [line.split("\t") for line in (files / f"{kind}.train.tsv").read_text().splitlines()[1:]]
    rows = [lines[at] for at in seen[0]]
    theirs = library.SentenceTransformer(str(model), device="cpu")
    columns = list(zip(*rows, strict=True))
    labels = torch.tensor([float(x) for x in columns.pop()]) if kind == "scored" else None
    features = [theirs.tokenize(list(column)) for column in columns]
    wanted = getattr(library.losses, loss)(theirs.eval())(features, labels).item()
    assert values == [pytest.approx(wanted, rel=1e-4)]


@pytest.mark.parametrize(("kind", "ending", "metric"), [("scored", "tsv", "spearman"), ("triplets", "tsv", "accuracy"),
                                                        ("pairs", "jsonl", "mrr@10")])
def test_learns_and_is_opened_by_both(kind, ending, metric, files, tmp_path, capsys):
    model = encoder(tmp_path / "model", "mpnet" if kind == "scored" else "bert", dropout=0.1)
    loss = "TripletLoss" if kind == "triplets" else "auto"
    words = ("--epochs", 12 if kind != "pairs" else 1, "--lr", "2e-3", "--loss", loss)
    assert finetune.embeddings(argv(model, tmp_path / "out", files, kind, ending, *words)) == 0
    result = toy.result(tmp_path / "out", "metrics.json")
    taken = {"scored": "CoSENTLoss", "triplets": "TripletLoss", "pairs": "MultipleNegativesRankingLoss"}[kind]
    assert (result["loss"], result["trainer"], result["train_rows"], result["dev_rows"]) == (taken, "torch", 64, 32)
    assert f"{metric} {result['metrics'][metric]:.4f}" in capsys.readouterr().out
    if kind != "pairs":  # a pair's text is one of sixteen with its feeling
        assert result["metrics"][metric] > result["before"][metric] + 0.2, result
    folder, texts = tmp_path / "out" / "bundle", ["the film was good", "awful plot", "it was a lovely scene"]
    ours, theirs = bertpass.load(folder, dtype="float32"), library.SentenceTransformer(str(folder), device="cpu")
    assert ours.max_length == theirs.max_seq_length == 24
    vectors = ours.encode(texts)
    assert np.abs(vectors - theirs.encode(texts)).max() < 1e-5
    assert np.abs(vectors - bertpass.load(model, dtype="float32").encode(texts)).max() > 1e-2


def test_scores_are_those_of_the_librarys_evaluator(files, tmp_path):
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    model = encoder(tmp_path / "model")
    assert finetune.embeddings(argv(model, tmp_path / "out", files, "scored", "tsv", "--training_steps", 1)) == 0
    rows = [line.split("\t") for line in (files / "scored.dev.tsv").read_text().splitlines()[1:]]
    left, right, labels = zip(*rows, strict=True)
    judge = EmbeddingSimilarityEvaluator(left, right, [float(x) for x in labels], main_similarity="cosine")
    for folder, part in ((model, "before"), (tmp_path / "out" / "bundle", "metrics")):
        found = judge(library.SentenceTransformer(str(folder), device="cpu"))
        ours = toy.result(tmp_path / "out", "metrics.json")[part]
        assert (ours["spearman"], ours["pearson"]) == (pytest.approx(found["spearman_cosine"], abs=1e-4),
                                                       pytest.approx(found["pearson_cosine"], abs=1e-4))


def test_resume_gives_the_weights_of_an_uninterrupted_run(files, tmp_path, monkeypatch):
    from bertpass.model.files import params_file

    model, train = encoder(tmp_path / "model", dropout=0.2), Trainer.train

    def stop(self, number, *rest):
        train(self, number, *rest)
        if number == 1:
            raise KeyboardInterrupt

    words = {name: argv(model, tmp_path / name, files, "pairs", "jsonl", "--epochs", 3) for name in ("whole", "cut")}
    assert finetune.embeddings(words["whole"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", stop)
        assert finetune.embeddings(words["cut"]) == 130
    assert finetune.embeddings([*words["cut"], "--resume"]) == 0
    left, right = (params_file.read(tmp_path / name / "checkpoint" / "net.params") for name in ("whole", "cut"))
    assert all(np.array_equal(left[key], right[key]) for key in left)


def test_a_batch_holds_no_text_twice(tmp_path):
    """Every row is there once in every epoch, in as many batches as without; twins are in one batch only at the end."""
    from bertpass.jobs.tasks.predict import Dataset
    from bertpass.jobs.training.embeddings import EmbeddingOptions
    from bertpass.jobs.training.sentence_rows import SentenceEpochs

    @dataclasses.dataclass
    class Encoded:
        ids: list[int]

        def __len__(self):
            return len(self.ids)

        @property
        def token_types(self):
            return [0] * len(self.ids)

    rows = [(Encoded([1, row // 4]), Encoded([2, row])) for row in range(40)]  # every first text four times
    options = EmbeddingOptions(batch_size=4, output_dir=str(tmp_path))
    for epoch in range(3):
        found = [batch.columns[0].index.tolist() for batch in SentenceEpochs(Dataset(rows), options, 0, apart=True)
                 .batches(epoch)]
        assert sorted(row for batch in found for row in batch) == list(range(40)) and len(found) == 10
        twins = [len(batch) - len({row // 4 for row in batch}) for batch in found]
        assert not any(twins[:7])
    plain = [b.columns[0].index.tolist() for b in SentenceEpochs(Dataset(rows), options, 0).batches(0)]
    assert any(len({row // 4 for row in batch}) < 4 for batch in plain)


@pytest.mark.parametrize(("kind", "words", "told"), [
    ("scored", ["--loss", "TripletLoss"], "--loss TripletLoss is for triplets, and the training rows are scored"),
    ("triplets", ["--loss", "CoSENTLoss"], "take MultipleNegativesRankingLoss, TripletLoss"),
    ("scored", ["--pair_column", "other"], "there is no column 'other'"),
    ("scored", ["--pair_column", "b", "--label_column", "B"], "two flags name one column"),
    ("scored", ["--max_length", "500"], "--max_length 500: the model has 48 positions"),
    ("scored", ["--optimizer", "lamb"], "--optimizer lamb: fine-tuning through PyTorch has"),
    ("scored", ["--gpu", "7"], "--gpu 7: PyTorch sees"),
])
def test_what_does_not_fit_is_refused(kind, words, told, files, tmp_path, capsys):
    model = encoder(tmp_path / "model")
    assert finetune.embeddings(argv(model, tmp_path / "out", files, kind, "tsv", *words)) != 0
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err
    assert not (tmp_path / "out" / "net.params").exists()


@pytest.mark.parametrize(("rows", "told"), [
    ([("text", "label"), ("a", "1")], "expected two texts, text and text_pair"),
    ([("text", "text_pair", "label"), ("the", "film", "5")], "scores are cosines, from -1 to 1, and one is 5"),
    ([("text", "text_pair", "label"), ("the", "film", "much")], "line 2: the label is 'much', expected a number"),
    ([("text", "text_pair", "label", "negative"), ("the", "film", "1", "plot")], "a label or a negative"),
    ([("text", "text_pair", "label"), ("the", " ", "1")], "text_pair is ' ', expected a text"),
    ([("text", "text_pair", "label")], "has no rows"),
])
def test_rows_that_are_none_are_named(rows, told, files, tmp_path, capsys):
    bad = write(tmp_path / "bad.tsv", rows[0], rows[1:])
    words = toy.strings("minilm", "--train_file", bad, "--dev_file", files / "scored.dev.tsv", "--output_dir",
                        tmp_path / "out", "--loss", "CosineSimilarityLoss")
    assert finetune.embeddings(words) != 0
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err


def test_models_that_do_more_are_refused(files, tmp_path, capsys):
    from bertpass.model.sentence import Layer, Sentence

    model = encoder(tmp_path / "model")
    found = huggingface.read_folder(model)
    layer = Layer("dense", "Tanh", {"weight": np.eye(32, dtype=np.float32)})
    huggingface.write_folder(tmp_path / "more", dataclasses.replace(found, sentence=Sentence(layers=(layer,))))
    assert finetune.embeddings(argv(tmp_path / "more", tmp_path / "out", files, "scored")) != 0
    assert "are not trained here; train such a model with sentence-transformers" in capsys.readouterr().err
    huggingface.write_folder(tmp_path / "labels", adapt(found, HeadConfig("classification", num_labels=2), 1))
    assert finetune.embeddings(argv(tmp_path / "labels", tmp_path / "out", files, "scored")) != 0
    assert "is a classification model and gives no vectors" in capsys.readouterr().err
