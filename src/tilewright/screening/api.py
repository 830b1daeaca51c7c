"""Screening as the rest of tilewright sees it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tilewright import workers
from tilewright.candidate import Apart
from tilewright.errors import SetupError, WorkerCrashed, WorkerError, WorkerOutOfMemory
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import built_for
from tilewright.gpu.turn import turn
from tilewright.problem import Problem
from tilewright.screening.halving import ROUNDS, Round, ranking
from tilewright.screening.model import Notes, Screening, Visit, gathered
from tilewright.worker import plain
from tilewright.workers import Limits

VISIT_SECONDS = 60.0  # of one candidate's turn, compilation and its own autotuning included
OVERTIME_SECONDS = 300.0  # the first round, which compiles, is gone through whatever it takes, up to this
MOST_RESTARTS = 12


def screen(
    problem: Problem,
    sources: Sequence[tuple[str, str]],
    *,
    keep: int,
    seconds: float = 60.0,
    visit_seconds: float = VISIT_SECONDS,
    precision: str | None = None,
    mapping: Mapping[str, str] | None = None,
    target: Gpu | None = None,
    apart: Mapping[str, Apart] | None = None,
    memory_bytes: int = 64 * 2**30,
    rounds: Sequence[Round] = ROUNDS,
    device: str = "cuda",
) -> Screening:
    """Quick device times of many candidates, the clearly slower dropped round by round.

    Each candidate's outputs are compared with the reference's before it is timed, on memory that is
    poisoned, so that one that skips work is out instead of ahead. Nothing here is proof of anything: the
    candidates share a process with one another and with the clock.

    Args:
        sources: label and text of each.
        keep: rounds end once no more than so many are left.
        seconds: after which no new round is begun; the first one is always gone through.
        visit_seconds: of one candidate's turn, before it is taken to hang.
        precision: what matrix products may be computed in.
        mapping: parameter of ModelNew → parameter of Model.
        target: the GPU whose build runs; see `gpu.plugged.built_for`.
        apart: by label, of those that differ from another in some kernels only. Only the launches of these
            are timed then, with the arguments that they have in the forward; a sample is that, and what the
            rest of the other's forward takes.
        rounds: how many samples each takes, and who stays in.
        device: "cpu" serves tests of everything but the figures.

    Raises:
        SetupError: this machine has no GPU.
        ProblemError: the problem itself cannot be run.
        AmbiguousParameters: parameters match in more than one way, or not at all.
        NotTimed: the reference gives nothing to compare with.
        WorkerError: the process died, and no candidate can be blamed.
    """
    began = time.monotonic()
    until = time.time() + seconds
    restarts = 0
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        notes = Notes(Path(folder) / "notes.jsonl")
        payload = {
            "problem": problem.source,
            "problem_path": str(problem.path),
            "sources": [list(one) for one in sources],
            "keep": keep,
            "until": until,
            "visit_seconds": visit_seconds,
            "precision": precision,
            "mapping": dict(mapping or {}),
            "apart": {label: plain(one) for label, one in (apart or {}).items()},
            "notes": str(notes.path),
            "rounds": [plain(one) for one in rounds],
            "device": device,
        }
        build = built_for(target)
        limits = Limits(seconds + OVERTIME_SECONDS, memory_bytes)
        while True:
            blamed = _blamed(notes)
            try:
                with turn():
                    answer = workers.call("tilewright.screening.work:run", payload, limits, build)
                break
            except (WorkerCrashed, WorkerOutOfMemory) as error:
                _blame(notes, error)
                restarts += 1
                if _blamed(notes) == blamed or restarts > MOST_RESTARTS:
                    raise
        if answer is None:
            raise SetupError(
                "timing needs an NVIDIA GPU, and there is none here",
                mend="`tilewright check` and `tilewright inspect` work without one",
            )
        found = gathered([label for label, _ in sources], notes.read())
    inside = list(answer["inside"])
    behind = [label for label in ranking(found) if label not in inside]
    failed = [label for label in found if label not in (*inside, *behind)]
    return Screening(
        tuple(found[label] for label in (*inside, *behind, *failed)),
        str(answer["device"]),
        time.monotonic() - began,
        int(answer["rounds"]),
        restarts,
    )


def _blamed(notes: Notes) -> int:
    """Candidates that are out so far."""
    return sum(1 for visit in notes.read() if visit.problem)


def _blame(notes: Notes, error: WorkerError) -> None:
    """Take out the candidate that was running when the process died, unless it said so itself."""
    running = notes.running()
    if running is not None:
        notes.add(Visit(running.label, running.round, problem=f"crash: {error.what}"))
