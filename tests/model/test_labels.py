"""What outputs are called and what makes scores of them: the model's own words, as transformers reads them."""

import json

import numpy as np
import pytest

import bertpass
from bertpass.errors import ModelError
from bertpass.model.layouts import gluonnlp
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.tiny_models import torch_model, write_vocab

REASON = "pip install 'bertpass[reference]' to compare with transformers"
TEXTS = ["the film is good", "un w1 w2 w3", "bad"]


@pytest.fixture
def folder(tmp_path):
    def make(suffix="ForSequenceClassification", outputs=3, **fields):
        path = tmp_path / "model"
        torch_model("bert", suffix, num_labels=outputs).save_pretrained(path)
        write_vocab(path)
        content = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**content, **fields}))
        return path
    return make


def ours(path, **arguments):
    return bertpass.load(path, engine="native", dtype="float32", threads=1, **arguments)


def by_transformers(path):
    """The scores by label of each text, as transformers' pipeline gives them."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(path / "vocab.txt"), do_lower_case=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return [[(each["label"], each["score"]) for each in found] for found in pipeline(TEXTS, top_k=None)]


FIELDS = {
    "names": {"id2label": {"0": "neg", "1": "neutral", "2": "pos"}},
    "names in another order": {"id2label": {"2": "pos", "0": "neg", "1": "neutral"}},
    "placeholders": {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}},
    "no names": {"id2label": None, "label2id": None, "num_labels": 3},
    "numbers": {"id2label": {"0": 10, "1": 20, "2": 30}},
    "several labels": {"id2label": {"0": "a", "1": "b", "2": "c"}, "problem_type": "multi_label_classification"},
    "values": {"id2label": {"0": "x", "1": "y", "2": "z"}, "problem_type": "regression"},
    "values without names": {"problem_type": "regression"},
}


@pytest.mark.parametrize("name", list(FIELDS))
def test_labels_and_scores_are_those_of_transformers(folder, name, tmp_path):
    path = folder(**FIELDS[name])
    wanted = by_transformers(path)
    write_folder(tmp_path / "again", read_folder(path))
    for each in (path, tmp_path / "again"):
        for found, row in zip(ours(each).predict(TEXTS), wanted, strict=True):
            assert {label: pytest.approx(score, abs=2e-6) for label, score in found.scores.items()} == {
                str(label): score for label, score in row}
            if "values" not in name:
                assert found.score == pytest.approx(row[0][1], abs=2e-6)
                assert found.label in (str(row[0][0]), None)
            else:
                assert found.label is None and found.score == next(iter(found.scores.values()))


def test_a_list_of_names(folder):
    model = ours(folder(id2label=["neg", "neutral", "pos"]))
    assert model.labels == ["neg", "neutral", "pos"] and not model.notes


def test_names_that_are_missing_or_too_many(folder):
    model = ours(folder(id2label={"0": "neg", "2": "pos", "3": "more"}))
    assert list(model.predict(TEXTS[0]).scores) == ["neg", "LABEL_1", "pos"]
    assert "names the output 3, and the head has 3" in model.notes[0]


def test_two_outputs_of_one_name(folder, tmp_path):
    path = folder(id2label={"0": "good", "1": "bad", "2": "good"})
    model = ours(path)
    found = model.predict(TEXTS[0])
    assert list(found.scores) == ["good", "bad", "good (output 2)"] and sum(found.scores.values()) == pytest.approx(1)
    assert "the second is called 'good (output 2)'" in model.notes[0]
    write_folder(tmp_path / "again", read_folder(path))
    assert json.loads((tmp_path / "again" / "config.json").read_text())["id2label"] == {
        "0": "good", "1": "bad", "2": "good"}


def test_tags_without_names_are_called_as_in_transformers(folder):
    path = folder("ForTokenClassification")
    assert {entity.label for entity in ours(path).tag("the film is good")} <= {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_a_problem_type_that_is_none(folder):
    with pytest.raises(ModelError, match="problem_type 'ordinal'; it is one of single_label_classification"):
        read_folder(folder(problem_type="ordinal"))


def test_probabilities_of_a_cross_encoder_of_several_labels(folder):
    """Its own scores are logits; saying what it is gives probabilities."""
    path = folder(sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})
    logits = np.array(list(ours(path).predict(TEXTS[0]).scores.values()))
    scores = np.array(list(ours(path, kind="classification").predict(TEXTS[0]).scores.values()))
    assert np.allclose(scores, np.exp(logits) / np.exp(logits).sum(), atol=1e-6) and abs(logits.sum() - 1) > 1e-3


def test_labels_stay_behind_in_a_params_file_alone(folder, tmp_path):
    gluonnlp.write(tmp_path / "net.params", read_folder(folder(id2label={"0": "a", "1": "b", "2": "c"})))
    model = ours(tmp_path / "net.params", num_heads=4, kind="classification", vocab=str(tmp_path / "model"),
                 labels=["a", "b", "c"])
    assert list(model.predict(TEXTS[0]).scores) == ["a", "b", "c"]


def test_names_by_their_numbers_alone(folder):
    """Where id2label is not there, label2id names the outputs; a name that is null is left out."""
    assert ours(folder(id2label=None, label2id={"pos": 2, "neg": 0, "neutral": 1})).labels == ["neg", "neutral", "pos"]


def test_a_name_that_is_null(folder):
    model = ours(folder(id2label={"0": "neg", "1": None, "2": "pos"}))
    assert model.labels == ["neg", "LABEL_1", "pos"]


def test_names_that_are_no_table(folder):
    with pytest.raises(ModelError, match="id2label is 'neg, pos'; expected an object with a name for every output"):
        read_folder(folder(id2label="neg, pos"))
