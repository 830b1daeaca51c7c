"""A modelled time of one forward, to rank configurations where no GPU can time them. For workers.

A launch takes its start-up, then the largest of four times: the waves of programs, each as long as
one program's chain of dependent steps; the busiest SM's units; the bytes, over the L2 cache and
device memory; and the dispatch of its blocks. The chain of a program adds up, over its loops,
iterations × (waiting for memory + matrix products + elementwise work); a loop of three or more
stages, whose copies run ahead, waits only for what those stages do not cover.

Latencies are those published for Ampere, Ada and Hopper (Luo et al., "Benchmarking and Dissecting
the Nvidia Hopper GPU Architecture via Microbenchmarking", 2024), rounded; peak rates are the GPU's
own; what an H200 was seen to reach of them is marked "H200". Held against 76 launches read there
with Nsight Compute (matrix products of 34 shapes and tiles, elementwise kernels of 40 blocks), see
tests/data/ncu_h200.json: a ranking aid that is mostly within a factor of two, no measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.compiling import Compiled
from tilewright.inspect.costs import (
    EAGER_LAUNCH_US,
    EAGER_OPERATION_US,
    KERNEL_START_US,
    L2_BYTES_PER_CYCLE,
    MEMORY_SHARE,
)
from tilewright.inspect.model import Estimate, LaunchTime
from tilewright.inspect.program import Block, Dot, Program
from tilewright.launches.model import Launch, Recording
from tilewright.launches.recorder import Event

GLOBAL_LATENCY = 480  # cycles, a load that misses L2 (466 on A100, 479 on H100, 542 on RTX 4090)
SHARED_LATENCY = 30  # cycles
BARRIER = 40  # cycles, a block's warps waiting for one another
MMA_LATENCY = 33  # cycles, one dependent mma.sync step of the accumulator
MMA_STEP_BYTES = 32  # operand bytes along k that one such step takes
SHARED_BYTES_PER_CYCLE = 128  # of one SM
PORT_BYTES_PER_CYCLE = 64  # that one SM draws from L2 while few do
LANES = 128  # float32 operations an SM starts in a cycle
SLOW_FACTOR = 8  # the special-function unit has an eighth of them
SCHEDULERS = 4  # of an SM, one instruction a cycle each
OPERAND_READS = 2  # warps that read the same operand out of shared memory
MMA_SYNC_SHARE = 0.62  # of Hopper's peak that mma.sync reaches; wgmma reaches all
WGMMA_ROWS = 64  # the smallest tile that wgmma takes
BLOCK_DISPATCH = 1.2  # cycles to start a block, one after another on the whole GPU (H200)
WARP_DISPATCH = 20  # cycles to start a warp, one after another on an SM (H200)


def launch_time(launch: Launch, compiled: Compiled, program: Program, gpu: Gpu) -> LaunchTime:
    """The modelled time of one launch that runs on the target."""
    resources = compiled.resources
    assert resources.occupancy is not None
    stages = launch.num_stages if compiled.pipelined else 1
    warps = resources.block_size // gpu.warp_size
    shared = resources.shared_static_bytes + resources.shared_dynamic_bytes
    traffic = program.load_bytes + program.store_bytes
    spilled = program.iterations * 4 * resources.spills.in_loop * resources.block_size
    spilled_once = 4 * resources.spills.outside * resources.block_size
    issue = program.iterations * compiled.loop_instructions / program.loops * warps / SCHEDULERS

    spill_cycles = spilled / L2_BYTES_PER_CYCLE
    unit = Units(gpu, shared, wgmma=compiled.wgmma)
    alone = replace(unit, share=min(1.0, warps / SCHEDULERS))
    chain = spill_cycles + sum(_chain_cycles(block, alone, stages) for block in program.blocks)
    busy = max(issue, sum(block.trips * unit.cycles(block) for block in program.blocks))

    grid = resources.grid_size
    on_busiest = math.ceil(grid / gpu.sms)
    full_waves = math.ceil(grid / (gpu.sms * resources.occupancy.blocks_per_sm))
    dispatch = max(grid * BLOCK_DISPATCH, on_busiest * warps * WARP_DISPATCH)
    cached = on_busiest * (traffic + spilled + spilled_once) / L2_BYTES_PER_CYCLE
    moved = min(grid * traffic, _distinct_bytes(launch))
    products = program.flops
    moving = moved / (gpu.memory_bandwidth_gbs * 1e3)
    # What program after program spills outside of loops does not stay in L2: a softmax of rows of 8192 took
    # 69 us with 16 warps, and with one 98 where it moves 300 words a thread, 110 with 426 (H200).
    spilling = grid * spilled_once / (gpu.memory_bandwidth_gbs * 1e3)
    cycle_us = 1.0 / gpu.clock_mhz
    return LaunchTime(
        latency=max(full_waves * chain, dispatch) * cycle_us,
        l2=cached * cycle_us,
        memory=(moving + spilling) / MEMORY_SHARE,
        compute=on_busiest * busy * cycle_us,
        floor=max(moving, grid * sum(flops / (_tflops(gpu, rate) * 1e6) for rate, flops in products.items())),
        rate=max(products, key=lambda rate: products[rate], default=""),
    )


def total(time: LaunchTime) -> float:
    """Microseconds of a launch as a profiler reads them: its start-up and its work."""
    return KERNEL_START_US + time.work


def operation_time(event: Event, gpu: Gpu) -> float:
    """Microseconds of one call of an operator of PyTorch, at the GPU's peak rates."""
    moved = event.read_bytes + sum(view.bytes for view in event.writes)
    moving = moved / (gpu.memory_bandwidth_gbs * 1e3 * MEMORY_SHARE)
    computing = event.flops / (gpu.tflops["fp32"] * 1e6)
    return KERNEL_START_US + max(moving, computing)


def estimate(
    events: Sequence[Event],
    recording: Recording,
    times: Mapping[int, LaunchTime],
    gpu: Gpu,
    notes: Sequence[str] = (),
) -> Estimate | None:
    """One forward on the device, from the start of its first kernel to the end of its last.

    Kernels run one after another, each no sooner than the CPU has launched it. An autotuned launch
    takes the fastest of its configs. None when a launch has none that runs.

    Args:
        events: what ran, in order.
        times: of the distinct launches that run on the target.
        notes: what the model had to assume.
    """
    causes = {"launches": 0.0, "latency": 0.0, "memory": 0.0, "compute": 0.0}
    launched = finished = 0.0
    for event in events:
        if event.launch is None:
            duration, cause, cost = operation_time(event, gpu), "memory", EAGER_OPERATION_US
        else:
            family = [times[i] for i in recording.alternatives[event.launch] if i in times]
            if not family:
                return None
            fastest = min(family, key=total)
            duration, cost = total(fastest), EAGER_LAUNCH_US
            cause = "memory" if fastest.cause == "l2" else fastest.cause
        causes["launches"] += max(0.0, launched - finished)
        causes[cause] += duration
        finished = max(finished, launched) + duration
        launched += cost
    return Estimate(
        total_us=Figure(finished, "µs", Evidence.ESTIMATED),
        per_launch_us=tuple(
            total(times[i]) if i in times else math.inf for i in range(len(recording.launches))
        ),
        bound=max(causes, key=lambda name: causes[name]),
        breakdown={name: value / finished for name, value in causes.items()},
        notes=tuple(notes),
        launch_times=tuple(times.get(i) for i in range(len(recording.launches))),
    )


def _chain_cycles(block: Block, unit: Units, stages: int) -> float:
    """Cycles one program spends in a block, all executions, with the SM to itself."""
    working = unit.cycles(block) + sum(_dot_latency(dot) for dot in block.dots)
    waiting = GLOBAL_LATENCY + block.load_bytes / PORT_BYTES_PER_CYCLE if block.loads else 0.0
    ahead = stages - 2  # besides the stage that is computed on and the one that is being filled
    if block.depth and block.dots and ahead > 0:
        return block.trips * max(working, waiting / ahead) + waiting
    return block.trips * (working + waiting)


@dataclass(frozen=True)
class Units:
    """The arithmetic units of an SM, as a kernel's binary uses them.

    Args:
        shared: bytes of shared memory that it asks for.
        wgmma: whether its products are of whole warp groups.
        share: of the units that its warps reach: a warp has one of the four schedulers, with their lanes
            and their tensor core.
    """

    gpu: Gpu
    shared: int
    wgmma: bool
    share: float = 1.0

    def cycles(self, block: Block) -> float:
        """That one execution of a block keeps them busy."""
        elementwise = (block.element_ops + SLOW_FACTOR * block.slow_ops) / (LANES * self.share)
        return elementwise + sum(self._dot_cycles(dot) for dot in block.dots)

    def _dot_cycles(self, dot: Dot) -> float:
        """Of the tensor cores, or of the shared memory that feeds them, whichever is slower.

        Operands beyond the `shared` bytes that the binary asks for cannot pass through them: those, such
        as a weight that a loop does not change, stay in registers.
        """
        rate = _tflops(self.gpu, dot.rate)
        synchronous = not self.wgmma or dot.m < WGMMA_ROWS
        if self.gpu.compute_capability == 90 and synchronous and dot.rate != "fp32":
            rate *= MMA_SYNC_SHARE
        per_cycle = rate * 1e6 / self.gpu.clock_mhz / self.gpu.sms
        staging = (1 + OPERAND_READS) * min(dot.operand_bytes, self.shared) / SHARED_BYTES_PER_CYCLE
        return max(dot.flops / (per_cycle * self.share), staging)


def _tflops(gpu: Gpu, rate: str) -> float:
    return gpu.tflops.get(rate) or gpu.tflops["fp32"]


def _dot_latency(dot: Dot) -> float:
    """Cycles before the first result: operands through shared memory, then dependent steps along k."""
    bytes_along_k = dot.operand_bytes / (dot.m + dot.n)
    return SHARED_LATENCY + 2 * BARRIER + MMA_LATENCY * bytes_along_k / MMA_STEP_BYTES


def _distinct_bytes(launch: Launch) -> int:
    """Bytes of all tensors that a launch is handed."""
    tensors = (argument for argument in launch.arguments if argument.kind == "tensor")
    return sum(math.prod(argument.shape) * argument.itemsize for argument in tensors)
