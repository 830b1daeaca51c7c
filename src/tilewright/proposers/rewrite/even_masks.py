"""Masks and clamps that drop where sizes divide.

`mask = at < n` → `mask = (at < n) | (n % BLOCK == 0)`, with `n: tl.constexpr`: where n is a multiple of the
block the condition folds to true while compiling, and loads and stores lose their predicates and the
comparisons behind them. Likewise `at % n` → `at if n % BLOCK == 0 else at % n`, and tl.minimum(at, n - 1):
a division goes, and the compiler sees again that neighbouring indices are neighbours, which a minimum hides
from it (one element a load instead of four, in 3.6 and 3.9). Any other size keeps what was written.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import last_name
from tilewright.launches.model import Launch
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.constant_sizes import constant_parameters
from tilewright.proposers.rewrite.grids import read_terms
from tilewright.proposers.rewrite.hosts import require_launched_alone
from tilewright.proposers.rewrite.names import names_in
from tilewright.proposers.rewrite.products import evaluated, recorded_values
from tilewright.proposers.rewrite.ranges import Ranges, summands

ALL = "all"


@dataclass(frozen=True)
class Fit:
    """When `index < size` holds for the whole tile `base + tl.arange(0, block)`.

    Args:
        node: the comparison, or what keeps the index below the size.
        index: as written.
        size: a product of the kernel's parameters.
        block: the tile's extent, a constant's name or digits.
        base: where the tile begins, the kernel's names followed; None where it begins at 0.
    """

    node: ast.expr
    index: ast.expr
    size: ast.expr
    block: str
    base: ast.expr | None

    @property
    def condition(self) -> str:
        size = ast.unparse(self.size)
        if self.base is None:
            return f"{size} >= {self.block}"
        return f"{size if size.isidentifier() else f'({size})'} % {self.block} == 0"

    @property
    def text(self) -> str:
        """What takes the place of the node."""
        if isinstance(self.node, ast.Compare):
            return f"({ast.unparse(self.node)}) | ({self.condition})"
        return f"{ast.unparse(self.index)} if {self.condition} else {ast.unparse(self.node)}"

    @property
    def names(self) -> set[str]:
        """The parameters that the size is made of."""
        return names_in(self.size)

    def holds(self, launch: Launch) -> bool:
        """Whether it does at a recorded launch."""
        values = recorded_values(launch)
        size, block = evaluated(self.size, values), evaluated(ast.parse(self.block, mode="eval").body, values)
        if size is None or block is None:
            return False
        return size >= block if self.base is None else size % block == 0


class EvenMasks:
    """Every comparison of a tile's indices with a size that is passed as an integer, and every clamp to it.

    Safe where the condition implies the comparison, whatever the size: the tile is `base + arange(0, BLOCK)`,
    the base is a multiple of BLOCK, and it is below the size because a loop ends there, or because the grid
    of every launch has ceil(size / BLOCK) programs there. Tiles counted by one index and taken apart by
    `//` and `%`, also in groups of rows, are followed.
    """

    name = "masks dropped where sizes divide"
    stages = frozenset({"memory_access"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ALL`, where a comparison drops at a recorded launch."""
        _fits(view, kernel, Body(view.node(kernel), view.file.source))
        return (ALL,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Add the conditions, and make constants of the sizes in them."""
        body = Body(view.node(kernel), view.file.source)
        fits = _fits(view, kernel, body)
        edits = Edits()
        for fit in fits:
            alone = isinstance(body.parent(fit.node), ast.Assign | ast.keyword)
            edits.expressions[body.place(fit.node)] = fit.text if alone else f"({fit.text})"
        plain = {p.name for p in kernel.parameters if not p.constexpr} & {
            name for fit in fits for name in fit.names
        }
        if plain:
            edits.annotations[kernel.name] = dict.fromkeys(sorted(plain), "tl.constexpr")
        return view.edited(edits)


def _fits(view: View, kernel: Kernel, body: Body) -> list[Fit]:
    """The comparisons and clamps that drop at a recorded launch.

    Raises:
        Declined: there is none.
    """
    launches = view.launches(kernel)
    require_launched_alone(view, kernel)
    sizes = {p.name for p in kernel.parameters if p.constexpr}
    with contextlib.suppress(Declined):
        sizes |= set(constant_parameters(view, kernel))
    ranges = [Ranges(body, terms) for terms in read_terms(view, kernel)]
    expressions = [node for node in ast.walk(body.function) if isinstance(node, ast.expr)]
    found, refused = [], []
    for node in sorted(expressions, key=lambda n: (n.lineno, n.col_offset)):
        fit = _fit(body, node, sizes)
        if fit is None or _written(body, fit):
            continue
        if not any(fit.holds(launch) for launch in launches):
            refused.append(f"line {node.lineno}: {fit.condition} does not hold at the problem's sizes")
        elif not all(_implied(one, fit) for one in ranges):
            size = ast.unparse(fit.size)
            refused.append(f"line {node.lineno}: no grid or loop is seen to end where {size} does")
        else:
            found.append(fit)
    if not found:
        if refused:
            raise Declined(refused[0])
        raise Inapplicable("no mask or clamp compares a tile's indices with a size")
    return found


def _fit(body: Body, node: ast.expr, sizes: set[str]) -> Fit | None:
    """What would make a comparison or clamp hold for a whole tile, where it is of the right form."""
    bounds = _bounds(node)
    if bounds is None:
        return None
    plus, taken = summands(body.followed(bounds[0]))
    limit, minus = summands(body.followed(bounds[1]))
    if not isinstance(node, ast.Compare) and (taken or minus):
        return None
    plus, limit = plus + minus, limit + taken
    aranges = [term for term in plus if _arange(term) is not None]
    if len(limit) != 1 or len(aranges) != 1 or len(plus) > 2:
        return None
    block = ast.unparse(_arange(aranges[0]) or limit[0])
    if not (block.isidentifier() or block.isdigit()):
        return None
    fit = Fit(node, bounds[0], limit[0], block, next((term for term in plus if term is not aranges[0]), None))
    return fit if fit.names and fit.names <= sizes and _is_product(fit.size) else None


def _bounds(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """Index and size of `index < size`, `size > index`, `index % size` and `tl.minimum(index, size - 1)`."""
    match node:
        case ast.Compare(left=index, ops=[ast.Lt()], comparators=[size]):
            return index, size
        case ast.Compare(left=size, ops=[ast.Gt()], comparators=[index]):
            return index, size
        case ast.BinOp(left=index, op=ast.Mod(), right=size):
            return index, size
        case ast.Call(
            func=function, args=[index, ast.BinOp(left=size, op=ast.Sub(), right=ast.Constant(value=1))]
        ) if ast.unparse(function) == "tl.minimum":
            return index, size
        case _:
            return None


def _is_product(node: ast.expr) -> bool:
    """Whether an expression is a product of names and positive integers."""
    match node:
        case ast.Constant(value=int(value)):
            return value > 0
        case ast.Name():
            return True
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _is_product(left) and _is_product(right)
        case _:
            return False


def _arange(term: ast.expr) -> ast.expr | None:
    """The extent of a term that is `tl.arange(0, …)`."""
    match term:
        case ast.Call(func=function, args=[ast.Constant(value=0), extent]) if last_name(function) == "arange":
            return extent
        case _:
            return None


def _implied(ranges: Ranges, fit: Fit) -> bool:
    """Whether the index is below the size in every tile of a launch where the condition does."""
    if fit.base is None:
        return True
    block = ast.parse(fit.block, mode="eval").body
    width = ranges.text(block)
    match fit.base:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            counts = (
                ranges.product(ast.Call(ast.Name("cdiv"), [fit.size, block], [])),
                ranges.product(ast.BinOp(fit.size, ast.FloorDiv(), block)),
            )
            for tile, extent in ((left, right), (right, left)):
                if ranges.text(extent) == width and any(ranges.below(tile, count) for count in counts):
                    return True
        case _:
            pass
    return ranges.below(fit.base, ranges.product(fit.size)) and ranges.multiple(fit.base, width)


def _written(body: Body, fit: Fit) -> bool:
    """Whether the condition stands beside it already."""
    match body.parent(fit.node):
        case ast.BinOp(op=ast.BitOr(), right=condition) | ast.IfExp(test=condition):
            return ast.unparse(condition) == fit.condition
        case _:
            return False
