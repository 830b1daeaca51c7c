"""The values that a run ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilewright.evidence import Evidence, Figure
from tilewright.judge.verdict import Verdict
from tilewright.stages.diagnosis import Outlook


@dataclass(frozen=True)
class Gain:
    """How much faster the result is than the code as given, or than the reference where none was given.

    Args:
        shown: whether it is faster: the judge's speed verdict says so, or the estimates do.
        ratio: time before over time after; above 1 is faster.
        low, high: confidence interval of a measured ratio; equal to the ratio for an estimate.
        before, after: microseconds of one forward.
        basis: what that rests on: "estimate", or what was timed, against which noise and how sure.
    """

    shown: bool
    ratio: Figure
    low: float
    high: float
    before: Figure
    after: Figure
    basis: str


@dataclass(frozen=True)
class There:
    """What the result comes to at one of the further places that a run was to serve.

    Args:
        gain: over the code as given, or the reference; None where nothing is known of it.
        problem: why the result cannot run there; empty when it can.
    """

    label: str
    gpu: str
    gain: Gain | None
    problem: str = ""


@dataclass(frozen=True)
class Step:
    """One improvement that a stage kept.

    Args:
        candidate: its id; why: what it changed.
        gave: the time before over its own, against the best until then; None where either is unknown.
    """

    candidate: str
    proposer: str
    why: str
    gave: Figure | None


@dataclass(frozen=True)
class StageReport:
    """What one stage did.

    Args:
        tried: candidates proposed; runnable: those that the target can run; correct: those judged so.
        kept: id of the candidate that became the best; None when none did.
        notes: what was declined or left alone, and why.
        steps: the improvements kept, each on top of the one before.
    """

    stage: str
    outlook: Outlook
    tried: int = 0
    runnable: int = 0
    correct: int = 0
    kept: str | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Spent:
    """What the search took, since it was started or taken up again.

    Args:
        seconds: wall time by kind of work: "compiling", "quick times", "judging", "racing".
        candidates: how many were "compiled", "timed" and "judged".
        more: what a larger budget would go into, a line each; none where nothing was left undone.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Args:
        gpu: the target.
        device: the GPU or CPU that candidates ran on.
        best: id of the candidate in best.py.
        improved: whether best.py is anything but the code as given.
        verdict: of best.py.
        given: verdict of the code as given; None where none was given.
        gain: None when best.py is the code as given, or nothing is known of what it is set against.
        baseline: what the gain is over: "the code as given" or "the reference".
        findings: what holds the given code back.
        evidence: the weakest kind that the claim "same and faster" rests on.
        notes: whatever a user should know: sizes cut down, contract breaches, input ignored.
        seconds: wall time of the run.
        elsewhere: the gain on further GPUs and at further sizes, for those that were asked for.
        spent: what the search took, and what it would do with more.
    """

    gpu: str
    device: str
    best: str
    improved: bool
    verdict: Verdict
    given: Verdict | None
    gain: Gain | None
    stages: tuple[StageReport, ...]
    findings: tuple[str, ...]
    evidence: Evidence
    notes: tuple[str, ...]
    seconds: float
    baseline: str = "the code as given"
    elsewhere: tuple[There, ...] = ()
    spent: Spent = Spent()
