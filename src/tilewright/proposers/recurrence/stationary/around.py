"""Which products over the whole sequence one launch computes beside the loop that they feed or read.

The loop occupies one multiprocessor for each batch tile. All others can compute what its stream is made of,
tile by tile in the order of time, and what is made of its results as they come: the loop then waits for its
first tiles instead of for a kernel, and nothing is launched after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.emit import narrow
from tilewright.proposers.recurrence.emit.projections import (
    VIEWS,
    Projection,
    names_in,
    projections,
    reads,
    uses_of,
)
from tilewright.proposers.recurrence.plan.step_time import stationary_us
from tilewright.proposers.recurrence.stationary.plan import TILE, plan
from tilewright.proposers.recurrence.stationary.ranges import bounded, ranges
from tilewright.proposers.recurrence.stationary.slices import sink_slices

LEAST_ROWS, MOST_ROWS = 16, 64  # of a worker's tile, of T * batch tiles * 8
BEFORE_COLUMNS, AFTER_COLUMNS, INNER = 64, 64, 64
WIDEST = 256  # values of a step that a worker multiplies at once
FIRST_STEPS = 32  # of the first epoch; each later one is as long as all before it
COUNTERS = 32  # one an epoch
# A tile of 64 columns on an H200: a row of it, an element of K, and what is beside them. Estimated from whole
# launches that waited for their workers: tiles of 16 rows took 4.1 to 4.4 at K = 64, and up to 6 at 128, and
# tiles of 64 rows 7.5 to 7.9 at K = 64.
TILE_US, ROW_US, ELEMENT_US = 2.5, 0.06, 0.016
# A product in a launch of its own, on an H200: the share of the tensor cores' rate and of memory's that it
# reaches, and what the launch takes.
OF_RATE, OF_BANDWIDTH, LAUNCH_US = 0.5, 0.75, 5.0
LAST_EPOCH = 0.25  # of the steps: where the loop stands at most until all of its stream is there


@dataclass(frozen=True)
class Around:
    """The products that a loop's launch takes along.

    Args:
        before: gives the loop's only stream.
        inner, stream: columns of its left operand and of what it gives.
        contiguous: whether the left operand is taken to be, because it comes from outside.
        rows: of a worker's tile of that product.
        after: is made of one result of every step; None where no such product is.
        result: that result's name.
        width: its columns.
        outputs: of what is made of it.
        returned: results of the loop that something else reads.
    """

    before: Projection
    inner: int
    stream: int
    contiguous: bool
    rows: int
    after: Projection | None
    result: str | None
    width: int
    outputs: int
    returned: frozenset[str]

    @property
    def power(self) -> int:
        """Columns of the result as a worker multiplies them, a power of two."""
        return max(32, 1 << (self.width - 1).bit_length())

    @property
    def after_rows(self) -> int:
        """Of a worker's tile of the product after the loop: no more values than 16 rows of the widest."""
        return max(LEAST_ROWS, min(self.rows, LEAST_ROWS * WIDEST // self.power))

    @property
    def covers(self) -> frozenset[str]:
        """Calls of the network that the launch stands for."""
        return self.before.covers | (self.after.covers if self.after else frozenset())


def around(network: ir.Network, group: ir.Group, gpu: Gpu, precision: str) -> Around | None:
    """What the launch of a group takes along; None where it is the loop alone."""
    if len(group.members) != 1 or precision != "tf32":
        return None
    member = group.members[0]
    programs = -(-member.batch // TILE)
    if member.reverse or len(member.streams) != 1 or 4 * programs > gpu.sms:
        return None
    found = {product.name: product for product in projections(network) if product.activation is None}
    stream, uses = member.streams[0], uses_of(network)
    known = _of_parameters(network)
    found = {
        name: p for name, p in found.items() if p.weight in known and (p.bias is None or p.bias in known)
    }
    before = found.get(stream.value)
    if before is None or uses[stream.value] != 1 or not _follows_steps(before, member, network):
        return None
    inner = network.types[before.left].shape[-1]
    planned = plan(ir.Group((sink_slices(member),)), gpu, precision)
    rows = rows_of_tile(programs * TILE, planned.warps)
    after, result = _reader(found, member, network)
    tiles = math.ceil(member.steps * programs * TILE / rows) * math.ceil(stream.width / BEFORE_COLUMNS)
    workers_us = tiles * (TILE_US + rows * ROW_US + inner * ELEMENT_US) / (gpu.sms - programs)
    instructions = planned.instructions(0)
    loop_us = member.steps * stationary_us(instructions, programs, "triton", gpu, together=True)
    apart_us = member.steps * stationary_us(instructions, programs, "triton", gpu)
    apart_us += sum(_product_us(product, network, gpu) for product in (before, after) if product)
    if max(workers_us, LAST_EPOCH * loop_us) + (1 - LAST_EPOCH) * loop_us > apart_us:
        return None  # the loop would wait for the workers longer than for a launch of their product
    made_of = after.covers if after else frozenset()
    elsewhere = {name for name in (r.name for r in member.results) if _reads(network, name, made_of)}
    width = network.types[result.name].shape[-1] if result else 0
    outputs = network.types[after.name].shape[-1] if after else 0
    name = result.name if result else None
    given = before.left in network.inputs
    returned = frozenset(elsewhere)
    return Around(before, inner, stream.width, given, rows, after, name, width, outputs, returned)


def in_tiles(network: ir.Network, group: ir.Group) -> frozenset[str]:
    """Streams of a group that products can lay in tiles of 8 rows, as nothing else reads them."""
    products, uses = {product.name for product in projections(network)}, uses_of(network)
    values = {stream.value for m in group.members for stream in m.streams if m.batch >= TILE}
    return frozenset(value for value in values & products if uses[value] == 1)


def rows_of_tile(batch_rows: int, warps: int) -> int:
    """Rows of a worker's tile: a power of two, no more than a step has, nor than 16 a warp.

    A tile takes most of its time to reach memory and back, however few its rows are. One of several steps
    would keep the loop's first steps waiting, and one of many rows a warp would not fit its registers.
    """
    most = min(MOST_ROWS, batch_rows, LEAST_ROWS * warps)
    return max(LEAST_ROWS, 1 << (most.bit_length() - 1))


def _product_us(product: Projection, network: ir.Network, gpu: Gpu) -> float:
    """What a product over the whole sequence takes in a launch of its own, microseconds."""
    left, result = network.types[product.left].shape, network.types[product.name].shape
    rows, inner, width = math.prod(left[:-1]), left[-1], result[-1]
    if narrow.pays(rows, width, inner, "tf32", gpu, weight_read_once=False):
        return LAUNCH_US + narrow.expected_us(rows, width, inner, gpu, weight_read_once=False)
    computing = 2 * rows * inner * width / (OF_RATE * gpu.tflops["tf32"] * 1e6)
    moving = 4 * rows * (inner + width) / (OF_BANDWIDTH * gpu.memory_bandwidth_gbs * 1e3)
    return LAUNCH_US + max(computing, moving)


def _of_parameters(network: ir.Network) -> set[str]:
    """Values that are known before the inputs are."""
    known = set(network.parameters)
    for statement in network.statements:
        if isinstance(statement, ir.Call) and reads(statement) and known.issuperset(reads(statement)):
            known.add(statement.name)
    return known


def _follows_steps(product: Projection, member: ir.Recurrence, network: ir.Network) -> bool:
    """Whether its rows are the steps and rows of the loop."""
    return network.types[product.left].shape[:-1] == (member.steps, member.batch)


def _reader(
    found: dict[str, Projection], member: ir.Recurrence, network: ir.Network
) -> tuple[Projection | None, ir.Result | None]:
    """The first product of a result that half precision holds, and that result."""
    known = ranges(member)
    results = {result.name: result for result in member.results if result.every_step}
    for product in found.values():
        result = results.get(product.left)
        if result is None or not _follows_steps(product, member, network):
            continue
        width = network.types[result.name].shape[-1]
        if 1 < width <= WIDEST and bounded(known[result.source]):
            return product, result
    return None, None


def _reads(network: ir.Network, name: str, covered: frozenset[str]) -> bool:
    """Whether anything but the covered calls, and the views that only they read, reads a value."""
    if name in names_in(network.outputs):
        return True
    for statement in network.statements:
        if name not in reads(statement):
            continue
        if isinstance(statement, ir.Call) and statement.name in covered:
            continue
        if not (isinstance(statement, ir.Call) and statement.target in VIEWS):
            return True
        if _reads(network, statement.name, covered):
            return True
    return False
