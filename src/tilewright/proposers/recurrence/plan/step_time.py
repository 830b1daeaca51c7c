"""What one step of a loop is expected to take: ranks plans and layouts, and is always said to be estimated.

Two straight lines through steps that were timed on an H200 (triton 3.6), in matrix instructions of 16 rows,
8 columns and 32 bytes along K, which is what a step's products are made of. Other GPUs are taken to be slower
or faster as their clocks are.

Stationary, 8 rows of batch, µs a step in Triton and in Gluon, and what the line gives:

    Elman H=256   0.65, 0.61   0.71, 0.65        LSTM H=128   0.72, 0.62   0.71, 0.65
    GRU H=128     0.65, 0.59   0.60, 0.55        LSTM H=64    0.39, 0.35   0.39, 0.34
    GRU H=64      0.36, 0.30   0.36, 0.32

Stationary, in one launch with the products around the loop, whose stream and result then lie as the loop
holds them (prototypes; Elman alone was timed, and what it gains is taken to hold for all):

    Elman H=256   0.48, 0.44   0.52, 0.47

Spread, 10 rows of batch, µs a step, and what the line gives; most of it is the exchange, whatever the layout:

    LSTM H=256, 6 layers, 96 CTAs of 8 warps; of 4                     1.65   1.76;  1.82   1.85
    LSTM H=256, 1 layer in 2 directions, 32 CTAs of 8 warps; of 4      1.79   1.65;  1.83   1.75
    the same, 64 CTAs of 4 warps; of 2; 16 CTAs of 8 (no pause yet)    1.93   1.65;  2.06   1.75;  1.89   1.82
    GRU H=256, 1 layer in 2 directions, 32 CTAs of 4 warps (likewise)  1.75   1.75

Wider layers were timed before weights stayed in registers for certain, and not since.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu

TIMED_CLOCK_MHZ = 1980.0  # of the H200
STATIONARY = {"triton": (0.28, 0.00167), "gluon": (0.24, 0.0016)}  # µs a step, and a matrix instruction
TOGETHER = 0.73  # of a step's time, where one launch computes the products around the loop
WAITING, OF_A_WARP, OF_A_CTA, A_MEGABYTE = 1.40, 0.006, 0.0008, 0.2
FROM_SHARED, FROM_SHARED_OF_A_CTA = 0.0187, 0.0032  # in place of OF_A_…, for weights read from shared memory
L2_BYTES_PER_CYCLE = 32  # that one multiprocessor draws while all do (H200)
MATRIX_INNER_BYTES = 32  # of a left operand's row, in one matrix instruction


def stationary_us(
    instructions: int, programs: int, dialect: str, gpu: Gpu, *, together: bool = False
) -> float:
    """A step of one program that holds all weights.

    Args:
        instructions: of all its warps, a step.
        programs: side by side, one a multiprocessor; more of them than there are run in turn.
        together: whether one launch computes the products around the loop too.
    """
    once, each = STATIONARY[dialect]
    share = TOGETHER if together else 1.0
    return share * (once + each * instructions) * -(-programs // gpu.sms) * _slower(gpu)


def spread_us(instructions: float, warps: int, ctas: int, exchanged_bytes: int, gpu: Gpu) -> float:
    """A step of CTAs that wait for one another.

    Args:
        instructions: of one warp, of the products whose operand the step before gives: they wait for each
            other. Those of the layer below have theirs in good time.
        exchanged_bytes: that each CTA reads of the others' results.
    """
    exchanged = ctas * exchanged_bytes / 1e6
    own = (OF_A_WARP + OF_A_CTA * warps) * instructions
    return (WAITING + own + A_MEGABYTE * exchanged) * _slower(gpu)


def streamed_us(
    instructions: float,
    warps: int,
    ctas: int,
    exchanged_bytes: int,
    each_bytes: int,
    all_bytes: int,
    gpu: Gpu,
) -> float:
    """A step of CTAs that wait for one another and read their weights anew. Its sum has not been timed.

    Args:
        exchanged_bytes: as in `spread_us`; they are read twice, to see them arrive and to use them.
        each_bytes, all_bytes: of weights, for one CTA and for all; what the L2 cache does not hold comes from
            memory.
    """
    from_l2 = each_bytes / (L2_BYTES_PER_CYCLE * gpu.clock_mhz)
    from_memory = all_bytes / (gpu.memory_bandwidth_gbs * 1e3) if all_bytes > gpu.l2_bytes else 0.0
    waiting = spread_us(0, warps, ctas, 2 * exchanged_bytes, gpu)
    computing = (FROM_SHARED + FROM_SHARED_OF_A_CTA * warps) * instructions * _slower(gpu)
    return waiting + max(from_l2, from_memory, computing)


def _slower(gpu: Gpu) -> float:
    return TIMED_CLOCK_MHZ / gpu.clock_mhz
