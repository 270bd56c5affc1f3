"""Fixtures of the server's tests; what they need is imported on use, so that a test can skip without it."""

import asyncio
import os

import pytest


@pytest.fixture
def serve():
    """``run(job, *models, **options)`` runs ``job(client)`` with a server."""
    def run(job, *models, **options):
        from tests.helpers.served import serving

        async def main():
            async with serving(*models, **options) as client:
                return await job(client)
        return asyncio.run(main())
    return run


@pytest.fixture
def two_cores():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two instances need two processors; run the tests with more")
