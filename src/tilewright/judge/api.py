"""The judge as the rest of tilewright sees it: check one candidate, time several."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tilewright import workers
from tilewright.errors import (
    ProblemError,
    SetupError,
    Where,
    WorkerCrashed,
    WorkerOutOfMemory,
    WorkerTimeout,
)
from tilewright.evidence import Evidence
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import plugged_in
from tilewright.judge.timing_model import Timing
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.serial import structure
from tilewright.workers import Limits

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
REFERENCE_SIDE = {
    "problem": "the problem file's import",
    "reference": "the reference",
}


def check(
    problem: Problem,
    source: str,
    *,
    path: str = "candidate.py",
    baseline: str | None = None,
    precision: str | None = None,
    target: Gpu | None = None,
    mapping: Mapping[str, str] | None = None,
    trials: int = 3,
    limits: Limits | None = None,
    interpreter_seconds: float = 8.0,
) -> Verdict:
    """Whether a candidate computes what the problem's Model computes.

    Runs on the GPU at full size where there is one; else under Triton's interpreter, at sizes cut
    down where needed. Either way in a worker process.

    Args:
        source: the candidate's text; path: what messages call it.
        baseline: the text of today's code; its precision is used where `precision` is None.
        precision: what today's code computes matrix products in: "float32", "tf32", "float16" or
            "bfloat16". None without a baseline: float32, or whatever the inputs are.
        target: the GPU that the answer is wanted for; decides between `measured` and `measured-on`.
        mapping: parameter of ModelNew → parameter of Model, where names and shapes do not say.
        trials: fresh sets of inputs and parameters; more are drawn where a file lists more autotune
            configs, so that each is used.
        limits: of the worker process.
        interpreter_seconds: what the candidate's interpreted trials may take together.

    Raises:
        ProblemError: the problem itself cannot be run.
        AmbiguousParameters: parameters match in more than one way, or not at all.
        KernelFileError: `baseline` is not a ModelNew file.
        ValueError: no such precision, or no trials.
    """
    if precision is None and baseline is not None:
        precision = KernelFile.parse(baseline, "baseline").precision
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    if trials < 1:
        raise ValueError("at least one trial is needed")
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        phase = Path(folder) / "phase"
        payload = {
            "problem": problem.source,
            "problem_path": str(problem.path),
            "source": source,
            "path": path,
            "precision": precision,
            "mapping": dict(mapping or {}),
            "trials": trials,
            "interpreter_seconds": interpreter_seconds,
            "phase": str(phase),
        }
        try:
            answer = workers.call("tilewright.judge.work:check", payload, limits)
        except (WorkerTimeout, WorkerOutOfMemory, WorkerCrashed) as error:
            return _lost(error, phase, problem, precision)
    verdict = structure(answer, Verdict)
    if target is not None and verdict.evidence is Evidence.MEASURED:
        plugged = plugged_in()
        if plugged is None or plugged.name != target.name:
            verdict = replace(verdict, evidence=Evidence.MEASURED_ON)
    return verdict


def time_sides(
    problem: Problem,
    sides: Sequence[tuple[str, str | None]],
    *,
    target: Gpu | None = None,
    mapping: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    limits: Limits | None = None,
    seed: int = 0,
) -> Timing:
    """Time several sides against one another on the GPU, in one worker process.

    A side that raises keeps its place with `problem` saying why. Nothing is checked here: time only
    what `check` has called correct.

    Args:
        sides: (label, text of a ModelNew file), or (label, None) for the reference, eager.
        target: the GPU the figures are wanted for; only its name's absence matters to evidence,
            which the caller attaches (`Timing.device` says what ran).
        mapping: parameter of ModelNew → parameter of Model.
        seconds: measuring time per side, warm-up and compilation not counted.
        limits: of the worker process; by default long enough for every side to compile and autotune.
        seed: of parameters, inputs and the order of the samples.

    Raises:
        SetupError: this machine has no GPU.
        ProblemError: the problem itself cannot be run.
        AmbiguousParameters: parameters match in more than one way, or not at all.
        WorkerError: the process did not come back.
    """
    limits = limits or Limits(seconds=300.0 + (seconds + 60.0) * len(sides), memory_bytes=64 * 2**30)
    payload = {
        "problem": problem.source,
        "problem_path": str(problem.path),
        "sides": [list(side) for side in sides],
        "mapping": dict(mapping or {}),
        "seconds": seconds,
        "seed": seed,
    }
    answer = workers.call("tilewright.judge.work:time_sides", payload, limits)
    if answer is None:
        raise SetupError(
            "timing needs an NVIDIA GPU, and there is none here",
            mend="`tilewright check` and `tilewright inspect` work without one",
        )
    return structure(answer, Timing)


def _lost(
    error: WorkerTimeout | WorkerOutOfMemory | WorkerCrashed,
    phase: Path,
    problem: Problem,
    precision: str | None,
) -> Verdict:
    """The verdict when the worker did not come back: blamed on whoever was running.

    Raises:
        ProblemError: the problem's own code died or asked for too much memory.
    """
    running = phase.read_text() if phase.exists() else "candidate"
    if running in REFERENCE_SIDE:
        what = f"{REFERENCE_SIDE[running]} {error.what}"
        if not isinstance(error, WorkerTimeout):
            raise ProblemError(what, where=Where(problem.path), mend="make it run on its own") from error
        return Verdict(Outcome.NOT_CHECKED, reason=what, precision=precision or "")
    outcomes = {
        WorkerTimeout: Outcome.TIMEOUT,
        WorkerOutOfMemory: Outcome.OUT_OF_RESOURCES,
        WorkerCrashed: Outcome.CRASH,
    }
    return Verdict(outcomes[type(error)], reason=error.what, precision=precision or "")
