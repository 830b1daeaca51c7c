"""From what a proposer suggests to the candidates that are worth racing."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tilewright.candidate import Apart, Candidate
from tilewright.inspect.api import inspect_many
from tilewright.inspect.model import Inspection
from tilewright.judge.verdict import Verdict
from tilewright.runs import Tried
from tilewright.screening.api import screen
from tilewright.stages.model import Stage
from tilewright.stages.race import FINALISTS, MACHINE_NOISE, Contender, beats_by_estimate
from tilewright.stages.session import JUDGED_AT_ONCE, Session, judged

COMPILED_AT_ONCE = os.cpu_count() or 1
SCREENED_DOWN_TO = 2 * FINALISTS  # judging one takes seconds in a process of its own; a quick time does not
COMPILING_SHARE = 0.5  # of the time left; the judge needs the rest
SCREENING_SHARE = 0.25  # of the budget, for one proposer's candidates


def prune(
    session: Session, stage: Stage, candidates: Sequence[Candidate], *, overtime: bool = False
) -> list[Contender]:
    """Compile for the target; drop what cannot run there and what is the same machine code twice.

    Compiling ends once it took half of the time left, or with the last candidate that the budget allows; what
    was not compiled by then is left out, unrecorded.

    Args:
        overtime: compile all of them whatever the number, because what was found depends on them.
    """
    known = session.folder.tried
    fresh = [c for c in candidates if c.id not in known]
    inspections = _inspected(session, stage, fresh, len(fresh) if overtime else session.candidates_left)
    fit: list[Contender] = []
    seen: set[tuple[str, ...]] = set()
    for candidate in candidates:
        before = known.get(candidate.id)
        if before is None and candidate.id not in inspections:
            continue
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


def _inspected(
    session: Session, stage: Stage, fresh: Sequence[Candidate], most: int
) -> dict[str, Inspection]:
    """Inspections by id, as many as there is time for; the first few always, but no more than `most`."""
    if not fresh:
        return {}
    task, ledger, sources = session.task, session.ledger, [one.source for one in fresh[:most]]
    session.say(f"{stage.name}: compiling {len(sources)} candidates for {task.gpu.name}")
    with ledger.on("compiling"):
        found = inspect_many(
            task.problem,
            sources,
            task.gpu,
            jobs=COMPILED_AT_ONCE,
            seconds=COMPILING_SHARE * session.seconds_left,
        )
    ledger.candidates["compiled"] += len(found)
    if undone := len(fresh) - len(found):
        session.say(f"{stage.name}: the last {undone} of {len(fresh)} are left out: the budget is spent")
        ledger.more.append(f"{stage.name}: compile {undone} more candidates")
    return {candidate.id: one for candidate, one in zip(fresh, found, strict=False)}


def promising(
    session: Session, stage: Stage, best: Contender, contenders: Sequence[Contender]
) -> tuple[list[Contender], list[str]]:
    """Those worth judging, and notes: the fastest by quick times on a GPU, else by estimate.

    The fastest of each kind comes before the second of any, so that what was found for one kernel of several
    is not crowded out by the many ways to better another.
    """
    if not session.on_gpu:
        ahead = _best_of_each_first([c for c in contenders if beats_by_estimate(c, best)])
        _set_aside(session, [c for c in contenders if c not in ahead], "its estimate is no better")
        return ahead, []
    if len(contenders) <= SCREENED_DOWN_TO or session.out_of_time:
        return list(contenders), []
    return _screened(session, stage, best, contenders)


def _screened(
    session: Session, stage: Stage, best: Contender, contenders: Sequence[Contender]
) -> tuple[list[Contender], list[str]]:
    """The few whose quick times are shortest, unless the best so far is clearly faster than they."""
    task = session.task
    session.say(f"{stage.name}: quick times of {len(contenders)} candidates")
    rivals = [c for c in (best, *contenders) if c.source is not None]
    with session.ledger.on("quick times"):
        screening = screen(
            task.problem,
            [(c.id, c.source or "") for c in rivals],
            keep=SCREENED_DOWN_TO,
            seconds=SCREENING_SHARE * task.budget_seconds,
            precision=task.precision,
            mapping=task.mapping,
            target=task.gpu,
            apart=differing(rivals),
        )
    session.ledger.candidates["timed"] += sum(bool(one.device_us) for one in screening.candidates)
    session.folder.record_times(screening)
    known = {c.id: c for c in contenders}
    times = {one.label: one.time_us for one in screening.candidates if one.time_us < math.inf}
    fastest = min(times.values(), default=math.inf)
    limit = (1.0 + MACHINE_NOISE) * times.get(best.id, math.inf)
    order = [known[label] for label in times if label in known and times[label] < limit]
    ahead = _best_of_each_first(order)[:SCREENED_DOWN_TO]
    for one in screening.candidates:
        if one.label in known and known[one.label] not in ahead:
            why = one.problem or f"{one.time_us / fastest:.2f} times the quickest of its round"
            _set_aside(session, [known[one.label]], why)
    note = (
        f"quick times of {len(contenders)} candidates took {screening.seconds:.0f} s on {screening.device}, "
        f"{screening.rounds} rounds, {screening.restarts} restarts; {len(ahead)} went on to the judge"
    )
    return ahead, [note]


def differing(contenders: Sequence[Contender]) -> dict[str, Apart]:
    """By id, in what candidates differ from others, where those are here and run other kernels too."""
    launched = {
        one.id: {launch.kernel for launch in one.inspection.recording.launches}
        for one in contenders
        if one.inspection
    }
    aparts = {one.id: one.candidate.apart for one in contenders if one.candidate and one.candidate.apart}
    return {id: one for id, one in aparts.items() if set(one.kernels) < launched.get(one.base, set())}


def _best_of_each_first(contenders: Sequence[Contender]) -> list[Contender]:
    """The first of those that change the same things, for all such kinds, then the others; else in order."""
    firsts: dict[frozenset[str], Contender] = {}
    for contender in contenders:
        settings = contender.candidate.settings if contender.candidate else {}
        firsts.setdefault(frozenset(settings), contender)
    return [*firsts.values(), *(c for c in contenders if c not in firsts.values())]


def of_several_kernels(contenders: Sequence[Contender]) -> list[Candidate]:
    """The first of those that change the same kernels only, for each such set of its own.

    What each gains alone may be too little to show in the whole forward, and enough together. Empty where
    there are fewer than two sets, which leaves nothing to put together.
    """
    chosen: list[Candidate] = []
    seen: set[str] = set()
    for contender in contenders:
        candidate = contender.candidate
        if candidate and candidate.apart and seen.isdisjoint(candidate.apart.kernels):
            seen.update(candidate.apart.kernels)
            chosen.append(candidate)
    return chosen if len(chosen) > 1 else []


def judge_all(
    session: Session, stage: Stage, contenders: Sequence[Contender], most: int, *, overtime: bool = False
) -> list[Contender]:
    """Those that the judge calls correct, in the order given, until the budget is spent.

    The first candidate of a run is judged whatever the budget says: to take stock of the code as given may
    have taken all of it, and a run that judged nothing was for nothing. Without a GPU they come ranked by
    estimate and nothing will be timed, so judging ends once `most` are correct.

    Args:
        overtime: judge them although the budget is spent, because what was found depends on them.
    """
    enough = len(contenders) if session.on_gpu else most
    pending, correct = deque(contenders), list[Contender]()
    with session.ledger.on("judging"), ThreadPoolExecutor(JUDGED_AT_ONCE) as pool:
        while pending and len(correct) < enough:
            late = session.out_of_time and not overtime
            if late and session.judged_one:
                break
            count = 1 if late else min(JUDGED_AT_ONCE, len(pending), enough - len(correct))
            batch = [pending.popleft() for _ in range(count)]
            verdicts = pool.map(lambda contender: _judge(session, stage, contender), batch)
            correct.extend(c for c, verdict in zip(batch, verdicts, strict=True) if verdict.correct)
    unfinished = pending and len(correct) < enough
    if unfinished:
        session.ledger.more.append(f"{stage.name}: judge {len(pending)} more candidates")
    _set_aside(session, pending, "the budget is spent" if unfinished else "better estimates are correct")
    return correct


def _judge(session: Session, stage: Stage, contender: Contender) -> Verdict:
    """The verdict on record, else a fresh one, which goes on record."""
    candidate = contender.candidate
    assert candidate is not None  # the reference is never judged
    known = session.folder.tried.get(candidate.id)
    if known is not None and known.verdict is not None:
        return known.verdict
    verdict = judged(session, candidate)
    session.ledger.candidates["judged"] += 1
    session.folder.record(candidate, Tried.of(candidate, verdict.outcome, contender.inspection, verdict))
    session.say(f"{stage.name}: {candidate.why}: {verdict.outcome}")
    return verdict


def _set_aside(session: Session, contenders: Iterable[Contender], why: str) -> None:
    """Log candidates that fit the target and are not judged."""
    for contender in contenders:
        candidate = contender.candidate
        if candidate is not None and candidate.id not in session.folder.tried:
            session.folder.record(candidate, Tried.of(candidate, f"not judged: {why}", contender.inspection))
