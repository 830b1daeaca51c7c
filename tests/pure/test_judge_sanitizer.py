"""What compute-sanitizer prints, read."""

from __future__ import annotations

import pytest

from tilewright.errors import SetupError
from tilewright.judge.cell.outside import started
from tilewright.judge.sanitizer import errors

CLEAN = """========= COMPUTE-SANITIZER
========= ERROR SUMMARY: 0 errors
"""
STRAY = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at scale_kernel+0x1a0 in scale.py:14
=========     by thread (96,0,0) in block (9,0,0)
=========     Address 0x7f5a4e000960 is out of bounds
=========
========= Invalid __global__ write of size 4 bytes
=========     at scale_kernel+0x1a0 in scale.py:14
========= ERROR SUMMARY: 2 errors
"""
NO_RACES = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"


def test_no_errors_are_no_errors() -> None:
    assert errors(CLEAN) == []
    assert errors(NO_RACES) == []


def test_each_kind_of_error_is_told_once() -> None:
    assert errors(STRAY) == ["Invalid __global__ write of size 4 bytes"]


def test_a_tool_that_did_not_run_is_a_matter_of_the_setup() -> None:
    with pytest.raises(SetupError, match="no summary but 'Unable to find tool'"):
        errors("Unable to find tool")


def test_a_cell_that_a_tool_runs_is_in_its_reach() -> None:
    """compute-sanitizer talks over the network to what it has put into the process."""
    with started("cpu", "", ("env",)) as cell:
        assert cell.isolation == "none: env must reach into it"
        assert cell.command("observed").values == {"findings": []}
