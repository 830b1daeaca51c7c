"""How large the states of a loop can get, where that follows from the step alone.

Between tanh, sigmoid and the like, a gated step only adds and multiplies: (1 - z) * n + z * h. Such an
expression, of degree one in each of its variables, takes its extremes at the corners of their ranges, so
trying every corner decides exactly whether a state that starts in [-1, 1] stays there.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from tilewright.proposers.recurrence.ir import Name, Node, Recurrence
from tilewright.proposers.recurrence.ops import OPS

MOST_VARIABLES = 12  # 4096 corners
Polynomial = dict[frozenset[str], float]  # products of distinct variables → coefficient
ROUNDING = 1e-6


def bounded(loop: Recurrence, names: set[str]) -> bool:
    """Whether |value| ≤ 1 for these values of a step, given states that start within [-1, 1].

    States that do not stay within [-1, 1] may still feed bounded ones: the cell of an LSTM through tanh.
    """
    following = dict(loop.following)
    held = {state.name for state in loop.states}
    while True:
        step = _Step({node.name: node for node in loop.nodes}, held)
        escaped = {name for name in held if not step.within(following[name])}
        if not escaped:
            return all(step.within(name) for name in names)
        held -= escaped


class _Step:
    """The values of one step as polynomials in variables of known range."""

    def __init__(self, nodes: Mapping[str, Node], held: set[str]) -> None:
        self.nodes = nodes
        self.ranges = dict.fromkeys(held, (-1.0, 1.0))
        self.known: dict[str, Polynomial | None] = {name: {frozenset({name}): 1.0} for name in held}

    def within(self, name: str) -> bool:
        """Whether a value stays in [-1, 1]."""
        polynomial = self.value(name)
        if polynomial is None:
            return False
        variables = sorted(set().union(*polynomial)) if polynomial else []
        if len(variables) > MOST_VARIABLES:
            return False
        for corner in product(*(self.ranges[v] for v in variables)):
            at = dict(zip(variables, corner, strict=True))
            total = 0.0
            for term, coefficient in polynomial.items():
                for variable in term:
                    coefficient *= at[variable]
                total += coefficient
            if abs(total) > 1 + ROUNDING:
                return False
        return True

    def value(self, name: str) -> Polynomial | None:
        """None where nothing is known."""
        if name not in self.known:
            node = self.nodes.get(name)
            self.known[name] = None if node is None else self._node(node)
        return self.known[name]

    def _node(self, node: Node) -> Polynomial | None:
        if node.op == "slice":
            return None if (source := self._argument(node.args[0])) is None else self._sliced(node, source)
        if node.op == "where":
            return self._where(node)
        bound = OPS[node.op].bound if node.op in OPS else None
        if bound is not None:
            lowest = 0.0 if node.op in ("sigmoid", "lt", "le", "gt", "ge", "eq", "ne") else -bound
            return self._variable(node.name, lowest, bound)
        arguments = [self._argument(argument) for argument in node.args]
        if any(argument is None for argument in arguments):
            return None
        known = [argument for argument in arguments if argument is not None]
        match node.op:
            case "add":
                return _sum(known[0], known[1], 1.0)
            case "sub":
                return _sum(known[0], known[1], -1.0)
            case "neg":
                return _sum({}, known[0], -1.0)
            case "mul":
                return _times(known[0], known[1])
            case _:
                return None

    def _argument(self, argument: Name | float | int | bool) -> Polynomial | None:
        return self.value(argument.name) if isinstance(argument, Name) else {frozenset(): float(argument)}

    def _sliced(self, node: Node, source: Polynomial) -> Polynomial | None:
        """Columns of a bounded value, whose link with the other columns is lost."""
        variables = set().union(*source) if source else set()
        if len(variables) != 1 or len(source) != 1:
            return None
        (variable,) = variables
        lowest, highest = self.ranges[variable]
        (scale,) = source.values()
        return self._variable(node.name, *sorted((lowest * scale, highest * scale)))

    def _where(self, node: Node) -> Polynomial | None:
        """Either of two: condition * first + (1 - condition) * second, the condition 0 or 1."""
        condition = node.args[0]
        chosen = condition.name if isinstance(condition, Name) else node.name
        key = f"{chosen} holds"
        self.ranges[key] = (0.0, 1.0)
        first, second = self._argument(node.args[1]), self._argument(node.args[2])
        if first is None or second is None:
            return None
        taken = _times({frozenset({key}): 1.0}, first)
        left = _times({frozenset(): 1.0, frozenset({key}): -1.0}, second)
        return None if taken is None or left is None else _sum(taken, left, 1.0)

    def _variable(self, name: str, lowest: float, highest: float) -> Polynomial:
        self.ranges[name] = (lowest, highest)
        return {frozenset({name}): 1.0}


def _sum(left: Polynomial, right: Polynomial, sign: float) -> Polynomial:
    total = dict(left)
    for term, coefficient in right.items():
        total[term] = total.get(term, 0.0) + sign * coefficient
    return total


def _times(left: Polynomial, right: Polynomial) -> Polynomial | None:
    """None where a variable would be squared: the corners decide nothing then."""
    total: Polynomial = {}
    for a, x in left.items():
        for b, y in right.items():
            if a & b:
                return None
            total[a | b] = total.get(a | b, 0.0) + x * y
    return total
