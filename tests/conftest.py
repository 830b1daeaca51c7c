"""Settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples at every run, so that a failure is the change's own. Look for new ones now and then:
# HYPOTHESIS_PROFILE=default scripts/test
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Of several GPUs that CUDA_VISIBLE_DEVICES names, each test process takes one: what is timed waits less.
_WORKER, _DEVICES = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("CUDA_VISIBLE_DEVICES", "")
if _WORKER and "," in _DEVICES:
    os.environ["CUDA_VISIBLE_DEVICES"] = _DEVICES.split(",")[int(_WORKER[2:]) % (_DEVICES.count(",") + 1)]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same one in each of its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def own_cache(shared_folder: Path) -> None:
    """What tests compile is neither taken from the user's cache nor left in it."""
    os.environ["TILEWRIGHT_CACHE"] = str(shared_folder / "cache")
