"""Activations spelled out with exponentials, in forms that need fewer instructions.

- `0.5 * x * (1 + tanh(u))`, whichever way the tanh is written, becomes `x / (1 + exp(-2 * u))`: no tanh, and
  no digits lost where 1 + tanh(u) is close to 0.
- `x * (1 / (1 + exp(-u)))` becomes `x / (1 + exp(-u))`.
- `(exp(u) - exp(-u)) / (exp(u) + exp(-u))` becomes a function of one exponential, of -2 * |u|, which has no
  NaN at large |u|.
- `exp(c * v)` becomes `exp2(v * (c * log2(e)))`. Triton lowers tl.exp to that product and ex2.approx too, but
  scales the operand so that results below 2**-126 keep their digits. tl.exp2 flushes those to 0 and spares
  the scaling (three instructions, seen in 3.6 and 3.9), and a constant c goes into the same factor.

No form rounds more often than what it replaces. ex2.approx and div.full are within 2 ulp (PTX ISA); the
rounding of the exponent, half an ulp of |v| * log2(e), is the one that tl.exp has.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from tilewright.kernelfile import Kernel
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.names import fresh
from tilewright.proposers.rewrite.spelled import Spelled, is_call, times

ALL = "all"
TANH = '''@triton.jit
def {name}(x):
    """tanh(x) with one exponential: decay is exp(-2 * |x|)."""
    decay = tl.exp2(tl.abs(x) * {factor!r})
    size = (1.0 - decay) / (1.0 + decay)
    return tl.where(x < 0, -size, size)
'''
LOG2E = math.log2(math.e)


class Activations:
    """Every tl.exp of a kernel and of the functions that it calls, and the activations made of them.

    Safe for float32, which is what tl.exp takes beside float64: kernels that hold float64 are left alone.
    """

    name = "cheaper forms of activations"
    stages = frozenset({"algorithm"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ALL`, where there is an exponential."""
        self.apply(view, kernel, ALL)
        return (ALL,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Write the cheaper forms, in the kernel and in what it calls."""
        functions = [view.file.kernel(name) for name in (kernel.name, *kernel.calls)]
        if any(a.type == "*fp64" for launch in view.launches(kernel) for a in launch.arguments):
            raise Declined("it computes in float64")
        bodies = {one.name: Body(view.node(one), view.file.source) for one in functions}
        for body in bodies.values():
            for part in ast.walk(body.function):
                if isinstance(part, ast.Attribute) and part.attr == "float64":
                    raise Declined(f"line {part.lineno}: it computes in float64")
        tanh = fresh(view.tree, "tanh")
        forms = {name: _Forms(body, bodies, tanh) for name, body in bodies.items()}
        edits = Edits()
        for form in forms.values():
            form.write(edits)
        if not edits:
            raise Inapplicable("it holds no exponential")
        if any(form.needs_tanh for form in forms.values()):
            edits.functions[kernel.name] = TANH.format(name=tanh, factor=-2 * LOG2E)
        return view.edited(edits)


class _Forms:
    """One function's expressions, and what they are in a cheaper form.

    Attributes:
        needs_tanh: whether a replacement calls the function TANH.
    """

    def __init__(self, body: Body, bodies: Mapping[str, Body], tanh: str) -> None:
        self.body = body
        self.spelled = Spelled(body, bodies)
        self.tanh = tanh
        self.needs_tanh = False

    def write(self, edits: Edits) -> None:
        """Add the replacements, the outermost of nested ones, and take out what nothing reads any more."""
        replaced: dict[ast.expr, ast.expr] = {}
        for node, new in self._outermost(self.body.function):
            inside = isinstance(self.body.parent(node), ast.BinOp | ast.UnaryOp | ast.Compare)
            text = ast.unparse(new)
            loose = inside and not isinstance(new, ast.Call)
            edits.expressions[self.body.place(node)] = f"({text})" if loose else text
            replaced[node] = new
        for statement in self._unread(replaced):
            edits.instead[statement.lineno] = []

    def _outermost(self, node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
        for child in ast.iter_child_nodes(node):
            new = self.cheaper(child) if isinstance(child, ast.expr) else None
            if isinstance(child, ast.expr) and new is not None:
                yield child, new
            else:
                yield from self._outermost(child)

    def _unread(self, replaced: Mapping[ast.expr, ast.expr]) -> list[ast.Assign]:
        """Statements whose value nothing reads, once expressions are replaced."""
        found: list[ast.Assign] = []
        names = [n for n in ast.walk(self.body.function) if isinstance(n, ast.Name)]
        statements = [n for n in ast.walk(self.body.function) if isinstance(n, ast.Assign)]
        for statement in sorted(statements, key=lambda n: n.lineno, reverse=True):  # readers stand below
            gone = {id(part) for other in (*found, *replaced) for part in ast.walk(other)}
            dead = {id(part) for other in found for part in ast.walk(other)}
            new = {
                part.id
                for node, made in replaced.items()
                if id(node) not in dead
                for part in ast.walk(made)
                if isinstance(part, ast.Name)
            }
            match statement.targets:
                case [ast.Name(id=name)] if len(self.body.bindings(name)) == 1 and name not in new:
                    reads = [n for n in names if n.id == name and isinstance(n.ctx, ast.Load)]
                    if reads and all(id(read) in gone for read in reads):
                        found.append(statement)
                case _:
                    pass
        return found

    def cheaper(self, node: ast.expr) -> ast.expr | None:
        """The cheaper form of an expression; None where it has none of its own."""
        match node:
            case ast.BinOp(op=ast.Mult()):
                return self._gated(node)
            case ast.BinOp(op=ast.Div()) if (found := self.spelled.ratio(node)) is not None and found[1] == 2:
                factor, base = found[0]
                if not self.spelled.usable(base, node):
                    return None
                self.needs_tanh = True
                return ast.Call(ast.Name(self.tanh), [times(self.inside(base), factor)], [])
            case ast.Call() if is_call(node, "exp") and len(node.args) == 1 and not node.keywords:
                factor, base = self.spelled.scaled(node.args[0], follow=False)
                return _exp2(self.inside(base), factor)
            case _:
                return None

    def inside(self, node: ast.expr) -> ast.expr:
        """An expression with every part in its cheaper form."""
        new = self.cheaper(node)
        if new is not None:
            return new
        parts: dict[str, Any] = {name: self._part(value) for name, value in ast.iter_fields(node)}
        return type(node)(**parts)

    def _part(self, value: object) -> object:
        if isinstance(value, list):
            return [self._part(part) for part in value]
        if isinstance(value, ast.keyword):
            return ast.keyword(value.arg, self.inside(value.value))
        return self.inside(value) if isinstance(value, ast.expr) else value

    def _gated(self, node: ast.BinOp) -> ast.expr | None:
        """A product with a sigmoid, or with 1 + tanh, as one division."""
        number, factors = self.spelled.factors(node)
        for factor in factors:
            gate = self.spelled.gate(factor)
            rest = [other for other in factors if other is not factor]
            if gate is None or not rest:
                continue
            scale, (slope, base) = gate
            if not all(self.spelled.usable(part, node) for part in (*rest, base)):
                continue
            product = reduce(lambda a, b: ast.BinOp(a, ast.Mult(), b), map(self.inside, rest))
            below = ast.BinOp(ast.Constant(1.0), ast.Add(), _exp2(self.inside(base), -slope))
            return ast.BinOp(times(product, number * scale), ast.Div(), below)
        return None


def _exp2(base: ast.expr, factor: float) -> ast.expr:
    """exp(factor * base)."""
    return ast.Call(ast.parse("tl.exp2", mode="eval").body, [times(base, factor * LOG2E)], [])
