"""The one rule for bodies: unknown fields are refused, null is left out, what is taken is acted on."""

import asyncio

import numpy as np
import pytest

from bertpass.serving.http.app import document
from tests.helpers.served import serving

ALL = ("embedding", "classification", "qa", "tokens", "ranking", "none", "sparse", "mlm", "late")
LONG = " ".join("abcdefghij"[at % 10] for at in range(100))  # 100 tokens; the model takes 64

#: a right body of every route, by its path
RIGHT = {
    "/embed": {"inputs": "abc"}, "/embed_all": {"inputs": "abc"}, "/embed_sparse": {"inputs": "abc"},
    "/predict": {"inputs": "abc"},
    "/rerank": {"query": "q", "texts": ["a", "b"]}, "/qa": {"question": "who", "context": "anna lives here"},
    "/similarity": {"inputs": {"source_sentence": "a", "sentences": ["b"]}}, "/ner": {"inputs": "anna was here"},
    "/tokenize": {"inputs": "abc"}, "/decode": {"ids": [5, 6]}, "/": {"inputs": "abc"},
    "/invocations": {"inputs": "abc"}, "/v1/embeddings": {"input": "abc"},
    "/openai/deployments/embedding/embeddings": {"input": "abc"},
    "/v1/rerank": {"query": "q", "documents": ["a", "b"]}, "/v2/rerank": {"query": "q", "documents": ["a", "b"]},
    "/v2/embed": {"texts": ["abc"]}, "/classify": {"input": "abc"}, "/v1/classify": {"input": "abc"},
    "/v2/models/embedding/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["abc"]}]},
}


@pytest.fixture(scope="module")
def ask():
    """``ask(path, body)`` -> status, JSON, of one server of every kind of model."""
    loop = asyncio.new_event_loop()
    whole = serving(*ALL)
    client = loop.run_until_complete(whole.__aenter__())

    def post(path, body):
        reply = loop.run_until_complete(client.post(path, json=body))
        return reply.status_code, reply.json()
    yield post
    loop.run_until_complete(whole.__aexit__(None, None, None))
    loop.close()


def said(content):
    """The sentence of a failure, in either form."""
    return content["error"]["message"] if isinstance(content["error"], dict) else content["error"]


def settled(answer):
    """Status and content without what differs from request to request."""
    status, content = answer
    if isinstance(content, dict):
        content = {name: value for name, value in content.items()
                   if name != "created" and not (name == "id" and len(value) > 30)}
    return status, content


def fields_of(path):
    """The fields of a route's body, from its schema: name -> whether it has to be there."""
    content = document()
    for template, operations in content["paths"].items():
        if "post" in operations and template == path.replace("/embedding/", "/{name}/"):
            schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
            if "$ref" in schema:
                schema = content["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return {name: name in schema.get("required", ()) for name in schema["properties"]}
    raise AssertionError(path)


def test_every_route_with_a_body_is_tried():
    paths = {path.replace("/embedding/", "/{name}/") for path in RIGHT}
    there = {path for path, operations in document()["paths"].items() if "post" in operations}
    assert there - paths == {"/v2/models/{name}/versions/{version}/infer"}


@pytest.mark.parametrize("path", RIGHT)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(ask, path):
    assert ask(path, RIGHT[path])[0] == 200
    for name in fields_of(path):
        status, content = ask(path, {**RIGHT[path], name + "s_": 1})
        assert status == 422 and f"unknown field '{name}s_'" in said(content) and name in said(content)


#: a value of each field that changes the answer to the right body, with what else the body then has
EFFECTS = {
    "model": ("other", {}), "truncation_direction": ("left", {"truncate": True}), "prompt": ("c c ", {}),
    "prompt_name": ("other", {}), "normalize": (False, {}), "dimensions": (3, {}), "raw_scores": (True, {}),
    "top_n": (1, {}), "return_text": (True, {}), "return_documents": (True, {}), "encoding_format": ("base64", {}),
    "max_answer_length": (1, {}), "align_to_words": (False, {}), "top_k": (2, {}), "truncate": (True, {}),
    "handle_impossible_answer": (True, {}), "aggregation_strategy": ("simple", {}), "add_special_tokens": (False, {}),
    "skip_special_tokens": (False, {}), "parameters": ({"truncate": True, "top_k": 1}, {}), "id": ("7", {}),
    "outputs": ([{"name": "other"}], {}), "is_query": (True, {"model": "late"}),
    "output_dtype": ("ubinary", {}), "embedding_types": (["ubinary"], {}), "output_dimension": (3, {}),
    "use_activation": (False, {})}
TEXT = dict.fromkeys(("truncate", "truncation_direction"), LONG + " x")  # whose effect is seen on long texts
#: which say that they change nothing
NO_EFFECT = {("/v1/embeddings", "user"), ("/ner", "truncate"), ("/", "options"), ("/invocations", "options"),
             ("/v2/embed", "input_type"),
             ("/openai/deployments/embedding/embeddings", "user")}  # of a model without prompts


@pytest.mark.parametrize("path", RIGHT)
def test_no_field_is_taken_and_ignored(ask, path):
    for name in fields_of(path):
        text = TEXT.get(name, "abc")
        bodies = {"/similarity": {"inputs": {"source_sentence": "a", "sentences": [text]}},
                  "/rerank": {"query": "q", "texts": ["a", text]},
                  "/v1/rerank": {"query": "q", "documents": ["a", text]},
                  "/qa": {"question": text, "context": "anna lives here"}, "/decode": {"ids": [2, 5, 6]},
                  "/v2/rerank": {"query": "q", "documents": ["a", text]}, "/v2/embed": {"texts": [text]},
                  "/v1/embeddings": {"input": text},
                  "/openai/deployments/embedding/embeddings": {"input": text}, "/classify": {"input": text},
                  "/v1/classify": {"input": text},
                  "/v2/models/embedding/infer": RIGHT["/v2/models/embedding/infer"]}
        body = bodies.get(path, {"inputs": text})
        if name in body or name in ("inputs", "query", "texts") or (path, name) in NO_EFFECT:
            continue
        if path in ("/", "/invocations") and name in ("top_n", "return_text"):
            body = bodies["/rerank"]
        if path in ("/", "/invocations") and name == "raw_scores":
            body = {**body, "model": "classification"}
        value, more = EFFECTS[name]
        if path == "/v2/embed" and name == "truncate":  # whose default cuts
            value = "NONE"
        plain, found = (settled(ask(path, {**body, **given})) for given in (more, {**more, name: value}))
        assert found != plain, f"{path}: {name} changes nothing"


@pytest.mark.parametrize("path", RIGHT)
def test_null_is_as_if_left_out(ask, path):
    expected = settled(ask(path, RIGHT[path]))
    for name, required in fields_of(path).items():
        status, content = settled(ask(path, {**RIGHT[path], name: None}))
        if required:
            assert status == 422 and name in said(content) and "null" in said(content)
        elif name not in RIGHT[path]:
            assert (status, content) == expected, name
        else:  # of the pipelines' route, where one of several is needed
            assert status == 400, name


TENSOR = RIGHT["/v2/models/embedding/infer"]["inputs"][0]


@pytest.mark.parametrize(("path", "plain", "nulls"), [
    ("/similarity", {}, {"parameters": {"truncate": None}}), ("/similarity", {}, {"parameters": None}),
    ("/", {}, {"parameters": {"top_k": None, "function_to_apply": None}}),
    ("/", {}, {"options": {"use_cache": None, "wait_for_model": None}}),
    ("/", {"inputs": {"question": "who", "context": "anna"}},
     {"inputs": {"question": "who", "context": "anna"},
      "parameters": {"top_k": None, "max_answer_len": None, "handle_impossible_answer": None}}),
    ("/v2/models/embedding/infer", {}, {"id": None, "outputs": None, "parameters": None}),
    ("/v2/models/embedding/infer", {}, {"parameters": {"truncate": None, "normalize": None, "dimensions": None}}),
    ("/v2/models/embedding/infer", {}, {"inputs": [{**TENSOR, "parameters": None}]}),
    ("/v2/models/embedding/infer", {}, {"inputs": [{**TENSOR, "parameters": {"binary_data_size": None}}]}),
    ("/v2/models/embedding/infer", {}, {"outputs": [{"name": "embedding", "parameters": {"binary_data": None}}]}),
    ("/v2/models/embedding/infer", {}, {"outputs": []}),
])
def test_null_inside_objects_is_as_if_left_out(ask, path, plain, nulls):
    assert ask(path, {**RIGHT[path], **nulls}) == ask(path, {**RIGHT[path], **plain})


@pytest.mark.parametrize(("path", "body", "words"), [
    ("/similarity", {"inputs": {"source_sentence": None, "sentences": ["b"]}}, "null"),
    ("/v1/rerank", {"documents": [{"text": None}]}, "text must be a text, and is null"),
    ("/v2/models/embedding/infer", {"inputs": [{**TENSOR, "data": [None]}]}, "elements of BYTES must be strings"),
    ("/embed", {"inputs": ["a", None]}, "item 2 is null"),
])
def test_null_where_a_value_has_to_be(ask, path, body, words):
    status, content = ask(path, {**RIGHT[path], **body})
    assert status == 422 and words in said(content)


@pytest.mark.parametrize(("path", "body", "words"), [
    ("/v2/models/embedding/infer", {"outputs": [{"name": "embedding"}] * 2}, "there twice"),
    ("/v2/models/embedding/infer", {"outputs": [{"name": "logits"}]}, "unknown output 'logits'"),
    ("/v1/embeddings", {"encoding_format": "base65"}, "must be 'float' or 'base64'"),
    ("/qa", {"top_k": 2}, "top_k must be 1"),
    ("/embed", {"dimensions": 3.0}, "must be a whole number"),
])
def test_values_that_nobody_would_act_on(ask, path, body, words):
    status, content = ask(path, {**RIGHT[path], **body})
    assert status == 422 and words in said(content)


@pytest.mark.parametrize(("path", "body", "words"), [
    ("/similarity", {"parameters": {"truncates": True}}, "Did you mean 'truncate'"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentence": ["b"]}}, "Did you mean 'sentences'"),
    ("/", {"parameters": {"topk": 1}}, "Did you mean 'top_k'"),
    ("/", {"options": {"use_cash": True}}, "Did you mean 'use_cache'"),
    ("/", {"inputs": {"question": "a", "contxt": "b"}}, "Did you mean 'context'"),
    ("/v1/rerank", {"documents": [{"txt": "a"}]}, "Did you mean 'text'"),
    ("/v2/models/embedding/infer", {"parameters": {"truncat": True}}, "Did you mean 'truncate'"),
    ("/v2/models/embedding/infer", {"outputs": [{"name": "embedding", "parameters": {"classification": 2}}]}, "scores"),
    ("/v2/models/embedding/infer", {"outputs": [{"name": "embedding", "binary": True}]}, "'binary'"),
    ("/v2/models/embedding/infer", {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"],
                                                "parameters": {"shared_memory_region": "x"}}]}, "no shared memory"),
])
def test_unknown_fields_inside(ask, path, body, words):
    status, content = ask(path, {**RIGHT[path], **body})
    assert status == 422 and words in said(content)


def test_a_field_that_the_task_would_not_look_at_is_refused(ask):
    for body, name in (({"parameters": {"top_k": 1}}, "top_k"), ({"raw_scores": True}, "raw_scores"),
                       ({"parameters": {"max_answer_len": 3}}, "max_answer_len"), ({"top_n": 1}, "top_n"),
                       ({"inputs": {"question": "a", "context": "b"}, "normalize": False}, "normalize"),
                       ({"inputs": "a", "model": "tokens", "dimensions": 3}, "dimensions"),
                       ({"inputs": "a", "model": "classification", "normalize": True}, "normalize")):
        status, content = ask("/", {**RIGHT["/"], **body})
        assert status == 422 and said(content).startswith(name + ": "), said(content)
    for name, value in (("normalize", True), ("dimensions", 2), ("max_answer_length", 3)):
        status, content = ask("/v2/models/classification/infer", {
            **RIGHT["/v2/models/embedding/infer"], "parameters": {name: value}})
        assert status == 422 and f"parameters.{name}" in said(content)


def test_known_fields_of_neighbours_are_refused_by_name(ask):
    for path, name in (("/embed", "truncate_prompt_tokens"), ("/v1/embeddings", "input_type"), ("/ner", "stride"),
                       ("/qa", "doc_stride"), ("/rerank", "documents"), ("/embed", "padding")):
        status, content = ask(path, {**RIGHT[path], name: "x"})
        assert status == 422 and said(content).startswith(f"unknown field '{name}': ")
    for path in ("/embed", "/v1/embeddings", "/similarity", "/"):
        status, content = ask(path, {**RIGHT[path], "prompt_name": "query"})
        assert status == 422 and "has no prompts" in said(content), path
        status, content = ask(path, {**RIGHT[path], "prompt_name": "query", "prompt": "a"})
        assert status == 422 and "not both" in said(content), path


def test_texts_are_cut_at_the_end_that_is_asked_for(ask):
    """Of 100 tokens of a letter each, 62 stay between the two special ones."""
    words = LONG.split()
    for side, kept in (("Left", words[-62:]), ("left", words[-62:]), ("Right", words[:62]), (None, words[:62])):
        cut = ask("/embed", {"inputs": LONG, "truncate": True, "truncation_direction": side})[1]
        assert cut == ask("/embed", {"inputs": " ".join(kept)})[1]
    status, content = ask("/embed", {"inputs": LONG, "truncation_direction": "middle"})
    assert status == 422 and "'left' or 'right'" in said(content)


@pytest.mark.parametrize(("path", "body", "switch"), [
    ("/embed", {"inputs": LONG}, {"truncate": True}),
    ("/embed_all", {"inputs": LONG}, {"truncate": True}),
    ("/predict", {"inputs": LONG}, {"truncate": True}),
    ("/rerank", {"query": "a", "texts": [LONG]}, {"truncate": True}),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": [LONG]}}, {"parameters": {"truncate": True}}),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": [LONG]}}, {"truncate": True}),
    ("/", {"inputs": LONG}, {"truncate": True}),
    ("/", {"inputs": LONG}, {"parameters": {"truncate": True}}),
    ("/qa", {"question": LONG, "context": "a b"}, {"truncate": True}),
    ("/v1/embeddings", {"input": LONG}, {"truncate": True}),
    ("/v1/rerank", {"query": "a", "documents": [LONG]}, {"truncate": True}),
    ("/v2/models/embedding/infer", {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [LONG]}]},
     {"parameters": {"truncate": True}}),
    ("/v2/models/qa/infer", {"inputs": [
        {"name": "question", "shape": [1], "datatype": "BYTES", "data": [LONG]},
        {"name": "context", "shape": [1], "datatype": "BYTES", "data": ["a b"]}]}, {"parameters": {"truncate": True}}),
])
def test_a_text_that_is_too_long_is_refused_with_a_switch_that_the_route_has(ask, path, body, switch):
    status, content = ask(path, body)
    assert status == 413 and '"truncate": true' in said(content) and "has 10" in said(content)
    assert ask(path, {**body, **switch})[0] == 200


def test_raw_scores_and_functions(ask):
    """Logits are what the probabilities were made of: of a softmax up to a constant, of a sigmoid by its inverse."""
    for model, inputs in (("classification", "abc"), ("classification", [["a", "b"], ["c", "d"]])):
        plain, raw = (ask("/predict", {"model": model, "inputs": inputs, "raw_scores": each})[1]
                      for each in (False, True))
        for one, other in zip(plain if isinstance(inputs, list) else [plain],
                              raw if isinstance(inputs, list) else [raw], strict=True):
            logits = np.array([each["score"] for each in other])
            assert np.exp(logits) / np.exp(logits).sum() == pytest.approx([each["score"] for each in one])
            assert [each["label"] for each in one] == [each["label"] for each in other]
    body = {"inputs": "abc", "model": "classification"}
    none, sigmoid, softmax = ({each["label"]: each["score"] for each in ask("/", {
        **body, "parameters": {"function_to_apply": name}})[1][0]} for name in ("none", "sigmoid", "softmax"))
    assert sigmoid == pytest.approx({label: 1 / (1 + np.exp(-logit)) for label, logit in none.items()})
    assert sum(softmax.values()) == pytest.approx(1)
    assert ask("/", {**body, "raw_scores": True}) == ask("/", {**body, "parameters": {"function_to_apply": "none"}})
    plain, raw = (ask("/rerank", {**RIGHT["/rerank"], "raw_scores": each})[1] for each in (False, True))
    assert [each["index"] for each in plain] == [each["index"] for each in raw]
    assert [1 / (1 + np.exp(-each["score"])) for each in raw] == pytest.approx([each["score"] for each in plain])


def test_parameters_of_pipelines_at_the_routes_of_their_tasks(ask):
    """Where a client of Hugging Face's is given the address of one route."""
    body = {"inputs": "abc", "model": "classification"}
    assert ask("/predict", {**body, "parameters": {"top_k": 1, "function_to_apply": "none"}})[1] == \
        ask("/predict", {**body, "raw_scores": True})[1][:1]
    status, content = ask("/predict", {**body, "raw_scores": True, "parameters": {"function_to_apply": "softmax"}})
    assert status == 422 and "leave out one" in said(content)
    for parameters in ({}, {"aggregation_strategy": "first"}, {"aggregation_strategy": None}):
        assert ask("/ner", {**RIGHT["/ner"], "parameters": parameters}) == ask("/ner", RIGHT["/ner"])
    for strategy in ("none", "simple", "average", "max"):
        beside = ask("/ner", {**RIGHT["/ner"], "aggregation_strategy": strategy})
        assert beside == ask("/ner", {**RIGHT["/ner"], "parameters": {"aggregation_strategy": strategy}})
        at_root = {**RIGHT["/ner"], "model": "tokens", "parameters": {"aggregation_strategy": strategy}}
        assert beside == ask("/", at_root)
        assert beside[0] == 200 and beside != ask("/ner", RIGHT["/ner"])
        status, content = ask("/ner", {"inputs": LONG, "aggregation_strategy": strategy})
        assert status == 413 and 'aggregation_strategy "first"' in said(content)
        assert ask("/ner", {"inputs": LONG, "aggregation_strategy": strategy, "truncate": True})[0] == 200
    status, content = ask("/ner", {**RIGHT["/ner"], "aggregation_strategy": "last"})
    assert status == 422 and "'first', 'average' or 'max', and is 'last'" in said(content)


@pytest.mark.parametrize(("path", "beside", "inside", "name"), [
    ("/similarity", {"truncate": True}, {"truncate": False}, "truncate"),
    ("/similarity", {"truncation_direction": "left"}, {"truncation_direction": "Right"}, "truncation_direction"),
    ("/", {"normalize": True}, {"normalize": False}, "normalize"),
    ("/invocations", {"truncate": False}, {"truncate": True}, "truncate"),
    ("/ner", {"aggregation_strategy": "simple"}, {"aggregation_strategy": "none"}, "aggregation_strategy"),
])
def test_one_field_with_two_values_is_refused(ask, path, beside, inside, name):
    status, content = ask(path, {**RIGHT[path], **beside, "parameters": inside})
    assert status == 422 and f"{name} has one value beside inputs and another in parameters" in said(content)
    for body in ({**beside, "parameters": beside}, {**beside, "parameters": {name: None}}, {"parameters": beside}):
        assert ask(path, {**RIGHT[path], **body}) == ask(path, {**RIGHT[path], **beside})


def test_rankings_are_cut(ask):
    body = {"query": "q", "texts": ["a", "b", "c"]}
    whole = ask("/rerank", body)[1]
    assert ask("/rerank", {**body, "top_n": 2})[1] == whole[:2]
    assert len(ask("/rerank", {**body, "top_n": 9})[1]) == 3
    found = ask("/v1/rerank", {"query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2,
                               "return_documents": True})[1]
    assert [(each["index"], each["relevance_score"]) for each in found["results"]] == \
        [(each["index"], each["score"]) for each in whole[:2]]
    assert found["results"][0]["document"] == {"text": "abc"[whole[0]["index"]]}
    documents = {"query": "q", "documents": ["a", "b", "c"]}
    assert ask("/v2/rerank", documents)[1]["results"] == ask("/v1/rerank", documents)[1]["results"]
    status, content = ask("/v2/rerank", {**documents, "top": 2})
    assert status == 422 and "Did you mean 'top_n'" in said(content)
    raw = ask("/v1/rerank", {**documents, "raw_scores": True})[1]["results"]
    assert [each["relevance_score"] for each in raw] == [each["score"] for each in ask(
        "/rerank", {**body, "raw_scores": True})[1]]
    status, content = ask("/rerank", {"query": "q", "documents": ["a"]})
    assert status == 422 and "/v1/rerank takes documents" in content["error"]


@pytest.mark.parametrize("path", ["/embed", "/", "/v1/embeddings", "infer", "ids"])
def test_normalize_and_dimensions(ask, path):
    """As text-embeddings-inference: the pooled vector, cut to its first numbers, then of length 1."""
    def vector(**more):
        if path in ("/embed", "/"):
            return ask(path, {"inputs": "abc", **more})[1][0]
        if path == "/v1/embeddings":
            return ask(path, {"input": "abc", **more})[1]["data"][0]["embedding"]
        ids = [each["id"] for each in ask("/tokenize", {"inputs": "abc"})[1][0]]
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["abc"]} if path == "infer" else \
            {"name": "input_ids", "shape": [1, len(ids)], "datatype": "INT64", "data": ids}
        return ask("/v2/models/embedding/infer", {"inputs": [tensor], "parameters": more})[1]["outputs"][0]["data"]

    unit = np.array(vector())
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-6)
    assert vector(dimensions=5) == pytest.approx(unit[:5] / np.linalg.norm(unit[:5]), abs=1e-6)
    if path != "/v1/embeddings":  # which has no such field: OpenAI's are of length 1 always
        raw = np.array(vector(normalize=False))
        assert np.linalg.norm(raw) > 1.5 and raw / np.linalg.norm(raw) == pytest.approx(unit, abs=1e-6)
        assert vector(normalize=False, dimensions=5) == pytest.approx(raw[:5])
    status, content = ask("/embed", {"inputs": "abc", "dimensions": 17})
    assert status == 422 and "gives 16" in said(content)


def test_ids_of_kserve(ask):
    def infer(**tensor):
        return ask("/v2/models/embedding/infer", {"inputs": [{"name": "input_ids", "datatype": "INT64", **tensor}]})

    status, content = infer(shape=[2, 3], data=[2, 5, 3, 2, 3, 0])
    assert status == 422 and "row 2 of input_ids ends with the padding id 0" in said(content)
    status, content = infer(shape=[1, 65], data=[5] * 65)
    assert status in (413, 422) and "65 tokens" in said(content)
    twice = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [each]} for each in "ab"]
    status, content = ask("/v2/models/embedding/infer", {"inputs": twice})
    assert status == 422 and "there twice" in said(content)
