"""How a group of recurrences is laid over the CTAs of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.ir import Declined, Group, Product, Recurrence
from tilewright.proposers.recurrence.spread_body import padded_gates

ROWS = 16  # of the batch in one tile: the height of one mma instruction
MMA_COLUMNS = 8
UNITS = (8, 16, 32, 64, 128)
WEIGHT_REGISTERS = 144  # of a thread's 255; the rest holds one step's values and addresses
EASY_REGISTERS = 176  # weights, and the rows of a state as operands of one dot: no spill seen below
STEP_SHARED_BYTES = 12 * 1024  # besides weights and rows of a state: gates on their way out, reductions
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
        operands: registers of a thread that the rows of a state pass through on their way to a dot.
        shared_bytes: of a CTA, about: weights on their way to registers, and rows of a state.
    """

    units: int
    warps: int
    rows: int
    tiles: int
    ctas: tuple[int, ...]
    registers: int
    operands: int
    shared_bytes: int

    @property
    def total(self) -> int:
        return sum(self.ctas) * self.tiles


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


def chunks(inner: int) -> tuple[tuple[int, int], ...]:
    """(first column, columns) of the loads that read `inner` columns: powers of two, as tiles must be."""
    parts: list[tuple[int, int]] = []
    first = 0
    while first < inner:
        part = min(LONGEST_CHUNK, 1 << ((inner - first).bit_length() - 1))
        parts.append((first, part))
        first += part
    return tuple(parts)


def layouts(group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int]) -> Iterator[Layout]:
    """Every layout of a group that fits a GPU."""
    batch = max(loop.batch for loop in group.members)
    tiles = -(-batch // ROWS)
    limit = gpu.shared_memory_per_block_bytes
    for units in UNITS:
        ctas = tuple(ctas_of(hidden_of(loop), units) for loop in group.members)
        if sum(ctas) * tiles > gpu.sms:
            continue
        for warps in (1, 2, 4, 8):
            widest = 0
            registers = 0
            shared = operands = 0
            for loop in group.members:
                held = staged = rows = 0
                for product in loop.products:
                    columns = padded_gates(max(1, product.width // hidden_of(loop))) * units
                    pieces = MMA_COLUMNS * warps
                    inner = -(-product.inner // 16) * 16
                    size = inner * bytes_of(loop, product)
                    held += max(columns, pieces) // pieces * MMA_COLUMNS * size // (32 * 4)
                    staged += columns * size
                    rows = max(rows, ROWS * size)
                    widest = max(widest, columns)
                registers, shared = max(registers, held), max(shared, staged + rows)
                operands = max(operands, min(rows // ROWS, LONGEST_CHUNK * 2) * ROWS // (32 * 4))
            if 2 * widest < MMA_COLUMNS * warps:  # at most two warps do the same work
                continue
            if registers <= WEIGHT_REGISTERS and shared + STEP_SHARED_BYTES <= limit:
                yield Layout(units, warps, ROWS, tiles, ctas, registers, operands, shared)


def choose(group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int]) -> Layout:
    """The layout with the shortest step.

    Raises:
        Declined: none fits.
    """
    fitting = list(layouts(group, gpu, bytes_of))
    if not fitting:
        raise Declined(f"the weights do not fit the registers of {gpu.sms} SMs together")
    return min(fitting, key=_step_cost)


def _step_cost(layout: Layout) -> tuple[bool, int, int, int]:
    """Without spills first, then short dots, then four warps, then few CTAs.

    Weight registers of a thread are proportional to the matrix instructions of its warp, which wait for one
    another. On an H200, µs a step at H = 256: LSTM in both directions 2.24 with 8 units and 4 warps (32
    registers), 2.73 with 2 warps and 2.68 with 16 units (64). Six layers of it 2.49 with 16 units and 8
    warps, 2.73 with 4. At H = 1024, Elman: 3.69 with 4 warps, 4.49 with 8; GRU: 4.48 and 5.13.
    """
    tight = layout.registers + layout.operands > EASY_REGISTERS
    return (tight, max(32, layout.registers), abs(layout.warps - 4), layout.total)
