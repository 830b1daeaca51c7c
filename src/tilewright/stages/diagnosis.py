"""What holds the current code back, and which stages can do something about it.

Reads what inspection found (launches, occupancy, the estimate's breakdown) and, where a request or
a profiler run gave one, the Nsight Compute metrics. Says so in sentences that carry their figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.costs import MEMORY_SHARE
from tilewright.inspect.model import Inspection
from tilewright.stages.bottleneck import Counters, Subject, Waiting, diagnose, subjects, waiting
from tilewright.stages.model import Cause, Stage

WORTH_TRYING = 1.05  # a stage whose upper bound is a 5 % gain is not worth its compile time
NOTHING_KNOWN = "nothing known speaks against it"


@dataclass(frozen=True)
class Outlook:
    """Whether a stage can help, with the figures that say so.

    Args:
        at_most: the largest speedup the stage could give, a ratio; None where nothing is known.
    """

    stage: str
    helps: bool
    why: str
    at_most: Figure | None = None


def outlook(
    stage: Stage,
    inspection: Inspection | None,
    profile: Mapping[str, Mapping[str, float]] | None = None,
) -> Outlook:
    """What a stage can gain on this code, at most.

    A stage that does nothing about launches keeps the time that the GPU waits for them (Amdahl's law), and
    a kernel keeps the work of a unit that the stage does nothing about: one that is busy 90 % of the time
    leaves that kernel 1.11x. A new algorithm can do away with all of it but the reference's own floor.

    Args:
        inspection: of this code; None where there is none.
        profile: Nsight Compute metrics of this code, by kernel; empty or None without.
    """
    estimate = inspection.estimate if inspection else None
    if inspection is None or estimate is None:
        return Outlook(stage.name, True, NOTHING_KNOWN)
    known = subjects(inspection, Counters(profile or {}))
    spent = waiting(inspection, known)
    assert spent is not None  # there is an estimate
    if "algorithm" in stage.tunes:
        return _of_algorithm(stage, inspection, spent)
    helps_launches = Cause.LAUNCHES in stage.helps
    stays = [(one.name, *_stays(one, stage)) for one in known if one.resources is not None]
    least = (0.0 if helps_launches else spent.us) + sum(us for _, us, _ in stays)
    bound = spent.total_us / least if least > 0 else math.inf
    at_most = Figure(bound, "x", Evidence.ESTIMATED) if least > 0 else None
    if spent.bound and not helps_launches:
        return Outlook(
            stage.name,
            False,
            f"{_launch_bound(inspection, spent)}, whatever the tile; inside kernels at most {bound:.2f}x can "
            "be gained. Fewer launches, or a CUDA graph, would help first",
            at_most,
        )
    if bound < WORTH_TRYING:
        waits = [] if helps_launches else [f"launches keep {_share(spent)}"]
        reasons = "; ".join(waits + [f"{name} keeps {us:.0f} us: {why}" for name, us, why in stays])
        return Outlook(stage.name, False, f"at most {bound:.2f}x can be gained: {reasons}", at_most)
    inside = {cause: share for cause, share in estimate.breakdown.items() if cause != "launches"}
    return Outlook(
        stage.name,
        True,
        f"{(1 - spent.us / spent.total_us) * 100:.0f} % of the time is inside kernels, "
        f"bound by {max(inside, key=lambda cause: inside[cause], default=estimate.bound)} (estimated)",
        at_most,
    )


def findings(
    inspection: Inspection | None, profile: Mapping[str, Mapping[str, float]], gpu: Gpu
) -> tuple[str, ...]:
    """What stands out about today's code, one sentence each: the forward, then its kernels, worst first."""
    return (*forward(inspection), *map(str, diagnose(inspection, Counters(profile), gpu)))


def forward(inspection: Inspection | None) -> tuple[str, ...]:
    """How far a forward is from what no implementation can beat; empty where that is not known."""
    estimate = inspection.estimate if inspection else None
    floor = inspection.floor if inspection else None
    if estimate is None or floor is None or floor.floor_us.value <= 0:
        return ()
    over = estimate.total_us.value / floor.floor_us.value
    return (
        f"estimated {estimate.total_us.value:.0f} us, {over:.0f}x the roofline floor of "
        f"{floor.floor_us.value:.1f} us; bound by {estimate.bound}",
    )


def _of_algorithm(stage: Stage, inspection: Inspection, spent: Waiting) -> Outlook:
    """Another algorithm can do away with the launches and reach the floor at best."""
    assert inspection.estimate is not None
    floor = inspection.floor.floor_us.value if inspection.floor else 0.0
    at_most = Figure(spent.total_us / floor, "x", Evidence.ESTIMATED) if floor > 0 else None
    if at_most is not None and at_most.value < WORTH_TRYING:
        why = f"estimated {spent.total_us:.0f} us, {at_most.value:.2f}x the roofline floor"
        return Outlook(stage.name, False, why, at_most)
    if spent.bound:
        why = f"{_launch_bound(inspection, spent)}; fewer of them would save that"
    else:
        why = f"estimated {spent.total_us:.0f} us, bound by {inspection.estimate.bound}"
    return Outlook(stage.name, True, why, at_most)


def _launch_bound(inspection: Inspection, spent: Waiting) -> str:
    launches = len(inspection.recording.sequence)
    chain = inspection.floor.chain if inspection.floor else launches
    if launches == 1:
        return f"the forward is launch-bound: its one launch costs {_share(spent)}"
    return f"the forward is launch-bound: {launches} launches, {chain} in a row, cost {_share(spent)}"


def _share(spent: Waiting) -> str:
    return f"{spent.us:.0f} of {spent.total_us:.0f} us (estimated)"


def _stays(subject: Subject, stage: Stage) -> tuple[float, str]:
    """Microseconds of a kernel's launches that a stage cannot save, and the figure that says so.

    A unit's work stays where the stage does nothing about it. Where it can move fewer bytes, the least that
    the kernel's tensors need stay. Device memory that moves MEMORY_SHARE of its peak is all busy.
    """
    stays = [(0.0, "no counter speaks of it")]
    for level, metric, cause in subject.units():
        full = 100.0 * (MEMORY_SHARE if cause is Cause.BANDWIDTH else 1.0)
        us = subject.us * min(1.0, level / full)
        if cause in stage.helps:
            needed = subject.modelled.floor / MEMORY_SHARE if subject.modelled else 0.0
            us = min(us, subject.launches * needed) if cause is Cause.BANDWIDTH else 0.0
        stays.append((us, f"{metric} {level:.1f} % ({subject.known_by})"))
    return max(stays)
