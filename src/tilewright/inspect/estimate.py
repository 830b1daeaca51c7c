"""A modelled time of one forward, to rank configurations where no GPU can time them. For workers.

A launch takes its start-up, then the larger of two times: waves × the latency chain of one
program, and the busiest SM's throughput. The latency chain of a program adds up, over its loops,
iterations × (waiting for memory + staging operands + matrix products + elementwise work), where a
pipelined loop waits for memory only as far as its stages do not cover it.

Latencies are those published for Ampere, Ada and Hopper (Luo et al., "Benchmarking and Dissecting
the Nvidia Hopper GPU Architecture via Microbenchmarking", 2024), rounded; rates are the GPU's own.
On the two kernels of the vanilla RNN request on an H100 (15.9 and 5.8 µs measured) it must stay
within a factor of two; it is a ranking aid, never a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Estimate, Resources
from tilewright.inspect.program import Block, Dot, Program
from tilewright.launches.model import Launch, Recording, TorchOperation

EAGER_LAUNCH_US = 25.0
"""CPU time of one launch from a Python wrapper, its output's allocation included: 28 µs each were
measured for the request's 512 launches on an H100 machine."""
KERNEL_START_US = 1.5  # an empty kernel's duration as a profiler reads it
GLOBAL_LATENCY = 480  # cycles, a load that misses L2 (466 on A100, 479 on H100, 542 on RTX 4090)
SHARED_LATENCY = 30  # cycles
BARRIER = 40  # cycles, a block's warps waiting for one another
MMA_LATENCY = 33  # cycles, one dependent mma.sync step of the accumulator
MMA_STEP_BYTES = 32  # operand bytes along k that one such step takes
SHARED_BYTES_PER_CYCLE = 128  # of one SM
L2_BYTES_PER_CYCLE = 64  # that one SM can draw from L2
LANES = 128  # float32 operations an SM starts in a cycle
SLOW_FACTOR = 8  # the special-function unit has an eighth of them
OPERAND_READS = 2  # warps that read the same operand out of shared memory
MMA_SYNC_SHARE = 0.62  # of Hopper's peak that mma.sync reaches; wgmma reaches all
_WGMMA_ROWS = 64  # the smallest tile that wgmma takes


@dataclass(frozen=True)
class LaunchTime:
    """One launch, microseconds; the parts add up to `total`."""

    start: float
    latency: float
    memory: float
    compute: float

    @property
    def total(self) -> float:
        return self.start + self.latency + self.memory + self.compute


def launch_time(
    launch: Launch, resources: Resources, program: Program, gpu: Gpu, *, pipelined: bool
) -> LaunchTime:
    """The modelled time of one launch that runs on the target.

    Args:
        pipelined: whether the binary copies ahead asynchronously (num_stages took effect).
    """
    assert resources.occupancy is not None
    cycle_us = 1.0 / gpu.clock_mhz
    stages = launch.num_stages if pipelined else 1
    spill_bytes = 4 * resources.spills.in_loop * resources.block_size
    spill_cycles = program.iterations * spill_bytes / L2_BYTES_PER_CYCLE
    chain = spill_cycles + sum(_chain_cycles(block, gpu, stages) for block in program.blocks)
    busy = spill_cycles + sum(block.trips * _busy_cycles(block, gpu) for block in program.blocks)

    slots = gpu.sms * resources.occupancy.blocks_per_sm
    full_waves = math.ceil(resources.grid_size / slots)
    blocks_on_busiest = math.ceil(resources.grid_size / gpu.sms)
    latency_us = full_waves * chain * cycle_us
    compute_us = blocks_on_busiest * busy * cycle_us

    traffic = program.load_bytes + program.store_bytes
    sm_us = blocks_on_busiest * traffic / L2_BYTES_PER_CYCLE * cycle_us
    moved = min(resources.grid_size * traffic, _distinct_bytes(launch))
    memory_us = max(sm_us, moved / (gpu.memory_bandwidth_gbs * 1e3))

    bounds = {"latency": latency_us, "memory": memory_us, "compute": compute_us}
    largest = max(bounds, key=lambda name: bounds[name])
    parts = {name: value if name == largest else 0.0 for name, value in bounds.items()}
    return LaunchTime(KERNEL_START_US, **parts)


def operation_time(operation: TorchOperation, gpu: Gpu) -> float:
    """Microseconds of all calls of an operator of PyTorch, at the GPU's peak rates."""
    moving = operation.bytes / (gpu.memory_bandwidth_gbs * 1e3)
    computing = operation.flops / (gpu.tflops["fp32"] * 1e6)
    return operation.count * KERNEL_START_US + max(moving, computing)


def estimate(
    recording: Recording, times: Mapping[int, LaunchTime], gpu: Gpu, notes: Sequence[str] = ()
) -> Estimate | None:
    """One forward: the device's time or the CPU's for launching it, whichever is longer.

    An autotuned launch takes the fastest of its configs. None when a launch has none that runs.

    Args:
        times: of the distinct launches that run on the target.
        notes: what the model had to assume.
    """
    causes = {"launches": 0.0, "latency": 0.0, "memory": 0.0, "compute": 0.0}
    for index in recording.sequence:
        family = [times[i] for i in recording.alternatives[index] if i in times]
        if not family:
            return None
        time = min(family, key=lambda t: t.total)
        causes["latency"] += time.start + time.latency
        causes["memory"] += time.memory
        causes["compute"] += time.compute
    for operation in recording.operations:
        causes["memory"] += operation_time(operation, gpu)
    device_us = sum(causes.values())
    calls = len(recording.sequence) + sum(operation.count for operation in recording.operations)
    host_us = calls * EAGER_LAUNCH_US
    total = max(device_us, host_us)
    causes["launches"] = total - device_us
    return Estimate(
        total_us=Figure(total, "µs", Evidence.ESTIMATED),
        per_launch_us=tuple(
            times[i].total if i in times else math.inf for i in range(len(recording.launches))
        ),
        bound="launches" if host_us > device_us else max(causes, key=lambda name: causes[name]),
        breakdown={name: value / total for name, value in causes.items()},
        notes=tuple(notes),
    )


def _chain_cycles(block: Block, gpu: Gpu, stages: int) -> float:
    """Cycles one program spends in a block, all executions, with the SM to itself."""
    working = _busy_cycles(block, gpu) + sum(_dot_latency(dot) for dot in block.dots)
    waiting = GLOBAL_LATENCY if block.loads else 0
    if block.depth and stages > 1 and block.dots:
        return block.trips * max(working, waiting / (stages - 1)) + waiting
    return block.trips * (working + waiting)


def _busy_cycles(block: Block, gpu: Gpu) -> float:
    """Cycles one execution of a block keeps an SM's units busy."""
    elementwise = (block.element_ops + SLOW_FACTOR * block.slow_ops) / LANES
    return elementwise + sum(_dot_cycles(dot, gpu) for dot in block.dots)


def _dot_cycles(dot: Dot, gpu: Gpu) -> float:
    """Of the tensor cores, or of the shared memory that feeds them, whichever is slower."""
    rate = gpu.tflops.get(dot.rate) or gpu.tflops["fp32"]
    if gpu.compute_capability == 90 and dot.m < _WGMMA_ROWS and dot.rate != "fp32":
        rate *= MMA_SYNC_SHARE
    per_cycle = rate * 1e6 / gpu.clock_mhz / gpu.sms
    staging = (1 + OPERAND_READS) * dot.operand_bytes / SHARED_BYTES_PER_CYCLE
    return max(dot.flops / per_cycle, staging)


def _dot_latency(dot: Dot) -> float:
    """Cycles before the first result: operands through shared memory, then dependent steps along k."""
    along_k = dot.operand_bytes / (dot.m + dot.n)
    return SHARED_LATENCY + 2 * BARRIER + MMA_LATENCY * along_k / MMA_STEP_BYTES


def _distinct_bytes(launch: Launch) -> int:
    """Bytes of all tensors that a launch is handed."""
    total = 0
    for argument in launch.arguments:
        if argument.kind == "tensor":
            bits = "".join(c for c in argument.type.split("<")[-1] if c.isdigit()) or "32"
            total += math.prod(argument.shape) * max(1, int(bits[:2]) // 8)
    return total
