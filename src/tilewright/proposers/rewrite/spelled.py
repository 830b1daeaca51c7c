"""Sigmoids and hyperbolic tangents, recognised by how they are spelled out with exponentials."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from tilewright.kernelfile.scopes import fold
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.names import names_in

Scaled = tuple[float, ast.expr]  # a number times an expression
Power = tuple[float, ast.expr | None]  # exp of that; None stands for 1


class Spelled:
    """What the expressions of one function are.

    Args:
        bodies: the functions that it may call, by name.
    """

    def __init__(self, body: Body, bodies: Mapping[str, Body]) -> None:
        self.body = body
        self.bodies = bodies

    def tanh_of(self, node: ast.expr) -> Scaled | None:
        """`(c, v)` of an expression that is tanh(c * v)."""
        seen = self._seen(node)
        match seen:
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                return self._called(name, argument, Spelled.tanh_of)
            case ast.BinOp(op=ast.Div()):
                ratio = self.ratio(seen)
                return ratio[0] if ratio else None
            case ast.Call(args=[test, first, second]) if is_call(seen, "where"):
                return self._signed(test, first, second)
            case ast.BinOp(left=left, op=ast.Sub(), right=right) if number_of(right) == 1:
                double = self._seen(left)
                if (found := self._logistic(double, 2)) is not None:
                    return found[0] / 2, found[1]
                number, factors = self.factors(double)
                gate = self.gate(factors[0]) if len(factors) == 1 else None
                return (gate[1][0] / 2, gate[1][1]) if gate and number * gate[0] == 2 else None
            case ast.BinOp(left=left, op=ast.Sub(), right=right) if number_of(left) == 1:
                found = self._logistic(right, 2)
                return (-found[0] / 2, found[1]) if found else None
            case _:
                return None

    def sigmoid_of(self, node: ast.expr) -> Scaled | None:
        """`(c, v)` of an expression that is 1 / (1 + exp(-c * v))."""
        seen = self._seen(node)
        match seen:
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                return self._called(name, argument, Spelled.sigmoid_of)
            case _:
                return self._logistic(seen, 1)

    def gate(self, node: ast.expr) -> tuple[float, Scaled] | None:
        """What a factor is times sigmoid(slope * base): 2 of `1 + tanh`, 1 of a sigmoid."""
        seen = self._seen(node)
        match seen:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                for one, other in ((left, right), (right, left)):
                    if number_of(one) == 1 and (found := self.tanh_of(other)) is not None:
                        return 2.0, (2 * found[0], found[1])
            case _:
                if (found := self.sigmoid_of(seen)) is not None:
                    return 1.0, found
        return None

    def factors(self, node: ast.expr) -> tuple[float, list[ast.expr]]:
        """The number and the other factors of a product; a name is followed to a product with a gate."""
        number = number_of(node)
        if number is not None:
            return number, []
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                (a, first), (b, second) = self.factors(left), self.factors(right)
                return a * b, first + second
            case ast.BinOp(left=left, op=ast.Div(), right=right) if number_of(right):
                a, first = self.factors(left)
                return a / (number_of(right) or 1.0), first
            case ast.Name():
                seen = self._seen(node)
                if isinstance(seen, ast.BinOp) and isinstance(seen.op, ast.Mult):
                    a, first = self.factors(seen)
                    if any(self.gate(factor) for factor in first):
                        return a, first
            case _:
                pass
        return 1.0, [node]

    def _logistic(self, node: ast.expr, numerator: int) -> Scaled | None:
        """`(c, v)` of numerator / (1 + exp(-c * v))."""
        match self._seen(node):
            case ast.BinOp(left=left, op=ast.Div(), right=right) if number_of(left) == numerator:
                terms = self._terms(right, ast.Add)
                powers = [term for term in terms or () if term[1] is not None]
                if terms is None or len(powers) != 1 or powers[0][1] is None:
                    return None
                return -powers[0][0], powers[0][1]
            case _:
                return None

    def ratio(self, node: ast.BinOp) -> tuple[Scaled, int] | None:
        """What `(a - b) / (a + b)` is the tanh of, and how many of the two are exponentials."""
        above, below = self._terms(node.left, ast.Sub), self._terms(node.right, ast.Add)
        if above is None or below is None:
            return None
        keys = [[(k, v and ast.unparse(v)) for k, v in terms] for terms in (above, below)]
        powers = [term[1] for term in above if term[1] is not None]
        if keys[0] not in (keys[1], keys[1][::-1]) or len({ast.unparse(v) for v in powers}) != 1:
            return None
        return ((above[0][0] - above[1][0]) / 2, powers[0]), len(powers)

    def _terms(self, node: ast.expr, op: type[ast.operator]) -> tuple[Power, Power] | None:
        """Both sides of a sum or difference, each 1 or exp(c * v)."""
        seen = self._seen(node)
        if not isinstance(seen, ast.BinOp) or not isinstance(seen.op, op):
            return None
        left, right = self._power(seen.left), self._power(seen.right)
        return (left, right) if left is not None and right is not None else None

    def _power(self, node: ast.expr) -> Power | None:
        seen = self._seen(node)
        if number_of(seen) == 1:
            return 0.0, None
        if isinstance(seen, ast.Call) and is_call(seen, "exp") and len(seen.args) == 1:
            return self.scaled(seen.args[0], follow=True)
        return None

    def _signed(self, test: ast.expr, first: ast.expr, second: ast.expr) -> Scaled | None:
        """`where(x < 0, -m, m)` with m = tanh(c * abs(x))."""
        match self._seen(test):
            case ast.Compare(left=x, ops=[ast.Lt() | ast.LtE()], comparators=[zero]) if number_of(zero) == 0:
                negative, positive = first, second
            case ast.Compare(left=x, ops=[ast.Gt() | ast.GtE()], comparators=[zero]) if number_of(zero) == 0:
                negative, positive = second, first
            case _:
                return None
        found = self.tanh_of(positive)
        match found, self._seen(negative):
            case (factor, ast.Call(args=[size]) as call), ast.UnaryOp(op=ast.USub(), operand=operand):
                same = ast.unparse(operand) == ast.unparse(positive) and ast.unparse(size) == ast.unparse(x)
                scale, base = self.scaled(x, follow=True)
                return (factor * scale, base) if same and is_call(call, "abs") else None
            case _:
                return None

    def _called(
        self, name: str, argument: ast.expr, what: Callable[[Spelled, ast.expr], Scaled | None]
    ) -> Scaled | None:
        """What a function of the file computes of its one argument."""
        body = self.bodies.get(name)
        returns = [n for n in ast.walk(body.function) if isinstance(n, ast.Return)] if body else []
        if body is None or len(returns) != 1 or returns[0].value is None or len(body.parameters) != 1:
            return None
        found = what(Spelled(body, self.bodies), returns[0].value)
        (parameter,) = body.parameters
        if found is None or ast.unparse(found[1]) != parameter or body.bindings(parameter):
            return None
        factor, base = self.scaled(argument, follow=True)
        return factor * found[0], base

    def scaled(self, node: ast.expr, *, follow: bool) -> Scaled:
        """An expression as a number times another; names that stand for such are followed if asked to."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                factor, base = self.scaled(operand, follow=follow)
                return -factor, base
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                for one, other in ((left, right), (right, left)):
                    if (number := number_of(one)) is not None:
                        factor, base = self.scaled(other, follow=follow)
                        return number * factor, base
            case ast.BinOp(left=left, op=ast.Div(), right=right) if number_of(right):
                factor, base = self.scaled(left, follow=follow)
                return factor / (number_of(right) or 1.0), base
            case ast.Name() if follow and (seen := self._seen(node)) is not node:
                factor, base = self.scaled(seen, follow=True)
                if factor != 1.0:
                    return factor, base
            case _:
                pass
        return 1.0, node

    def _seen(self, node: ast.expr) -> ast.expr:
        """What a name was assigned, where that is one expression; else the node itself."""
        while isinstance(node, ast.Name):
            binding = self.body.definition(node)
            if binding is None or binding.value is None or not isinstance(binding.statement, ast.Assign):
                return node
            node = binding.value
        return node

    def usable(self, part: ast.expr, node: ast.expr) -> bool:
        """Whether an expression has the same value where another stands: its names are bound once."""
        if any(part is inner for inner in ast.walk(node)):
            return True
        names = names_in(part)
        return all(len(self.body.bindings(name)) + (name in self.body.parameters) <= 1 for name in names)


def times(node: ast.expr, number: float) -> ast.expr:
    return node if number == 1 else ast.BinOp(node, ast.Mult(), ast.Constant(number))


def number_of(node: ast.expr) -> float | None:
    """The value of a number written out."""
    folded = fold(node)
    value = folded.value if folded else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def is_call(node: ast.Call, name: str) -> bool:
    return ast.unparse(node.func) == f"tl.{name}"
