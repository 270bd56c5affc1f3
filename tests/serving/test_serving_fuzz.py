"""schemathesis makes requests of docs/openapi.json, right and wrong ones: no answer is a fault of the server.

BERTPASS_FUZZ=200 makes so many of each operation in place of a few.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from served import ROOT, Process

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install "
                                   "'.[test]'")
MODELS = ("embedding", "classification", "qa", "tokens", "ranking", "none")
EXAMPLES = int(os.environ.get("BERTPASS_FUZZ", "8"))
SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")


@pytest.fixture(scope="module")
def url():
    """A server of every kind of model."""
    with Process(*MODELS, "--port", 0, "--engine", "dummy") as server:
        yield server.url()


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_is_a_fault_of_the_server(case, url):
    if isinstance(case.body, dict):  # a model of any name is none that there is
        case.body.pop("model", None)
    if "name" in (case.path_parameters or {}):
        case.path_parameters["name"] = MODELS[len(str(case.body)) % len(MODELS)]
    status = case.call(base_url=url).status_code
    assert status < 500, f"{status} for {case.as_curl_command()}"
