"""A tiny encoder on disk, toy data that it can learn, and jobs that run once for all tests."""

import pytest

from bertpass.commands.make import deploy, finetune
from tests.helpers import toy


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
