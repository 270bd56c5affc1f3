"""What every test leaves as it was."""

import logging
import os

import pytest


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
