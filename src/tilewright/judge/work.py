"""The judge's tasks inside a worker process."""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tilewright.errors import NotTimed, SetupError, TilewrightError
from tilewright.judge.speed.model import Rules
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.serial import structure


def check(payload: dict[str, Any]) -> Any:
    """Judge a candidate; returns a Verdict. The payload is what `judge.api.check` was given.

    Raises:
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        SetupError: compute-sanitizer is asked for and cannot run here.
    """
    began = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    from tilewright.judge import sanitizer
    from tilewright.judge.cell.outside import started
    from tilewright.judge.session import Session

    phase = Path(payload["phase"])
    _note(phase, "candidate")
    tool = payload["sanitize"]
    if tool and device == "cpu":
        raise SetupError(
            "--sanitize needs an NVIDIA GPU, and there is none here",
            mend="leave it out: the interpreter checks every address itself",
        )
    with started(device, payload["source"], sanitizer.command(tool) if tool else ()) as cell:
        session = Session(payload, cell, torch.device(device), lambda now: _note(phase, now))
        try:
            verdict = session.verdict()
        except TilewrightError:
            raise
        except Exception as error:  # noqa: BLE001  ours, not the candidate's: a bug blames nobody else
            verdict = Verdict(Outcome.NOT_CHECKED, reason=f"the judge itself failed: {_told(error)}")
        if tool and verdict.outcome is not Outcome.CRASH:
            verdict = _sanitized(verdict, tool, sanitizer.errors(cell.said()))
    return replace(verdict, seconds=time.perf_counter() - began)


def _told(error: Exception) -> str:
    """An exception with the deepest place in our code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno}); please report it"


def _sanitized(verdict: Verdict, tool: str, errors: list[str]) -> Verdict:
    """The verdict with what compute-sanitizer found; a race or a stray access is a no."""
    if not errors:
        return replace(verdict, notes=(*verdict.notes, f"compute-sanitizer {tool}: no errors"))
    reason = f"compute-sanitizer {tool}: {'; '.join(errors)}"
    return replace(verdict, outcome=Outcome.STRAY_ACCESS, reason=reason)


def time_sides(payload: dict[str, Any]) -> Any:
    """Time several sides on the GPU; returns a Timing, None without a GPU.

    Raises:
        NotTimed: the reference gives nothing that outputs could be compared with.
    """
    if not torch.cuda.is_available():
        return None
    from tilewright.judge.answer.budget import Undecidable
    from tilewright.judge.speed.timing import time_all

    try:
        return time_all(payload)
    except Undecidable as reason:
        raise NotTimed(str(reason), mend="only what can be checked is timed") from reason


def compare_speed(payload: dict[str, Any]) -> Any:
    """Whether the second of two sides is faster; returns a SpeedVerdict, None without a GPU.

    Raises:
        NotTimed: a side failed, or its clock does not tell the truth.
    """
    if not torch.cuda.is_available():
        return None
    from tilewright.judge.answer.budget import Undecidable
    from tilewright.judge.failures import CandidateFailure
    from tilewright.judge.speed.sampling import compare_speed as compare

    try:
        return compare(payload, structure(payload["rules"], Rules))
    except CandidateFailure as failure:
        raise NotTimed(failure.reason, mend="see what `tilewright check` says of it") from failure
    except Undecidable as reason:
        raise NotTimed(str(reason), mend="only what can be checked is timed") from reason


def _note(phase: Path, now: str) -> None:
    """Write down what runs next; the parent reads it when this process does not come back."""
    phase.write_text(now)
