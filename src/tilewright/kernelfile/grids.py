"""What a launch's grid is computed from, its definitions followed."""

from __future__ import annotations

import ast

from tilewright.kernelfile.model import Grid, Place
from tilewright.kernelfile.scopes import FunctionNode, Names, Scope, last_name

MAX_STEPS = 8


class GridReader:
    """Follows a grid to its definition."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.meta: dict[str, None] = {}
        self.divisors: dict[str, None] = {}
        self.used: dict[str, None] = {}
        self.literals: dict[int, None] = {}
        self.counted: dict[Place, int] = {}

    def read(self, node: ast.expr | None, scope: Scope) -> Grid:
        if node is None:
            return Grid("")
        self._follow(node, scope, 0)
        return Grid(
            ast.unparse(node),
            tuple(self.meta),
            tuple(self.divisors),
            tuple(self.used),
            tuple(self.literals),
            tuple((value, place) for place, value in self.counted.items()),
        )

    def _follow(self, node: ast.AST, scope: Scope, steps: int) -> None:
        if steps > MAX_STEPS:
            return
        if isinstance(node, ast.Lambda):
            self._walk(node.body, self.names.scopes[node], steps)
        elif isinstance(node, FunctionNode):
            for statement in node.body:
                self._walk(statement, self.names.scopes[node], steps)
        else:
            self._walk(node, scope, steps)

    def _walk(self, node: ast.AST, scope: Scope, steps: int) -> None:
        match node:
            case ast.Call(func=function, args=[_, divisor]) if last_name(function) == "cdiv":
                self._divides(divisor, scope)
                if isinstance(divisor, ast.Constant) and isinstance(divisor.value, int):
                    self.counted[self.names.place(divisor)] = divisor.value
            case ast.BinOp(op=ast.FloorDiv(), right=divisor):
                self._divides(divisor, scope)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if self._is_meta(
                name, scope
            ):
                self.meta[key] = None
                return
            case ast.Attribute() | ast.Subscript() if (held := self.names.held(node, scope)) is not None:
                self.used[ast.unparse(node)] = None
                self._follow(*held, steps + 1)
                return
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                self.literals[value] = None
            case ast.Lambda():
                scope = self.names.scopes[node]
            case ast.Name(id=name):
                self._name(name, scope, steps)
            case _:
                pass
        for child in ast.iter_child_nodes(node):
            self._walk(child, scope, steps)

    def _is_meta(self, name: str, scope: Scope) -> bool:
        found = scope.find(name)
        return found is not None and found[1][0].kind == "parameter" and found[0] is scope

    def _divides(self, divisor: ast.expr, scope: Scope) -> None:
        for part in ast.walk(divisor):
            match part:
                case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
                    if self._is_meta(name, scope):
                        self.divisors[key] = None
                case _:
                    pass

    def _name(self, name: str, scope: Scope, steps: int) -> None:
        found = scope.find(name)
        if found is None or name in self.used:
            return
        owner, bindings = found
        if any(b.kind in ("import", "class") for b in bindings):
            return
        self.used[name] = None
        for binding in bindings:
            if binding.value is not None and binding.kind in ("assign", "unpack"):
                self._follow(binding.value, owner, steps + 1)
        if bindings[0].kind == "function":
            for statement in ast.walk(owner.node):
                if isinstance(statement, FunctionNode) and statement.name == name:
                    self._follow(statement, owner, steps + 1)


def arithmetic_literals(scope: Scope) -> tuple[int, ...]:
    """Integers that a function divides by, multiplies with or hands to cdiv, each as often as written."""
    while scope.parent is not None and not isinstance(scope.node, FunctionNode):
        scope = scope.parent
    found: list[int] = []
    for node in ast.walk(scope.node):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call) and last_name(node.func) == "cdiv":
            parts = node.args
        elif isinstance(node, ast.UnaryOp):
            parts = [node.operand]
        for part in parts:
            match part:
                case ast.Constant(value=int(value)) if not isinstance(value, bool):
                    found.append(value)
                case _:
                    pass
    return tuple(found)
