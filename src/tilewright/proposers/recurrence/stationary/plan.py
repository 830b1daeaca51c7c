"""How a recurrence is laid out in one SM: warps, row blocks of the weights, registers."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.stationary.ranges import bounded, ranges

TILE = 8  # rows of batch per program: the N of mma.sync
_ROWS = 16  # and its M
_MOST_WARPS = 8
_OTHER_REGISTERS = 40  # addresses and counters


@dataclass(frozen=True)
class Format:
    """What the operands of a product are rounded to.

    Args:
        dtype: of both operands, "float16" or "bfloat16".
        parts: how many such numbers, each the rounded rest of those before, stand for one float32.
    """

    dtype: str
    parts: int

    @property
    def terms(self) -> tuple[tuple[int, int], ...]:
        """Pairs of weight part and value part that are multiplied, the smallest first."""
        pairs = [(i, j) for i in range(self.parts) for j in range(self.parts) if i + j < self.parts]
        return tuple(sorted(pairs, key=lambda pair: -sum(pair)))


@dataclass(frozen=True)
class Block:
    """Columns first … first + width of a product, computed by a dot of their own."""

    product: ir.Product
    first: int
    width: int
    format: Format

    @property
    def weight(self) -> tuple[object, ...]:
        """What two blocks have in common whose rows of a weight are the same."""
        return self.product.weight, self.first, self.width, self.format


@dataclass(frozen=True)
class Plan:
    """The layout of a group.

    Args:
        warps: of a program, all members.
        blocks: by member, what is multiplied.
        weight_registers, value_registers: per thread, of the member that needs most.
        approximate: whether tanh and sigmoid may err by 2^-11, as much as the operands of the products.
    """

    warps: int
    blocks: tuple[tuple[Block, ...], ...]
    weight_registers: int
    value_registers: int
    approximate: bool

    def rows(self, width: int) -> int:
        """Rows per warp of a value: a power of two, 16 at least."""
        return _rows(width, self.warps)

    def instructions(self, member: int) -> int:
        """Matrix instructions of one step of a member, all warps, of 16 × 8 × 16 each."""
        return sum(
            len(block.format.terms)
            * (self.warps * self.rows(block.width) // _ROWS)
            * (self.warps * self.rows(block.product.inner) // _ROWS)
            for block in self.blocks[member]
        )


def plan(group: ir.Group, gpu: Gpu, precision: str) -> Plan:
    """Lay out a group.

    Raises:
        ir.Declined: it does not fit registers, or members depend on one another.
    """
    produced = {result.name for member in group.members for result in member.results}
    for member in group.members:
        for stream in member.streams:
            if stream.value in produced:
                raise ir.Declined(
                    f"{member.name} reads {stream.value} step by step; "
                    "one program per batch tile runs no wavefront",
                    member.line,
                )
    blocks = tuple(_blocks(member, precision) for member in group.members)
    widest = max(width for member in group.members for width in _widths(member))
    warps = 1
    while warps < _MOST_WARPS and warps * _ROWS < widest:
        warps *= 2
    weights = max(
        sum(_weight_registers(block, warps) for block in {block.weight: block for block in some}.values())
        for some in blocks
    )
    values = max(
        _value_registers(member, some, warps) for member, some in zip(group.members, blocks, strict=True)
    )
    limit = min(gpu.max_registers_per_thread, gpu.registers_per_sm // (32 * warps))
    if weights + values + _OTHER_REGISTERS > limit:
        raise ir.Declined(
            f"weights stationary in registers need {weights} of them a thread at {warps} warps, the values "
            f"of a step {values}, addresses about {_OTHER_REGISTERS}: more than {limit}",
            group.members[0].line,
        )
    return Plan(warps, blocks, weights, values, precision != "float32")


def _rows(width: int, warps: int) -> int:
    rows = _ROWS
    while rows * warps < width:
        rows *= 2
    return rows


def _format(precision: str, left_is_bounded: bool) -> Format:
    if precision in ("float16", "bfloat16"):
        return Format(precision, 1)
    if precision == "tf32":
        # float16 keeps TF32's 10 bits. Outside its range two bfloat16 keep 16.
        return Format("float16", 1) if left_is_bounded else Format("bfloat16", 2)
    return Format("bfloat16", 3)


def _blocks(member: ir.Recurrence, precision: str) -> tuple[Block, ...]:
    """A block for every slice of a product that is read, and one for a product that is read whole."""
    known = ranges(member)
    wanted: dict[tuple[str, int, int], None] = {}
    products = {product.name: product for product in member.products}
    for node in member.nodes:
        for argument in node.args:
            if isinstance(argument, ir.Name) and argument.name in products:
                product = products[argument.name]
                first, width = 0, product.width
                if node.op == "slice":
                    first, width = int(node.args[1]), int(node.args[2])  # type: ignore[arg-type]
                wanted[product.name, first, width] = None
    read = {source for _, source in member.following} | {result.source for result in member.results}
    read |= {product.left for product in member.products}
    for name in (product.name for product in member.products if product.name in read):
        wanted[name, 0, products[name].width] = None
    return tuple(
        Block(products[name], first, width, _format(precision, bounded(known[products[name].left])))
        for name, first, width in wanted
    )


def _widths(member: ir.Recurrence) -> list[int]:
    """Widths of all values but products that are only read in slices."""
    whole = [state.width for state in member.states] + [node.width for node in member.nodes]
    return [*whole, *(product.inner for product in member.products), 1]


def _weight_registers(block: Block, warps: int) -> int:
    rows, inner = _rows(block.width, warps), warps * _rows(block.product.inner, warps)
    return block.format.parts * rows * inner // 64


def _value_registers(member: ir.Recurrence, blocks: tuple[Block, ...], warps: int) -> int:
    """States, two steps of each stream, operands, accumulators: rows · 8 / 32 registers; exchanged values."""
    widths = [state.width for state in member.states]
    widths += [stream.width for stream in member.streams] * 2
    widths += [operand.shape[-1] for operand in member.operands if operand.shape]
    widths += [block.width for block in blocks]
    # A stream of several gates is read gate by gate: count it by what is read at a time, R rows a warp.
    held = sum(max(_ROWS, -(-width // warps)) * TILE // 32 for width in widths)
    # The right operand of mma.sync: every warp holds all of it, two halves to a register.
    exchanged = {(block.product.left, block.product.inner, block.format) for block in blocks}
    return held + sum(form.parts * warps * _rows(inner, warps) * TILE // 64 for _, inner, form in exchanged)
