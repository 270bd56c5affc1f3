"""bertpass.load: texts and ids in, embeddings, labels and answers out."""

import threading

import numpy as np
import pytest

import bertpass
from bertpass.errors import DataError, UsageError
from bertpass.model.layouts import huggingface
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy

TEXTS = [text for text, _ in toy.rows(20, 11)] + ["good", ""]


@pytest.fixture(scope="module")
def plain(encoder):
    return bertpass.load(encoder, engine="mxnet")


@pytest.fixture(scope="module")
def classifier(sst):
    return bertpass.load(sst / "bundle", engine="mxnet")


@pytest.fixture(scope="module")
def answerer(squad):
    return bertpass.load(squad / "bundle", engine="mxnet")


def test_encode_does_not_depend_on_the_batch(plain):
    together = plain.encode(TEXTS)
    assert together.shape == (len(TEXTS), 32) and together.dtype == np.float32
    for size in (1, 3):
        assert np.abs(plain.encode(TEXTS, batch_size=size) - together).max() <= 1e-5
    assert np.abs(plain.encode(TEXTS[::-1])[::-1] - together).max() <= 1e-5
    single = plain.encode(TEXTS[0])
    assert single.shape == (32,) and np.abs(single - together[0]).max() <= 1e-5
    assert plain.encode([]).shape == (0, 32)


def test_encode_is_the_mean_over_the_tokens(plain):
    row = plain.tokenizer.encode([TEXTS[0]])[0]
    states = plain.forward(row.ids[None], row.token_types[None])[0]
    assert np.abs(states[0].mean(axis=0) - plain.encode(TEXTS[0])).max() <= 1e-5
    assert np.linalg.norm(plain.encode(TEXTS[0], normalize=True)) == pytest.approx(1, abs=1e-5)


def test_padding_changes_nothing(plain):
    row = plain.tokenizer.encode([TEXTS[0]])[0]
    padded = np.concatenate([row.ids, np.full(7, 9, row.ids.dtype)])[None]
    alone, wider = plain.forward(row.ids[None])[0], plain.forward(padded, valid_length=[len(row)])[0]
    assert np.abs(alone[0] - wider[0, :len(row)]).max() <= 1e-5


def test_predict(classifier, sst):
    one = classifier.predict("the film was great")
    assert one.label == "1" and one.score == max(one.scores.values()) and sum(one.scores.values()) == pytest.approx(1)
    many = classifier.predict(["the film was great", "a poor actor"])
    assert [p.label for p in many] == ["1", "0"]
    assert many[0].scores == pytest.approx(one.scores, abs=1e-5)
    assert classifier.predict([]) == []
    texts, feelings = zip(*toy.rows(toy.DEV, 2), strict=True)
    right = np.mean([p.label == str(f) for p, f in zip(classifier.predict(list(texts)), feelings, strict=True)])
    assert right == Bundle.open(sst / "bundle").metrics["accuracy"]  # fine-tuning measured it on the same rows


def test_answer(answerer):
    context = "the plot was so fred and it"
    found = answerer.answer("who is rich ?", context)
    assert found.text == "fred" == context[found.start:found.end] and 0 < found.score <= 1
    long = "the " * 60 + "dora" + " film" * 30
    assert answerer.answer("who is rich ?", long, doc_stride=16).text == "dora"
    empty = answerer.answer("who is rich ?", context, version_2=True, null_score_diff_threshold=-1e6)
    assert empty.text == ""


@pytest.mark.parametrize(("arguments", "words"), [
    (([[1, 2, 10**6]],), "input_ids"),
    (([[1, -1, 2]],), "input_ids"),
    (([1, 2, 3],), "shape"),
    (([[1.0, 2.0]],), "whole numbers"),
    (([[]],), "input_ids"),
    (([[1, 2], [3]],), "rows of one length"),
    ((["one"],), "input_ids"),
    (([[1, 2]], [[0, 2]]), "token_types"),
    (([[1, 2]], [[0]]), "token_types must be"),
    (([[1, 2]], None, [3]), "valid_length"),
    (([[1, 2]], None, [0]), "valid_length"),
    (([[1, 2]], None, [1.5]), "valid_length"),
    (([[1, 2]], None, [float("nan")]), "valid_length"),
    (([[1, 2]], None, [1, 1]), "valid_length"),
    (([[1] * (toy.POSITIONS + 1)],), "longer than the model"),
])
def test_forward_refuses_what_does_not_fit(plain, arguments, words):
    with pytest.raises(UsageError, match=words):
        plain.forward(*arguments)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda m: m["plain"].predict("a"), UsageError, "no classifier"),
    (lambda m: m["plain"].answer("who ?", "anna"), UsageError, "answers no questions"),
    (lambda m: m["classifier"].encode("a"), UsageError, "gives no embeddings"),
    (lambda m: m["classifier"].predict("a", ["b"]), UsageError, "one text with one pair"),
    (lambda m: m["classifier"].predict(["a"], ["b", "c"]), DataError, "second texts"),
    (lambda m: m["plain"].encode([1]), DataError, "expected text"),
    (lambda m: m["plain"].encode(["\ud800"]), DataError, "surrogate"),
    (lambda m: m["answerer"].answer("who ?", " "), DataError, "empty context"),
])
def test_wrong_uses_end_in_a_sentence(plain, classifier, answerer, call, error, words):
    with pytest.raises(error, match=words):
        call({"plain": plain, "classifier": classifier, "answerer": answerer})


@pytest.mark.parametrize(("options", "words"), [
    ({"engine": "mxnett"}, "Did you mean 'mxnet'"), ({"engine": "mxnet", "pases": "none"}, "Did you mean 'passes'"),
    ({"passes": "none"}, "engine='mxnet' has it"), ({"gpu": 0}, "engine='mxnet' has it"),
    ({"device": 0}, "engine='cuda' has it"), ({"thread": 1}, "Did you mean 'threads'")])
def test_unknown_engine_or_option(encoder, options, words):
    with pytest.raises(UsageError, match=words):
        bertpass.load(encoder, **options)


def test_several_threads_at_once(plain):
    expected = plain.encode(TEXTS, batch_size=5)
    found, failed = {}, []

    def work(number):
        try:
            found[number] = [plain.encode(TEXTS, batch_size=5) for _ in range(6)]
        except Exception as error:  # a failure in a thread must fail the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(found) == 4
    for rows in found.values():
        assert all(np.array_equal(row, expected) for row in rows)


def test_passes_change_nothing(sst):
    ours, none = (bertpass.load(sst / "bundle", engine="mxnet", passes=passes) for passes in ("auto", "none"))
    ids = np.random.default_rng(1).integers(5, 40, (4, 11))
    difference = np.abs(ours.forward(ids, valid_length=[11, 1, 5, 8])[0] - none.forward(
        ids, valid_length=[11, 1, 5, 8])[0]).max()
    assert difference <= 1e-5
    assert ours.engine.describe()["passes"]["rewrites"] > 0 == none.engine.describe()["passes"]["rewrites"]


def test_a_fine_tuned_model_opens_in_transformers(classifier, sst, tmp_path):
    needs = "pip install '.[reference]' to compare with transformers"
    torch = pytest.importorskip("torch", reason=needs)
    transformers = pytest.importorskip("transformers", reason=needs)
    huggingface.write_folder(tmp_path / "folder", Bundle.open(sst / "bundle").checkpoint())
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "folder").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    with torch.no_grad():
        logits = theirs(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()
    ours = np.stack(classifier.run(classifier.tokenizer.encode(TEXTS)))
    assert np.abs(ours - logits).max() <= 1e-5
    assert [theirs.config.id2label[i] for i in (0, 1)] == classifier.labels
