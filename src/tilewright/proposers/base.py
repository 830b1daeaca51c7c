"""The interface of a proposer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tilewright.candidate import Candidate
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.problem import Problem
from tilewright.stages.model import Stage


@dataclass(frozen=True)
class Situation:
    """What a proposer may look at.

    Args:
        best: the best candidate so far, the one to improve on; None while there is no Triton code yet.
        inspection: what is known of `best` on the target; None when it could not be inspected.
        precision: what matrix products may be computed in: "float32", "tf32", "float16", "bfloat16".
        profile: Nsight Compute metrics by kernel, from a request or a profiler run; empty without.
        dialect: of Triton that new kernels are written in, "triton" or "gluon".
        plan: the one way to run time loops that the user asked for, one of `recurrence.PLANS`; None for any.
        most: how many candidates one call is to propose at most.
        elsewhere: for `finish`: what further GPUs and sizes of the run prefer, of the proposer's candidates
            and `best`.
    """

    problem: Problem
    best: Candidate | None
    inspection: Inspection | None
    gpu: Gpu
    stage: Stage
    profile: dict[str, dict[str, float]]
    precision: str = "float32"
    dialect: str = "triton"
    plan: str | None = None
    most: int = 24
    elsewhere: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Proposals:
    """What came back: candidates in the order to try them, and what was left alone and why."""

    candidates: Sequence[Candidate]
    notes: tuple[str, ...] = ()


class Proposer(Protocol):
    """Suggests candidates for a stage. It never judges its own work.

    `stages` are those it serves; `winners` is how many of its candidates `finish` can make something of, at
    least 1: without a GPU, where the estimate ranks them, no more are judged than that. A `portable` proposer
    can put what several GPUs and sizes prefer into one file.
    """

    name: str
    stages: frozenset[str]
    winners: int
    portable: bool

    def propose(self, situation: Situation) -> Proposals:
        """Candidates for this stage, possibly none, with a note for whatever was declined."""
        ...

    def finish(self, situation: Situation, winners: Sequence[Candidate]) -> Proposals:
        """What to make of the candidates that won their race, best first; judged like any other.

        For a launch configuration: one file that carries the best few. Possibly nothing.
        """
        ...
