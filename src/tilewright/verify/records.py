"""Whether a run's records fit one another: each check asks of the folder what it says of itself.

Somebody who writes a whole folder anew can make it fit. What catches that is the digest they quoted
before, and running the code again (`rerun.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from tilewright.candidate import Candidate
from tilewright.errors import ProblemError, UnknownGpu
from tilewright.evidence import Evidence, Figure, weakest
from tilewright.gpu.catalogue import find
from tilewright.judge.means.findings import forbidden
from tilewright.judge.speed.model import Ratio
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem
from tilewright.runs import DECISIONS, LOG, SCREENINGS, TIMINGS, Asked, Tried, digest
from tilewright.stages.diagnosis import findings
from tilewright.stages.race import REFERENCE, Contender, estimate_gain, gain_of
from tilewright.stages.session import allowed
from tilewright.stages.summary import Gain, Summary
from tilewright.verify.bundle import Bundle
from tilewright.verify.model import Line, agrees, differs
from tilewright.version import VERSION

MEASURED = (Evidence.MEASURED, Evidence.MEASURED_ON)
NONSENSE = (ArithmeticError, LookupError, ValueError)  # what values of the right types can still lead to
TOLERANCE = 1e-9  # of figures computed again from the same samples by the same rules


def check_records(bundle: Bundle) -> list[Line]:
    """Every check of a run's records against one another; one line each."""
    asked, summary = bundle.asked, bundle.summary
    lines = list(bundle.damaged)
    if asked is not None:
        lines.append(_line("what was asked", _asked(bundle, asked), "its texts are the ones in the folder"))
    lines.append(_line(LOG, _log(bundle), f"{len(bundle.tried)} candidates, each with its source and parent"))
    lines.append(_line("verdicts", _verdicts(bundle), "each with its seeds, errors and device"))
    if bundle.screenings:
        sound = f"{len(bundle.screenings)} screenings of candidates in the log"
        lines.append(_line(SCREENINGS, _screenings(bundle), sound))
    if bundle.timings:
        lines.append(
            _line(TIMINGS, _timings(bundle), f"{len(bundle.timings)} timings of candidates in the log")
        )
    if bundle.decisions:
        sound = f"{len(bundle.decisions)} speed verdicts, each as its blocks give it again"
        lines.append(_line(DECISIONS, _decisions(bundle), sound))
    if asked is not None:
        lines.append(_line("evidence", _evidence(bundle, asked), "no claim is stronger than its source"))
    if summary is not None:
        lines.append(_line("best.py", _best(bundle, summary), f"is candidate {summary.best}"))
    if summary is not None and asked is not None:
        lines.append(_line("summary", _summary(bundle, asked, summary), "says what the log says"))
        lines.append(_speedup(bundle, summary, asked))
    return lines


def _line(what: str, faults: Iterator[str], sound: str) -> Line:
    found: list[str] = []
    try:
        found.extend(faults)
    except NONSENSE as error:
        found.append(f"makes no sense: {type(error).__name__}: {error}")
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return differs(what, "; ".join(found[:3]) + more) if found else agrees(what, found=sound)


def _asked(bundle: Bundle, asked: Asked) -> Iterator[str]:
    for name, text, wanted in (
        ("problem.py", bundle.problem, asked.problem),
        ("current.py", bundle.current, asked.current),
        ("request.txt", bundle.request, asked.request),
    ):
        if (digest(text) if text is not None else None) != wanted:
            yield f"{name} is not the text that run.json names"
    if bundle.problem is not None:
        try:
            Problem.from_source(bundle.problem)
        except ProblemError as error:
            yield str(error)
    if not bundle.machines:
        yield "no machine is named that the run was made on"
    for machine in bundle.machines:
        if machine.tilewright != asked.tilewright:
            yield f"run.json names tilewright {asked.tilewright}, a machine had {machine.tilewright}"


def _log(bundle: Bundle) -> Iterator[str]:
    seen: set[str] = set()
    for number, tried in enumerate(bundle.tried, 1):
        line = f"line {number}"
        if tried.id in seen:
            yield f"{line}: {tried.id} is there twice"
        source = bundle.sources.get(tried.id)
        if source is None:
            yield f"{line}: there is no candidates/{tried.id}.py"
        elif Candidate(source).id != tried.id:
            yield f"{line}: candidates/{tried.id}.py is not the text of that candidate"
        if tried.parent is not None and tried.parent not in seen:
            yield f"{line}: its parent {tried.parent} is on no line before it"
        seen.add(tried.id)
    for candidate_id in sorted(bundle.sources.keys() - seen):
        yield f"candidates/{candidate_id}.py is on no line"
    if bundle.current is not None and Candidate(bundle.current).id not in seen:
        yield "the code as given is on no line"


def _verdicts(bundle: Bundle) -> Iterator[str]:
    given = next((tried.verdict for tried in bundle.tried if tried.stage == "given"), None)
    more = bundle.asked.allow if bundle.asked else ()
    for number, tried in enumerate(bundle.tried, 1):
        if tried.verdict is None:
            continue
        for fault in _verdict(tried.verdict):
            yield f"{LOG} line {number}: {fault}"
        if tried.verdict.correct:
            for finding in forbidden(tried.verdict.findings, allowed(tried.stage, given, more)):
                yield f"{LOG} line {number}: correct, although {finding.kind} is not allowed: {finding.what}"
        if tried.stage != "given" and tried.outcome != tried.verdict.outcome:
            yield f"{LOG} line {number}: is called {tried.outcome}, its verdict is {tried.verdict.outcome}"


def _verdict(verdict: Verdict) -> Iterator[str]:
    """What a verdict lacks to be believed. Only a yes needs evidence: a no may have had no trial."""
    if verdict.outcome is not Outcome.CORRECT:
        return
    if verdict.trials < 1 or len(verdict.seeds) != verdict.trials:
        yield f"correct by {verdict.trials} trials with {len(verdict.seeds)} seeds"
    if not verdict.device:
        yield "correct, on no device"
    for error in verdict.errors:
        if not (error.norm_error <= error.norm_budget and error.max_error <= error.max_budget):
            yield f"correct, although output {error.output} is past its budget"


def _screenings(bundle: Bundle) -> Iterator[str]:
    known = {tried.id for tried in bundle.tried}
    for number, screening in enumerate(bundle.screenings, 1):
        for one in screening.candidates:
            if one.label not in known:
                yield f"line {number}: {one.label} is not in the log"
            if not all(0.0 < us < math.inf for us in one.device_us):
                yield f"line {number}: {one.label} has a sample that is no time"


def _timings(bundle: Bundle) -> Iterator[str]:
    known = {REFERENCE, *(tried.id for tried in bundle.tried)}
    for number, timing in enumerate(bundle.timings, 1):
        for side in timing.sides:
            if side.label not in known:
                yield f"line {number}: {side.label} is not in the log"
            samples = [us for taken in (side.cold, side.warm) for us in (*taken.device_us, *taken.wall_us)]
            if not side.problem and not (side.cold.device_us and all(0.0 < us < math.inf for us in samples)):
                yield f"line {number}: {side.label} has a sample that is no time, or none at all"


def _decisions(bundle: Bundle) -> Iterator[str]:
    """Every speed verdict, computed again from its blocks by its own rules."""
    from tilewright.judge.speed.decision import recompute

    known = {REFERENCE, *(tried.id for tried in bundle.tried)}
    heats = [{side.label for side in timing.sides} for timing in bundle.timings]
    for number, decided in enumerate(bundle.decisions, 1):
        pair = {decided.before, decided.after}
        for label in sorted(pair - known):
            yield f"line {number}: {label} is not in the log"
        if decided.purpose == "final" and not any(pair <= heat for heat in heats):
            yield f"line {number}: its sides were never timed against one another before"
        stated = decided.speed
        if (stated is None) != bool(decided.problem):
            yield f"line {number}: has a verdict and a reason for having none, or neither"
        if stated is None:
            continue
        try:
            again = recompute(stated.pairs, stated.noise_pairs, stated.rules, stated.condition)
        except ValueError as error:
            yield f"line {number}: {error}"
            continue
        if not (
            again.outcome is stated.outcome
            and _equal(again.ratio, stated.ratio)
            and _equal(again.noise, stated.noise)
        ):
            yield f"line {number}: says {stated.statement}, its blocks: {again.statement}"


def _equal(one: Ratio, other: Ratio) -> bool:
    return all(
        math.isclose(getattr(one, end), getattr(other, end), rel_tol=TOLERANCE)
        for end in ("value", "low", "high")
    )


def _evidence(bundle: Bundle, asked: Asked) -> Iterator[str]:
    """A measurement needs a GPU that was there; one on the target needs the target."""
    there = {_known_as(machine.device) for machine in bundle.machines if machine.device}
    target = _known_as(asked.gpu.name)

    def fault(evidence: Evidence, device: str | None) -> str:
        if evidence not in MEASURED:
            return ""
        name = _known_as(device or "")
        if name not in there:
            return f"is called {evidence} on {device or 'nothing'}, which no machine of this run had"
        if evidence is Evidence.MEASURED and name != target:
            return f"is called measured on {device}, the target is {asked.gpu.name}"
        return ""

    for number, tried in enumerate(bundle.tried, 1):
        if tried.verdict and (wrong := fault(tried.verdict.evidence, tried.verdict.device)):
            yield f"{LOG} line {number}: its verdict {wrong}"
        if tried.inspection and any(figure.evidence in MEASURED for figure in _figures(tried.inspection)):
            yield f"{LOG} line {number}: a figure of its inspection is called measured; nothing ran for it"
    for name, devices in (
        (SCREENINGS, [screening.device for screening in bundle.screenings]),
        (TIMINGS, [timing.device for timing in bundle.timings]),
        (DECISIONS, [decided.device for decided in bundle.decisions]),
    ):
        for number, device in enumerate(devices, 1):
            if wrong := fault(Evidence.MEASURED_ON, device):
                yield f"{name} line {number}: {wrong}"
    if bundle.summary is not None:
        for figure in _figures(bundle.summary):
            if wrong := fault(figure.evidence, figure.gpu):
                yield f"summary.json: {figure.value:.4g} {figure.unit} {wrong}"


def _known_as(device: str) -> str:
    """One name for a device, which CUDA, the catalogue and people call differently."""
    bare = device.removeprefix("NVIDIA ")
    try:
        return find(bare).name
    except UnknownGpu:
        return bare


def _figures(value: object) -> Iterator[Figure]:
    """Every figure in a value, however deep."""
    if isinstance(value, Figure):
        yield value
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from _figures(getattr(value, each.name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _figures(item)
    elif isinstance(value, dict):
        yield from _figures(tuple(value.values()))


def _best(bundle: Bundle, summary: Summary) -> Iterator[str]:
    if bundle.best is not None and Candidate(bundle.best).id != summary.best:
        yield f"is {Candidate(bundle.best).id}, the summary names {summary.best}"
    tried = bundle.of(summary.best)
    if tried is None:
        yield f"the log has no candidate {summary.best}"
    elif tried.verdict != summary.verdict:
        yield "its verdict in the summary is not the one in the log"


def _summary(bundle: Bundle, asked: Asked, summary: Summary) -> Iterator[str]:
    given = bundle.of(Candidate(bundle.current).id) if bundle.current is not None else None
    start = given.id if given else REFERENCE
    if summary.improved != (summary.best != start):
        yield "improved is not what best and the code as given make it"
    if summary.given != (given.verdict if given else None):
        yield "the verdict of the code as given is not the one in the log"
    if summary.baseline != ("the code as given" if asked.current else "the reference"):
        yield f"the baseline is called {summary.baseline}"
    if summary.gpu != asked.gpu.name:
        yield f"the target is called {summary.gpu}, it was {asked.gpu.name}"
    if summary.device != summary.verdict.device:
        yield f"it ran on {summary.device}, the verdict was made on {summary.verdict.device}"
    if tuple(report.stage for report in summary.stages) != asked.stages:
        yield "the stages are not those that were asked for"
    kept = [report.kept for report in summary.stages if report.kept is not None]
    if summary.improved and kept[-1:] != [summary.best]:
        yield f"best is {summary.best}, which is not what the last stage kept"
    if asked.current is not None and summary.gain is not None and not summary.gain.shown:
        yield "it claims a speedup that is not shown"
    if any(bundle.of(one) is None for one in kept):
        yield "a stage kept a candidate that the log does not have"
    holds_back = findings(given.inspection if given else None, asked.profile, asked.gpu)
    if asked.tilewright == VERSION and summary.findings != holds_back:  # other versions word them otherwise
        yield "what holds the code as given back is not what its inspection says"
    claims = [summary.verdict.evidence] + ([summary.gain.ratio.evidence] if summary.gain else [])
    if summary.evidence is not weakest(*claims):
        yield f"the claim is called {summary.evidence}, it rests on {weakest(*claims)}"


def _speedup(bundle: Bundle, summary: Summary, asked: Asked) -> Line:
    """The speedup, from the speed verdict that its blocks give again, or from the estimates in the log."""
    what, stated = "speedup from the record", summary.gain
    if stated is None:
        return agrees(what, "none claimed")
    try:
        again = _gain(bundle, summary, asked, stated)
    except NONSENSE as error:
        return differs(what, f"the samples make no sense: {error}", shown(stated))
    if again is None:
        return differs(what, "the record has nothing that it could come from", shown(stated))
    return _compared(what, stated, again)


def _gain(bundle: Bundle, summary: Summary, asked: Asked, stated: Gain) -> Gain | None:
    start = Candidate(bundle.current).id if bundle.current is not None else REFERENCE
    if stated.ratio.evidence in MEASURED:
        for decided in reversed(bundle.decisions):
            if (decided.purpose, decided.before, decided.after) == ("gain", start, summary.best):
                on_target = _known_as(decided.device) == _known_as(asked.gpu.name)
                return gain_of(decided, Evidence.MEASURED if on_target else Evidence.MEASURED_ON)
        return None
    before, after = bundle.of(start), bundle.of(summary.best)
    return estimate_gain(_inspected(before), _inspected(after))


def _inspected(tried: Tried | None) -> Contender:
    return Contender(None, tried.inspection if tried else None)


def _compared(what: str, stated: Gain, again: Gain) -> Line:
    same = all(
        math.isclose(one, other, rel_tol=TOLERANCE)
        for one, other in (
            (stated.ratio.value, again.ratio.value),
            (stated.low, again.low),
            (stated.high, again.high),
            (stated.before.value, again.before.value),
            (stated.after.value, again.after.value),
        )
    )
    words = [(gain.shown, gain.basis, gain.ratio.evidence) for gain in (stated, again)]
    if same and words[0] == words[1]:
        return agrees(what, shown(stated), shown(again))
    return differs(what, "the record gives another figure", shown(stated), shown(again))


def shown(gain: Gain) -> str:
    """A speedup with its interval and how it is known."""
    interval = f", {gain.low:.4f} to {gain.high:.4f}" if gain.low != gain.high else ""
    times = f"{gain.before.value:.4g} -> {gain.after.value:.4g} us"
    unshown = "" if gain.shown else ", not shown to be faster"
    return f"{gain.ratio.value:.4f}x{unshown} ({gain.ratio.evidence.value}{interval}; {times}; {gain.basis})"
