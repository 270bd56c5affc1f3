"""Clients that people have, unchanged, against a real server: tritonclient (KServe v2) and huggingface_hub."""

import numpy as np
import pytest

from tests.helpers.served import Process, httpx

MODELS = ("embedding", "classification", "qa", "tokens", "ranking", "none", "sparse")
CONTEXT = "anna lives in berlin. bob lives in paris."


@pytest.fixture(scope="module")
def url():
    """A server of every kind of model."""
    with Process(*MODELS, "--port", 0, "--engine", "dummy") as server:
        yield server.url()


@pytest.fixture(scope="module")
def triton():
    """The package's module."""
    return pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: pip install "
                               "'.[test]'")


@pytest.fixture
def client(url, triton):
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def tensor(triton, name, values, binary=True):
    array = np.array(values, object) if isinstance(values[0], str) else np.array(values, np.int64)
    made = triton.InferInput(name, array.shape, "BYTES" if array.dtype == object else "INT64")
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def post(url, path, **body):
    reply = httpx.post(url + path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_triton_describes(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("qa")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "bertpass"
    config = client.get_model_config("embedding")
    assert config["input"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": [1], "optional": False}]
    assert config["output"] == [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [16]}]
    assert [each["optional"] for each in client.get_model_config("classification", "1")["input"]] == [False, True]
    told = client.get_model_metadata("embedding", "1")
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert told["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 16]}]


@pytest.mark.parametrize("binary", [False, True])
def test_triton_computes_what_the_routes_do(url, triton, client, binary):
    def infer(model, outputs, **inputs):
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs]
        found = client.infer(model, [tensor(triton, name, values, binary) for name, values in inputs.items()],
                             outputs=wanted, request_id="7")
        assert found.get_response()["id"] == "7"
        for told in client.get_model_metadata(model)["outputs"]:
            if told["name"] in outputs:
                assert found.get_output(told["name"])["datatype"] == told["datatype"]
        return [found.as_numpy(name) for name in outputs]

    texts = ["abc", "dé f"]
    (vectors,) = infer("embedding", ["embedding"], text=texts)
    assert np.array_equal(vectors, np.float32(post(url, "/embed", inputs=texts)))
    labels, scores, every = infer("classification", ["label", "score", "scores"], text=texts, text_pair=["a", "b"])
    pairs = post(url, "/predict", inputs=[["abc", "a"], ["dé f", "b"]])
    assert [each.decode() if isinstance(each, bytes) else each for each in labels] == [p[0]["label"] for p in pairs]
    assert scores == pytest.approx([p[0]["score"] for p in pairs]) and every.shape == (2, 2)
    answer, start, end = infer("qa", ["answer", "start", "end"], question=["who"], context=[CONTEXT])
    expected = post(url, "/qa", question="who", context=CONTEXT)
    assert (start[0], end[0]) == (expected["start"], expected["end"]) and len(answer) == 1
    (entities,) = infer("tokens", ["entities"], text=texts)
    assert len(entities) == 2
    (ranked,) = infer("ranking", ["score"], text=["q", "q"], text_pair=["a", "b"])
    expected = {each["index"]: each["score"] for each in post(url, "/rerank", query="q", texts=["a", "b"])}
    assert ranked == pytest.approx([expected[0], expected[1]])


@pytest.mark.parametrize("binary", [False, True])
def test_triton_ids(url, triton, client, binary):
    """Padded ids give what the texts give, of which they are the tokens."""
    tokens = post(url, "/tokenize", inputs=["abc", "a"], model="embedding")
    rows = [[token["id"] for token in row] for row in tokens]
    ids = [row + [0] * (5 - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (5 - len(row)) for row in rows]
    inputs = [tensor(triton, "input_ids", ids, binary), tensor(triton, "attention_mask", mask, binary)]
    vectors = client.infer("embedding", inputs).as_numpy("embedding")
    assert np.array_equal(vectors, np.float32(post(url, "/embed", inputs=["abc", "a"])))
    states = client.infer("none", inputs).as_numpy("last_hidden_state")
    whole = post(url, "/embed_all", inputs=["abc", "a"])
    assert states.shape == (2, 5, 16) and np.array_equal(states[1, :3], np.float32(whole[1]))
    assert not states[1, 3:].any()
    assert client.infer("qa", inputs).as_numpy("logits").shape == (2, 5, 2)


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_triton_packs(triton, client, packing):
    found = client.infer("embedding", [tensor(triton, "text", ["abc"])], request_compression_algorithm=packing)
    assert found.as_numpy("embedding").shape == (1, 16)


def test_triton_shows_our_sentence(triton, client):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="Did you mean 'text'"):
        client.infer("embedding", [tensor(triton, "tex", ["abc"])])
    with pytest.raises(InferenceServerException, match="Did you mean 'embedding'"):
        client.infer("embedding", [tensor(triton, "text", ["abc"])],
                     outputs=[triton.InferRequestedOutput("embeding")])


def hub(url, path):
    module = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install "
                                 "'.[test]'")
    return module.InferenceClient(url + path)


def test_huggingface_hub(url):
    """One address for all tasks; the model is the first that fits, so only what inputs tell apart can be asked so."""
    similar = hub(url, "/").sentence_similarity("abc", ["abc", "d"])
    assert similar[0] == pytest.approx(1) and similar[1] < 1
    assert np.array_equal(np.float32(hub(url, "/").feature_extraction("abc")),
                          np.float32(post(url, "/embed", inputs="abc")))
    found = hub(url, "/invocations").question_answering(question="who", context=CONTEXT, max_answer_len=5)
    expected = post(url, "/qa", question="who", context=CONTEXT, max_answer_length=5)
    assert (found.answer, found.start, found.end) == (expected["answer"], expected["start"], expected["end"])
    assert hub(url, "/similarity").sentence_similarity("abc", ["d"]) == [pytest.approx(similar[1])]
    assert np.shape(hub(url, "/embed").feature_extraction("abc", normalize=False)) == (1, 16)
    for entity in hub(url, "/ner").token_classification(CONTEXT):
        assert CONTEXT[entity.start:entity.end] == entity.word and entity.entity_group == "PER"


def test_huggingface_hub_with_a_classifier_and_a_tagger():
    with Process("classification", "--port", 0, "--engine", "dummy") as server:
        url = server.url()
        labels = hub(url, "/").text_classification("abc", top_k=1)
        assert [labels[0].label, labels[0].score] == list(post(url, "/predict", inputs="abc")[0].values())
        assert len(labels) == 1 and len(hub(url, "").text_classification("abc")) == 2
    with Process("mlm", "--port", 0, "--engine", "dummy") as server:
        found = hub(server.url(), "/").fill_mask("a [MASK] c", targets=["b", "d"], top_k=1)
        (expected,) = post(server.url(), "/", inputs="a [MASK] c", parameters={"targets": ["b", "d"], "top_k": 1})
        assert [{name: each[name] for name in expected} for each in found] == [expected]
        assert expected["sequence"] == f"a {expected['token_str']} c"
    with Process("tokens", "--port", 0, "--engine", "dummy") as server:
        url = server.url()
        assert [vars(each)["word"] for each in hub(url, "/").token_classification(CONTEXT)] == \
            [each["word"] for each in post(url, "/ner", inputs=CONTEXT)]
