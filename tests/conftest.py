"""Settings that all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The same examples at every run, so that a failure is the change's own. Look for new ones now and then:
# HYPOTHESIS_PROFILE=default scripts/test
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests compile is neither taken from the user's cache nor left in it."""
    os.environ["TILEWRIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
