"""Clients that people have, each call of benchmarks/client_calls.py; opt-in: they need an environment of their own."""

import os

import pytest
import serving_clients

from tests.helpers import served  # noqa: F401 - says where a package is missing


@pytest.mark.skipif(os.environ.get("BERTPASS_CLIENTS") != "1", reason="opt-in: make test-clients")
def test_every_call_gives_the_same_as_the_plain_route_or_our_sentence():
    found = serving_clients.calls(serving_clients.ClientOptions().python)
    assert {each["client"].split()[0] for each in found} == {
        "openai", "langchain-openai", "langchain-huggingface", "llama-index", "haystack", "litellm", "tritonclient",
        "huggingface_hub"}
    assert [each for each in found if not each["right"]] == []


def test_the_page_shows_what_came():
    text = serving_clients.page([
        {"client": "a 1", "call": "b|c", "came": "same", "right": True, "refused": False},
        {"client": "a 1", "call": "d", "came": "Error: no", "right": True, "refused": True}])
    assert "| a 1 | b\\|c | same |" in text and "| a 1 | d | Error: no |" in text


def test_without_the_environment_a_sentence_says_what_to_do(tmp_path, capsys):
    assert serving_clients.main(["--python", str(tmp_path / "none")]) == 2
    assert "make test-clients" in capsys.readouterr().err
