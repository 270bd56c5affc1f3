"""What every test leaves as it was."""

import logging
import os

import pytest

from bertpass import progress

LOG = logging.getLogger("bertpass")


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no test process begins a long one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def untouched_process():
    """Commands set up logging and MXNet's environment: both are as before after each test, also what fixtures of a
    module set up."""
    fresh_log()
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
    fresh_log()


def fresh_log() -> None:
    """The project's log as it is before a command runs."""
    progress.set_level()
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
    LOG.propagate = True
    LOG.setLevel(logging.NOTSET)
