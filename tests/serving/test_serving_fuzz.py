"""schemathesis makes requests of docs/openapi.json, right and wrong ones: no answer is a fault of the server."""

import pytest
from hypothesis import HealthCheck, settings
from served import ROOT, Process

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install "
                                   "'bertpass[fuzz]'")
SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")


@pytest.fixture(scope="module")
def url():
    """A server of every kind of model."""
    with Process("embedding", "classification", "qa", "tokens", "ranking", "none", "--port", 0, "--engine",
                 "dummy") as server:
        yield server.url()


@SCHEMA.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_is_a_fault_of_the_server(case, url):
    status = case.call(base_url=url).status_code
    assert status < 500, f"{status} for {case.as_curl_command()}"
