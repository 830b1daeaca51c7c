"""Which of several correct candidates is the fastest: timed on the GPU, or by estimate without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tilewright.candidate import Candidate
from tilewright.errors import WorkerError
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.judge.api import compare_speed, time_sides
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.floor import below_floor
from tilewright.judge.speed.model import Rules, SpeedOutcome
from tilewright.judge.speed.samples import Timing
from tilewright.judge.speed.statistics import median
from tilewright.problem import Problem
from tilewright.runs import Decided
from tilewright.stages.summary import Gain

ESTIMATE_MARGIN = 0.98  # an estimate must be 2 % better before it replaces what is there
MACHINE_NOISE = 0.02  # two instances of one file on one GPU were seen to differ by as much
FINALISTS = 3
HEAT_SECONDS = 3.0  # of samples of each contender: enough to say who is decided on, which is all it does
HEAT_CONDITION = "device time, cold L2"  # what decisions are taken on
FALSE_ALARM = 0.01  # of all of a race's decisions together, and of the gain
LOOKS = (12, 24, 48)  # at a ninth of FALSE_ALARM, what each may spend, 10 blocks cannot show anything
REFERENCE = "reference"  # what stands for a candidate's id where the reference itself is timed


@dataclass(frozen=True)
class Contender:
    """A candidate and what inspection found of it; without a candidate the reference itself, eager."""

    candidate: Candidate | None
    inspection: Inspection | None

    @property
    def id(self) -> str:
        return self.candidate.id if self.candidate else REFERENCE

    @property
    def source(self) -> str | None:
        return self.candidate.source if self.candidate else None

    @property
    def estimated_us(self) -> float:
        """The estimate of one forward, microseconds; infinite where there is none."""
        estimate = self.inspection.estimate if self.inspection else None
        return estimate.total_us.value if estimate else math.inf


@dataclass(frozen=True)
class Track:
    """Where and on what contenders are compared.

    Args:
        gpu: the target; plugged: the GPU in this machine, None to go by the estimate.
        precision: what matrix products may be computed in.
        record: told every timing and every speed verdict, with all that was sampled.
    """

    problem: Problem
    gpu: Gpu
    plugged: Gpu | None
    mapping: Mapping[str, str]
    precision: str | None = None
    record: Callable[[Timing | Decided], None] = lambda times: None

    @property
    def evidence(self) -> Evidence:
        if self.plugged is None:
            return Evidence.ESTIMATED
        return Evidence.MEASURED if self.plugged.name == self.gpu.name else Evidence.MEASURED_ON


@dataclass(frozen=True)
class Ranking:
    """How a race ended.

    Args:
        ahead: contenders that beat the best so far, fastest first.
        notes: who could not be timed, and why.
        ratios: by id, the best's time over that of one ahead; missing where the best's is unknown.
    """

    ahead: tuple[Contender, ...] = ()
    notes: tuple[str, ...] = ()
    ratios: Mapping[str, Figure] = field(default_factory=dict)


def first(ranking: Ranking, portable: Sequence[Contender]) -> Contender:
    """What to keep of a race with somebody ahead: the fastest, or a file made to serve elsewhere too.

    Args:
        portable: files that choose among the winners' settings at run time. One of them is kept where it is
            no more behind than two instances of one file differ by.
    """
    fastest = ranking.ahead[0]
    best = ranking.ratios.get(fastest.id)
    for contender in ranking.ahead:
        ratio = ranking.ratios.get(contender.id)
        near = best is None or (ratio is not None and ratio.value > (1.0 - MACHINE_NOISE) * best.value)
        if near and contender in portable:
            return contender
    return fastest


def race(
    track: Track, best: Contender, contenders: Sequence[Contender], say: Callable[[str], None]
) -> Ranking:
    """Contenders that beat `best`, fastest first.

    On a GPU all are timed interleaved once, and the first few are then decided one by one, on blocks that
    took no part in choosing them, so that being the luckiest of many is not enough. The chance that any of
    them is wrongly called faster is at most FALSE_ALARM. A `best` that cannot be timed, because it raises or
    answers wrongly, is ahead of nobody: the order of the heat stands. Without a GPU the estimate decides, by
    a margin of 2 %; against the reference, which has none, every contender is ahead.
    """
    rivals = list({c.id: c for c in contenders if c.id != best.id}.values())
    if not rivals:
        return Ranking()
    if track.plugged is None:
        better = [c for c in rivals if beats_by_estimate(c, best)]
        gains = {c.id: gain.ratio for c in better if (gain := estimate_gain(best, c))}
        return Ranking(tuple(sorted(better, key=lambda contender: contender.estimated_us)), ratios=gains)
    say(f"timing {len(rivals)} candidates against the best so far")
    sides = _heat(track, [best, *rivals]).sides
    notes = [_untimed(side.label, side.problem) for side in sides if side.problem]
    times = {side.label: median(side.cold.device_us) for side in sides if not side.problem}
    for contender in rivals:
        if contender.id in times and (alarm := _too_fast(track, contender, times[contender.id])):
            notes.append(_untimed(contender.id, alarm))
            del times[contender.id]
    ranked = sorted((c for c in rivals if c.id in times), key=lambda c: times[c.id])
    if best.id not in times:
        return Ranking(tuple(ranked[:FINALISTS]), tuple(notes))
    near = (1.0 + MACHINE_NOISE) * times[best.id]
    finalists = [c for c in ranked if times[c.id] < near][:FINALISTS]
    ahead: list[tuple[float, Contender]] = []
    for number, contender in enumerate(finalists, 1):
        say(f"deciding whether {contender.id} is faster, {number} of {len(finalists)}")
        rules = Rules(false_alarm=FALSE_ALARM / len(finalists), looks=LOOKS)
        decided = _decide(track, "final", best, contender, rules)
        if decided.speed is None:
            notes.append(_untimed(contender.id, decided.problem))
        elif decided.speed.outcome is SpeedOutcome.FASTER:
            ahead.append((decided.speed.ratio.value, contender))
    ahead.sort(key=lambda pair: pair[0], reverse=True)
    ratios = {c.id: Figure(ratio, "x", track.evidence, track.plugged.name) for ratio, c in ahead}
    return Ranking(tuple(contender for _, contender in ahead), tuple(notes), ratios)


def beats_by_estimate(contender: Contender, best: Contender) -> bool:
    """Whether an estimate lies far enough below the best one; against the reference always."""
    return best.candidate is None or contender.estimated_us < ESTIMATE_MARGIN * best.estimated_us


def measure_gain(track: Track, given: Contender, best: Contender) -> Gain | None:
    """The measured speedup of `best` over `given`; None if either cannot be timed."""
    return gain_of(_decide(track, "gain", given, best, Rules(false_alarm=FALSE_ALARM)), track.evidence)


def gain_of(decided: Decided, evidence: Evidence) -> Gain | None:
    """The speedup that a speed verdict states; None where there is none."""
    speed = decided.speed
    if speed is None:
        return None

    def figure(value: float, unit: str) -> Figure:
        return Figure(value, unit, evidence, decided.device)

    return Gain(
        shown=speed.outcome is SpeedOutcome.FASTER,
        ratio=figure(speed.ratio.value, "x"),
        low=speed.ratio.low,
        high=speed.ratio.high,
        before=figure(speed.before_us, "us"),
        after=figure(speed.after_us, "us"),
        basis=speed.basis,
    )


def estimate_gain(given: Contender, best: Contender) -> Gain | None:
    """The modelled speedup of `best` over `given`; None where either has no estimate."""
    before, after = given.estimated_us, best.estimated_us
    if not (math.isfinite(before) and math.isfinite(after) and after > 0):
        return None
    ratio = before / after
    return Gain(
        shown=ratio > 1.0,
        ratio=Figure(ratio, "x", Evidence.ESTIMATED),
        low=ratio,
        high=ratio,
        before=Figure(before, "us", Evidence.ESTIMATED),
        after=Figure(after, "us", Evidence.ESTIMATED),
        basis="estimate",
    )


def _heat(track: Track, contenders: Sequence[Contender]) -> Timing:
    """Time contenders against one another, and put it on record."""
    sides = [(c.id, c.source) for c in contenders]
    timing = time_sides(
        track.problem,
        sides,
        precision=track.precision,
        mapping=track.mapping,
        target=track.gpu,
        conditions=(HEAT_CONDITION,),
        seconds=HEAT_SECONDS,
    )
    track.record(timing)
    return timing


def _decide(track: Track, purpose: str, before: Contender, after: Contender, rules: Rules) -> Decided:
    """Whether `after` is faster than `before`, on inputs that no timing before had; goes on record."""
    assert track.plugged is not None
    decided = Decided(purpose, before.id, after.id, track.plugged.name)
    try:
        speed = compare_speed(
            track.problem,
            before.source,
            after.source,
            labels=(before.id, after.id),
            rules=rules,
            precision=track.precision,
            mapping=track.mapping,
            target=track.gpu,
        )
        decided = replace(decided, speed=speed)
    except WorkerError as error:  # it raised, answered wrongly, hid time, hung or died
        decided = replace(decided, problem=error.what)
    track.record(decided)
    return decided


def _too_fast(track: Track, contender: Contender, time_us: float) -> str:
    """Why a time cannot be true; floors are known of the target only."""
    floor = contender.inspection.floor if contender.inspection else None
    if floor is None or track.evidence is not Evidence.MEASURED:
        return ""
    alarm = below_floor(time_us, floor)
    return f"{Kind.TOO_FAST}: {alarm}" if alarm else ""


def _untimed(label: str, problem: str) -> str:
    return f"{label} could not be timed: {problem}"
