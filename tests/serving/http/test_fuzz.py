"""schemathesis makes requests of docs/openapi.json, right and wrong ones: no answer is a fault of the server, none is
200 with a field that is not in the schema, and null is as if left out.

BERTPASS_FUZZ=200 makes so many of each operation in place of a few.
"""

import copy
import os

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.served import ROOT, Process

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install "
                                   "'.[test]'")
MODELS = ("embedding", "classification", "qa", "tokens", "ranking", "none", "sparse", "mlm", "late")
EXAMPLES = int(os.environ.get("BERTPASS_FUZZ", "8"))
SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")


@pytest.fixture(scope="module")
def url():
    """A server of every kind of model."""
    with Process(*MODELS, "--port", 0, "--engine", "dummy") as server:
        yield server.url()


def served(case):
    """Let the case ask for models that there are, as far as it names any."""
    if isinstance(case.body, dict):  # a model of any name is none that there is
        case.body.pop("model", None)
    if "name" in (case.path_parameters or {}):
        case.path_parameters["name"] = MODELS[len(str(case.body)) % len(MODELS)]


def objects(value, at=()):
    """The places of all objects inside a JSON value."""
    if isinstance(value, dict):
        yield at
        for name, each in value.items():
            yield from objects(each, (*at, name))
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from objects(each, (*at, number))


def changed(body, at, change):
    """A copy of the body in which the object at a place is changed."""
    whole = copy.deepcopy(body)
    part = whole
    for step in at:
        part = part[step]
    change(part)
    return whole


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_is_a_fault_of_the_server(case, url):
    served(case)
    status = case.call(base_url=url).status_code
    assert status < 500, f"{status} for {case.as_curl_command()}"


@SCHEMA.include(method="POST").parametrize()
@settings(max_examples=max(2, EXAMPLES // 3), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_field_is_ignored_and_null_is_left_out(case, url):
    served(case)
    body = case.body
    # cases of other methods than the schema's are among them, such as GET / for the page, which reads no body
    if case.method.upper() != "POST" or not isinstance(body, dict):
        return

    def status(whole):
        case.body = whole
        found = case.call(base_url=url).status_code
        assert found < 500, f"{found} for {case.as_curl_command()}"
        return found

    for at in list(objects(body))[:3]:
        assert status(changed(body, at, lambda part: part.update(nobody_knows=1))) != 200, case.as_curl_command()
        part = body
        for step in at:
            part = part[step]
        for name in list(part)[:4]:
            null = status(changed(body, at, lambda part, name=name: part.update({name: None})))
            left_out = status(changed(body, at, lambda part, name=name: part.pop(name)))
            assert (null == 200) == (left_out == 200), case.as_curl_command()
