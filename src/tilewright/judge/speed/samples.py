"""The values that timing produces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Raw times of one side in one condition, in the order they were taken. Microseconds.

    Args:
        wall_us, device_us: of the forward, as its own process read them, each in calls of its own.
        command_us: of every such command, transfers included, on the judge's clock.
    """

    wall_us: tuple[float, ...]
    device_us: tuple[float, ...]
    command_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Side:
    """One contestant.

    Args:
        label: "reference", or the candidate's file name.
        cold: L2 flushed before each sample; warm: not flushed.
        problem: why it could not be timed; empty when it could.
    """

    label: str
    warm: Samples
    cold: Samples
    problem: str = ""


@dataclass(frozen=True)
class Timing:
    """All sides, timed interleaved, each in a process of its own.

    Args:
        device: the GPU's name; driver, torch, triton: versions there.
    """

    device: str
    driver: str
    torch: str
    triton: str
    sides: tuple[Side, ...]
