"""The twin of the CUDA engine for the operators of other frameworks."""

import pytest

from tests.helpers.twin import twin_library


@pytest.fixture(scope="session")
def twin():
    """Path of the twin's library, built where it has to be."""
    return twin_library()
