"""A tiny encoder on disk, toy data that it can learn, and jobs that run once for all tests."""

import logging
import os

import pytest
import toy

from bertpass.commands import deploy, finetune


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch):
    """Commands set up logging and MXNet's environment: both are as before after each test."""
    log = logging.getLogger("bertpass")
    before = dict(os.environ), log.propagate, list(log.handlers), log.level
    yield
    for name in set(os.environ) - set(before[0]):
        del os.environ[name]
    os.environ.update(before[0])
    for handler in [h for h in log.handlers if h not in before[2]]:
        log.removeHandler(handler)
        handler.close()
    log.propagate, log.level = before[1], before[3]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A Hugging Face folder with a tiny BERT without a head."""
    return toy.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Toy data in every layout; see :mod:`toy`."""
    return toy.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def sst(encoder, data, tmp_path_factory):
    """Output folder of a fine-tuned SST model."""
    out = tmp_path_factory.mktemp("sst") / "out"
    assert finetune.classifier(toy.classify(encoder, out, "--task_name", "SST", "--data_dir", data / "glue")) == 0
    return out


@pytest.fixture(scope="session")
def deployed(sst, data, tmp_path_factory):
    """Output folder of deploy.py on the SST model, its passes run by MXNet through the library."""
    out = tmp_path_factory.mktemp("deployed")
    argv = toy.deploy("--model_parameters", sst / "net.params", "--task", "SST", "--data_dir", data / "glue",
                      "--custom_pass", toy.LIBRARY, "--compare", "--check_accuracy", "--output_dir", out)
    assert deploy.main(argv) == 0
    return out


@pytest.fixture(scope="session")
def squad(encoder, data, tmp_path_factory):
    """Output folder of a model that was fine-tuned on the toy SQuAD 1.1 file."""
    out = tmp_path_factory.mktemp("squad") / "out"
    assert finetune.squad(toy.squad(encoder, out, "--data_dir", data / "squad")) == 0
    return out
