"""Takes the code as given through the stages and returns the best file the judge accepts."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tilewright.candidate import Candidate
from tilewright.errors import InputError
from tilewright.evidence import weakest
from tilewright.gpu.model import Gpu
from tilewright.inspect.api import inspect, inspect_many
from tilewright.inspect.model import Inspection
from tilewright.judge.api import check, default_limits
from tilewright.judge.findings import Kind
from tilewright.judge.verdict import Verdict
from tilewright.problem import Problem
from tilewright.proposers import PROPOSERS
from tilewright.proposers.base import Situation
from tilewright.runs import RunFolder, Tried
from tilewright.stages.diagnosis import findings, outlook
from tilewright.stages.model import Stage
from tilewright.stages.race import (
    FINALISTS,
    Contender,
    Track,
    estimate_gain,
    measure_gain,
    promising,
    race,
)
from tilewright.stages.summary import Gain, StageReport, Step, Summary

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
        budget_seconds: after this long no new candidate is started.
        dialect: of Triton that new kernels are written in, "triton" or "gluon".
        plan: of the recurrence compiler, None for whatever fits.
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
    notes: tuple[str, ...] = ()
    dialect: str = "triton"
    plan: str | None = None


@dataclass
class Session:
    """One run under way."""

    task: Task
    folder: RunFolder
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() - self.started > self.task.budget_seconds

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
    def track(self) -> Track:
        task, record = self.task, self.folder.record_times
        return Track(task.problem, task.gpu, task.plugged, task.mapping, task.precision, record)


def optimize(task: Task, folder: RunFolder, say: Callable[[str], None] = lambda text: None) -> Summary:
    """Run every stage and write best.py and summary.json's content.

    Args:
        folder: an open run folder; what its log already holds is not tried again.
        say: called with one line of progress at a time.

    Raises:
        InputError: the code as given cannot be used at all (does not import, launches nothing), or there
            is none and no stage found a correct file.
    """
    session = Session(task, folder, say)
    given, inspection = _take_stock(session)
    start = Contender(task.current, inspection)
    best, verdict = start, given
    reports = []
    for stage in task.stages:
        best, verdict, report = _run_stage(session, stage, best, verdict)
        reports.append(report)
    gain = _total_gain(session, start, best)
    if gain is not None and not gain.shown and task.current is not None:
        session.say("the best candidate shows no difference from the code as given, which is kept")
        best, verdict, gain = start, given, None
    if verdict is None:
        raise _nothing_found(reports)
    evidence = [verdict.evidence] + ([gain.ratio.evidence] if gain else [])
    return Summary(
        gpu=task.gpu.name,
        device=verdict.device,
        best=best.id,
        improved=best.id != start.id,
        verdict=verdict,
        given=given,
        gain=gain,
        stages=tuple(reports),
        findings=findings(inspection, task.profile, task.gpu),
        evidence=weakest(*evidence),
        notes=task.notes,
        seconds=time.monotonic() - session.started,
        baseline="the code as given" if task.current else "the reference",
    )


def best_source(task: Task, folder: RunFolder, summary: Summary) -> str:
    """The text of best.py."""
    if task.current is not None and not summary.improved:
        return task.current.source
    return folder.source_of(summary.best)


def _nothing_found(reports: Sequence[StageReport]) -> InputError:
    """The answer when there is no code to start from and no stage wrote any."""
    notes = [note for report in reports for note in report.notes] or ["no stage that writes code was run"]
    return InputError(
        f"no correct file was found for this problem: {'; '.join(dict.fromkeys(notes))}",
        mend="give today's Triton file with --current",
    )


def _take_stock(session: Session) -> tuple[Verdict | None, Inspection | None]:
    """Inspect and judge the code as given."""
    task = session.task
    if task.current is None:
        return None, None
    known = session.folder.tried.get(task.current.id)
    if known and known.verdict:
        return known.verdict, known.inspection
    session.say(f"compiling the code as given for {task.gpu.name}")
    inspection = inspect(task.problem, task.current.source, task.gpu, path="current.py")
    session.say("checking that it computes what the reference computes")
    verdict = _check(session, task.current)
    outcome = (
        "the code as given"
        if verdict.correct
        else f"the code as given is {verdict.outcome}: {verdict.reason}"
    )
    session.folder.record(task.current, Tried.of(task.current, outcome, inspection, verdict))
    session.say(f"code as given: {verdict.outcome}" + (f": {verdict.reason}" if verdict.reason else ""))
    return verdict, inspection


def _check(session: Session, candidate: Candidate) -> Verdict:
    task = session.task
    return check(
        task.problem,
        candidate.source,
        path="current.py" if candidate is task.current else f"candidates/{candidate.id}.py",
        precision=task.precision,
        target=task.gpu,
        mapping=task.mapping,
        allow=allowed(candidate.stage, session.given),
        interpreter_seconds=interpreter_seconds(candidate.stage),
        limits=JUDGE_LIMITS,
    )


def allowed(stage: str, given: Verdict | None) -> tuple[Kind, ...]:
    """What a file may do beside computing.

    The code as given may do anything, which is the user's own choice; a candidate of any other stage what
    the code as given was found to do, and no more.
    """
    if stage == "given":
        return tuple(Kind)
    return tuple(dict.fromkeys(finding.kind for finding in given.findings)) if given else ()


def interpreter_seconds(stage: str) -> float:
    """What the interpreted trials of one of a stage's candidates may take together."""
    return ALGORITHM_SECONDS if stage == "algorithm" else INTERPRETER_SECONDS


def _run_stage(
    session: Session, stage: Stage, best: Contender, verdict: Verdict | None
) -> tuple[Contender, Verdict | None, StageReport]:
    """One stage: each of its proposers in turn sets out from the best so far.

    Its candidates are pruned offline, judged and raced, and its winners finished; what is ahead then is the
    best that the next proposer sees.
    """
    task = session.task
    prospects = outlook(stage, best.inspection)
    report = StageReport(stage.name, prospects)
    proposers = [p for p in PROPOSERS if stage.name in p.stages]
    if not proposers:
        return best, verdict, _noted(report, "no proposer serves this stage yet")
    if not prospects.helps and stage.name not in task.forced:
        session.say(f"{stage.name}: skipped: {prospects.why}")
        return best, verdict, _noted(report, f"skipped: {prospects.why}")
    notes: list[str] = [] if prospects.helps else [f"run because it was asked for, although {prospects.why}"]
    steps: list[Step] = []
    tried = runnable = judged_correct = 0
    for proposer in proposers:
        situation = _situation(task, stage, best)
        proposals = proposer.propose(situation)
        notes.extend(proposals.notes)
        fit = _prune(session, stage, proposals.candidates)
        correct = _judge_all(session, stage, _promising(session, best, fit))
        ranking = race(session.track, best, correct, session.say)
        notes.extend(ranking.notes)
        finished = proposer.finish(situation, [c.candidate for c in ranking.ahead if c.candidate])
        notes.extend(finished.notes)
        together = _judge_all(session, stage, _prune(session, stage, finished.candidates))
        if together:  # first, so that of two that are equal the one made of winners is kept
            ranking = race(session.track, best, [*together, *ranking.ahead], session.say)
            notes.extend(ranking.notes)
        tried += len(proposals.candidates)
        runnable += len(fit)
        judged_correct += len(correct)
        if ranking.ahead:
            best = ranking.ahead[0]
            assert best.candidate is not None
            steps.append(Step(best.id, proposer.name, best.candidate.why, ranking.ratios.get(best.id)))
            verdict = session.folder.tried[best.id].verdict
    report = StageReport(
        stage.name,
        prospects,
        tried,
        runnable,
        judged_correct,
        steps[-1].candidate if steps else None,
        tuple(dict.fromkeys(notes)),
        tuple(steps),
    )
    return best, verdict, report


def _situation(task: Task, stage: Stage, best: Contender) -> Situation:
    return Situation(
        task.problem,
        best.candidate,
        best.inspection,
        task.gpu,
        stage,
        {k: dict(v) for k, v in task.profile.items()},
        task.precision,
        task.dialect,
        task.plan,
    )


def _noted(report: StageReport, note: str) -> StageReport:
    return StageReport(report.stage, report.outlook, notes=(note,))


def _prune(session: Session, stage: Stage, candidates: Sequence[Candidate]) -> list[Contender]:
    """Compile for the target; drop what cannot run there and what is the same machine code twice."""
    task, known = session.task, session.folder.tried
    fresh = [c for c in candidates if c.id not in known]
    session.say(f"{stage.name}: compiling {len(fresh)} candidates for {task.gpu.name}")
    inspections = dict(
        zip(
            (c.id for c in fresh),
            inspect_many(task.problem, [c.source for c in fresh], task.gpu, jobs=JUDGED_AT_ONCE),
            strict=True,
        )
    )
    fit: list[Contender] = []
    seen: set[tuple[str, ...]] = set()
    for candidate in candidates:
        before = known.get(candidate.id)
        inspection = before.inspection if before else inspections[candidate.id]
        if inspection is None or not inspection.runs:
            if not before:
                why = inspection.reason if inspection else "could not be inspected"
                session.folder.record(candidate, Tried.of(candidate, f"dropped: {why}", inspection))
            continue
        binaries = tuple(r.binary for r in inspection.resources)
        grids = tuple(str(launch.grid) for launch in inspection.recording.launches)
        if (*binaries, *grids) in seen:
            if not before:
                session.folder.record(
                    candidate, Tried.of(candidate, "dropped: same machine code as another", inspection)
                )
            continue
        seen.add((*binaries, *grids))
        fit.append(Contender(candidate, inspection))
    if not session.on_gpu:
        fit.sort(key=lambda contender: contender.estimated_us)
    return fit


def _promising(session: Session, best: Contender, contenders: Sequence[Contender]) -> list[Contender]:
    """Those worth judging: all on a GPU; without one, those whose estimate beats the best so far."""
    if session.on_gpu:
        return list(contenders)
    ahead = [c for c in contenders if promising(c, best)]
    _set_aside(session, [c for c in contenders if c not in ahead], "its estimate is no better")
    return ahead


def _judge_all(session: Session, stage: Stage, contenders: Sequence[Contender]) -> list[Contender]:
    """Those that the judge calls correct, in the order given, until the budget is spent.

    Without a GPU they come ranked by estimate and nothing will be timed, so judging ends once as many
    are correct as can reach the result.
    """
    pending, correct = deque(contenders), list[Contender]()
    with ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
        while pending and not session.out_of_time and (session.on_gpu or len(correct) < FINALISTS):
            batch = [pending.popleft() for _ in range(min(JUDGED_AT_ONCE, len(pending)))]
            verdicts = pool.map(lambda contender: _judge(session, stage, contender), batch)
            correct.extend(c for c, verdict in zip(batch, verdicts, strict=True) if verdict.correct)
    _set_aside(
        session, pending, "the budget is spent" if session.out_of_time else "better estimates are correct"
    )
    return correct


def _judge(session: Session, stage: Stage, contender: Contender) -> Verdict:
    """The verdict on record, else a fresh one, which goes on record."""
    candidate = contender.candidate
    assert candidate is not None  # the reference is never judged
    known = session.folder.tried.get(candidate.id)
    if known is not None and known.verdict is not None:
        return known.verdict
    verdict = _check(session, candidate)
    session.folder.record(candidate, Tried.of(candidate, verdict.outcome, contender.inspection, verdict))
    session.say(f"{stage.name}: {candidate.why}: {verdict.outcome}")
    return verdict


def _set_aside(session: Session, contenders: Iterable[Contender], why: str) -> None:
    """Log candidates that fit the target and are not judged."""
    for contender in contenders:
        candidate = contender.candidate
        if candidate is not None and candidate.id not in session.folder.tried:
            session.folder.record(candidate, Tried.of(candidate, f"not judged: {why}", contender.inspection))


def _total_gain(session: Session, given: Contender, best: Contender) -> Gain | None:
    if best.id == given.id:
        return None
    if session.on_gpu:
        return measure_gain(session.track, given, best)
    return estimate_gain(given, best)
