"""One run under way: what it is to do, its folder, its clock, and the judge as it asks it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tilewright.candidate import Candidate
from tilewright.gpu.model import Gpu
from tilewright.judge.api import check, default_limits
from tilewright.judge.means.findings import Kind
from tilewright.judge.verdict import Verdict
from tilewright.place import Place
from tilewright.problem import Problem
from tilewright.runs import RunFolder, Tried
from tilewright.stages.ledger import Ledger
from tilewright.stages.model import Stage
from tilewright.stages.race import Track

JUDGED_AT_ONCE = min(4, os.cpu_count() or 1)  # correctness only; timing has the GPU to itself
INTERPRETER_SECONDS = 12.0  # for each candidate; sizes are cut to fit
ALGORITHM_SECONDS = 60.0  # the same for a new algorithm: few candidates, with sizes of their own to keep
JUDGE_LIMITS = default_limits(JUDGED_AT_ONCE)


@dataclass(frozen=True)
class Task:
    """What `optimize` is to do.

    Args:
        current: the code as given; None without any, to set out from the reference.
        gpu: the target.
        plugged: the GPU in this machine, None without one.
        stages: those to go through, in order.
        forced: stages the user named, run even where the diagnosis expects nothing.
        precision: of today's matrix products, for the error budget and for what proposers may use.
        mapping: parameters of ModelNew by those of Model, where the names do not say.
        profile: Nsight Compute metrics by kernel.
        budget_seconds: after this long no new candidate is started; the first one is judged in any case.
        budget_candidates: so many are compiled, beside what is put together of winners; None: any number.
        dialect: of Triton that new kernels are written in, "triton" or "gluon".
        plan: of the recurrence compiler, None for whatever fits.
        allow: what every candidate may do beside computing.
        elsewhere: further GPUs and sizes that the result is to serve.
    """

    problem: Problem
    current: Candidate | None
    gpu: Gpu
    plugged: Gpu | None
    stages: Sequence[Stage]
    forced: frozenset[str]
    precision: str
    mapping: Mapping[str, str]
    profile: Mapping[str, Mapping[str, float]]
    budget_seconds: float
    budget_candidates: int | None = None
    notes: tuple[str, ...] = ()
    dialect: str = "triton"
    plan: str | None = None
    allow: tuple[Kind, ...] = ()
    elsewhere: tuple[Place, ...] = ()


@dataclass
class Session:
    """One run under way."""

    task: Task
    folder: RunFolder
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def out_of_time(self) -> bool:
        return self.seconds_left <= 0.0

    @property
    def seconds_left(self) -> float:
        """Of the budget; negative once it is spent."""
        return self.task.budget_seconds - (time.monotonic() - self.started)

    @property
    def candidates_left(self) -> int:
        """How many more may be compiled."""
        most = self.task.budget_candidates
        return sys.maxsize if most is None else max(0, most - len(self._beside_the_given()))

    @property
    def budget_spent(self) -> str:
        """Which budget is spent, in words; empty where there is some of both."""
        if self.out_of_time:
            return f"the budget of {self.task.budget_seconds:.0f} s is spent"
        if not self.candidates_left:
            return f"the budget of {self.task.budget_candidates} candidates is spent"
        return ""

    @property
    def on_gpu(self) -> bool:
        return self.task.plugged is not None

    @property
    def given(self) -> Verdict | None:
        """The verdict of the code as given, once it is on record."""
        current = self.task.current
        known = self.folder.tried.get(current.id) if current else None
        return known.verdict if known else None

    @property
    def tried_one(self) -> bool:
        """Whether a candidate beside the code as given is on record."""
        return bool(self._beside_the_given())

    @property
    def judged_one(self) -> bool:
        """Whether one of them has a verdict."""
        return any(known.verdict is not None for known in self._beside_the_given())

    def _beside_the_given(self) -> list[Tried]:
        current = self.task.current
        return [known for name, known in self.folder.tried.items() if current is None or name != current.id]

    @property
    def track(self) -> Track:
        task, record = self.task, self.folder.record_times
        return Track(task.problem, task.gpu, task.plugged, task.mapping, task.precision, record)


def judged(session: Session, candidate: Candidate) -> Verdict:
    """The judge's verdict; of a candidate that fails at one of the run's further sizes, the one on those."""
    verdict = _judged_on(session, candidate, session.task.problem)
    if candidate is session.task.current:
        return verdict
    for place in session.task.elsewhere:
        if verdict.correct and place.source is not None:
            there = _judged_on(session, candidate, place.problem(session.task.problem))
            if not there.correct:
                return replace(there, reason=f"at the sizes of {place.label}: {there.reason}")
    return verdict


def _judged_on(session: Session, candidate: Candidate, problem: Problem) -> Verdict:
    task = session.task
    return check(
        problem,
        candidate.source,
        path="current.py" if candidate is task.current else f"candidates/{candidate.id}.py",
        precision=task.precision,
        target=task.gpu,
        mapping=task.mapping,
        allow=allowed(candidate.stage, session.given, task.allow),
        interpreter_seconds=interpreter_seconds(candidate.stage),
        limits=JUDGE_LIMITS,
    )


def allowed(stage: str, given: Verdict | None, more: Collection[Kind] = ()) -> tuple[Kind, ...]:
    """What a file may do beside computing.

    The code as given may do anything, which is the user's own choice; a candidate of any other stage what
    the code as given was found to do, and what the user allowed, and no more.
    """
    if stage == "given":
        return tuple(Kind)
    found = [finding.kind for finding in given.findings] if given else []
    return tuple(dict.fromkeys([*found, *more]))


def interpreter_seconds(stage: str) -> float:
    """What the interpreted trials of one of a stage's candidates may take together."""
    return ALGORITHM_SECONDS if stage == "algorithm" else INTERPRETER_SECONDS
