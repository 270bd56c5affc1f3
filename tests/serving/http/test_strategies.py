"""Entities by each strategy of transformers' pipeline, beside that pipeline on the same weights."""

import numpy as np
import pytest

from tests.helpers import served  # noqa: F401 - says where a package is missing
from tests.helpers.tiny_models import torch_model, write_vocab

transformers = pytest.importorskip("transformers", reason="pip install '.[reference]' to compare with transformers")
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
WORDS = ["the", "film", "is", "good", "bad", "un", ".", ","]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tags")
    write_vocab(path)
    torch_model("bert", "ForTokenClassification", num_labels=5, id2label=dict(enumerate(LABELS)),
                label2id={label: at for at, label in enumerate(LABELS)}).save_pretrained(path)
    transformers.BertTokenizerFast(vocab_file=str(path / "vocab.txt"), model_max_length=24).save_pretrained(path)
    return path


def texts():
    """Of words of one token and of several, and unknown ones, with capitals and double spaces."""
    random = np.random.default_rng(0)
    words = [*WORDS, "unable", "goods", "films", "badables", "Unables", "xyz", "w1", "w2", "w3"]
    return [("  " if at % 5 == 0 else " ").join(random.choice(words, 6)) for at in range(40)]


@pytest.mark.parametrize("strategy", ["none", "simple", "average", "max"])
def test_strategies(serve, folder, strategy):
    theirs = transformers.pipeline("token-classification", model=str(folder), aggregation_strategy=strategy,
                                   device="cpu")
    wanted = theirs(texts())
    seen = sum(map(len, wanted))
    assert seen > 40

    async def job(client):
        async def asked(path, **body):
            reply = await client.post(path, json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()

        found = await asked("/ner", inputs=texts(), aggregation_strategy=strategy)
        for text, one, other in zip(texts(), found, wanted, strict=True):
            for mine, right in zip(one, other, strict=True):
                right = {**right, "score": pytest.approx(float(right["score"]), abs=1e-5)}
                if strategy != "none":  # the pipeline joins tokens; ours are the characters of the text
                    right["word"] = text[right["start"]:right["end"]]
                assert mine == right
        assert await asked("/", inputs=texts()[0], parameters={"aggregation_strategy": strategy}) == found[0]
    serve(job, str(folder), engine="native", dtype="float32")
