"""Takes the code as given through the stages and returns the best file the judge accepts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tilewright.errors import InputError
from tilewright.evidence import weakest
from tilewright.inspect.api import inspect
from tilewright.inspect.model import Inspection
from tilewright.judge.verdict import Verdict
from tilewright.proposers import PROPOSERS
from tilewright.proposers.base import Situation
from tilewright.runs import RunFolder, Tried
from tilewright.stages.diagnosis import findings, outlook
from tilewright.stages.elsewhere import gains, preferred
from tilewright.stages.model import Stage
from tilewright.stages.race import FINALISTS, Contender, Ranking, estimate_gain, first, measure_gain, race
from tilewright.stages.selection import judge_all, of_several_kernels, promising, prune
from tilewright.stages.session import Session, Task, judged
from tilewright.stages.summary import Gain, StageReport, Step, Summary

MOST_CANDIDATES, MOST_ON_GPU = 24, 96  # of one proposer; without a GPU each costs compilation on few cores


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
    elsewhere = gains(session, start, best) if best.id != start.id else ()
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
        elsewhere=elsewhere,
        spent=session.ledger.spent(),
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
    with session.ledger.on("compiling"):
        inspection = inspect(task.problem, task.current.source, task.gpu, path="current.py")
    session.say("checking that it computes what the reference computes")
    with session.ledger.on("judging"):
        verdict = judged(session, task.current)
    outcome = (
        "the code as given"
        if verdict.correct
        else f"the code as given is {verdict.outcome}: {verdict.reason}"
    )
    session.folder.record(task.current, Tried.of(task.current, outcome, inspection, verdict))
    session.say(f"code as given: {verdict.outcome}" + (f": {verdict.reason}" if verdict.reason else ""))
    return verdict, inspection


def _run_stage(
    session: Session, stage: Stage, best: Contender, verdict: Verdict | None
) -> tuple[Contender, Verdict | None, StageReport]:
    """One stage: each of its proposers in turn sets out from the best so far.

    Its candidates are pruned offline, judged and raced, and its winners finished; what is ahead then is the
    best that the next proposer sees.
    """
    task = session.task
    prospects = outlook(stage, best.inspection, task.profile if best.candidate is task.current else None)
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
        if (spent := session.budget_spent) and session.tried_one:  # a run that tried nothing was for nothing
            notes.append(f"{spent}; {proposer.name} was not tried")
            session.ledger.more.append(f"{stage.name}: try {proposer.name}")
            continue
        situation = _situation(task, stage, best)
        proposals = proposer.propose(situation)
        notes.extend(proposals.notes)
        fit = prune(session, stage, proposals.candidates)
        ahead, found = promising(session, stage, best, fit)
        notes.extend(found)
        correct = judge_all(session, stage, ahead, proposer.winners)
        ranking = _raced(session, best, correct)
        notes.extend(ranking.notes)
        if proposer.portable and ranking.ahead:
            there, found = preferred(session, best, ranking.ahead[0], fit)
            situation = replace(situation, elsewhere=there)
            notes.extend(found)
        winners = [c.candidate for c in ranking.ahead if c.candidate]
        if not winners and not session.out_of_time:
            winners = of_several_kernels(correct)
        finished = proposer.finish(situation, winners)
        notes.extend(finished.notes)
        made = prune(session, stage, finished.candidates, overtime=True)
        together = judge_all(session, stage, made, len(made), overtime=True)
        if together:  # first, so that of two that are equal the one made of winners is kept
            rivals = [*together, *ranking.ahead][: max(FINALISTS, len(together) + 1)]
            ranking = _raced(session, best, rivals)
            notes.extend(ranking.notes)
        tried += len(proposals.candidates)
        runnable += len(fit)
        judged_correct += len(correct)
        if ranking.ahead:
            best = first(ranking, together if proposer.portable else ())
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


def _raced(session: Session, best: Contender, contenders: Sequence[Contender]) -> Ranking:
    with session.ledger.on("racing"):
        return race(session.track, best, contenders, session.say)


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
        MOST_CANDIDATES if task.plugged is None else MOST_ON_GPU,
    )


def _noted(report: StageReport, note: str) -> StageReport:
    return StageReport(report.stage, report.outlook, notes=(note,))


def _total_gain(session: Session, given: Contender, best: Contender) -> Gain | None:
    if best.id == given.id:
        return None
    if session.on_gpu:
        session.say(f"measuring the gain over {'the code as given' if given.candidate else 'the reference'}")
        with session.ledger.on("racing"):
            return measure_gain(session.track, given, best)
    return estimate_gain(given, best)
