"""The values that a profile consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """One metric of one kernel.

    Args:
        metric: its full name in Nsight Compute.
        value: in `unit`, which is Nsight Compute's base unit: "ns", "byte", "%"; empty for a bare count.
    """

    metric: str
    value: float
    unit: str


@dataclass(frozen=True)
class Result:
    """What was read of one launch, and the kernel's function."""

    kernel: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Launched:
    """How often a forward launches a Triton kernel on one size of grid, in programs."""

    kernel: str
    grid_size: int
    count: int


@dataclass(frozen=True)
class KernelProfile:
    """The launches of one kernel on one size of grid.

    Args:
        name: the kernel, with its grid where the forward launches it on several: "gemm (grid 512)".
        kernel: the function's name.
        grid_size: programs of a launch.
        launches: of these in one forward.
        read: how many of them were profiled; each reading is their median.
    """

    name: str
    kernel: str
    grid_size: int
    launches: int
    read: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Profile:
    """What was read of one forward.

    Args:
        gpu: the one it ran on.
        kernels: in the order in which they were first launched, those of PyTorch included.
        notes: what was left out, and why.
    """

    gpu: str
    kernels: tuple[KernelProfile, ...]
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Metrics by kernel, as requests carry them: {"kernel": {"metric": number}}."""
        return {kernel.name: {r.metric: r.value for r in kernel.readings} for kernel in self.kernels}
