"""What holds the current code back, and which stages can do something about it.

Reads what inspection found (launches, occupancy, the estimate's breakdown) and, where a request or
a profiler run gave one, the Nsight Compute metrics. Says so in sentences that carry their figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Estimate, Inspection
from tilewright.stages.model import Stage

KERNEL_KNOBS = frozenset({"tile", "num_warps", "num_stages"})
WORTH_TRYING = 1.05  # a stage whose upper bound is a 5 % gain is not worth its compile time

SM_THROUGHPUT = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
DRAM_THROUGHPUT = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
WARPS_ACTIVE = "sm__warps_active.avg.pct_of_peak_sustained_active"


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


def outlook(stage: Stage, inspection: Inspection | None) -> Outlook:
    """What a stage can gain on this code, from inspection alone.

    A stage that only changes what happens inside a kernel cannot gain more than the share of the
    time that is spent inside kernels (Amdahl's law).
    """
    estimate = inspection.estimate if inspection else None
    if inspection is not None and estimate is not None and "algorithm" in stage.tunes:
        return _of_algorithm(stage, inspection, estimate)
    if inspection is None or estimate is None or not KERNEL_KNOBS & set(stage.tunes):
        return Outlook(stage.name, True, "nothing known speaks against it")
    waiting = estimate.breakdown.get("launches", 0.0)
    bound = 1.0 / max(waiting, 1e-6)
    launches = len(inspection.recording.sequence)
    at_most = Figure(bound, "x", Evidence.ESTIMATED)
    if bound < WORTH_TRYING or estimate.bound == "launches":
        chain = inspection.floor.chain if inspection.floor else launches
        return Outlook(
            stage.name,
            False,
            f"the forward is launch-bound: {launches} launches, {chain} of them one after another, cost "
            f"{waiting * estimate.total_us.value:.0f} of {estimate.total_us.value:.0f} us (estimated), "
            f"whatever the tile; inside kernels at most {bound:.2f}x can be gained. "
            "Fewer launches, or a CUDA graph, would help first",
            at_most,
        )
    return Outlook(
        stage.name,
        True,
        f"{(1 - waiting) * 100:.0f} % of the estimated time is inside kernels, bound by {estimate.bound}",
        at_most,
    )


def _of_algorithm(stage: Stage, inspection: Inspection, estimate: Estimate) -> Outlook:
    """Another algorithm can do away with the launches and reach the floor at best."""
    total, floor = estimate.total_us.value, inspection.floor
    at_most = None
    if floor is not None and floor.floor_us.value > 0:
        at_most = Figure(total / floor.floor_us.value, "x", Evidence.ESTIMATED)
    if estimate.bound == "launches":
        launches = len(inspection.recording.sequence)
        chain = floor.chain if floor else launches
        why = (
            f"the forward is launch-bound: {launches} launches, {chain} of them one after another, cost "
            f"{estimate.breakdown['launches'] * total:.0f} of {total:.0f} us (estimated); fewer of them "
            "would save that"
        )
    else:
        why = f"estimated {total:.0f} us, bound by {estimate.bound}"
    return Outlook(stage.name, True, why, at_most)


def findings(
    inspection: Inspection | None, profile: Mapping[str, Mapping[str, float]], gpu: Gpu
) -> tuple[str, ...]:
    """What stands out about today's code, one sentence each, worst first."""
    found: list[str] = []
    if inspection is not None:
        if inspection.floor and inspection.estimate and inspection.floor.floor_us.value > 0:
            over = inspection.estimate.total_us.value / inspection.floor.floor_us.value
            found.append(
                f"estimated {inspection.estimate.total_us.value:.0f} us, {over:.0f}x the roofline floor of "
                f"{inspection.floor.floor_us.value:.1f} us; bound by {inspection.estimate.bound}"
            )
        for r in inspection.resources:
            if r.grid_size < gpu.sms:
                found.append(
                    f"{r.kernel}: {r.grid_size} programs leave {gpu.sms - r.grid_size} of {gpu.sms} SMs idle"
                )
            if r.spills.in_loop:
                found.append(f"{r.kernel}: {r.spills.in_loop} words spilled inside a loop (compiled)")
            if r.occupancy and r.occupancy.limiter == "registers" and r.occupancy.theoretical_pct < 50:
                found.append(
                    f"{r.kernel}: {r.registers_per_thread} registers a thread hold occupancy at "
                    f"{r.occupancy.theoretical_pct:.0f} %; {r.occupancy.next_step}"
                )
    for kernel, metrics in profile.items():
        found.extend(_from_profile(kernel, metrics))
    return tuple(found)


def _from_profile(kernel: str, metrics: Mapping[str, float]) -> list[str]:
    sm, dram = metrics.get(SM_THROUGHPUT), metrics.get(DRAM_THROUGHPUT)
    found = []
    if dram is not None and dram > 80:
        found.append(f"{kernel}: device memory at {dram:.0f} % of its peak (profile): memory-bound")
    elif sm is not None and dram is not None and sm < 10 and dram < 10:
        found.append(
            f"{kernel}: SMs at {sm:.1f} % and memory at {dram:.1f} % of peak (profile): neither works, "
            "latency or launches set the time"
        )
    warps = metrics.get(WARPS_ACTIVE)
    if warps is not None and warps < 25:
        found.append(f"{kernel}: {warps:.1f} % of the warp slots in use (profile)")
    return found
