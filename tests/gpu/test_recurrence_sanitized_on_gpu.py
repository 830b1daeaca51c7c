"""Every way to run a time loop under compute-sanitizer: no stray access, no hazard in shared memory."""

from __future__ import annotations

import shutil

import pytest
from proposing import proposed

from tilewright.judge.api import check
from tilewright.judge.sanitizer import PROGRAM
from tilewright.judge.verdict import Verdict
from tilewright.problem import Problem
from tilewright.workers import Limits

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
SOURCE = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(40, 64)
        self.head = nn.Linear(64, 5)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def get_inputs():
    return [torch.randn(6, 3, 40)]


def get_init_inputs():
    return []
"""


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not (shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/local/cuda/bin")):
        pytest.skip(f"no {PROGRAM} here")


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
@pytest.mark.parametrize("plan", ["stationary", "spread", "streamed"])
def test_a_plan_is_clean(plan: str, tool: str) -> None:
    verdict = sanitized(plan, tool)
    assert verdict.correct, verdict.reason
    assert f"compute-sanitizer {tool}: no errors" in verdict.notes


def sanitized(plan: str, tool: str) -> Verdict:
    from tilewright.gpu.plugged import plugged_in

    gpu = plugged_in()
    assert gpu is not None
    posed = Problem.from_source(SOURCE)
    proposals = proposed(posed, gpu, plan=plan)
    assert proposals.candidates, proposals.notes
    source = proposals.candidates[0].source
    limits = Limits(seconds=400.0, memory_bytes=32 * 2**30)
    return check(posed, source, precision="tf32", trials=1, sanitize=tool, limits=limits)
