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
from tilewright.proposers.recurrence.emit.projections import (
    VIEWS,
    Projection,
    names_in,
    projections,
    reads,
    uses_of,
)
from tilewright.proposers.recurrence.stationary.plan import TILE
from tilewright.proposers.recurrence.stationary.ranges import bounded, ranges

ROWS = 16  # of a worker's tile, of T * batch tiles * 8
BEFORE_COLUMNS, AFTER_COLUMNS, INNER = 64, 64, 64
WIDEST = 256  # values of a step that a worker multiplies at once
FIRST_STEPS = 32  # of the first epoch; each later one is as long as all before it
COUNTERS = 32  # one an epoch
# A tile of 16 x 64 with 8 warps on an H200, of one element of K and beside it; estimated from whole launches.
TILE_US, ELEMENT_US = 1.0, 0.004


@dataclass(frozen=True)
class Around:
    """The products that a loop's launch takes along.

    Args:
        before: gives the loop's only stream.
        inner, stream: columns of its left operand and of what it gives.
        contiguous: whether the left operand is taken to be, because it comes from outside.
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
    after: Projection | None
    result: str | None
    width: int
    outputs: int
    returned: frozenset[str]

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
    rows = math.ceil(member.steps * programs * TILE / ROWS)
    tiles = rows * math.ceil(stream.width / BEFORE_COLUMNS)
    if tiles * (TILE_US + inner * ELEMENT_US) / (gpu.sms - programs) > member.steps / 4:
        return None  # the workers would not keep up with a step in a quarter of a microsecond
    after, result = _reader(found, member, network)
    made_of = after.covers if after else frozenset()
    elsewhere = {name for name in (r.name for r in member.results) if _reads(network, name, made_of)}
    width = network.types[result.name].shape[-1] if result else 0
    outputs = network.types[after.name].shape[-1] if after else 0
    name = result.name if result else None
    given = before.left in network.inputs
    return Around(before, inner, stream.width, given, after, name, width, outputs, frozenset(elsewhere))


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
