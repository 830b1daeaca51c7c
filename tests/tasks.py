"""What `optimize` may be asked to do, for tests of what a run decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tilewright.candidate import Candidate
from tilewright.gpu.catalogue import find
from tilewright.problem import Problem
from tilewright.stages.catalogue import stages
from tilewright.stages.session import Task

H100 = find("h100")
STAGE = stages("single")[0]


def task(**asked: Any) -> Task:
    """One stage on an H100 that is not there, but for what is asked."""
    usual: dict[str, Any] = {
        "problem": Problem("", Path("problem.py")),
        "current": Candidate("best"),
        "gpu": H100,
        "plugged": None,
        "stages": (STAGE,),
        "forced": frozenset(),
        "precision": "float32",
        "mapping": {},
        "profile": {},
        "budget_seconds": 100.0,
    }
    return Task(**{**usual, **asked})
