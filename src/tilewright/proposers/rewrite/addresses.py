"""Where the loads of a kernel read, program by program, at a recorded launch.

The kernel's integer arithmetic is carried out for one program and one element of its tiles, the one at the
same index along every axis, and for the first turns of every loop. What depends on loaded values, or on
anything that is no integer, is not known.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from tilewright.kernelfile.scopes import FunctionNode, last_name
from tilewright.launches.model import Launch
from tilewright.proposers.rewrite.body import argument

Pointer = tuple[str, int]  # a parameter and an offset in elements
Known = int | Pointer | None
Places = frozenset[Pointer | None]
MOST_PROGRAMS = 512
ELEMENTS = TURNS = 3  # of a tile and of a loop: enough to see the windows of a convolution overlap
SAME = frozenset({
    "multiple_of", "max_contiguous", "max_constancy", "cast", "broadcast_to", "expand_dims", "to", "abs",
})  # fmt: skip
CHOICES: dict[str, Callable[[int, int], int]] = {
    "minimum": min,
    "maximum": max,
    "min": min,
    "max": max,
    "cdiv": lambda a, b: -(-a // b),
}
OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def programs(grid: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Programs of a grid: all, or neighbours and distant ones of every axis."""
    total = grid[0] * grid[1] * grid[2]
    most = MOST_PROGRAMS if total <= MOST_PROGRAMS else round(MOST_PROGRAMS ** (1 / sum(n > 1 for n in grid)))
    for z, y, x in product(*(_some(extent, most) for extent in reversed(grid))):
        yield x, y, z


def _some(extent: int, most: int) -> list[int]:
    if extent <= most:
        return list(range(extent))
    near, step = most // 2, extent // (most // 2)
    return sorted({*range(near), *range(0, extent, step)})


class Walk:
    """One program's way through a kernel.

    Args:
        at: its indices along the grid.
        element: the index of the tiles' element.
        loads: those in the expressions of each statement, see `loads_of`.

    Attributes:
        found: a load to where it reads, each time that it was met; None where that is not known.
    """

    def __init__(
        self,
        function: FunctionNode,
        launch: Launch,
        at: tuple[int, int, int],
        element: int,
        loads: Mapping[ast.stmt, Sequence[ast.Call]],
    ) -> None:
        self.launch = launch
        self.at = at
        self.element = element
        self.loads = loads
        self.values: dict[str, Known] = {}
        for one in launch.arguments:
            if one.kind == "tensor":
                self.values[one.name] = (one.name, 0)
            elif one.value is not None and one.value.lstrip("-").isdigit():
                self.values[one.name] = int(one.value)
        self.found: dict[ast.Call, list[Pointer | None]] = {}
        self._block(function.body)

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        self._loads(node)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.values[name] = self.value(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                found = [self.value(value) for value in values]
                self._bind(names, found)
            case ast.Assign(targets=targets):
                self._bind(targets, [])
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.values[name] = self.value(value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.values[name] = _combined(type(op), self.values.get(name), self.value(value))
            case ast.If(test=test, body=body, orelse=other):
                taken = self.value(test)
                self._block([] if taken == 0 else body)
                self._block(other if not taken else [])
            case ast.For(target=ast.Name(id=name)):
                self._loop(name, node)
            case ast.While(body=body):
                self._block(body)
            case _:
                pass

    def _bind(self, targets: list[ast.expr], values: list[Known]) -> None:
        for index, target in enumerate(targets):
            for leaf in ast.walk(target):
                if isinstance(leaf, ast.Name):
                    self.values[leaf.id] = values[index] if leaf is target and index < len(values) else None

    def _loop(self, name: str, node: ast.For) -> None:
        given = [self.value(a) for a in getattr(node.iter, "args", [])]
        start, stop = (given[0], given[1]) if len(given) > 1 else (0, given[0] if given else None)
        step = given[2] if len(given) > 2 else 1
        if not (isinstance(start, int) and isinstance(stop, int) and isinstance(step, int) and step):
            self.values[name] = None
            self._block(node.body)
            return
        for turn in range(start, stop, step)[:TURNS]:
            self.values[name] = turn
            self._block(node.body)

    def _loads(self, node: ast.stmt) -> None:
        """Note the loads of a statement's own expressions."""
        for load in self.loads[node]:
            pointer = argument(load, "pointer")
            value = None if pointer is None else self.value(pointer)
            self.found.setdefault(load, []).append(value if isinstance(value, tuple) else None)

    def value(self, node: ast.expr) -> Known:
        """An expression's value, of a tile that of the element."""
        match node:
            case ast.Constant(value=int(value)):
                return int(value)
            case ast.Name(id=name):
                return self.values.get(name)
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(type(op), self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _combined(type(op), self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _combined(ast.Sub, 0, self.value(operand))
            case ast.Subscript(value=inner):
                return self.value(inner)
            case ast.IfExp(test=test, body=body, orelse=other):
                taken = self.value(test)
                return None if taken is None else self.value(body if taken else other)
            case ast.Call():
                return self._call(node)
            case _:
                return None

    def _call(self, node: ast.Call) -> Known:
        name = last_name(node.func)
        given = [self.value(a) for a in (*node.args, *(k.value for k in node.keywords if k.arg == "axis"))]
        if name in ("program_id", "num_programs"):
            axes = self.at if name == "program_id" else self.launch.grid
            axis = given[0] if given else None
            return axes[axis] if isinstance(axis, int) and 0 <= axis < 3 else None
        if name == "arange" and given:
            first, last = (0, given[0]) if len(given) == 1 else (given[0], given[1])
            if not isinstance(first, int) or not isinstance(last, int):
                return None
            return min(first + self.element, last - 1)
        if name == "where" and len(given) == 3:
            return None if given[0] is None else given[1] if given[0] else given[2]
        if name in CHOICES and len(given) == 2:
            a, b = given
            return (
                CHOICES[name](a, b)
                if isinstance(a, int) and isinstance(b, int) and (b or name != "cdiv")
                else None
            )
        if name == "to" and isinstance(node.func, ast.Attribute):
            return self.value(node.func.value)
        return given[0] if name in SAME and given else None


def _combined(op: type[ast.AST], left: Known, right: Known) -> Known:
    """Two values under an operator; pointers move by integers."""
    if isinstance(left, tuple) and isinstance(right, int) and op in (ast.Add, ast.Sub):
        return left[0], left[1] + (right if op is ast.Add else -right)
    if isinstance(right, tuple) and isinstance(left, int) and op is ast.Add:
        return right[0], right[1] + left
    if not isinstance(left, int) or not isinstance(right, int) or op not in OPERATORS:
        return None
    if right == 0 and op in (ast.FloorDiv, ast.Mod):
        return None
    if not 0 <= right < 64 and op in (ast.LShift, ast.RShift):
        return None
    return int(OPERATORS[op](left, right))


def loads_of(function: FunctionNode) -> dict[ast.stmt, list[ast.Call]]:
    """The loads in the expressions of each statement, those of statements inside it left out."""
    return {
        statement: [
            part
            for field in ast.iter_child_nodes(statement)
            if isinstance(field, ast.expr)
            for part in ast.walk(field)
            if isinstance(part, ast.Call) and last_name(part.func) == "load"
        ]
        for statement in ast.walk(function)
        if isinstance(statement, ast.stmt)
    }


def read_places(function: FunctionNode, launch: Launch) -> dict[ast.Call, list[list[Places]]]:
    """Every load to the places that it reads: for each program that reaches it, each time that it does."""
    found: dict[ast.Call, list[list[Places]]] = {}
    loads = loads_of(function)
    for at in programs(launch.grid):
        walks = [Walk(function, launch, at, element, loads).found for element in range(ELEMENTS)]
        for load in walks[0]:
            met = zip(*(walk.get(load, []) for walk in walks), strict=False)
            found.setdefault(load, []).append([frozenset(places) for places in met])
    return found
