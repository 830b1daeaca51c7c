"""Plan (c): weights that fit the registers of no number of multiprocessors are read from L2 every step.

The schedule is that of `spread.emit`: CTAs own hidden units, publish them and wait for one another. The home
of the weights differs, and how CTAs know of one another: each counts its steps in a flag. Once all flags of a
member have come to a step, a CTA goes along the columns of its state in pieces, each a tile of the state and
one of the weight, with several pieces on their way at a time. They go to shared memory on their own, so that
no thread could see whether a value is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import indent

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.ir import Declined, Group, Product, Recurrence
from tilewright.proposers.recurrence.plan.step_time import streamed_us
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

ROWS = (16, 32, 64, 128)  # of the batch in one tile; more of them share a weight that is read once
WGMMA = 9  # compute capability whose tensor cores read operands in shared memory
WGMMA_ROWS = 64  # that they take at once
LOW_TILES = 1.1  # times as long where tiles are lower than they could be for that (H200)
# Of a row of a state in one piece: lines of the cache. Two are too many where high tiles go through
# registers.
PIECE_BYTES = (128, 256)
IN_FLIGHT_BYTES = 96 * 1024  # what a multiprocessor draws from L2 while one load takes its time, amply
MOST_STAGES = 6
MOST_SUMS = 64  # registers of a thread
EASY_SUMS = 24  # the same: a step does more with them, and with 32 a GRU's took 1.2 times as long


def streamed_layouts(
    group: Group, gpu: Gpu, bytes_of: Callable[[Recurrence, Product], int]
) -> Iterator[Layout]:
    """Every layout of a group whose CTAs can all run at once on a GPU."""
    batch = max(loop.batch for loop in group.members)
    wgmma = gpu.compute_capability // 10 == WGMMA
    products = [(loop, product) for loop in group.members for product in loop.products]
    size = max(bytes_of(loop, product) for loop, product in products)
    weights = sum(product.inner * product.width * size for _, product in products)
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
                if 2 * max(columns) < MMA_COLUMNS * warps or sums > MOST_SUMS:
                    continue
                room = gpu.shared_memory_per_block_bytes - STEP_SHARED_BYTES - rows * max(columns) * 4
                read = max(_read_bytes(loop, units, min(rows, batch), size) for loop in group.members)
                for piece in PIECE_BYTES if wgmma or rows < WGMMA_ROWS else PIECE_BYTES[:1]:
                    stage = (rows + max(columns)) * piece
                    stages = min(MOST_STAGES, room // stage, 1 + -(-IN_FLIGHT_BYTES // stage))
                    if stages < 2:
                        continue
                    pieces = max(
                        sum(-(-p.inner * size // piece) for p in loop.products) for loop in group.members
                    )
                    step_us = streamed_us(read, pieces, warps, rows * max(columns), weights, gpu)
                    if wgmma and rows < WGMMA_ROWS <= batch:
                        step_us *= LOW_TILES
                    yield Layout(
                        units, warps, rows, tiles, ctas, 0, sums, stages * stage, step_us,
                        piece=piece // size, stages=stages,
                    )  # fmt: skip


def _read_bytes(loop: Recurrence, units: int, rows: int, size: int) -> int:
    """Of states and weights, for one CTA in one step."""
    hidden = hidden_of(loop)
    return sum(
        p.inner * (rows + padded_gates(max(1, p.width // hidden)) * units) * size for p in loop.products
    )


def published_lines(name: str) -> list[str]:
    """Lines that tell the others of a step, once all threads have stored what they publish."""
    return [
        "tl.debug_barrier()",
        f"{name}_release((own_flags + cta + 0 * lane).to(tl.int64), step + 1, (lane == 0).to(tl.int32))",
    ]


def wait_lines(name: str, flags: str, ctas: int, step: str) -> list[str]:
    """Lines that wait until all CTAs of a member have published a step.

    One thread looks at each flag. When every thread of all CTAs did, they kept L2 from what came next.
    """
    wanted = f"(lane < {ctas}).to(tl.int32)"
    return [f"{name}_acquire(({flags} + lane).to(tl.int64), {step}, {wanted})", "tl.debug_barrier()"]


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
    """The layout with the shortest step, of those that do not spill if there are any.

    Raises:
        Declined: a step needs more CTAs than can run at once.
    """
    fitting = list(streamed_layouts(group, gpu, bytes_of))
    if not fitting:
        raise Declined(f"the batch and the hidden units need more than the {gpu.sms} SMs there are")
    return min(fitting, key=_cost)


def _cost(layout: Layout) -> tuple[int, bool, float, int, int]:
    """Few sums and three stages first (two took 7 % longer), then the shorter step, then low tiles."""
    sums = max(layout.operands, EASY_SUMS)
    return sums, layout.stages < 3, layout.step_us, layout.rows, layout.total
