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

Spread: a least-squares fit through 29 steps of LSTM, GRU and Elman layers of 256 to 1024 hidden units and 1
to 256 rows, off by 8 % (root mean square). µs a step as timed, and what the fit gives:

    LSTM H=256, 16 rows: 32 CTAs of 4 warps; 16 of 8     1.40; 1.60         1.41; 1.54
    LSTM H=256, 256 rows: 128 CTAs of 8 warps            2.50               2.43
    LSTM H=512: 64 CTAs of 4 warps; 32 of 8              2.03; 2.15         2.05; 2.22
    LSTM H=1024: 64 CTAs; 128 that add up sums           3.35; 7.9          3.86; 7.2
    Elman H=1024: 16 CTAs; 128 that add up sums          3.6; 4.75          3.21; 4.68
    GRU H=512, 1 row: 32 CTAs of 8 warps                 1.92               1.99

Streamed: a fit through 135 layouts of such layers of 512 to 2048 hidden units and 4 to 256 rows; of what the
whole took, the product before the loop was taken off at its own rate. What nine layouts took that were timed
again, once streams were on their way before the wait, is 0.85 to 1.15 of what it gives now.
"""

from __future__ import annotations

import math

from tilewright.gpu.model import Gpu

TIMED_CLOCK_MHZ = 1980.0  # of the H200
STATIONARY = {"triton": (0.28, 0.00167), "gluon": (0.24, 0.0016)}  # µs a step, and a matrix instruction
TOGETHER = 0.73  # of a step's time, where one launch computes the products around the loop
# µs a step of CTAs that wait for one another, and a matrix instruction; µs a megabyte, see `spread_us`.
WAITING, AN_INSTRUCTION = 0.96, 0.0093
READ, READ_BY_ALL, SUMMED, STREAMED = 5.45, 0.365, 180.0, 0.41
ADDING_UP = 1.17  # µs a step, where warps share the columns of a state, however few their sums
EASY_WORDS, A_WORD = 16, 0.167  # of a thread, 8 bytes each: those that are more take time (an older fit)
# Cycles to wait before others' values are looked at: what comes too early costs a whole trip to L2 more, and
# they come later the more all CTAs read. Of pauses of 250, 450 and 650, with KB that all read in a step:
#   64 to 160: 250 was best; 256 to 512: 450; 1024 and 2048: 650 (LSTM, GRU, Elman of 256 to 1024, H200).
LEAST_PAUSE, MOST_PAUSE, PAUSE_OF_DOUBLE, LIGHT_BYTES = 250, 700, 100, 96 * 1024
# µs a step of CTAs that read their weights from L2, a megabyte that one reads, a warp, a piece and a sum.
FLAGGED, DRAWN, A_WARP, A_PIECE, A_SUM = 1.7, 12.4, 0.17, 0.03, 0.00055
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


def spread_us(
    instructions: float,
    ctas: int,
    exchanged_bytes: int,
    gpu: Gpu,
    *,
    warps: int = 8,
    words: int = 0,
    summed_bytes: int = 0,
    stream_bytes: int = 0,
) -> float:
    """A step of CTAs that wait for one another.

    Args:
        instructions: of one warp, of the products whose operand the step before gives: they wait for each
            other. Those of the layer below have theirs in good time.
        exchanged_bytes: that each CTA reads of the others' results.
        warps: of a CTA, each of which reads the whole tile of rows from shared memory, or its share of it.
        words: of 8 bytes, of a thread, in that tile, of rows that are not there too.
        summed_bytes: of the sums that warps add up, where they share the columns of a state.
        stream_bytes: that all CTAs together read of what was computed before the loop.
    """
    tile_bytes = words * 8 * 32 * warps
    read = READ * tile_bytes * (1 if summed_bytes else warps) + READ_BY_ALL * ctas * exchanged_bytes
    read += SUMMED * summed_bytes + STREAMED * stream_bytes
    waiting = WAITING + AN_INSTRUCTION * instructions + A_WORD * max(0, words - EASY_WORDS)
    waiting += ADDING_UP if summed_bytes else 0.0
    return (waiting + read / 1e6) * _slower(gpu)


def pause_cycles(read_bytes: int) -> int:
    """How long a CTA best waits between publishing and its first look at what others publish.

    Args:
        read_bytes: of others' results, by all CTAs in one step.
    """
    doubled = math.log2(max(1.0, read_bytes / LIGHT_BYTES))
    return round(min(MOST_PAUSE, LEAST_PAUSE + PAUSE_OF_DOUBLE * doubled))


def streamed_us(read_bytes: int, pieces: int, warps: int, sums: int, weight_bytes: int, gpu: Gpu) -> float:
    """A step of CTAs that wait for one another's flags and read their weights anew.

    Args:
        read_bytes: of states and weights, for one CTA.
        pieces: that they come in.
        warps: of a CTA.
        sums: values that it computes.
        weight_bytes: of all weights; what the L2 cache does not hold comes from memory.
    """
    reading = DRAWN * read_bytes / 1e6 * _slower(gpu)
    if weight_bytes > gpu.l2_bytes:
        reading = max(reading, weight_bytes / (gpu.memory_bandwidth_gbs * 1e3))
    rest = FLAGGED + A_WARP * warps + A_PIECE * pieces + A_SUM * sums
    return reading + rest * _slower(gpu)


def _slower(gpu: Gpu) -> float:
    return TIMED_CLOCK_MHZ / gpu.clock_mhz
