"""The judge as the rest of tilewright sees it: check one candidate, time several."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

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
from tilewright.gpu.plugged import built_for, plugged_in
from tilewright.gpu.turn import sharing, turn
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.model import CONDITIONS, Rules, SpeedVerdict
from tilewright.judge.speed.samples import Timing
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.serial import structure
from tilewright.worker import plain
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
    interpreter_seconds: float = 16.0,
    allow: Collection[Kind] = (),
    sanitize: str | None = None,
    seeds: Sequence[int] = (),
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
        limits: of the worker process and the cell; by default `default_limits()`.
        interpreter_seconds: what the candidate's interpreted calls may take together.
        allow: what the candidate may do beside computing; what it is seen to do otherwise makes the
            verdict NOT_ALLOWED.
        sanitize: run the candidate under this tool of compute-sanitizer, see `judge.sanitizer`; needs a
            GPU, more time, and `limits` to match.
        seeds: of the first trials, to check a recorded verdict again; the others are drawn in secret,
            after the candidate was imported.

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
    limits = limits or default_limits()
    build = built_for(target)
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
            "allow": [kind.value for kind in allow],
            "sanitize": sanitize,
            "seeds": list(seeds),
            "phase": str(phase),
        }
        try:
            with sharing():
                answer = workers.call("tilewright.judge.work:check", payload, limits, build)
        except (WorkerTimeout, WorkerOutOfMemory, WorkerCrashed) as error:
            return _lost(error, phase, problem, precision)
    verdict = structure(answer, Verdict)
    if target is not None and verdict.evidence is Evidence.MEASURED:
        plugged = plugged_in()
        if plugged is None or plugged.name != target.name:
            notes = (*verdict.notes, *([f"kernels were built as for {target.name}"] if build else []))
            verdict = replace(verdict, evidence=Evidence.MEASURED_ON, notes=notes)
    return verdict


def default_limits(at_once: int = 1) -> Limits:
    """Of a judge's worker and its cells together: five minutes, and most of this machine's memory.

    Args:
        at_once: how many checks share the machine.
    """
    return Limits(seconds=300.0, memory_bytes=int(0.75 * psutil.virtual_memory().total) // at_once)


def time_sides(
    problem: Problem,
    sides: Sequence[tuple[str, str | None]],
    *,
    precision: str | None = None,
    mapping: Mapping[str, str] | None = None,
    target: Gpu | None = None,
    conditions: Collection[str] = tuple(CONDITIONS),
    seconds: float = 10.0,
    limits: Limits | None = None,
) -> Timing:
    """Time several sides against one another on the GPU, each in a process of its own.

    Some calls have their outputs compared. A side that raises, answers wrongly, or whose clock does not
    agree with the judge's keeps its place with `problem` saying so.

    Args:
        sides: (label, text of a ModelNew file), or (label, None) for the reference, eager.
        precision: what matrix products may be computed in; see `check`.
        mapping: parameter of ModelNew → parameter of Model.
        target: the GPU whose build runs; see `gpu.plugged.built_for`.
        conditions: which of model.CONDITIONS samples are taken in. Each is a call with inputs of its own,
            which take a while to come over where they are large.
        seconds: measuring time per side, warm-up and compilation not counted.
        limits: of all processes together; by default long enough for every side to compile and autotune.

    Raises:
        SetupError: this machine has no GPU.
        ProblemError: the problem itself cannot be run.
        AmbiguousParameters: parameters match in more than one way, or not at all.
        NotTimed: the reference gives nothing that outputs could be compared with.
        WorkerError: the process did not come back.
        ValueError: no such condition.
    """
    limits = limits or Limits(seconds=300.0 + (seconds + 60.0) * len(sides), memory_bytes=64 * 2**30)
    for condition in conditions:
        _check_condition(condition)
    payload = {
        **_sides_payload(problem, sides, precision, mapping, seconds),
        "conditions": list(conditions),
    }
    return structure(_on_gpu("tilewright.judge.work:time_sides", payload, limits, target), Timing)


def compare_speed(
    problem: Problem,
    before: str | None,
    after: str | None,
    *,
    labels: tuple[str, str] = ("before", "after"),
    condition: str = "device time, cold L2",
    rules: Rules | None = None,
    precision: str | None = None,
    mapping: Mapping[str, str] | None = None,
    target: Gpu | None = None,
    seconds: float = 60.0,
    limits: Limits | None = None,
) -> SpeedVerdict:
    """Whether `after` is faster than `before` on the GPU in this machine, with a known chance of error.

    Args:
        before, after: texts of ModelNew files; None for the reference, eager.
        condition: one of model.CONDITIONS: "device time, cold L2", with wall for device, warm for cold.
        rules: when a difference is called; looks that `seconds` has no room for are left out before the
            first sample is taken, except for the first.
        seconds: sampling time, replaced processes counted, the first start and compilation not.
        precision, mapping, target, limits: see `time_sides`.

    Raises:
        SetupError: this machine has no GPU.
        ProblemError: the problem itself cannot be run.
        AmbiguousParameters: parameters match in more than one way, or not at all.
        NotTimed: a side raised, gave wrong outputs, or its clock does not tell the truth.
        WorkerError: the process did not come back.
        ValueError: no such condition.
    """
    _check_condition(condition)
    limits = limits or Limits(seconds=600.0 + 2 * seconds, memory_bytes=64 * 2**30)
    sides = [(labels[0], before), (labels[1], after)]
    payload = comparison(problem, sides, precision, mapping, seconds, condition, rules or Rules())
    return structure(_on_gpu("tilewright.judge.work:compare_speed", payload, limits, target), SpeedVerdict)


def comparison(
    problem: Problem,
    sides: Sequence[tuple[str, str | None]],
    precision: str | None,
    mapping: Mapping[str, str] | None,
    seconds: float,
    condition: str,
    rules: Rules,
) -> dict[str, Any]:
    """What `judge.work.compare_speed` takes; see `compare_speed`."""
    return {
        **_sides_payload(problem, sides, precision, mapping, seconds),
        "condition": condition,
        "rules": plain(rules),
    }


def _check_condition(condition: str) -> None:
    if condition not in CONDITIONS:
        raise ValueError(f"condition {condition!r} is none of {'; '.join(CONDITIONS)}")


def _sides_payload(
    problem: Problem,
    sides: Sequence[tuple[str, str | None]],
    precision: str | None,
    mapping: Mapping[str, str] | None,
    seconds: float,
) -> dict[str, Any]:
    return {
        "problem": problem.source,
        "problem_path": str(problem.path),
        "sides": [list(side) for side in sides],
        "precision": precision,
        "mapping": dict(mapping or {}),
        "seconds": seconds,
    }


def _on_gpu(task: str, payload: Mapping[str, Any], limits: Limits, target: Gpu | None) -> Any:
    build = built_for(target)
    with turn():
        answer = workers.call(task, payload, limits, build)
    if answer is None:
        raise SetupError(
            "timing needs an NVIDIA GPU, and there is none here",
            mend="`tilewright check` and `tilewright inspect` work without one",
        )
    return answer


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
