"""The watch over addresses under Triton's interpreter, in a process of its own as the judge has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.judge.failures import diagnosed
from tilewright.judge.interpreted.memory import StrayAccess
from tilewright.judge.verdict import Outcome

pytestmark = pytest.mark.interpreted
KERNELS = Path(__file__).parents[1] / "data" / "judge" / "stray.py"


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """For each case of the file what was raised, then what the watch has noted."""
    done = subprocess.run([sys.executable, KERNELS], capture_output=True, text=True, check=True)
    noted: dict[str, list[str]] = json.loads(done.stdout)
    return noted


def test_accesses_within_live_tensors_are_let_through(found: dict[str, list[str]]) -> None:
    """Masks, views, empty launches, stored addresses, descriptors, assembly, sampled and tuned kernels."""
    assert found.pop("inside") == [""]
    assert found.pop("inside a descriptor") == [""]
    for case, (raised, *lines) in found.items():
        assert raised == "StrayAccess", case
        assert len(lines) == 1, case


@pytest.mark.parametrize(
    ("case", "kernel", "told"),
    [
        ("load past the end", "copy", "reads 14 elements up to 56 bytes past the end of src"),
        ("store past the end", "copy", "writes 14 elements up to 56 bytes past the end of dst"),
        ("before the start", "at_offset", "writes 1 element up to 12 bytes before the start of dst"),
        ("atomic", "count", "changes atomically 1 element up to 4 bytes past the end of total"),
        ("exchange", "swap", "changes atomically 1 element up to 8 bytes past the end of lock"),
        ("assembly", "inline", "reads 6 elements up to 24 bytes past the end of src"),
        ("wild", "at_offset", "bytes past the end of "),
        ("helper", "calls_helper", "writes 1 element up to 4 bytes past the end of dst"),
    ],
)
def test_a_stray_access_names_kernel_line_and_distance(
    found: dict[str, list[str]], case: str, kernel: str, told: str
) -> None:
    (line,) = found[case][1:]
    assert line.startswith(f"{kernel} line ")
    assert told in line
    number = int(line.split()[2])
    code = KERNELS.read_text().splitlines()[number - 1]
    assert any(word in code for word in ("tl.load", "tl.store", "tl.atomic", "tl.inline_asm"))


def test_the_verdict_is_stray_access() -> None:
    failure = diagnosed(StrayAccess("copy line 3 reads"), "", "candidate.py", interpreted=True)
    assert failure.outcome is Outcome.STRAY_ACCESS
    assert failure.reason == "copy line 3 reads (candidate.py)"
