"""A Triton kernel optimization specialist.

    import tilewright

    problem = tilewright.Problem.from_file("problem.py")
    summary = tilewright.optimize(problem, "runs/first", current=open("kernel.py").read(), gpu="h100")

Names are imported on first use, so `import tilewright` costs nothing and needs no GPU.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tilewright import version

__version__ = version.VERSION

_HOME = {
    "Candidate": "tilewright.candidate",
    "Evidence": "tilewright.evidence",
    "Figure": "tilewright.evidence",
    "Gpu": "tilewright.gpu.model",
    "Inspection": "tilewright.inspect.model",
    "KernelFile": "tilewright.kernelfile",
    "Outcome": "tilewright.judge.verdict",
    "Problem": "tilewright.problem",
    "Request": "tilewright.request",
    "Summary": "tilewright.stages.summary",
    "TilewrightError": "tilewright.errors",
    "Timing": "tilewright.judge.speed.samples",
    "Verdict": "tilewright.judge.verdict",
    "check": "tilewright.judge.api",
    "find_gpu": "tilewright.gpu.catalogue:find",
    "inspect_launches": "tilewright.inspect.api:inspect",
    "model_new": "tilewright.entry",
    "optimize": "tilewright.api",
    "parse_request": "tilewright.request:parse",
    "time_sides": "tilewright.judge.api",
    "verify_run": "tilewright.verify.api:verify",
}

__all__ = [
    "Candidate",
    "Evidence",
    "Figure",
    "Gpu",
    "Inspection",
    "KernelFile",
    "Outcome",
    "Problem",
    "Request",
    "Summary",
    "TilewrightError",
    "Timing",
    "Verdict",
    "check",
    "find_gpu",
    "inspect_launches",
    "model_new",
    "optimize",
    "parse_request",
    "time_sides",
    "verify_run",
]

if TYPE_CHECKING:
    from tilewright.api import optimize as optimize
    from tilewright.candidate import Candidate as Candidate
    from tilewright.entry import model_new as model_new
    from tilewright.errors import TilewrightError as TilewrightError
    from tilewright.evidence import Evidence as Evidence
    from tilewright.evidence import Figure as Figure
    from tilewright.gpu.catalogue import find as find_gpu
    from tilewright.gpu.model import Gpu as Gpu
    from tilewright.inspect.api import inspect as inspect_launches
    from tilewright.inspect.model import Inspection as Inspection
    from tilewright.judge.api import check as check
    from tilewright.judge.api import time_sides as time_sides
    from tilewright.judge.speed.samples import Timing as Timing
    from tilewright.judge.verdict import Outcome as Outcome
    from tilewright.judge.verdict import Verdict as Verdict
    from tilewright.kernelfile import KernelFile as KernelFile
    from tilewright.problem import Problem as Problem
    from tilewright.request import Request as Request
    from tilewright.request import parse as parse_request
    from tilewright.stages.summary import Summary as Summary
    from tilewright.verify.api import verify as verify_run


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tilewright' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return __all__
