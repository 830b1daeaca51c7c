"""What a kernel does with the sum of a product before it stores it, as a kernel of its own.

Where several programs share a tile, none of them has the sum. They store partial results where the kernel's
own store writes, one array of them a share, and this kernel, on the grid of the original, goes on from there:

    acc = tl.zeros((BM, BN), dtype=tl.float32)
    parts_at = parts_ptr + rows[:, None] * stride + columns[None, :]
    for _ in tl.static_range(SPLIT):
        acc += tl.load(parts_at, mask=inside, other=0.0)
        parts_at += part_elements
    tl.store(out_ptr + …, activation(acc + bias[None, :]), mask=inside)
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from typing import Any

from tilewright.kernelfile.scopes import last_name
from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.body import Body, argument
from tilewright.proposers.rewrite.hosts import DESCRIBING, HostLaunch
from tilewright.proposers.rewrite.names import bound_in, fresh, names_in
from tilewright.proposers.rewrite.products import SumLoop

PARTS = "parts_ptr"
LONGEST_LINE = 80  # of parameters


class Epilogue:
    """The statements behind a product's loop, and all that they need of what stands before it.

    Args:
        store: the kernel's only one, a statement of the tail.
        tail: the statements behind the loop.
        output: the parameter that it writes through.
        launch: the original's.

    Raises:
        Declined: the tail cannot be taken apart into what needs the sum and what does not, or an argument
            that the kernel needs is not written out in the original's call.
    """

    def __init__(
        self,
        body: Body,
        product: SumLoop,
        store: ast.Call,
        tail: Sequence[ast.stmt],
        output: str,
        launch: HostLaunch,
    ) -> None:
        self.body = body
        self.launch = launch
        self.product = product
        self.output = output
        self.parts = fresh(body.function, PARTS)
        self.places, self.dependent = _taken_apart(tail, product.accumulator)
        pointer, mask = argument(store, "pointer"), argument(store, "mask")
        assert pointer is not None
        where = [pointer, mask] if mask else [pointer]
        summed = {product.accumulator}.union(*map(bound_in, self.dependent))
        if any(names_in(part) & summed for part in where):
            raise Declined(f"line {store.lineno}: where the sum is stored depends on it")
        self.pointer = self._in_parts(pointer)
        self.mask = f", mask={ast.unparse(mask)}, other=0.0" if mask else ""
        self.needed_to_store = _needed(self.places, where)
        self.above = [*self._before(), *self.places, product.zeros]  # what stands before the sum
        self.arguments = {one: self._argument(one.arg) for one in self._parameters()}

    def _in_parts(self, pointer: ast.expr) -> str:
        """The address of a partial result, laid out as the output is.

        Raises:
            Declined: it is not known what a name stands for that is made from the output's.
        """

        def moved(part: Any) -> Any:
            if isinstance(part, list):
                return [moved(one) for one in part]
            if not isinstance(part, ast.AST):
                return part
            if not isinstance(part, ast.Name) or self.output not in self.body.sources(part):
                return type(part)(**{name: moved(value) for name, value in ast.iter_fields(part)})
            if not self.body.bindings(part.id):
                return ast.Name(self.parts, part.ctx)
            binding = self.body.definition(part)
            if binding is None or binding.value is None:
                raise Declined(f"line {part.lineno}: it is not known what {part.id} stands for")
            return moved(binding.value)

        return ast.unparse(moved(pointer))

    def _before(self) -> list[ast.stmt]:
        """Statements before the loop whose names the kernel needs, in order."""
        function = self.body.function
        loop = function.body.index(self.product.loop)
        wanted: list[ast.AST] = [*self.places, *self.dependent, self.product.zeros]
        above = [s for s in function.body[:loop] if s is not self.product.zeros]
        return _needed(above, wanted)

    def _parameters(self) -> list[ast.arg]:
        """Parameters of the original that the kernel needs, or that the grid may ask for, in order."""
        read: set[str] = set()
        constants = not isinstance(self.launch.grid, ast.Tuple)
        for statement in (*self.above, *self.dependent):
            read |= names_in(statement)
        arguments = self.body.function.args
        return [
            one
            for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            if one.arg in read
            or (constants and one.annotation and "constexpr" in ast.unparse(one.annotation))
        ]

    def _argument(self, parameter: str) -> str:
        line, call = self.launch.site.line, self.launch.call
        value = self.launch.argument(parameter)
        written = [a for a in call.args if not isinstance(a, ast.Starred)]
        written += [keyword.value for keyword in call.keywords if keyword.arg]
        if value is None or not any(value is one for one in written):
            raise Declined(f"line {line}: the call does not say what {parameter} is")
        for node in ast.walk(value):
            if isinstance(node, ast.Call) and last_name(node.func) not in DESCRIBING:
                raise Declined(f"line {line}: {ast.unparse(value)} would be computed twice")
        return ast.unparse(value)

    def text(self, name: str, elements: str, split: str) -> str:
        """The kernel.

        Args:
            elements, split: its parameters for the elements of a share's results, and for how many shares.
        """
        accumulator, at = self.product.accumulator, fresh(self.body.function, "parts_at")
        written = [ast.unparse(one) for one in self.arguments]
        head = [self.parts, *written, elements, f"{split}: tl.constexpr"]
        middle = [
            f"{at} = {self.pointer}",
            f"for _ in tl.static_range({split}):",
            f"    {accumulator} += tl.load({at}{self.mask})",
            f"    {at} += {elements}",
        ]
        statements = [*map(ast.unparse, self.above), *middle, *map(ast.unparse, self.dependent)]
        what = f'"""What {self.body.function.name} does with a sum: that of the partial results."""'
        body = textwrap.indent("\n".join([what, *statements]), "    ")
        return f"@triton.jit\ndef {name}({_listed(head)}):\n{body}\n"

    def call(self, name: str, parts: str, options: Sequence[str]) -> str:
        """Its launch, behind the one of the original.

        Args:
            parts: what the partial results are called there.
            options: further arguments, by keyword.
        """
        warps = [
            f"num_warps={ast.unparse(k.value)}" for k in self.launch.call.keywords if k.arg == "num_warps"
        ]
        given = [parts, *self.arguments.values(), *options, *warps]
        return f"{name}[{ast.unparse(self.launch.grid)}]({', '.join(given)})"


def _listed(parameters: Sequence[str]) -> str:
    """Parameters on one line, or on lines of their own where that would be long."""
    line = ", ".join(parameters)
    return line if len(line) <= LONGEST_LINE else "".join(f"\n    {one}," for one in parameters) + "\n"


def _taken_apart(tail: Sequence[ast.stmt], accumulator: str) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Statements that do not depend on the sum, and those that do, each in order.

    Raises:
        Declined: the first could not all be moved before the second.
    """
    places: list[ast.stmt] = []
    dependent: list[ast.stmt] = []
    summed, used = {accumulator}, set[str]()
    for statement in tail:
        bound = bound_in(statement)
        if names_in(statement) & summed:
            dependent.append(statement)
            summed |= bound
            used |= names_in(statement)
        elif isinstance(statement, ast.Expr):
            raise Declined(f"line {statement.lineno}: the sum is not all that the rest is about")
        elif bound & used:
            raise Declined(f"line {statement.lineno}: {min(bound & used)} stands for something else before")
        else:
            places.append(statement)
    return places, dependent


def _needed(statements: Sequence[ast.stmt], wanted: Sequence[ast.AST]) -> list[ast.stmt]:
    """Those that bind a name which these nodes need, directly or through one another, in order."""
    names: set[str] = set().union(*map(names_in, wanted))
    found: list[ast.stmt] = []
    for statement in reversed(statements):
        if bound_in(statement) & names:
            found.insert(0, statement)
            names |= names_in(statement)
    return found
