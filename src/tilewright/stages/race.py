"""Which of several correct candidates is the fastest: timed on the GPU, or by estimate without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tilewright.candidate import Candidate
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.judge.api import time_sides
from tilewright.judge.statistics import median, ratio_of_medians
from tilewright.judge.timing_model import Side, Timing
from tilewright.problem import Problem
from tilewright.runs import Timed
from tilewright.stages.summary import Gain

ESTIMATE_MARGIN = 0.98  # an estimate must be 2 % better before it replaces what is there
FINALISTS = 3
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
        record: told every timing, with its raw samples.
    """

    problem: Problem
    gpu: Gpu
    plugged: Gpu | None
    mapping: Mapping[str, str]
    precision: str | None = None
    record: Callable[[Timed], None] = lambda timed: None

    @property
    def evidence(self) -> Evidence:
        if self.plugged is None:
            return Evidence.ESTIMATED
        return Evidence.MEASURED if self.plugged.name == self.gpu.name else Evidence.MEASURED_ON


def race(
    track: Track, best: Contender, contenders: Sequence[Contender], say: Callable[[str], None]
) -> list[Contender]:
    """Contenders that beat `best`, fastest first.

    On a GPU all are timed interleaved in one process, and the first few once more in another: only
    those whose second ratio's confidence interval lies above 1 are returned, so that being the
    luckiest of many is not enough. Without a GPU the estimate decides, by a margin of 2 %; against the
    reference, which has none, every contender is ahead.
    """
    rivals = list({c.id: c for c in contenders if c.id != best.id}.values())
    if not rivals:
        return []
    if track.plugged is None:
        better = [c for c in rivals if promising(c, best)]
        return sorted(better, key=lambda contender: contender.estimated_us)
    say(f"timing {len(rivals)} candidates against the best so far")
    heat = _times(_time(track, [best, *rivals], "heat"))
    finalists = sorted((c for c in rivals if c.id in heat), key=lambda c: heat[c.id])[:FINALISTS]
    if not finalists:
        return []
    say(f"timing the {len(finalists)} fastest again, on fresh data")
    sides = {side.label: side for side in _time(track, [best, *finalists], "final").sides}
    before = sides[best.id]
    if before.problem:
        return finalists
    ahead = []
    for contender in finalists:
        side = sides[contender.id]
        if not side.problem and ratio_of_medians(before.cold.device_us, side.cold.device_us).low > 1.0:
            ahead.append((median(side.cold.device_us), contender))
    return [contender for _, contender in sorted(ahead, key=lambda pair: pair[0])]


def promising(contender: Contender, best: Contender) -> bool:
    """Whether an estimate lies far enough below the best one; against the reference always."""
    return best.candidate is None or contender.estimated_us < ESTIMATE_MARGIN * best.estimated_us


def measure_gain(track: Track, given: Contender, best: Contender) -> Gain | None:
    """The measured speedup of `best` over `given`, device time with a cold L2; None if not timed."""
    return gain_of(_time(track, [given, best], "gain"), track.evidence)


def gain_of(timing: Timing, evidence: Evidence) -> Gain | None:
    """The speedup of a timing's second side over its first; None if either was not timed."""
    before, after = timing.sides
    if before.problem or after.problem:
        return None
    ratio = ratio_of_medians(before.cold.device_us, after.cold.device_us)

    def figure(value: float, unit: str) -> Figure:
        return Figure(value, unit, evidence, timing.device)

    return Gain(
        ratio=figure(ratio.value, "x"),
        low=ratio.low,
        high=ratio.high,
        before=figure(median(before.cold.device_us), "us"),
        after=figure(median(after.cold.device_us), "us"),
        basis="device time, cold L2",
    )


def estimate_gain(given: Contender, best: Contender) -> Gain | None:
    """The modelled speedup of `best` over `given`; None where either has no estimate."""
    before, after = given.estimated_us, best.estimated_us
    if not (math.isfinite(before) and math.isfinite(after) and after > 0):
        return None
    ratio = before / after
    return Gain(
        ratio=Figure(ratio, "x", Evidence.ESTIMATED),
        low=ratio,
        high=ratio,
        before=Figure(before, "us", Evidence.ESTIMATED),
        after=Figure(after, "us", Evidence.ESTIMATED),
        basis="estimate",
    )


def _time(track: Track, contenders: Sequence[Contender], purpose: str) -> Timing:
    """Time contenders against one another on inputs that no timing before had, and put it on record."""
    sides = [(c.id, c.source) for c in contenders]
    timing = time_sides(track.problem, sides, precision=track.precision, mapping=track.mapping)
    track.record(Timed(purpose, timing))
    return timing


def _times(timing: Timing) -> dict[str, float]:
    def of(side: Side) -> float:
        return median(side.cold.device_us)

    return {side.label: of(side) for side in timing.sides if not side.problem}
