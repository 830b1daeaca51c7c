"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples at every run, so that a failure is the change's own. Look for new ones now and then:
# HYPOTHESIS_PROFILE=default scripts/test
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
