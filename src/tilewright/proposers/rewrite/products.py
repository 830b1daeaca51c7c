"""Loops that add up: one term a turn, a tl.dot or any other, onto an accumulator that starts at zeros."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.kernelfile.scopes import fold, last_name
from tilewright.launches.model import Launch
from tilewright.proposers.rewrite.base import Declined, Inapplicable
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.hosts import blocks
from tilewright.proposers.rewrite.names import names_in

RANGES = ("range", "tl.range")


@dataclass(frozen=True)
class SumLoop:
    """Where a kernel adds up.

    Args:
        block: the statements that `zeros` and `loop` are among.
        zeros: `acc = tl.zeros(shape, dtype=tl.float32)`.
        update: the statement of the loop's own that adds a term.
    """

    accumulator: str
    block: Sequence[ast.stmt]
    zeros: ast.Assign
    loop: ast.For
    update: ast.Assign | ast.AugAssign

    @property
    def turns(self) -> ast.Call:
        """`range(…)`."""
        assert isinstance(self.loop.iter, ast.Call)
        return self.loop.iter

    @property
    def stop(self) -> ast.expr:
        return self.turns.args[min(1, len(self.turns.args) - 1)]

    @property
    def step(self) -> ast.expr:
        return self.turns.args[2] if len(self.turns.args) > 2 else ast.Constant(1)


def product_loop(body: Body) -> SumLoop:
    """The one product of a kernel.

    Raises:
        Declined: it has another form.
    """
    dots = list(body.calls("dot"))
    if len(dots) != 1:
        raise Declined(f"it holds {len(dots)} tl.dot") if dots else Inapplicable("it holds no tl.dot")
    (dot,) = dots
    line = dot.lineno
    update = body.statement(dot)
    loops = body.loops(dot)
    accumulator = _accumulator(update, dot)
    if not loops or not isinstance(loops[0], ast.For) or update not in loops[0].body or not accumulator:
        raise Declined(f"line {line}: its tl.dot is not added to an accumulator once in every turn of a loop")
    assert isinstance(update, ast.Assign | ast.AugAssign)
    if any(k.arg == "out_dtype" for k in dot.keywords):
        raise Declined(f"line {line}: its tl.dot names a type of its own for the sum")
    return _from_zeros(body, loops[0], accumulator, update)


def sum_loop(body: Body) -> SumLoop:
    """The one loop of a kernel without a product that adds a term to an accumulator in every turn.

    Raises:
        Declined: there is none, or it has another form.
    """
    if any(True for _ in body.calls("dot")):
        raise Inapplicable("it holds a tl.dot")
    loops = [node for node in ast.walk(body.function) if isinstance(node, ast.For)]
    zeros = {name for statement in body.function.body if (name := _name_of_zeros(statement))}
    found = [
        (loop, update, name)
        for loop in loops
        for update in loop.body
        if isinstance(update, ast.Assign | ast.AugAssign) and (name := _added_to(update)) in zeros
    ]
    if len(loops) != 1 or len(found) != 1:
        raise Inapplicable("it has no one loop that adds to one accumulator")
    loop, update, accumulator = found[0]
    return _from_zeros(body, loop, accumulator, update)


def _from_zeros(body: Body, loop: ast.For, accumulator: str, update: ast.Assign | ast.AugAssign) -> SumLoop:
    """The loop, once the accumulator is seen to be zeros before it and to be nothing but added to in it.

    Raises:
        Declined: it is not.
    """
    bindings = [
        b.statement for b in body.bindings(accumulator) if b.statement.lineno <= (loop.end_lineno or 0)
    ]
    block = next((among for statement, among in blocks(body.function) if statement is loop), ())
    if (
        len(bindings) != 2
        or bindings[1] is not update
        or bindings[0] not in block
        or not _name_of_zeros(bindings[0])
    ):
        raise Declined(f"line {update.lineno}: {accumulator} is not tl.zeros of float32 before the loop")
    for node in ast.walk(loop):
        if isinstance(node, ast.Name) and node.id == accumulator and body.statement(node) is not update:
            raise Declined(f"line {node.lineno}: the loop reads {accumulator} besides adding to it")
    (zeros,) = (statement for statement in block if statement is bindings[0])
    assert isinstance(zeros, ast.Assign)
    if not isinstance(loop.iter, ast.Call) or ast.unparse(loop.iter.func) not in RANGES or not loop.iter.args:
        raise Declined(f"line {loop.lineno}: the loop does not count in a range")
    return SumLoop(accumulator, block, zeros, loop, update)


def _name_of_zeros(statement: ast.stmt) -> str:
    """The name in `name = tl.zeros(shape, dtype=tl.float32)`; empty for any other statement."""
    match statement:
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Call(func=function, args=[_, *rest], keywords=named)
        ):
            kinds = [*rest, *(k.value for k in named if k.arg == "dtype")]
            zeros = last_name(function) == "zeros" and [last_name(kind) for kind in kinds] == ["float32"]
            return name if zeros else ""
        case _:
            return ""


def _addition(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    """The name that a statement adds a term to, and the term; "" and None for any other statement."""
    match statement:
        case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=term):
            return name, term
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(left=left, op=ast.Add(), right=right)):
            terms = [one for one in (left, right) if not (isinstance(one, ast.Name) and one.id == name)]
            return (name, terms[0]) if len(terms) == 1 else ("", None)
        case _:
            return "", None


def _added_to(statement: ast.stmt) -> str:
    """The name that a statement adds something to which does not hold it; empty when it does not."""
    name, term = _addition(statement)
    return name if term is not None and name not in names_in(term) else ""


def recorded_turns(body: Body, product: SumLoop, launch: Launch) -> int:
    """How many turns the loop takes at a recorded launch.

    Raises:
        Declined: it does not start at 0, or where it ends is not computed from the launch's arguments.
    """
    args = product.turns.args
    start = fold(args[0]) if len(args) > 1 else None
    if len(args) > 1 and (start is None or start.value != 0):
        raise Declined(f"line {product.loop.lineno}: the loop does not start at 0")
    values = recorded_values(launch)
    stop, step = (evaluated(body.followed(node), values) for node in (product.stop, product.step))
    if stop is None or not step:
        raise Declined(f"line {product.loop.lineno}: how many turns the loop takes is not known")
    return -(-stop // step)


def recorded_values(launch: Launch) -> dict[str, int]:
    """The integers, constants among them, that a recorded launch passes."""
    return {a.name: int(a.value) for a in launch.arguments if a.value and a.value.isdigit()}


def evaluated(node: ast.expr, values: dict[str, int]) -> int | None:
    """The value of an expression over known integers; None when something else is in it."""
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return values.get(name)
        case ast.Call(func=function, args=[left, right]) if last_name(function) == "cdiv":
            a, b = evaluated(left, values), evaluated(right, values)
            return None if a is None or not b else -(-a // b)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = evaluated(left, values), evaluated(right, values)
            if a is None or b is None:
                return None
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv() if b:
                    return a // b
                case _:
                    return None
        case _:
            return None


def _accumulator(statement: ast.stmt, dot: ast.Call) -> str:
    """The name that a statement adds a product to; empty when it does something else."""
    given = [k.value for k in dot.keywords if k.arg == "acc"] + dot.args[2:3]
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if value is dot:
            return name if [ast.unparse(one) for one in given] == [name] else ""
        case _:
            name, term = _addition(statement)
            return name if term is dot and not given else ""
