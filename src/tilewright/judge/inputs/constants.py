"""The module-level integer constants that a problem's sizes come from, and their replacement.

Works on the problem's text alone: reading and editing execute nothing.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ROOTS = ("get_inputs", "get_init_inputs")
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
LARGEST_EXPONENT = 64


@dataclass(frozen=True)
class Constant:
    """`NAME = 256`: its value, and the span of the text (lines from 1, columns in bytes) that gives it."""

    name: str
    value: int
    start: tuple[int, int]
    end: tuple[int, int]


def size_constants(source: str, roots: Sequence[str] = ROOTS) -> dict[str, Constant]:
    """The integer constants that get_inputs and get_init_inputs use, directly or through other names.

    Args:
        roots: other functions or names to begin from.

    A name bound more than once at module level is left out: which binding counts is not plain.
    """
    tree = ast.parse(source)
    constants: dict[str, Constant] = {}
    uses: dict[str, set[str]] = {}
    bound_often: set[str] = set()
    for node in tree.body:
        for name, value in _bindings(node):
            if name in uses:
                bound_often.add(name)
            uses[name] = {leaf.id for leaf in ast.walk(value) if isinstance(leaf, ast.Name)}
            number = _integer(value) if isinstance(value, ast.expr) else None
            if number is not None and number > 1 and value.end_lineno and value.end_col_offset is not None:
                constants[name] = Constant(
                    name,
                    number,
                    (value.lineno, value.col_offset),
                    (value.end_lineno, value.end_col_offset),
                )
    reached: set[str] = set()
    pending = [name for name in roots if name in uses]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(uses.get(name, ()))
    return {name: c for name, c in constants.items() if name in reached and name not in bound_often}


def with_sizes(source: str, sizes: Mapping[str, int]) -> str:
    """The text with these constants set to other values; everything else stays as it is."""
    constants = size_constants(source)
    lines = source.encode().split(b"\n")
    for name in sorted(sizes, key=lambda name: constants[name].start, reverse=True):
        (first, left), (last, right) = constants[name].start, constants[name].end
        head, tail = lines[first - 1][:left], lines[last - 1][right:]
        lines[first - 1 : last] = [head + str(sizes[name]).encode() + tail]
    return b"\n".join(lines).decode()


def described(source: str, sizes: Mapping[str, int]) -> str:
    """What was cut down, for people: "STEPS 256 → 16, BATCH 64 → 32"."""
    full = size_constants(source)
    return ", ".join(
        f"{name} {full[name].value} → {value}" for name, value in sizes.items() if value != full[name].value
    )


def integer_literals(source: str) -> set[int]:
    """Every integer that a file writes out."""
    nodes = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {value for value in nodes if type(value) is int}


def _bindings(node: ast.stmt) -> list[tuple[str, ast.expr | ast.stmt]]:
    """Names that a module-level statement binds, each with the code it is bound to."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [(name, node)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return [(name, value)]
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(
            values
        ):
            pairs = zip(names, values, strict=True)
            return [(target.id, value) for target, value in pairs if isinstance(target, ast.Name)]
        case ast.Assign(targets=targets, value=value):
            leaves = [leaf for target in targets for leaf in ast.walk(target)]
            return [(leaf.id, value) for leaf in leaves if isinstance(leaf, ast.Name)]
        case ast.AugAssign(target=ast.Name(id=name)):
            return [(name, node)]
        case _:
            return []


def _integer(node: ast.expr) -> int | None:
    """The value of an integer literal or of arithmetic on such literals; None for anything else."""
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _integer(left), _integer(right)
            if a is None or b is None:
                return None
            if isinstance(op, ast.Pow):
                return a**b if 0 <= b <= LARGEST_EXPONENT else None
            function = OPERATORS.get(type(op))
            if function is None or (isinstance(op, ast.FloorDiv) and b == 0):
                return None
            return function(a, b)
        case _:
            return None
