"""A kernel's body: which assignment a name stands for where it is read, and what is inside which loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from tilewright.kernelfile import Place
from tilewright.kernelfile.flow import assignments
from tilewright.kernelfile.scopes import FunctionNode, last_name

Loop = ast.For | ast.While
MOST_NODES = 400  # of one expression with its names followed; a name that would make it larger stays a name
ACCESSES = {"load": ("pointer", "mask", "other"), "store": ("pointer", "value", "mask")}


@dataclass(frozen=True)
class Binding:
    """One statement that binds a name.

    Args:
        value: what it binds it to; None where that is no expression of its own (`x += 1`, `a, b = f()`).
        after: line and column from which the name has this value.
    """

    statement: ast.stmt
    value: ast.expr | None
    after: tuple[int, int]


class Body:
    """The body of a kernel."""

    def __init__(self, function: FunctionNode, source: str) -> None:
        self.function = function
        self._lines = source.splitlines()
        self._parent = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
        self._bindings: dict[str, list[Binding]] = {}
        self.parameters = tuple(
            a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        )
        for statement in ast.walk(function):
            if isinstance(statement, ast.stmt):
                for name, value, after in _bound(statement):
                    self._bindings.setdefault(name, []).append(Binding(statement, value, after))
        for bindings in self._bindings.values():
            bindings.sort(key=lambda binding: binding.after)
        self._variables = {
            f"{node.target.id}@{node.lineno}": node
            for node in ast.walk(function)
            if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
        }
        self._follower = _Follower(self)

    def bindings(self, name: str) -> tuple[Binding, ...]:
        """The statements that bind a name, in order; a parameter has none of its own."""
        return tuple(self._bindings.get(name, ()))

    def loops(self, node: ast.AST) -> tuple[Loop, ...]:
        """The loops that a node stands inside of, the innermost first; a loop's head is outside of it."""
        return tuple(
            above for above, block in self._above(node) if isinstance(above, Loop) and block == "body"
        )

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is part of."""
        while not isinstance(node, ast.stmt):
            node = self._parent[node]
        return node

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parent.get(node)

    def place(self, node: ast.expr) -> Place:
        """Where an expression is written, columns in characters."""
        end = node.end_lineno or node.lineno
        start_column = self._characters(node.lineno, node.col_offset)
        return Place(node.lineno, start_column, end, self._characters(end, node.end_col_offset or 0))

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Calls of functions with these last names, `load` for tl.load, in the order written."""
        found = [n for n in ast.walk(self.function) if isinstance(n, ast.Call) and last_name(n.func) in names]
        yield from sorted(found, key=lambda call: (call.lineno, call.col_offset))

    def definition(self, name: ast.Name) -> Binding | None:
        """The one binding whose value a name has where it is read.

        None for a parameter that is never bound, and wherever more than one could have been the last.
        """
        at = (name.lineno, name.col_offset)
        everywhere = self._bindings.get(name.id, [])
        before = [binding for binding in everywhere if binding.after <= at]
        if not before or not self._always_before(before[-1].statement, name):
            return None
        last = before[-1]
        around = set(self._around(last))
        for loop in self.loops(name):
            if loop not in around and any(self._inside(other.statement, loop) for other in everywhere):
                return None  # an earlier turn of the loop may have bound it
        return last

    def followed(self, node: ast.expr) -> ast.expr:
        """An expression with its names replaced by what they stand for, as far as that is known.

        Parameters keep their names, a loop's variable becomes `name@line` of its loop (see `loop`), and a
        name whose value depends on the way taken `name@line:column`, which equals nothing else.
        """
        return self._follower.visit(node)

    def sources(self, node: ast.AST) -> frozenset[str]:
        """The parameters that an expression is computed from, by any statement that binds its names."""
        seen: set[str] = set()
        pending = [node]
        while pending:
            for part in ast.walk(pending.pop()):
                if isinstance(part, ast.Name) and part.id not in seen:
                    seen.add(part.id)
                    bound = [binding.statement for binding in self.bindings(part.id)]
                    pending += [one.iter if isinstance(one, ast.For) else one for one in bound]
        return frozenset(seen & set(self.parameters))

    def changes_in(self, loop: Loop) -> frozenset[str]:
        """The names that a loop binds, its own variable included."""
        return frozenset(
            name
            for name, bindings in self._bindings.items()
            if any(self._inside(binding.statement, loop) for binding in bindings)
        )

    def loop(self, variable: ast.expr) -> ast.For | None:
        """The loop whose variable a name in a followed expression is."""
        return self._variables.get(variable.id) if isinstance(variable, ast.Name) else None

    def _around(self, binding: Binding) -> Iterator[Loop]:
        """The loops that a binding is made inside of, its own where it is a loop's variable."""
        if isinstance(binding.statement, ast.For):
            yield binding.statement
        yield from self.loops(binding.statement)

    def _always_before(self, statement: ast.stmt, node: ast.AST) -> bool:
        """Whether an earlier statement has always been executed when a node is reached."""
        if isinstance(statement, ast.For):
            return statement in self.loops(node)
        holder = self._parent[statement]
        block = _block(holder, statement)
        return any(above is holder and inside == block for above, inside in self._above(node))

    def _above(self, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        """What a node is inside of, and in which field of it."""
        while (above := self._parent.get(node)) is not None:
            yield above, _block(above, node)
            node = above

    def _inside(self, statement: ast.stmt, loop: Loop) -> bool:
        return statement is loop or loop in self.loops(statement)

    def _characters(self, line: int, offset: int) -> int:
        return len(self._lines[line - 1].encode()[:offset].decode(errors="replace"))


class _Follower:
    """Makes expressions anew with their names replaced."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.done: dict[Binding, ast.expr] = {}

    def visit(self, node: ast.expr) -> ast.expr:
        return cast(ast.expr, self._part(node))

    def _part(self, value: object) -> object:
        if isinstance(value, list):
            return [self._part(part) for part in value]
        if isinstance(value, ast.Name):
            return self._name(value)
        if not isinstance(value, ast.AST):
            return value
        parts = {name: self._part(part) for name, part in ast.iter_fields(value)}
        made = type(value)(**parts)
        return ast.copy_location(made, value) if isinstance(made, ast.expr) else made

    def _name(self, node: ast.Name) -> ast.expr:
        if not self.body.bindings(node.id):
            return node
        unknown = ast.copy_location(ast.Name(f"{node.id}@{node.lineno}:{node.col_offset}", node.ctx), node)
        binding = self.body.definition(node)
        if binding is None or binding.value is None:
            return unknown
        if isinstance(binding.statement, ast.For):
            return ast.copy_location(ast.Name(f"{node.id}@{binding.statement.lineno}", node.ctx), node)
        if binding not in self.done:
            self.done[binding] = self.visit(binding.value)
        value = self.done[binding]
        return value if sum(1 for _ in ast.walk(value)) <= MOST_NODES else unknown


def argument(call: ast.Call, name: str) -> ast.expr | None:
    """An argument of a tl.load or tl.store, given by name or by position."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    order = ACCESSES[last_name(call.func)]
    position = order.index(name) if name in order else len(call.args)
    return call.args[position] if position < len(call.args) else None


def _bound(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None, tuple[int, int]]]:
    """Names that a statement binds itself, with their values and from where on they have them."""
    if isinstance(statement, ast.For):
        end: ast.expr | ast.stmt = statement.iter
    else:
        end = statement
    after = (end.end_lineno or 0, end.end_col_offset or 0)
    parts = [statement, *(n for n in _own(statement) if isinstance(n, ast.NamedExpr))]
    for part in parts:
        for target, value in assignments(part):
            plain = isinstance(target, ast.Name) and not isinstance(part, ast.AugAssign)
            for leaf in ast.walk(target):
                if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store):
                    yield leaf.id, value if plain else None, after


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement's own expressions, those of statements inside it left out."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield from ast.walk(child)


def _block(holder: ast.AST, node: ast.AST) -> str:
    """The field of a node that holds another."""
    for name, value in ast.iter_fields(holder):
        if value is node or (isinstance(value, list) and any(part is node for part in value)):
            return name
    return ""
