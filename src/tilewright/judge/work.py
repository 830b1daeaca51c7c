"""The judge's tasks inside a worker process."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch


def check(payload: dict[str, Any]) -> Any:
    """Judge a candidate; returns a Verdict. The payload is what `judge.api.check` was given.

    Triton reads TRITON_INTERPRET when a kernel is defined, so it is set before Triton is imported.

    Raises:
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
    """
    started = time.perf_counter()
    on_gpu = torch.cuda.is_available()
    os.environ["TRITON_INTERPRET"] = "0" if on_gpu else "1"
    from tilewright.judge.session import Session

    phase = Path(payload["phase"])
    session = Session(payload, torch.device("cuda" if on_gpu else "cpu"), lambda now: _note(phase, now))
    return replace(session.verdict(), seconds=time.perf_counter() - started)


def time_sides(payload: dict[str, Any]) -> Any:
    """Time several sides on the GPU; returns a Timing, None without a GPU."""
    if not torch.cuda.is_available():
        return None
    from tilewright.judge.timing import time_all

    return time_all(payload)


def _note(phase: Path, now: str) -> None:
    """Write down what runs next; the parent reads it when this process does not come back."""
    phase.write_text(now)
