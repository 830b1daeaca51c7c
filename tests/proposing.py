"""What the recurrence compiler proposes for a problem, for tests of its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tilewright.gpu.model import Gpu
from tilewright.problem import Problem
from tilewright.proposers.base import Proposals, Situation
from tilewright.proposers.recurrence.proposer import RecurrenceCompiler
from tilewright.stages.catalogue import stages

STAGE = next(stage for stage in stages("network") if stage.name == "algorithm")


def proposed(problem: Problem, gpu: Gpu, precision: str = "tf32", **how: Any) -> Proposals:
    """Without code to start from; `how` may name a dialect and a plan."""
    return RecurrenceCompiler().propose(Situation(problem, None, None, gpu, STAGE, {}, precision, **how))


def run_interpreted(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a process of its own says that runs the code in a folder, whose files it can import."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
