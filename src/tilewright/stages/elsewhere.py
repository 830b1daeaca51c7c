"""What candidates come to on the further GPUs and at the further sizes that a run is to serve.

Of those there is no proof but the judge's, at further sizes, that the result computes the same: which setting
is preferred there rests on what is compiled for the place, and on its estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilewright.candidate import Candidate
from tilewright.inspect.api import inspect_many
from tilewright.place import Place
from tilewright.stages.race import Contender, Track, beats_by_estimate, estimate_gain, measure_gain
from tilewright.stages.selection import COMPILED_AT_ONCE
from tilewright.stages.session import Session
from tilewright.stages.summary import There


def preferred(
    session: Session, best: Contender, won: Contender, contenders: Sequence[Contender]
) -> tuple[tuple[Candidate, ...], list[str]]:
    """For each place what has the shortest estimate there, where that is not what won on the target; notes.

    Args:
        best: the best so far, which may well be what a place prefers; won: what is ahead of it on the target.
        contenders: whatever the target can run, once it is known to; only those that won, once time is up.
    """
    found: dict[str, Candidate] = {}
    notes: list[str] = []
    for place in session.task.elsewhere:
        rivals = [won] if session.out_of_time else [won, *(c for c in contenders if c.id != won.id)]
        session.say(f"compiling {1 + len(rivals)} candidates for {place.label}")
        winner, *others = _seen_from(session, place, [*rivals, best])
        first = min(others, key=lambda contender: contender.estimated_us)
        if first.candidate is None or not beats_by_estimate(first, winner):
            notes.append(f"{place.label}: what won is estimated to be as fast there as any other candidate")
            continue
        found[first.id] = first.candidate
        why = "what there was before" if first.id == best.id else first.candidate.why
        gain = estimate_gain(winner, first)
        over = f"{gain.ratio.value:.2f}x (estimated) over what won" if gain else "what won cannot run there"
        notes.append(f"{place.label} prefers {why}: {over}")
    return tuple(found.values()), notes


def gains(session: Session, given: Contender, best: Contender) -> tuple[There, ...]:
    """The result's gain at each place: timed where that GPU is plugged in, else estimated."""
    task = session.task
    found: list[There] = []
    for place in task.elsewhere:
        session.say(f"the result on {place.label}")
        before, after = _seen_from(session, place, [given, best])
        why = after.inspection.reason if after.inspection and not after.inspection.runs else ""
        if why:
            found.append(There(place.label, place.gpu.name, None, why))
        elif task.plugged is not None and task.plugged.name == place.gpu.name:
            problem = place.problem(task.problem)
            track = Track(problem, place.gpu, task.plugged, task.mapping, task.precision)
            found.append(There(place.label, place.gpu.name, measure_gain(track, before, after)))
        else:
            found.append(There(place.label, place.gpu.name, estimate_gain(before, after)))
    return tuple(found)


def _seen_from(session: Session, place: Place, contenders: Sequence[Contender]) -> list[Contender]:
    """The same contenders, compiled for a place; the reference, which launches nothing, as it is."""
    sources = [c.source for c in contenders if c.source is not None]
    problem = place.problem(session.task.problem)
    inspections = iter(inspect_many(problem, sources, place.gpu, jobs=COMPILED_AT_ONCE))
    return [Contender(c.candidate, next(inspections) if c.source is not None else None) for c in contenders]
