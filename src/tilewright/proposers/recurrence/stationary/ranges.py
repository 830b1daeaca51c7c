"""Between which numbers the values of a step lie, whatever the network's inputs are.

A state is taken to start within [-1, 1] if its values stay there; larger start values leave it bounded.
"""

from __future__ import annotations

import math

from tilewright.proposers.recurrence import ir

Range = tuple[float, float]
EVERYTHING: Range = (-math.inf, math.inf)
_KNOWN: dict[str, Range] = {
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "erf": (-1.0, 1.0),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), (0.0, 1.0)),
}


def ranges(recurrence: ir.Recurrence) -> dict[str, Range]:
    """The range of every state, stream, operand, product and node.

    States are first supposed to stay within [-1, 1]; those that a step can lead out of it are then
    supposed unbounded, until the supposition holds for all that remain.
    """
    following = dict(recurrence.following)
    unbounded: set[str] = set()
    while True:
        known = {s.name: EVERYTHING if s.name in unbounded else (-1.0, 1.0) for s in recurrence.states}
        _spread(recurrence, known)
        escaped = {
            state.name
            for state in recurrence.states
            if state.name not in unbounded and _magnitude(known[following[state.name]]) > 1.0
        }
        if not escaped:
            return known
        unbounded |= escaped


def bounded(span: Range) -> bool:
    """Whether half precision holds every value of the range without overflow or much loss."""
    return _magnitude(span) <= 16.0


def _magnitude(span: Range) -> float:
    return max(abs(span[0]), abs(span[1]))


def _spread(recurrence: ir.Recurrence, known: dict[str, Range]) -> None:
    for items in (recurrence.streams, recurrence.operands, recurrence.products):
        known.update({item.name: EVERYTHING for item in items})
    nodes = {node.name: node for node in recurrence.nodes}

    def span(argument: ir.Name | float) -> Range:
        if isinstance(argument, ir.Name):
            return known[argument.name]
        return (float(argument), float(argument))

    for node in recurrence.nodes:
        between = _mixture(node, nodes, known)
        known[node.name] = between or _result(node.op, [span(argument) for argument in node.args])


def _result(op: str, spans: list[Range]) -> Range:
    if op in _KNOWN:
        return _KNOWN[op]
    a, b = spans[0], spans[min(1, len(spans) - 1)]
    if op in ("slice", "row_mean", "row_max"):
        return a
    if op == "neg":
        return (-a[1], -a[0])
    if op == "abs":
        return (0.0, _magnitude(a))
    if op == "relu":
        return (max(a[0], 0.0), max(a[1], 0.0))
    if op == "maximum":
        return (max(a[0], b[0]), max(a[1], b[1]))
    if op == "minimum":
        return (min(a[0], b[0]), min(a[1], b[1]))
    if op == "where":
        c = spans[2]
        return (min(b[0], c[0]), max(b[1], c[1]))
    if op == "add":
        return (a[0] + b[0], a[1] + b[1])
    if op == "sub":
        return (a[0] - b[1], a[1] - b[0])
    if op == "mul" and math.isfinite(_magnitude(a)) and math.isfinite(_magnitude(b)):
        corners = [x * y for x in a for y in b]
        return (min(corners), max(corners))
    return EVERYTHING


def _mixture(node: ir.Node, nodes: dict[str, ir.Node], known: dict[str, Range]) -> Range | None:
    """The hull of x and y where the node is z * x + (1 - z) * y or y + z * (x - y), with z in [0, 1]."""
    if node.op not in ("add", "sub") or not all(isinstance(a, ir.Name) for a in node.args):
        return None
    left, right = (a.name for a in node.args if isinstance(a, ir.Name))

    def factors(name: str) -> list[tuple[str, str]]:
        product = nodes.get(name)
        if product is None or product.op != "mul" or not all(isinstance(a, ir.Name) for a in product.args):
            return []
        p, q = (a.name for a in product.args if isinstance(a, ir.Name))
        return [(p, q), (q, p)]

    def hull(x: str, y: str) -> Range:
        return (min(known[x][0], known[y][0]), max(known[x][1], known[y][1]))

    def is_difference(name: str, first: ir.Name | float, second: ir.Name | float) -> bool:
        other = nodes.get(name)
        return other is not None and other.op == "sub" and other.args == (first, second)

    def is_share(name: str) -> bool:
        return known[name][0] >= 0.0 and known[name][1] <= 1.0

    if node.op == "add":
        for z, x in factors(left):
            for rest, y in factors(right):
                if is_share(z) and any(is_difference(rest, one, ir.Name(z)) for one in (1, 1.0)):
                    return hull(x, y)
                if is_share(rest) and any(is_difference(z, one, ir.Name(rest)) for one in (1, 1.0)):
                    return hull(x, y)
    for y, moved in ((left, right), (right, left))[: 2 if node.op == "add" else 1]:
        for z, difference in factors(moved):
            sub = nodes.get(difference)
            if sub is None or sub.op != "sub" or not is_share(z):
                continue
            x_name, y_name = sub.args if node.op == "add" else sub.args[::-1]
            if y_name == ir.Name(y) and isinstance(x_name, ir.Name):
                return hull(x_name.name, y)
    return None
