"""What several tests of the pool's parts stand on."""

import os

import pytest


@pytest.fixture
def no_leaks():
    """Let a test leave no descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
