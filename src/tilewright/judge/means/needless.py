"""By what means a candidate got its answer: whose work it is, and which kernels it needs. Judge's side."""

from __future__ import annotations

from typing import Any

from tilewright.judge.answer.budget import Expected
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.means.findings import Finding
from tilewright.judge.means.spirit import DeviceKernel, Ran, Work, findings_from, recorded
from tilewright.judge.sides import cloned, draw, forward
from tilewright.judge.trial import Case, build, call

ORDINARY = (0, 1)  # what fresh memory holds in turn while a kernel is left out


def spirit(case: Case, seed: int) -> tuple[Finding, ...]:
    """Record one forward of both sides, then leave each kernel out in turn, then have all fail.

    Raises:
        CandidateFailure: the plain forward raised.
        ProblemError: the reference did.
    """
    instance = build(case, seed)
    # The first call prepares what is kept; on inputs of their own what it kept of the others is no use.
    called = call(case, instance, instance.inputs, seed, fresh=True, config=case.any_config)
    _, inputs = draw(case.problem, case.problem_path, seed ^ 4, case.device)
    own = cloned(inputs)
    with recorded() as by_reference:
        forward(instance.reference, own, seed)
    answer = case.command("ran", inputs=inputs, seed=seed).values
    ran = Ran(
        launches=answer["launches"],
        failed=answer["failed"],
        touched_bytes=answer["touched_bytes"],
        operators={name: Work(**work) for name, work in answer["operators"].items()},
        arithmetic_bytes=answer["arithmetic_bytes"],
        arithmetic=answer["arithmetic"],
        kernels=tuple(DeviceKernel(**kernel) for kernel in answer["kernels"]),
        moved={name: Work(**work) for name, work in answer["moved"].items()},
        unseen_bytes=answer["unseen_bytes"],
        output_bytes=answer["output_bytes"],
    )
    if not any(isinstance(wanted, Expected) and wanted.native.numel() for wanted in called.truth.expected):
        return ()  # nothing comes out that a kernel could be needed for
    needless = {kernel: _right_without(case, seed, kernel) for kernel in ran.launches}
    return findings_from(ran, by_reference, needless, bool(ran.launches) and _right_without(case, seed, ""))


def _right_without(case: Case, seed: int, kernel: str) -> bool:
    """Whether a fresh instance is still right on fresh inputs, whatever its memory held.

    Args:
        kernel: the one that is left out; "": all raise. See `cell.subject.Subject.call`.
    """
    how: dict[str, Any] = {"fresh": True, "config": case.any_config, "without": kernel}
    try:
        for fill in ORDINARY:
            fresh = build(case, seed ^ 1)
            _, inputs = draw(case.problem, case.problem_path, seed ^ 2, case.device)
            if call(case, fresh, inputs, seed, memory_of=fill, **how).comparison.reason:
                return False
    except CandidateFailure:
        return False
    return True
