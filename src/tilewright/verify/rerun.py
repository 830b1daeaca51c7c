"""Runs a bundle's code once more on this machine and sets the answers beside the recorded ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tilewright.candidate import Candidate
from tilewright.contract import Breach, breaches
from tilewright.errors import Interrupted, SetupError, TilewrightError
from tilewright.gpu.model import Gpu
from tilewright.inspect.api import inspect
from tilewright.inspect.model import Inspection, Resources
from tilewright.judge.api import check
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.kernelfile import KernelFile
from tilewright.machine import Machine
from tilewright.place import Place
from tilewright.problem import Problem
from tilewright.runs import Asked, Tried
from tilewright.stages.race import MACHINE_NOISE, Contender, Track, measure_gain
from tilewright.stages.session import JUDGE_LIMITS, allowed, interpreter_seconds
from tilewright.stages.summary import Gain, Summary
from tilewright.verify.bundle import Bundle
from tilewright.verify.model import Line, agrees, differs, not_checked
from tilewright.verify.records import shown

PARTS = ("contract", "same function, recorded seeds", "same function, fresh seeds", "memory safety",
         "compiled", "speedup, timed again")  # fmt: skip
LIMITS = (Outcome.TIMEOUT, Outcome.OUT_OF_RESOURCES)


@dataclass(frozen=True)
class Run:
    """A sound bundle, with everything that running it again takes.

    Args:
        result: the log's line of best.py; best: its text.
        plugged: the GPU in this machine; here: this machine; there: those of the run.
    """

    folder: Path
    asked: Asked
    summary: Summary
    problem: Problem
    current: str | None
    best: str
    result: Tried
    plugged: Gpu | None
    here: Machine
    there: tuple[Machine, ...]

    @property
    def path(self) -> str:
        """What messages call best.py."""
        return str(self.folder / "best.py")

    @property
    def elsewhere(self) -> bool:
        """Whether this machine has another device than the run had."""
        return self.here.device not in {machine.device for machine in self.there}


def set_up(bundle: Bundle, plugged: Gpu | None, here: Machine) -> Run:
    """A bundle in which nothing differs, ready to be run."""
    asked, summary, best = bundle.asked, bundle.summary, bundle.best
    assert asked is not None and summary is not None and best is not None and bundle.problem is not None
    result = bundle.of(summary.best)
    assert result is not None  # the records were found to agree
    problem = Problem.from_source(bundle.problem, bundle.folder / "problem.py")
    return Run(
        bundle.folder, asked, summary, problem, bundle.current, best, result, plugged, here, bundle.machines
    )


def check_again(run: Run, trials: int, say: Callable[[str], None]) -> Iterator[Line]:
    """Everything that can be asked of best.py here, one line each, in the order of PARTS."""
    yield _guarded(PARTS[0], lambda: _contract(run))
    say("running both sides on the recorded seeds")
    yield _guarded(PARTS[1], lambda: _recorded_seeds(run))
    say("running both sides on fresh seeds")
    fresh = _fresh(run, trials)
    yield _guarded(PARTS[2], lambda: _same(run, PARTS[2], _known(fresh)))
    yield _guarded(PARTS[3], lambda: _memory(run.summary.verdict, _known(fresh)))
    for place in run.asked.elsewhere:
        if place.source is not None and run.summary.improved:
            say(f"running both sides at the sizes of {place.label}")
            what = f"same function, sizes of {place.label}"
            yield _guarded(what, functools.partial(_sizes, run, trials, place, what))
    say(f"compiling for {run.asked.gpu.name}")
    yield _guarded(PARTS[4], lambda: _compiled(run))
    yield _guarded(PARTS[5], lambda: _timed(run, say))


def _guarded(what: str, look: Callable[[], Line]) -> Line:
    """What this machine lacks is a reason not to have checked; what the code does wrong is a difference."""
    try:
        return look()
    except Interrupted:
        raise
    except SetupError as error:
        return not_checked(what, str(error))
    except TilewrightError as error:
        return differs(what, str(error))


def _contract(run: Run) -> Line:
    """A file derived from one that breaks the contract may break it in the same ways, and in no other."""
    what = PARTS[0]
    found = breaches(KernelFile.parse(run.best, run.path), run.problem.source)
    if not found:
        return agrees(what, found="kept")
    given = KernelFile.parse(run.current, "current.py") if run.current is not None else None
    before = breaches(given, run.problem.source) if given else ()
    named = "; ".join(f"line {breach.line}: {breach.what}" for breach in found)
    if {_kind(breach) for breach in found} <= {_kind(breach) for breach in before}:
        return agrees(what, "broken by the code as given", named)
    return differs(what, "best.py breaks it", "kept", named)


def _kind(breach: Breach) -> tuple[str, str]:
    return breach.rule, breach.what


def _sizes(run: Run, trials: int, place: Place, what: str) -> Line:
    """Whether best.py is right at further sizes that the run was to serve."""
    found = _check(replace(run, problem=place.problem(run.problem)), trials)
    return _same(run, what, found)


def _check(run: Run, trials: int, seeds: tuple[int, ...] = ()) -> Verdict:
    return check(
        run.problem,
        run.best,
        path=run.path,
        precision=run.asked.precision,
        target=run.asked.gpu,
        mapping=run.asked.parameter_map,
        trials=trials,
        interpreter_seconds=interpreter_seconds(run.result.stage),
        limits=JUDGE_LIMITS,
        seeds=seeds,
        allow=allowed(run.result.stage, run.summary.given, run.asked.allow),
    )


def _recorded_seeds(run: Run) -> Line:
    recorded = run.summary.verdict
    if not recorded.seeds:
        return not_checked(PARTS[1], "no trial of it was run, so there are no seeds", said(recorded))
    return _same(run, PARTS[1], _check(run, len(recorded.seeds), recorded.seeds))


def _fresh(run: Run, trials: int) -> Verdict | TilewrightError:
    """The verdict on seeds of this machine's own; an error is kept for the lines that rest on it."""
    try:
        return _check(run, trials)
    except Interrupted:
        raise
    except TilewrightError as error:
        return error


def _known(fresh: Verdict | TilewrightError) -> Verdict:
    if isinstance(fresh, TilewrightError):
        raise fresh
    return fresh


def _same(run: Run, what: str, found: Verdict) -> Line:
    """The recorded answer and this machine's; a smaller device may well lack what the run needed."""
    recorded = run.summary.verdict
    values = said(recorded), said(found)
    if found.outcome is recorded.outcome:
        return agrees(what, *values)
    if found.outcome is Outcome.NOT_CHECKED or (found.outcome in LIMITS and run.elsewhere):
        return not_checked(what, found.reason, *values)
    return differs(what, "the judge says otherwise here", *values)


def _memory(recorded: Verdict, found: Verdict) -> Line:
    """Stray accesses are looked for in every trial; a check that got that far found none."""
    values = [f"{_strays(v)} ({v.evidence.value})" for v in (recorded, found)]
    if found.outcome is Outcome.STRAY_ACCESS and recorded.outcome is not Outcome.STRAY_ACCESS:
        return differs(PARTS[3], found.reason, *values)
    if found.outcome in (Outcome.CORRECT, Outcome.STRAY_ACCESS):
        return agrees(PARTS[3], *values)
    return not_checked(PARTS[3], f"the check ended before it could tell: {found.outcome}", values[0])


def _strays(verdict: Verdict) -> str:
    return "stray accesses" if verdict.outcome is Outcome.STRAY_ACCESS else "no stray access seen"


def said(verdict: Verdict) -> str:
    """A verdict in one line."""
    worst = max((error.norm_error for error in verdict.errors), default=None)
    parts = [
        verdict.outcome.value,
        f"error {worst:.2e}" if worst is not None else "",
        f"{verdict.trials} trials",
        verdict.sizes or "full size",
        verdict.evidence.value,
        verdict.device,
        *sorted({f"found {finding.kind.value}" for finding in verdict.findings}),
    ]
    return ", ".join(part for part in parts if part)


def _compiled(run: Run) -> Line:
    """Registers, spills and shared memory; equal on the same Triton, shown on another."""
    what, recorded = PARTS[4], run.result.inspection
    if recorded is None:
        return not_checked(what, "the run has no inspection of best.py")
    found = inspect(run.problem, run.best, run.asked.gpu, path=run.path, limits=JUDGE_LIMITS)
    values = _resources(recorded), _resources(found)
    if values[0] == values[1]:
        return agrees(what, *values)
    theirs = {machine.triton for machine in run.there}
    if theirs == {run.here.triton}:
        return differs(what, f"the same Triton {run.here.triton} gives other machine code", *values)
    why = f"another Triton: {', '.join(sorted(theirs)) or 'unknown'} then, {run.here.triton} here"
    return not_checked(what, why, *values)


def _resources(inspection: Inspection) -> str:
    def one(r: Resources) -> str:
        if r.problem:
            return f"{r.kernel}: {r.problem}"
        shared = r.shared_static_bytes + r.shared_dynamic_bytes
        return (
            f"{r.kernel}: {r.registers_per_thread} registers, {r.spills.total} words spilled"
            f" ({r.spills.in_loop} in a loop), {shared} B shared"
        )

    return inspection.problem or "; ".join(one(r) for r in inspection.resources)


def _timed(run: Run, say: Callable[[str], None]) -> Line:
    what, stated = PARTS[5], run.summary.gain
    if stated is None:
        return not_checked(what, "the run claims no speedup")
    if run.plugged is None:
        return not_checked(what, "there is no GPU in this machine", shown(stated))
    say("deciding again whether the result is faster than what it is set against")
    asked = run.asked
    track = Track(run.problem, asked.gpu, run.plugged, asked.parameter_map, asked.precision)
    given = Candidate(run.current) if run.current is not None else None
    found = measure_gain(track, Contender(given, None), Contender(Candidate(run.best), None))
    if found is None:
        return differs(what, "one of the two sides could not be timed here", shown(stated))
    values = shown(stated), shown(found)
    if stated.ratio.gpu is None:
        return not_checked(what, "the run has an estimate only, and an estimate is no measurement", *values)
    if stated.ratio.gpu != found.ratio.gpu:
        return not_checked(what, f"recorded on {stated.ratio.gpu}, this is {found.ratio.gpu}", *values)
    if stated.shown and not found.shown:
        return differs(what, "it is not shown to be faster here", *values)
    if _overlap(stated, found):
        return agrees(what, *values)
    return differs(what, f"the intervals lie more than {MACHINE_NOISE:.0%} apart", *values)


def _overlap(stated: Gain, found: Gain) -> bool:
    apart = max(stated.low, found.low) / min(stated.high, found.high)
    return apart <= 1.0 + MACHINE_NOISE
