"""A time that nothing on this GPU can reach is an alarm, not a record."""

from __future__ import annotations

from tilewright.inspect.model import Floor

MARGIN = 0.8  # of the floor: a chip may clock above the figures of its data sheet, by less than this


def below_floor(cold_us: float, floor: Floor) -> str:
    """Why a time is too short to be true; empty where it is not.

    Either the work was not done, or less of it than the reference's operations, by an algorithm that
    gives the same values; a person must look.

    Args:
        cold_us: device time of one forward, the L2 cache overwritten before, microseconds.
        floor: of the forward on the GPU that was timed.
    """
    if cold_us >= MARGIN * floor.floor_us.value:
        return ""
    needs = (
        f"{floor.flops.value / 1e9:.3g} GFLOP take {floor.compute_us.value:.3g} µs"
        if floor.compute_us.value >= floor.memory_us.value
        else f"{floor.bytes.value / 1e6:.3g} MB take {floor.memory_us.value:.3g} µs"
    )
    return f"{cold_us:.3g} µs, where the reference's {needs} at this GPU's peak"
