"""Upper bounds of index expressions that hold at every size."""

from __future__ import annotations

import ast
from copy import deepcopy

from tilewright.kernelfile.scopes import fold, last_name
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.grids import Terms

Product = tuple[str, ...]  # factors as text, sorted
LOOPS = frozenset({"range", "static_range"})
HINTS = frozenset({"multiple_of", "max_contiguous", "max_constancy", "cast"})


class Ranges:
    """Bounds at one launch of a kernel.

    Expressions are those that `Body.followed` returns; indices and sizes are never negative.
    """

    def __init__(self, body: Body, terms: Terms) -> None:
        self.body = body
        self.terms = terms
        self.tiles = {
            self.text(body.followed(call.args[1])) for call in body.calls("arange") if len(call.args) == 2
        }

    def text(self, node: ast.expr) -> str:
        """An expression as text, with what the launch says about its names put in."""
        return ast.unparse(_Known(self.terms).visit(deepcopy(node)))

    def product(self, node: ast.expr) -> Product:
        """The factors of an expression; a count of tiles, written any way, is `cdiv(size, block)`."""
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return _joined(self.product(left), self.product(right))
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=block):
                if (size := self._rounded_up(left, block)) is not None:
                    return self._tile_count(size, block)
                return (f"floor({self.text(left)}, {self.text(block)})",)
            case ast.Call(func=function, args=[size, block]) if last_name(function) == "cdiv":
                return self._tile_count(size, block)
            case ast.Constant(value=1):
                return ()
            case ast.Call(func=function, args=[ast.Constant(value=int(axis))]) if last_name(
                function
            ) == "num_programs" and axis < len(self.terms.grid):
                return self.product(self.terms.grid[axis])
            case _:
                return (self.text(node),)

    def _tile_count(self, size: ast.expr, block: ast.expr) -> Product:
        return (f"cdiv({self.text(size)}, {self.text(block)})",)

    def _rounded_up(self, node: ast.expr, block: ast.expr) -> ast.expr | None:
        """`n` of `n + BLOCK - 1`."""
        size: ast.expr | None = None
        match node:
            case (
                ast.BinOp(
                    left=ast.BinOp(left=size, op=ast.Add(), right=other),
                    op=ast.Sub(),
                    right=ast.Constant(value=1),
                )
                | ast.BinOp(
                    left=size,
                    op=ast.Add(),
                    right=ast.BinOp(left=other, op=ast.Sub(), right=ast.Constant(value=1)),
                )
            ) if self.text(other) == self.text(block):
                return size
            case _:
                return None

    def below(self, node: ast.expr, limit: Product) -> bool:
        """Whether an index is certainly below a product of counts."""
        node = bare(node)
        match node:
            case (
                ast.Call(func=function, args=[axis], keywords=[])
                | ast.Call(func=function, args=[], keywords=[ast.keyword(value=axis)])
            ) if last_name(function) == "program_id":
                folded = fold(axis)
                along = folded.value if folded else None
                return (
                    isinstance(along, int)
                    and along < len(self.terms.grid)
                    and self.product(self.terms.grid[along]) == limit
                )
            case ast.Name():
                ends = self.range(node)
                return ends is not None and any(self.product(end) == limit for end in _least_of(ends[1]))
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=divisor):
                return self.below(left, _joined(limit, self.product(divisor))) or self._column(node, limit)
            case ast.BinOp(op=ast.Mod(), right=divisor):
                return self.product(divisor) == limit
            case ast.BinOp(left=first, op=ast.Add(), right=ast.BinOp(op=ast.Mod(), right=divisor)):
                return self._row(first, divisor, limit)
            case ast.BinOp(left=ast.BinOp(left=line, op=ast.Mult(), right=width), op=ast.Add(), right=place):
                rest = _without(limit, self.product(width))
                return rest is not None and self.below(line, rest) and self.below(place, self.product(width))
            case ast.Call(func=function, args=[condition, value, other]) if last_name(function) == "where":
                return self._whole_group(condition, value, limit) and self.below(other, limit)
            case _:
                return False

    def _whole_group(self, condition: ast.expr, value: ast.expr, limit: Product) -> bool:
        """`first + place` where `first + size <= limit`, and place is below size."""
        match condition, value:
            case (
                ast.Compare(
                    left=ast.BinOp(left=first, op=ast.Add(), right=size), ops=[ast.LtE()], comparators=[end]
                ),
                ast.BinOp(left=same, op=ast.Add(), right=place),
            ):
                return (
                    self.text(first) == self.text(same)
                    and self.product(end) == limit
                    and self.below(place, self.product(size))
                )
            case _:
                return False

    def _row(self, first: ast.expr, height: ast.expr, limit: Product) -> bool:
        """A row of tiles taken in groups: `first + … % min(rows - first, GROUP)`.

        `first` is `at // width * GROUP`: below rows, as at < rows · columns and width = GROUP · columns.
        """
        if (group := self._height(height, first, limit)) is None:
            return False
        match first:
            case ast.BinOp(left=ast.BinOp(left=at, op=ast.FloorDiv(), right=width), op=ast.Mult()):
                columns = list(self.product(width))
                if self.text(group) not in columns:
                    return False
                columns.remove(self.text(group))
                return self.below(at, _joined(limit, tuple(columns)))
            case _:
                return False

    def _column(self, node: ast.BinOp, limit: Product) -> bool:
        """A column of tiles taken in groups: `at % width // min(rows - at // width * GROUP, GROUP)`."""
        match node:
            case ast.BinOp(
                left=ast.BinOp(left=at, op=ast.Mod(), right=width), right=ast.Call(args=[rest, _])
            ):
                pass
            case _:
                return False
        match rest:
            case ast.BinOp(left=rows, op=ast.Sub(), right=ast.BinOp() as first):
                group = self._height(node.right, first, self.product(rows))
                start = ast.BinOp(ast.BinOp(at, ast.FloorDiv(), width), ast.Mult(), group or rows)
                return (
                    group is not None
                    and self.text(first) == self.text(start)
                    and self.product(width) == _joined(limit, self.product(group))
                    and self.below(at, _joined(limit, self.product(rows)))
                )
            case _:
                return False

    def _height(self, node: ast.expr, first: ast.expr, rows: Product) -> ast.expr | None:
        """`GROUP` of `min(rows - first, GROUP)`, where it is that and first is a multiple of GROUP."""
        match node:
            case ast.Call(
                func=function, args=[ast.BinOp(left=left, op=ast.Sub(), right=taken), group], keywords=[]
            ) if last_name(function) in ("min", "minimum"):
                same = self.product(left) == rows and self.text(taken) == self.text(first)
                return group if same and self.multiple(first, self.text(group)) else None
            case _:
                return None

    def range(self, variable: ast.expr) -> tuple[ast.expr, ast.expr, ast.expr] | None:
        """Start, end and step of the loop whose variable this is, where it counts upwards."""
        loop = self.body.loop(variable)
        if loop is None or not isinstance(loop.iter, ast.Call) or last_name(loop.iter.func) not in LOOPS:
            return None
        given = [self.body.followed(a) for a in loop.iter.args]
        step = given[2] if len(given) > 2 else ast.Constant(1)
        if not given or not self.positive(step):
            return None
        return (given[0] if len(given) > 1 else ast.Constant(0), given[min(1, len(given) - 1)], step)

    def positive(self, node: ast.expr) -> bool:
        """Whether a step is certainly above zero: a tile's extent, a literal, a count of programs."""
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.positive(left) and self.positive(right)
            case ast.Call(func=function):
                return last_name(function) == "num_programs"
            case _:
                text = self.text(node)
                return text in self.tiles or (text.isdigit() and int(text) > 0)

    def multiple(self, node: ast.expr, block: str) -> bool:
        """Whether an index is certainly a multiple of a block."""
        node = bare(node)
        match node:
            case ast.Constant(value=0):
                return True
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.multiple(left, block) or self.multiple(right, block)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.multiple(left, block) and self.multiple(right, block)
            case ast.Name() if (ends := self.range(node)) is not None:
                return self.multiple(ends[0], block) and self.multiple(ends[2], block)
            case _:
                return self.text(node) == block


class _Known(ast.NodeTransformer):
    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.terms.known.get(node.id, node)


def bare(node: ast.expr) -> ast.expr:
    """An expression without casts, hints and broadcasts around it."""
    match node:
        case ast.Subscript(value=value):
            return bare(value)
        case ast.Call(func=function, args=[value, *_]) if last_name(function) in HINTS:
            return bare(value)
        case ast.Call(func=ast.Attribute(value=value, attr="to")):
            return bare(value)
        case _:
            return node


def summands(node: ast.expr) -> tuple[list[ast.expr], list[ast.expr]]:
    """What an expression adds up and what it takes away."""
    node = bare(node)
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            plus, minus = summands(left)
            more, less = summands(right)
            return (plus + more, minus + less) if isinstance(op, ast.Add) else (plus + less, minus + more)
        case _:
            return [node], []


def _least_of(node: ast.expr) -> list[ast.expr]:
    """The values that an expression is the least of; itself alone where it is no minimum."""
    match node:
        case ast.Call(func=function, args=args, keywords=[]) if last_name(function) in ("min", "minimum"):
            return [least for one in args for least in _least_of(one)]
        case _:
            return [node]


def _without(whole: Product, part: Product) -> Product | None:
    """A product divided by some of its factors; None where they are not all among them."""
    left = list(whole)
    for factor in part:
        if factor not in left:
            return None
        left.remove(factor)
    return tuple(left)


def _joined(left: Product, right: Product) -> Product:
    return tuple(sorted((*left, *right)))
