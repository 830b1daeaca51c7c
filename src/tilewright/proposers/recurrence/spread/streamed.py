"""Plan (c): weights that fit the registers of no number of multiprocessors are read from L2 every step.

The schedule is that of `spread.emit`: CTAs own hidden units, publish them and wait for one another. Only the
home of the weights differs. A step waits until a state's rows are published as a whole, then goes along their
columns in pieces, each a tile of the state and one of the weight, with several pieces on their way at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import indent

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.ir import Declined, Group, Product, Recurrence
from tilewright.proposers.recurrence.plan.step_time import MATRIX_INNER_BYTES, streamed_us
from tilewright.proposers.recurrence.spread.body import padded_gates
from tilewright.proposers.recurrence.spread.helpers import TRITON
from tilewright.proposers.recurrence.spread.plan import (
    MMA_COLUMNS,
    STEP_SHARED_BYTES,
    UNITS,
    Layout,
    ctas_of,
    hidden_of,
)

ROWS = (16, 32, 64)  # of the batch in one tile; more of them share a weight that is read once
PIECE_BYTES = 128  # of a row of the state in one piece: a line of the cache
IN_FLIGHT_BYTES = (
    48 * 1024
)  # what a multiprocessor draws from L2 (64 bytes a cycle) while one load takes its time
MOST_STAGES = 6
ARRIVING_BYTES = 256  # of a thread, of the rows that are looked at for missing values at a time
SUMS_REGISTERS = 24  # of a thread; with 32, gates spilled


def streamed_layouts(
    group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int]
) -> Iterator[Layout]:
    """Every layout of a group whose CTAs can all run at once on a GPU."""
    batch = max(loop.batch for loop in group.members)
    products = [(loop, product) for loop in group.members for product in loop.products]
    for rows in ROWS:
        tiles = -(-batch // rows)
        if rows > ROWS[0] and batch <= rows // 2:
            continue
        for units in UNITS:
            ctas = tuple(ctas_of(hidden_of(loop), units) for loop in group.members)
            total = sum(ctas) * tiles
            if total > gpu.sms:
                continue
            for warps in (4, 8):
                columns = [padded_gates(max(1, p.width // hidden_of(loop))) * units for loop, p in products]
                sums = rows * max(columns) // (32 * warps)
                if 2 * max(columns) < MMA_COLUMNS * warps or sums > SUMS_REGISTERS:
                    continue
                size = max(bytes_of(loop, p) for loop, p in products)
                piece = PIECE_BYTES // size
                stage = (rows + max(columns)) * PIECE_BYTES
                room = gpu.shared_memory_per_block_bytes - STEP_SHARED_BYTES - rows * max(columns) * 4
                stages = min(MOST_STAGES, room // stage, 1 + -(-IN_FLIGHT_BYTES // stage))
                if stages < 2:
                    continue
                streamed = sum(
                    p.inner * width * size for (_, p), width in zip(products, columns, strict=True)
                )
                each = streamed // len(group.members)
                whole = sum(p.inner * p.width * size for _, p in products)
                chain = max(
                    rows // 16 * max(width, MMA_COLUMNS * warps) // (MMA_COLUMNS * warps)
                    * p.inner * size // MATRIX_INNER_BYTES
                    for (_, p), width in zip(products, columns, strict=True)
                )  # fmt: skip
                exchanged = max(rows * p.inner * size for _, p in products)
                step_us = streamed_us(chain, warps, total, exchanged, each, whole, gpu)
                yield Layout(
                    units,
                    warps,
                    rows,
                    tiles,
                    ctas,
                    0,
                    sums,
                    stages * stage,
                    step_us,
                    piece=piece,
                    stages=stages,
                )


def arrived_helper(name: str, layout: Layout, operand_bytes: int) -> str:
    """The wait for whole rows, whose values are not kept."""
    each = ARRIVING_BYTES * 32 * layout.warps // (layout.rows * operand_bytes)
    bits = "tl.load(place + columns, mask=wanted, other=0, volatile=True)"
    missing = f"tl.max(tl.max(({bits} == -1).to(tl.int32), axis=1), axis=0)"
    return (
        f"@triton.jit\ndef {name}_all_arrived(place, live, inner: tl.constexpr):\n"
        '    """Returns once every column of these rows is published: all bits set means not yet."""\n'
        f"    for first in range(0, inner, {each}):\n"
        f"        columns = first + tl.arange(0, {each})[None, :]\n"
        "        wanted = live & (columns < inner)\n"
        f"        missing = {missing}\n"
        "        while missing != 0:\n"
        f"            missing = {missing}\n"
    )


def product_lines(
    name: str, left: str, source: str, inner: int, columns: int, operand: str, layout: Layout, option: str
) -> list[str]:
    """Lines that compute name [rows, columns] = left [rows, inner] @ weight [inner, columns].

    Args:
        source: address of column 0 of each row of the left operand. Of the operand's type, or of float32
            where that is what a state starts from.
        option: of tl.dot, with its comma.
    """
    piece = layout.piece
    within = f" & ({left}_columns < {inner})" if inner % piece else ""
    of_weight = f", mask={name}_rows < {inner}, other=0" if inner % piece else ""
    body = [
        f"{left}_columns = first + tl.arange(0, {piece})[None, :]",
        f"{name}_rows = first + tl.arange(0, {piece})[:, None]",
        f"{left}_piece = tl.load("
        f'{source} + {left}_columns, mask=live{within}, other=0, cache_modifier=".cg")',
        f"{name}_piece = tl.load({name}_from + {name}_rows * {columns}{of_weight})",
        f"{name} = tl.dot({left}_piece.to({TRITON[operand]}), {name}_piece, {name}{option})",
    ]
    return [
        f"{name} = tl.zeros([{layout.rows}, {columns}], tl.float32)",
        f"for first in tl.range(0, {inner}, {piece}, num_stages={layout.stages}):",
        *indent("\n".join(body), "    ").split("\n"),
    ]


def choose(group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int]) -> Layout:
    """The layout with the shortest step.

    Raises:
        Declined: a step needs more CTAs than can run at once.
    """
    fitting = list(streamed_layouts(group, gpu, bytes_of))
    if not fitting:
        raise Declined(f"the batch and the hidden units need more than the {gpu.sms} SMs there are")
    return min(fitting, key=lambda layout: (layout.step_us, layout.total))
