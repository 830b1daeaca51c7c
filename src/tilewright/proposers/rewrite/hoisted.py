"""Loads that every turn of a loop repeats, moved before it.

    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        weight = tl.load(weight_ptr + cols, mask=cols < n)
        tl.store(…)

becomes

    weight = tl.load(weight_ptr + cols, mask=(cols < n) & (tl.program_id(0) < rows))
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        tl.store(…)

Triton moves what does not change out of loops by itself, loads included, but no load out of a loop that
stores (seen in 3.6 and 3.9): it cannot know that the two do not meet. Here that is known. Arithmetic on such
a load then follows by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import fold, last_name
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body, Loop, argument
from tilewright.proposers.rewrite.grids import Terms
from tilewright.proposers.rewrite.memory import only_read
from tilewright.proposers.rewrite.names import fresh, names_in
from tilewright.proposers.rewrite.ranges import LOOPS, Ranges

ALL = "all"
WRITES = ("store", "debug_barrier", "inline_asm_elementwise")  # beside atomics, after which memory may differ
PURE = frozenset({
    "arange", "full", "zeros", "broadcast_to", "expand_dims", "cdiv", "minimum", "maximum", "min", "max",
    "where", "cast", "to", "program_id", "num_programs", "multiple_of", "max_contiguous",
})  # fmt: skip


@dataclass(frozen=True)
class Move:
    """A load that goes before a loop.

    Args:
        runs: the conditions under which the loop runs at all.
        statements: those that it needs, moved as they are, in order.
    """

    load: ast.Call
    loop: ast.For
    runs: tuple[str, ...]
    statements: tuple[ast.Assign, ...]


class Hoisted:
    """Every load in a loop that stores, whose address and mask no turn of the loop changes.

    Safe where its memory is passed for no parameter that the kernel writes. Where the loop may not run at
    all, the load is masked with the condition under which it does, so that it touches what it touched before.
    """

    name = "loads that do not change moved out of loops"
    stages = frozenset({"algorithm", "memory_access"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ALL`, where there is such a load."""
        _moves(view, kernel, Body(view.node(kernel), view.file.source))
        return (ALL,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Move them."""
        body = Body(view.node(kernel), view.file.source)
        edits = Edits()
        taken = ast.Module([body.function], [])
        for move in _moves(view, kernel, body):
            before = edits.before.setdefault(move.loop.lineno, [])
            for statement in move.statements:
                if statement.lineno not in edits.instead:
                    before.append(ast.unparse(statement))
                    edits.instead[statement.lineno] = []
            holder = body.parent(move.load)
            if isinstance(holder, ast.Assign) and _only_binding(body, holder):
                before.append(f"{ast.unparse(holder.targets[0])} = {_guarded(move)}")
                edits.instead[holder.lineno] = []
            else:
                pointer = min(body.sources(argument(move.load, "pointer") or move.load) & set(kernel.reads))
                name = fresh(taken, f"{pointer.removesuffix('_ptr')}_tile")
                taken.body.append(ast.parse(name).body[0])
                before.append(f"{name} = {_guarded(move)}")
                edits.expressions[body.place(move.load)] = name
        return view.edited(edits)


def _moves(view: View, kernel: Kernel, body: Body) -> list[Move]:
    """The loads to move, in order.

    Raises:
        Declined: there is none.
    """
    readable = only_read(view, kernel)
    if next(body.calls("make_block_ptr"), None) is not None:
        raise Declined("its loads through block pointers take no mask")
    writers = {one.name for one in view.file.kernels if one.writes}
    found, refused = [], []
    for load in body.calls("load"):
        if not isinstance(load.func, ast.Attribute) or ast.unparse(load.func) != "tl.load":
            continue
        move, reason = _move(body, load, readable, set(kernel.reads) | set(kernel.writes), writers)
        if move is not None:
            found.append(move)
        elif reason:
            refused.append(f"line {load.lineno}: {reason}")
    if not found:
        if refused:
            raise Declined(refused[0])
        raise Inapplicable("no load in a loop is the same in every turn")
    return found


def _move(
    body: Body, load: ast.Call, readable: frozenset[str], pointers: set[str], writers: set[str]
) -> tuple[Move | None, str]:
    """How a load can be moved, or why one that does not change cannot; neither where it changes."""
    best: Move | None = None
    reason = ""
    if any(k.arg == "volatile" for k in load.keywords) or _conditional(body, load):
        return None, ""
    runs: tuple[str, ...] = ()
    inner: ast.AST = body.statement(load)
    for loop in body.loops(load):
        if body.parent(inner) is not loop or not isinstance(loop, ast.For):
            return best, reason  # under an `if` it may not be reached
        condition = _runs(body, loop)
        needed = _needed(body, load, loop)
        if needed is None or condition is None:
            return best, reason
        runs = (*runs, condition) if condition else runs
        if any(names_in(_parsed(text)) & body.changes_in(loop) for text in runs):
            return best, reason
        if not body.sources(load) & pointers <= readable:
            return best, "its memory may be written in the loop"
        if _writes(loop, writers):
            best = Move(load, loop, runs, needed)
        else:
            reason = "nothing is written in its loop, so the compiler moves it"
        inner = loop
    return best, reason


def _needed(body: Body, load: ast.Call, loop: Loop) -> tuple[ast.Assign, ...] | None:
    """The statements of a loop that a load needs before it; None where one of them changes with its turns."""
    changing = body.changes_in(loop)
    needed: dict[int, ast.Assign] = {}
    pending: list[ast.expr] = [*load.args, *(k.value for k in load.keywords)]
    while pending:
        value = pending.pop()
        if not all(_pure(part) for part in ast.walk(value)):
            return None
        for name in names_in(value) & changing:
            bindings = body.bindings(name)
            statement = bindings[0].statement
            if (
                len(bindings) != 1
                or not isinstance(statement, ast.Assign)
                or not _alone(body, statement, loop)
            ):
                return None
            needed[statement.lineno] = statement
            pending.append(statement.value)
    return tuple(needed[line] for line in sorted(needed))


def _alone(body: Body, statement: ast.Assign, loop: Loop) -> bool:
    """Whether a statement binds one name and stands in a loop's own block, on lines of its own."""
    return (
        body.parent(statement) is loop
        and isinstance(statement.targets[0], ast.Name)
        and len(statement.targets) == 1
        and sum(1 for other in (loop, *loop.body) if other.lineno == statement.lineno) == 1
    )


def _only_binding(body: Body, statement: ast.Assign) -> bool:
    """Whether a statement binds a name that nothing else binds, so that it can go before the loop."""
    loop = body.parent(statement)
    target = statement.targets[0]
    return (
        isinstance(loop, ast.For)
        and isinstance(target, ast.Name)
        and len(body.bindings(target.id)) == 1
        and _alone(body, statement, loop)
    )


def _conditional(body: Body, load: ast.expr) -> bool:
    """Whether a load stands in a part of its statement that is not always computed."""
    node = body.parent(load)
    while node is not None and not isinstance(node, ast.stmt):
        if isinstance(node, ast.IfExp | ast.BoolOp):
            return True
        node = body.parent(node)
    return False


def _pure(node: ast.AST) -> bool:
    """Whether a part of an expression has one value however often it is computed, and touches no memory."""
    return not isinstance(node, ast.Call) or last_name(node.func) in PURE


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _writes(loop: ast.For, writers: set[str]) -> bool:
    """Whether a loop may write memory, itself or through a function that it calls."""
    names: Iterator[str] = (last_name(n.func) for n in ast.walk(loop) if isinstance(n, ast.Call))
    return any(name in WRITES or name.startswith("atomic") or name in writers for name in names)


def _runs(body: Body, loop: ast.For) -> str | None:
    """The condition under which a loop runs at all; empty where it always does, None where unknown."""
    if not isinstance(loop.iter, ast.Call) or last_name(loop.iter.func) not in LOOPS:
        return None
    given = loop.iter.args
    ranges = Ranges(body, Terms((), {}))
    if not given or any(isinstance(a, ast.Starred) for a in given):
        return None
    if not all(_pure(part) for a in given for part in ast.walk(a)):
        return None
    if len(given) > 2 and not ranges.positive(body.followed(given[2])):
        return None
    start: ast.expr = given[0] if len(given) > 1 else ast.Constant(0)
    stop = given[1] if len(given) > 1 else given[0]
    first, last = fold(start), fold(stop)
    if first and last and isinstance(first.value, int) and isinstance(last.value, int):
        return "" if first.value < last.value else None
    return f"{ast.unparse(start)} < {ast.unparse(stop)}"


def _guarded(move: Move) -> str:
    """The load, masked with what must hold for it to be reached."""
    mask = argument(move.load, "mask")
    conditions = [*([mask] if mask else []), *(_parsed(text) for text in reversed(move.runs))]
    pointer, other = argument(move.load, "pointer"), argument(move.load, "other")
    given = [] if pointer is None else [ast.unparse(pointer)]
    if conditions:
        both = reduce(lambda left, right: ast.BinOp(left, ast.BitAnd(), right), conditions)
        given.append(f"mask={ast.unparse(both)}")
    if other is not None:
        given.append(f"other={ast.unparse(other)}")
    rest = [k for k in move.load.keywords if k.arg not in ("pointer", "mask", "other")]
    return f"tl.load({', '.join([*given, *(ast.unparse(k) for k in rest)])})"
