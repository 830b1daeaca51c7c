"""How a group of recurrences is laid over the CTAs of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.ir import Declined, Group, Product, Recurrence
from tilewright.proposers.recurrence.plan.step_time import MATRIX_INNER_BYTES, pause_cycles, spread_us
from tilewright.proposers.recurrence.spread.body import padded_gates

ROWS = 16  # of the batch in one tile: the height of one mma instruction
MMA_COLUMNS, MMA_INNER = 8, 16
UNITS = (8, 16, 32, 64, 128)
WEIGHT_REGISTERS = 144  # of a thread's 255; the rest holds one step's values and addresses
MEASURED_REGISTERS = 150  # weights and operands: kernels were timed up to here as assembled unasked
MOST_REGISTERS = 255  # that a thread can address
EASY_REGISTERS = 232  # weights and operands together: kernels beyond took two to three times as long
AMPLE_REGISTERS = 200  # the same: up to here no loop was seen to spill on any card
# Times as long as expected, beyond that: some spill a word or two. On GPUs of this compute capability layouts
# beyond were timed, and were as fast as expected.
UNSURE, TIMED = 1.1, 90
STEP_SHARED_BYTES = 16 * 1024  # at least, besides weights: rows of a state, gates on their way out, sums
LONGEST_CHUNK = 256  # columns of a state read by one load
BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class Layout:
    """Which CTA does what.

    Args:
        units: hidden units of a CTA.
        warps: of a CTA.
        rows: of the batch in one tile.
        tiles: of the batch; each has its own CTAs.
        ctas: of each member, for one tile.
        registers: of a thread that hold weights.
        operands: registers of a thread for the rows of a state on their way to a dot, and for its sums.
        shared_bytes: of a CTA, about: weights on their way to registers, and rows of a state.
        step_us: what a step is expected to take.
        split: warps that share the columns of a state among them, each with its part of the weights; their
            sums are added at the end. 1: every warp reads all columns.
        piece: columns of a state in one piece, where weights are read from L2 every step; 0: they stay in
            registers. stages: pieces on their way at a time.
        pause: cycles between publishing and the first look at what others publish.
    """

    units: int
    warps: int
    rows: int
    tiles: int
    ctas: tuple[int, ...]
    registers: int
    operands: int
    shared_bytes: int
    step_us: float
    split: int = 1
    piece: int = 0
    stages: int = 1
    pause: int = 0

    @property
    def crowded(self) -> bool:
        """Whether the assembler, left alone, may stop short of the registers there are and spill.

        That of CUDA 12 stops at 128; where it holds the values easily, its own choice is as fast or faster.
        """
        return self.split > 1 or self.piece > 0 or self.registers + self.operands > MEASURED_REGISTERS

    @property
    def total(self) -> int:
        return sum(self.ctas) * self.tiles

    @property
    def lanes(self) -> int:
        """One for each thread, and for each CTA of any member."""
        return max(32 * self.warps, 1 << (max(self.ctas) - 1).bit_length())


def hidden_of(loop: Recurrence) -> int:
    """H: the width that all states of a loop share.

    Raises:
        Declined: they differ.
    """
    widths = {state.width for state in loop.states}
    if len(widths) != 1:
        raise Declined(f"states of different widths ({', '.join(map(str, sorted(widths)))})", loop.line)
    return widths.pop()


def ctas_of(hidden: int, units: int) -> int:
    """CTAs for H units: their units together fill whole mma instructions along K."""
    count = -(-hidden // units)
    while count * units % 16:
        count += 1
    return count


def chunks(inner: int, split: int = 1) -> tuple[tuple[int, int], ...]:
    """(first column, columns) of the loads that read `inner` columns: powers of two, as tiles must be.

    Two at least, of the same width, so that their products need not wait for one another. Where warps share
    the columns, each has 16 of every load at least: the last may reach beyond `inner`.
    """
    least = MMA_INNER * split
    half = 1 << (max(2, inner) // 2).bit_length() - 1
    longest = max(least, min(LONGEST_CHUNK, half) if split == 1 else LONGEST_CHUNK)
    parts: list[tuple[int, int]] = []
    first = 0
    while first < inner:
        part = max(least, min(longest, 1 << ((inner - first).bit_length() - 1)))
        parts.append((first, part))
        first += part
    return tuple(parts)


def layouts(
    group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int], copies: int = 1
) -> Iterator[Layout]:
    """Every layout of a group that fits a GPU.

    Args:
        copies: of an operand in registers: 2 where a product is made of its large and its small part.
    """
    batch = max(loop.batch for loop in group.members)
    tiles = -(-batch // ROWS)
    rows = min(batch, ROWS)
    exchanged = max(rows * p.inner * bytes_of(m, p) for m in group.members for p in m.products)
    streamed = sum(BYTES["fp32"] * batch * stream.width for m in group.members for stream in m.streams)
    for units in UNITS:
        ctas = tuple(ctas_of(hidden_of(loop), units) for loop in group.members)
        if sum(ctas) * tiles > gpu.sms:
            continue
        for warps, split in ((2, 1), (2, 2), (4, 1), (4, 4), (8, 1), (8, 8)):
            of_members = [_needs(loop, units, warps, split, bytes_of, copies) for loop in group.members]
            needs = _Needs(*(max(column) for column in zip(*of_members, strict=True)))
            if split == 1 and 2 * needs.widest < MMA_COLUMNS * warps:  # at most two warps do the same work
                continue
            if needs.weights <= WEIGHT_REGISTERS and needs.shared_bytes <= gpu.shared_memory_per_block_bytes:
                step_us = spread_us(
                    needs.chain,
                    sum(ctas) * tiles,
                    exchanged,
                    gpu,
                    warps=warps,
                    words=needs.words,
                    summed_bytes=needs.summed_bytes,
                    stream_bytes=streamed,
                )
                pause = pause_cycles(sum(ctas) * tiles * exchanged)
                yield Layout(
                    units, warps, ROWS, tiles, ctas,
                    needs.weights, needs.operands, needs.shared_bytes, step_us, split, pause=pause,
                )  # fmt: skip


class _Needs(NamedTuple):
    """Of a CTA in a layout.

    Args:
        weights, operands: registers of a thread.
        shared_bytes: weights on their way to registers, and what a step holds.
        widest: columns of the widest tile.
        chain: a warp's matrix instructions that wait for the step before.
        words: of 8 bytes, of a thread, in the rows of a state.
        summed_bytes: of the sums that warps add up, where they share the columns of a state.
    """

    weights: int
    operands: int
    shared_bytes: int
    widest: int
    chain: int
    words: int
    summed_bytes: int


def _needs(
    loop: Recurrence,
    units: int,
    warps: int,
    split: int,
    bytes_of: Callable[[Recurrence, Product], int],
    copies: int,
) -> _Needs:
    """What a CTA needs for one loop.

    Operands are counted as they arrive, every thread with its share, as one dot reads them, and its sums.
    """
    weights = staged = arriving = widest = chain = 0
    following = dict(loop.following)
    for product in loop.products:
        columns = padded_gates(max(1, product.width // hidden_of(loop))) * units
        pieces = MMA_COLUMNS * (warps // split)  # columns that the warps of one part hold at a time
        inner = -(-product.inner // (MMA_INNER * split)) * MMA_INNER  # of one part
        size = inner * bytes_of(loop, product)
        instructions = max(columns, pieces) // pieces * size // MATRIX_INNER_BYTES
        weights += copies * instructions * MMA_COLUMNS * MATRIX_INNER_BYTES // (32 * 4)
        chain += instructions if product.left in following else 0
        staged += columns * size * split
        arriving = max(arriving, ROWS * size * split)
        widest = max(widest, columns)
    in_a_dot = copies * min(arriving, LONGEST_CHUNK * ROWS * 2) // split
    sums = ROWS * max(widest * split // warps, MMA_COLUMNS) * 4
    operands = (arriving // warps + in_a_dot + sums) // (32 * 4)
    summed = warps * sums if split > 1 else 0
    step = max(arriving, summed, STEP_SHARED_BYTES)
    return _Needs(weights, operands, staged + step, widest, chain, arriving // (32 * warps * 8), summed)


def choose(
    group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int], copies: int = 1, place: int = 0
) -> Layout:
    """The layout with the shortest step; the other arguments as of `layouts`.

    Args:
        place: 1 for the next one, and so on, of those whose registers are ample.

    Raises:
        Declined: none fits, or none is left for that place.
    """
    fitting = sorted(layouts(group, gpu, bytes_of, copies), key=lambda layout: _step_cost(layout, gpu))
    if not fitting:
        raise Declined(f"the weights do not fit the registers of {gpu.sms} SMs together")
    ample = [layout for layout in fitting[1:] if layout.registers + layout.operands <= AMPLE_REGISTERS]
    ranked = [fitting[0], *ample]
    if place >= len(ranked):
        raise Declined("no other layout fits the registers amply")
    return ranked[place]


def _step_cost(layout: Layout, gpu: Gpu) -> tuple[bool, float, int]:
    """Without spills first, then the shorter step, then the one with fewer CTAs."""
    held = layout.registers + layout.operands
    unsure = held > AMPLE_REGISTERS and gpu.compute_capability != TIMED
    return held > EASY_REGISTERS, layout.step_us * (UNSURE if unsure else 1.0), layout.total
