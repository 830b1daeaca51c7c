"""The values that inspection produces. Field names follow Nsight Compute's metrics in comments."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.evidence import Figure
from tilewright.launches import Recording


@dataclass(frozen=True)
class Spills:
    """Local-memory traffic of register spills, in 4-byte words moved by one thread.

    Args:
        in_loop: spill loads and stores inside a loop, where each costs once per iteration.
        outside: those before or after every loop.
    """

    in_loop: int
    outside: int

    @property
    def total(self) -> int:
        return self.in_loop + self.outside


@dataclass(frozen=True)
class Occupancy:
    """Blocks that one SM can hold, by what limits them.

    Args:
        limit_registers, limit_shared_mem, limit_warps, limit_blocks: launch__occupancy_limit_*, blocks.
        blocks_per_sm: the smallest of the four.
        warps_per_sm: active warps at that many blocks.
        theoretical_pct: sm__maximum_warps_per_active_cycle_pct, of the warps the SM could hold.
        limiter: "registers", "shared_mem", "warps" or "blocks".
        next_step: what would have to change for one more resident block, one sentence; empty at 100 %.
    """

    limit_registers: int
    limit_shared_mem: int
    limit_warps: int
    limit_blocks: int
    blocks_per_sm: int
    warps_per_sm: int
    theoretical_pct: float
    limiter: str
    next_step: str


@dataclass(frozen=True)
class Resources:
    """One distinct launch, compiled for the target.

    Args:
        launch: index into the recording's launches.
        kernel: its name.
        count: how often the forward launches it.
        registers_per_thread: launch__registers_per_thread.
        spills: local-memory traffic.
        stack_bytes: local memory one thread has.
        shared_static_bytes, shared_dynamic_bytes: launch__shared_mem_per_block_static, _dynamic.
        grid_size: launch__grid_size, programs.
        block_size: launch__block_size, threads.
        waves_per_sm: launch__waves_per_multiprocessor.
        occupancy: None when the launch cannot run at all.
        problem: why it cannot run on the target ("wants 139264 bytes of shared memory, a block
            has 101376"); empty when it can.
        binary: SHA-256 of the machine code, to tell apart what is really different.
    """

    launch: int
    kernel: str
    count: int
    registers_per_thread: int
    spills: Spills
    stack_bytes: int
    shared_static_bytes: int
    shared_dynamic_bytes: int
    grid_size: int
    block_size: int
    waves_per_sm: float
    occupancy: Occupancy | None
    problem: str = ""
    binary: str = ""


@dataclass(frozen=True)
class Floor:
    """What no implementation of the forward can beat, and what this one pays on top.

    Args:
        bytes: the fewest bytes of device memory: inputs and parameters read once, outputs written once.
        flops: floating-point operations of the reference, multiply and add counted apart.
        memory_us, compute_us: the time each of the two needs at the target's peak rate, microseconds.
        floor_us: the larger of the two.
        launches: launches in one forward.
        chain: launches on the longest chain in which each needs the one before.
        launch_us: time that chain of launches takes when every kernel is free, microseconds.
    """

    bytes: Figure
    flops: Figure
    memory_us: Figure
    compute_us: Figure
    floor_us: Figure
    launches: int
    chain: int
    launch_us: Figure


@dataclass(frozen=True)
class LaunchTime:
    """One launch as modelled, microseconds: its work takes the largest of four times that overlap.

    Args:
        latency: waves of programs, each as long as one program's chain of dependent steps.
        l2, memory: the bytes, through the L2 cache and through device memory.
        compute: the units of the busiest SM.
        floor: what its bytes and its matrix products take at the target's peak rates, the longer of the two.
        rate: what most of its matrix products run at, a key of Gpu.tflops; empty without any.
    """

    latency: float
    l2: float
    memory: float
    compute: float
    floor: float
    rate: str

    @property
    def work(self) -> float:
        return max(self.latency, self.l2, self.memory, self.compute)

    @property
    def cause(self) -> str:
        """The first of "latency", "l2", "memory", "compute" that takes as long as the work."""
        names = ("latency", "l2", "memory", "compute")
        return max(names, key=lambda name: float(getattr(self, name)))


@dataclass(frozen=True)
class Estimate:
    """A modelled time of one forward on the target, with what it is made of. Microseconds.

    Args:
        total_us: the whole forward.
        per_launch_us: one launch of each distinct kind, in the recording's order.
        bound: what holds the forward back: "launches", "latency", "memory", "compute".
        breakdown: shares of total_us by cause.
        notes: what the model had to assume.
        launch_times: what the entries of per_launch_us are made of; None for a launch that cannot run.
    """

    total_us: Figure
    per_launch_us: tuple[float, ...]
    bound: str
    breakdown: dict[str, float]
    notes: tuple[str, ...] = ()
    launch_times: tuple[LaunchTime | None, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """Everything known about a candidate without running it.

    Args:
        problem: why the candidate cannot be used on the target; empty when it can.
        resources: one for each of the recording's launches, in its order.
    """

    gpu: str
    recording: Recording
    resources: tuple[Resources, ...]
    floor: Floor | None
    estimate: Estimate | None
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether every launch can run on the target, an autotuned one under at least one config."""
        if self.problem:
            return False
        families = {self.recording.alternatives[i] for i in self.recording.sequence}
        return all(any(not self.resources[i].problem for i in family) for family in families)

    @property
    def reason(self) -> str:
        """Why it cannot run on the target, one line; empty when it can."""
        return self.problem or next((f"{r.kernel}: {r.problem}" for r in self.resources if r.problem), "")
