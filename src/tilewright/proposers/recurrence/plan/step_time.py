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

Spread: a least-squares fit through 30 steps of LSTM and Elman layers of 256 to 2048 hidden units and 1 to 64
rows, off by 11 % (root mean square). µs a step as timed, and what the fit gives:

    LSTM H=256, 10 rows, 6 layers: 96 CTAs of 8 warps    1.65               1.52
    LSTM H=256, 16 rows: 16 CTAs of 8 warps              1.73               1.55
    LSTM H=512: 32 CTAs of 8 warps; 1 row                2.58; 1.79         2.40; 1.88
    LSTM H=1024: 64 CTAs; 128 that add up sums           4.6; 6.64          4.24; 6.02
    Elman H=1024: 16 CTAs; 128 that add up sums          4.2; 3.82          3.97; 3.95
    Elman H=1024, 1 row: 32 CTAs; 128 of 4 warps         4.27; 5.74         4.44; 5.14

Streamed: a fit through 135 layouts of such layers of 512 to 2048 hidden units and 4 to 256 rows, off by 12 %;
of what the whole took, the product before the loop was taken off at its own rate.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu

TIMED_CLOCK_MHZ = 1980.0  # of the H200
STATIONARY = {"triton": (0.28, 0.00167), "gluon": (0.24, 0.0016)}  # µs a step, and a matrix instruction
TOGETHER = 0.73  # of a step's time, where one launch computes the products around the loop
# µs a step of CTAs that wait for one another, and a matrix instruction; µs a megabyte, see `spread_us`.
WAITING, AN_INSTRUCTION = 0.74, 0.0345
READ, READ_BY_ALL, SUMMED, STREAMED = 28.4, 0.171, 101.0, 1.55
ADDING_UP = 0.87  # µs a step, where warps share the columns of a state, however few their sums
EASY_WORDS, A_WORD = 16, 0.167  # of a thread, 8 bytes each: those that are more take time, used or not
# µs a step of CTAs that read their weights from L2, a megabyte that one reads, a warp, a piece and a sum.
FLAGGED, DRAWN, A_WARP, A_PIECE, A_SUM = 1.6, 12.4, 0.17, 0.03, 0.00085
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
    words: int = 0,
    summed_bytes: int = 0,
    stream_bytes: int = 0,
) -> float:
    """A step of CTAs that wait for one another.

    Args:
        instructions: of one warp, of the products whose operand the step before gives: they wait for each
            other. Those of the layer below have theirs in good time.
        exchanged_bytes: that each CTA reads of the others' results.
        words: of 8 bytes, of a thread, in the tile of rows that it reads, of rows that are not there too.
        summed_bytes: of the sums that warps add up, where they share the columns of a state.
        stream_bytes: that all CTAs together read of what was computed before the loop.
    """
    read = (READ + READ_BY_ALL * ctas) * exchanged_bytes + SUMMED * summed_bytes + STREAMED * stream_bytes
    waiting = WAITING + AN_INSTRUCTION * instructions + A_WORD * max(0, words - EASY_WORDS)
    waiting += ADDING_UP if summed_bytes else 0.0
    return (waiting + read / 1e6) * _slower(gpu)


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
